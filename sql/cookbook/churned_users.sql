-- Which of the people active in four weeks stayed away for all of the four weeks after, by how often they had come?
-- Two days of clients_last_seen, 28 days apart, hold the eight weeks: the first tells who was active and its segment,
-- the second who still was.
-- Watch for: a client not seen for 28 days has no row, so the join must be LEFT, and both sides name their day inside
-- it: a condition in WHERE on the second would lose just the churned. Change both dates together, and the application.
SELECT
  earlier.segment,
  COUNT(*) AS clients,
  COUNTIF(later.client_id IS NULL) AS churned,
  COUNTIF(later.client_id IS NULL) / COUNT(*) AS churn
FROM (
  SELECT client_id, segment
  FROM telemetry.clients_last_seen
  WHERE submission_date = DATE '2026-03-01' AND app_name = 'Firefox' AND active_in_28_days
) AS earlier
LEFT JOIN (
  SELECT client_id
  FROM telemetry.clients_last_seen
  WHERE submission_date = DATE '2026-03-29' AND app_name = 'Firefox' AND active_in_28_days
) AS later USING (client_id)
GROUP BY earlier.segment
ORDER BY churn DESC, earlier.segment
