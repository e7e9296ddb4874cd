-- How many people came back after two weeks or more away?
-- Seen on the day (bit 0), on none of the 14 days before (14 bits from -14), but known from before these.
-- Watch for: first_seen_date tells old clients from new ones also where they were away for longer than the 28 days of
-- the bits; a client first seen today is new, not resurrected. Change the dates and the application.
SELECT
  submission_date,
  COUNTIF(
    NOT udf.bits28_active_in_range(days_seen_bits, -14, 14)
    AND first_seen_date < DATE_SUB(submission_date, INTERVAL 14 DAY)
  ) AS resurrected,
  COUNT(*) AS dau
FROM telemetry.clients_last_seen
WHERE
  submission_date BETWEEN DATE '2026-03-23' AND DATE '2026-03-29'
  AND app_name = 'Firefox'
  AND seen_in_1_day
GROUP BY submission_date
ORDER BY submission_date
