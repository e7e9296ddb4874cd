-- How far do new profiles get: made on a day, active in their first week, again in their second, core four weeks on?
-- The highest set bit of days_created_profile_bits is the day a profile was made; at bit 27 it is 27 days before.
-- bits28_retention reads weeks from the same 28 bits, so the whole funnel is one day of one table.
-- Watch for: each step repeats the conditions of the steps before, so that none is larger. Profiles whose first ping
-- came more than 6 days after they were made are not counted as new. Change the dates and the application.
SELECT
  channel,
  COUNT(*) AS made,
  COUNTIF(weeks.active_in_week_0) AS active_in_week_0,
  COUNTIF(weeks.active_in_week_0 AND weeks.active_in_week_1) AS and_in_week_1,
  COUNTIF(weeks.active_in_week_0 AND weeks.active_in_week_1 AND is_core) AS and_core
FROM (
  SELECT
    channel,
    udf.bits28_retention(days_active_bits, submission_date).day_27 AS weeks,
    IFNULL(segment = 'core', FALSE) AS is_core
  FROM telemetry.clients_last_seen
  WHERE
    submission_date BETWEEN DATE '2026-03-23' AND DATE '2026-03-29'
    AND app_name = 'Firefox'
    AND days_created_profile_bits >> 27 = 1
)
GROUP BY channel
ORDER BY channel
