-- What has one client done, day by day, newest first?
-- clients_daily has a row for each of its days. The days choose partitions, and sample_id and client_id, by which the
-- rows are clustered, a few blocks of them: name all three, and little is read.
-- Watch for: ids are lower-case. Write the sample_id as a number; SELECT udf.sample_id('...') tells it. The command
-- `./warehouse history ID` asks the same, with the client's pings. Change the dates, the client and its sample_id.
SELECT
  submission_date,
  app_name,
  channel,
  app_version,
  country,
  pings_aggregated_by_this_row AS pings,
  active_hours_sum AS active_hours,
  uri_count_sum AS pages
FROM telemetry.clients_daily
WHERE
  submission_date BETWEEN DATE '2026-03-02' AND DATE '2026-03-29'
  AND sample_id = 55
  AND client_id = '859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d'
ORDER BY submission_date DESC, app_name
