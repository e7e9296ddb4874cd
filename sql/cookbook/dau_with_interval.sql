-- How many people were active on a day, by channel, and how sure is that?
-- Each client is in one of 20 buckets. What each bucket counts says how much the sum would vary with other clients;
-- jackknife makes of it the 95% interval. Where the denominators are NULL it estimates the sum of the numerators.
-- Watch for: it wants all 20 buckets, so they come from GENERATE_ARRAY, and a bucket without a client counts 0.
-- Clients without a sample_id are in no bucket. Change the date and the application.
WITH counted AS (
  SELECT channel, client_bucket, COUNTIF(active_in_1_day) AS clients
  FROM telemetry.clients_last_seen
  WHERE submission_date = DATE '2026-03-29' AND app_name = 'Firefox'
  GROUP BY channel, client_bucket
),

buckets AS (
  SELECT channel, client_bucket
  FROM (SELECT DISTINCT channel FROM counted)
  CROSS JOIN UNNEST(GENERATE_ARRAY(0, 19)) AS client_bucket
),

estimated AS (
  SELECT
    buckets.channel,
    udf.jackknife(
      ARRAY_AGG(STRUCT(IFNULL(clients, 0) AS numerator, CAST(NULL AS INT64) AS denominator))
    ) AS active_dau
  FROM buckets
  LEFT JOIN counted
    ON buckets.channel IS NOT DISTINCT FROM counted.channel AND buckets.client_bucket = counted.client_bucket
  GROUP BY buckets.channel
)

SELECT channel, active_dau.estimate AS active_dau, active_dau.low AS low, active_dau.high AS high
FROM estimated
ORDER BY active_dau DESC, channel
