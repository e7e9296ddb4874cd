-- From which usage segment to which did people move within four weeks?
-- The segments of two days 28 days apart share no day. FULL JOIN keeps who came and who went; they are 'away'.
-- Watch for: 'away' before holds new clients and old ones that were not active for 28 days; first_seen_date tells them
-- apart. Both sides name their day inside the join. Change both dates together, and the application.
SELECT
  IFNULL(earlier.segment, 'away') AS segment_before,
  IFNULL(later.segment, 'away') AS segment_after,
  COUNT(*) AS clients
FROM (
  SELECT client_id, segment
  FROM telemetry.clients_last_seen
  WHERE submission_date = DATE '2026-03-01' AND app_name = 'Firefox' AND segment IS NOT NULL
) AS earlier
FULL JOIN (
  SELECT client_id, segment
  FROM telemetry.clients_last_seen
  WHERE submission_date = DATE '2026-03-29' AND app_name = 'Firefox' AND segment IS NOT NULL
) AS later USING (client_id)
GROUP BY segment_before, segment_after
ORDER BY segment_before, segment_after
