-- Of the people who used a feature (developer tools) in one week, how many used it again in the next?
-- Both weeks are bits of one day: the 7 bits from -13 are the week before last, the 7 from -6 the last.
-- Watch for: a numerator repeats its denominator's condition (week 0 AND week 1); without it people who used the
-- feature only in the second week would count as returned, and rates could pass 1. Any days_*_bits column is a feature;
-- a new one is a line in the YAML of clients_last_seen_v1. Change the date and the application.
SELECT
  os,
  COUNTIF(used_in_week_0) AS users,
  COUNTIF(used_in_week_0 AND used_in_week_1) AS came_back,
  SAFE_DIVIDE(COUNTIF(used_in_week_0 AND used_in_week_1), COUNTIF(used_in_week_0)) AS retention
FROM (
  SELECT
    os,
    udf.bits28_active_in_range(days_opened_dev_tools_bits, -13, 7) AS used_in_week_0,
    udf.bits28_active_in_range(days_opened_dev_tools_bits, -6, 7) AS used_in_week_1
  FROM telemetry.clients_last_seen
  WHERE submission_date = DATE '2026-03-29' AND app_name = 'Firefox'
)
GROUP BY os
HAVING users > 0
ORDER BY os
