-- How many people use the browser each day, by country?
-- Daily users are counted ready-made in active_users; it has a row for each group of clients, and groups add up.
-- Watch for: groups add up, days do not. A week's users are `wau` of its last day, not seven days of `dau`.
-- A client's country is that of its last day, and NULL where no ping said one. Change the dates and the application.
SELECT
  submission_date,
  country,
  SUM(dau) AS dau,
  SUM(active_dau) AS active_dau
FROM telemetry.active_users
WHERE submission_date BETWEEN DATE '2026-03-23' AND DATE '2026-03-29' AND app_name = 'Firefox'
GROUP BY submission_date, country
ORDER BY submission_date, dau DESC, country
