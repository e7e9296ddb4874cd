-- How much of a month's users does a day bring? (stickiness, DAU / MAU)
-- Both numbers stand in active_users, so no client is read. 1 means that all come every day; 1/28 that each comes on
-- one day of 28.
-- Watch for: sum over groups first, divide last. A weekend's DAU is lower, so this takes the mean of a whole week; the
-- MAU is that of its last day, because days do not add up. Change the three dates and the application.
SELECT
  channel,
  SUM(active_dau) / 7 AS mean_active_dau,
  SUM(IF(submission_date = DATE '2026-03-29', active_mau, 0)) AS active_mau,
  SAFE_DIVIDE(SUM(active_dau) / 7, SUM(IF(submission_date = DATE '2026-03-29', active_mau, 0))) AS stickiness
FROM telemetry.active_users
WHERE submission_date BETWEEN DATE '2026-03-23' AND DATE '2026-03-29' AND app_name = 'Firefox'
GROUP BY channel
ORDER BY active_mau DESC, channel
