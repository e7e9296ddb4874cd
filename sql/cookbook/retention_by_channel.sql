-- Of the people active in a week, how many were active again 1, 2 and 3 weeks later, by channel?
-- The rows with window_days = 27 know all three. Numerators and denominators of the seven metric dates of a week are
-- summed, and divided last, so that a day counts by its clients and a weekend does not shake the rate.
-- Watch for: the same client is in the sums of several days; the rates are right, the sums are no number of people.
-- Every numerator repeats the denominator's condition (active in week 0). Change the dates and the application.
SELECT
  channel,
  SAFE_DIVIDE(SUM(active_in_week_0_and_1), SUM(active_in_week_0)) AS week_1,
  SAFE_DIVIDE(SUM(active_in_week_0_and_2), SUM(active_in_week_0)) AS week_2,
  SAFE_DIVIDE(SUM(active_in_week_0_and_3), SUM(active_in_week_0)) AS week_3
FROM telemetry.retention
WHERE
  submission_date BETWEEN DATE '2026-03-23' AND DATE '2026-03-29'
  AND window_days = 27
  AND app_name = 'Firefox'
GROUP BY channel
ORDER BY channel
