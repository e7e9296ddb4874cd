-- Are people coming more often or less often than before?
-- Each active client of 28 days is infrequent (1 to 6 days), casual (7 to 13), regular (14 to 20) or core (21 or more).
-- The four add up to active_mau. Shares rather than counts show a change of habit that growth would hide.
-- Watch for: segments look back 28 days, so days less than 28 apart share clients' days. Change dates and application.
SELECT
  submission_date,
  SUM(active_mau) AS active_mau,
  SAFE_DIVIDE(SUM(infrequent_users), SUM(active_mau)) AS infrequent,
  SAFE_DIVIDE(SUM(casual_users), SUM(active_mau)) AS casual,
  SAFE_DIVIDE(SUM(regular_users), SUM(active_mau)) AS regular,
  SAFE_DIVIDE(SUM(core_users), SUM(active_mau)) AS core
FROM telemetry.active_users
WHERE
  submission_date IN (DATE '2026-02-01', DATE '2026-03-01', DATE '2026-03-29')
  AND app_name = 'Firefox'
GROUP BY submission_date
ORDER BY submission_date
