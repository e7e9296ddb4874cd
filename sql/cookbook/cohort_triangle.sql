-- Of the people who first came in a week, what share was there 1, 2, 3, ... weeks later?
-- cohorts has a row on each Sunday for each cohort (named by its Monday). A line is a cohort, a column a week of its
-- life; weeks that have not passed are NULL, which makes the triangle.
-- Watch for: `active` is below 1 in week 0 too, where `seen` is always 1. A client stays in the cohort, and in the
-- groups, of its first day. A week more is a line more. Change the dates and the application.
SELECT
  cohort_week,
  MAX(IF(weeks_since = 0, clients, NULL)) AS clients,
  MAX(IF(weeks_since = 0, active / clients, NULL)) AS week_0,
  MAX(IF(weeks_since = 1, active / clients, NULL)) AS week_1,
  MAX(IF(weeks_since = 2, active / clients, NULL)) AS week_2,
  MAX(IF(weeks_since = 3, active / clients, NULL)) AS week_3
FROM (
  SELECT cohort_week, weeks_since, SUM(clients) AS clients, SUM(active) AS active
  FROM telemetry.cohorts
  WHERE submission_date BETWEEN DATE '2026-03-08' AND DATE '2026-03-29' AND app_name = 'Firefox'
  GROUP BY cohort_week, weeks_since
)
WHERE cohort_week >= DATE '2026-03-02'
GROUP BY cohort_week
ORDER BY cohort_week
