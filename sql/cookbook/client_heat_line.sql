-- On which of the last 28 days was a client there, and on which was it active?
-- One row of one day holds it: bits28_to_string writes the days as a line, the newest last, bits28_to_dates lists them.
-- Watch for: the row is of the last 28 days only; a client not seen in them has none. To look at many clients, drop the
-- id and keep a sample_id. Change the date, the client and its sample_id.
SELECT
  app_name,
  udf.bits28_to_string(days_seen_bits) AS seen,
  udf.bits28_to_string(days_active_bits) AS active,
  udf.bits28_to_dates(days_opened_dev_tools_bits, submission_date) AS opened_dev_tools_on,
  segment,
  first_seen_date
FROM telemetry.clients_last_seen
WHERE
  submission_date = DATE '2026-03-29'
  AND sample_id = 55
  AND client_id = '859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d'
ORDER BY app_name
