-- Do the branches of an experiment differ in how many days people are active, and is the difference more than chance?
-- Per branch, the mean of active days of the last 7 over its clients, as a ratio of sums by client bucket; jackknife
-- gives the 95% interval. Branches whose intervals do not overlap differ; where they do overlap a little, test further.
-- Watch for: count only people who were in the branch, and over the same days for all; `experiments` has the days seen
-- in each branch, and stays with a client for 28 days after it left. Change date, application and experiment.
WITH enrolled AS (
  SELECT e.value AS branch, client_bucket, BIT_COUNT(days_active_bits & 127) AS active_days
  FROM telemetry.clients_last_seen
  CROSS JOIN UNNEST(experiments) AS e
  WHERE
    submission_date = DATE '2026-03-29'
    AND app_name = 'Firefox'
    AND e.key = 'new-tab-layout'
    AND (e.bits & 127) > 0
),

counted AS (
  SELECT branch, client_bucket, SUM(active_days) AS active_days, COUNT(*) AS clients
  FROM enrolled
  GROUP BY branch, client_bucket
),

buckets AS (
  SELECT branch, client_bucket
  FROM (SELECT DISTINCT branch FROM counted)
  CROSS JOIN UNNEST(GENERATE_ARRAY(0, 19)) AS client_bucket
),

estimated AS (
  SELECT
    branch,
    SUM(clients) AS clients,
    udf.jackknife(
      ARRAY_AGG(STRUCT(IFNULL(active_days, 0) AS numerator, IFNULL(clients, 0) AS denominator))
    ) AS active_days
  FROM buckets
  LEFT JOIN counted USING (branch, client_bucket)
  GROUP BY branch
)

SELECT branch, clients, active_days.estimate AS mean_active_days, active_days.low AS low, active_days.high AS high
FROM estimated
ORDER BY branch
