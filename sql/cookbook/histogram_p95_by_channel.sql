-- How slow is garbage collection for those who have it worst, the 95th percentile, by channel?
-- `clients` has each client's own shares, in units of 1e-9, so that every client counts once a day however many pings
-- it sends; summed over days and operating systems they are a histogram like any other.
-- Watch for: of counts of pings the answer is that of the busiest clients. n_clients counts a client again each day.
-- Buckets of different layouts do not add up. Change the dates, the application and the probe.
WITH by_bucket AS (
  SELECT channel, layout, b.bucket AS bucket, SUM(b.clients) AS clients
  FROM telemetry.histogram_aggregates
  CROSS JOIN UNNEST(buckets) AS b
  WHERE
    submission_date BETWEEN DATE '2026-03-23' AND DATE '2026-03-29'
    AND app_name = 'Firefox'
    AND probe = 'GC_MS'
    AND key = ''
  GROUP BY channel, layout, bucket
)

SELECT
  channel,
  layout,
  udf.hist_percentile(
    STRUCT(
      layout AS layout,
      CAST(NULL AS INT64) AS sum,
      ARRAY_AGG(STRUCT(bucket AS bucket, clients AS count) ORDER BY bucket) AS buckets
    ),
    0.95
  ) AS percentile_95
FROM by_bucket
GROUP BY channel, layout
ORDER BY channel, layout
