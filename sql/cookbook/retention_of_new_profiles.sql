-- Of the profiles made on a day, how many were used again in the week after their first (1-week retention)?
-- The rows with window_days = 13 look back 13 days, to a metric_date whose week 1 has just ended.
-- Watch for: submission_date is the day from which one looks back; profiles made on a day are in the partition 13 days
-- later. The numerator counts only new profiles, as the denominator does. Small days make wild rates: see the counts.
-- Change the dates and the application.
SELECT
  metric_date,
  SUM(new_profiles) AS new_profiles,
  SUM(new_profiles_active_in_week_1) AS came_back,
  SAFE_DIVIDE(SUM(new_profiles_active_in_week_1), SUM(new_profiles)) AS retention
FROM telemetry.retention
WHERE
  submission_date BETWEEN DATE '2026-03-16' AND DATE '2026-03-29'
  AND window_days = 13
  AND app_name = 'Firefox'
GROUP BY metric_date
HAVING new_profiles > 0
ORDER BY metric_date
