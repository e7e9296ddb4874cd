-- How many people were active within a window of my own, the 10 days up to a day?
-- The 28 bits of a client on the window's last day hold it: -9 is the day 9 days before, 10 the days to read from
-- there. So one day is read, whatever the window, up to 28 days.
-- Watch for: bits28_active_in_range of another pattern (days_seen_bits, days_visited_5_uri_bits, ...) asks another
-- question; a window that leaves the 28 days is an error. Change the date, the application and the window.
SELECT
  country,
  COUNTIF(udf.bits28_active_in_range(days_active_bits, -9, 10)) AS active_users
FROM telemetry.clients_last_seen
WHERE submission_date = DATE '2026-03-29' AND app_name = 'Firefox'
GROUP BY country
ORDER BY active_users DESC, country
