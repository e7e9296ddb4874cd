-- How long do people use the browser on a day, by operating system, with a confidence interval?
-- The sum of active ticks over the client-days with use, by client bucket: a ratio of sums of integers, which is what
-- jackknife takes. A tick is 5 seconds, so 720 are an hour.
-- Watch for: a client's days are alike, so the buckets must be of clients; that is why sample_id makes them and not
-- rows. A sum of FLOAT64 has no fixed order, so hours are divided last. Change the dates and the application.
WITH counted AS (
  SELECT os, MOD(sample_id, 20) AS client_bucket, SUM(active_ticks_sum) AS ticks, COUNT(*) AS client_days
  FROM telemetry.clients_daily
  WHERE
    submission_date BETWEEN DATE '2026-03-23' AND DATE '2026-03-29'
    AND app_name = 'Firefox'
    AND active_ticks_sum > 0
    AND os IS NOT NULL
  GROUP BY os, client_bucket
),

buckets AS (
  SELECT os, client_bucket
  FROM (SELECT DISTINCT os FROM counted)
  CROSS JOIN UNNEST(GENERATE_ARRAY(0, 19)) AS client_bucket
),

estimated AS (
  SELECT
    os,
    udf.jackknife(ARRAY_AGG(STRUCT(IFNULL(ticks, 0) AS numerator, IFNULL(client_days, 0) AS denominator))) AS ticks
  FROM buckets
  LEFT JOIN counted USING (os, client_bucket)
  GROUP BY os
)

SELECT os, ticks.estimate / 720 AS active_hours, ticks.low / 720 AS low, ticks.high / 720 AS high
FROM estimated
ORDER BY os
