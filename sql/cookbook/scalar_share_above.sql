-- How many of the people who say how many tabs they have open have 20 or more?
-- A numeric scalar is a histogram of one observation a ping, its bucket the value's two leading digits (layout
-- 'scalar/2-digits'). Clients' shares at or above the threshold, over all shares.
-- Watch for: buckets are lower bounds, so the threshold must be one: of two digits, then zeros (20, 95, 130, 2500).
-- A client that was above on half of its pings counts half. Change dates, application, probe and threshold.
SELECT
  submission_date,
  SUM(IF(b.bucket >= 20, b.clients, 0)) / SUM(b.clients) AS share_above
FROM telemetry.histogram_aggregates
CROSS JOIN UNNEST(buckets) AS b
WHERE
  submission_date BETWEEN DATE '2026-03-23' AND DATE '2026-03-29'
  AND app_name = 'Firefox'
  AND probe = 'browser_engagement_max_concurrent_tab_count'
  AND layout = 'scalar/2-digits'
GROUP BY submission_date
ORDER BY submission_date
