-- How fast do people move to a new version?
-- The share of each version in a day's users; the day's total is a window over the versions.
-- Watch for: app_version is text, so '9.0' sorts after '10.0': sort by its number. NULL is a version of its own here,
-- and the shares of a day add up to 1 with it. Change the dates and the application.
SELECT
  submission_date,
  app_version,
  dau,
  dau / SUM(dau) OVER (PARTITION BY submission_date) AS share
FROM (
  SELECT submission_date, app_version, SUM(dau) AS dau
  FROM telemetry.active_users
  WHERE submission_date BETWEEN DATE '2026-03-23' AND DATE '2026-03-29' AND app_name = 'Firefox'
  GROUP BY submission_date, app_version
)
WHERE dau > 0
ORDER BY submission_date, SAFE_CAST(SPLIT(app_version, '.')[SAFE_OFFSET(0)] AS INT64), app_version
