-- Did a new build make garbage collection slower? The median of a histogram, build by build.
-- Buckets of a week's rows are summed by build, and hist_percentile reads the median: the lower bound of the bucket in
-- which it lies. `pings` counts observations, so busy clients weigh more.
-- Watch for: layout is in the grain and must stay there, because buckets of different layouts do not add up. The median
-- moves in steps of buckets; a small move may show only in the mean. Change the dates, the application and the probe.
WITH by_bucket AS (
  SELECT app_build_id, layout, b.bucket AS bucket, SUM(b.pings) AS observations
  FROM telemetry.histogram_aggregates_by_build
  CROSS JOIN UNNEST(buckets) AS b
  WHERE
    submission_date BETWEEN DATE '2026-03-23' AND DATE '2026-03-29'
    AND app_name = 'Firefox'
    AND channel = 'nightly'
    AND probe = 'GC_MS'
    AND key = ''
  GROUP BY app_build_id, layout, bucket
)

SELECT
  app_build_id,
  layout,
  SUM(observations) AS observations,
  udf.hist_percentile(
    STRUCT(
      layout AS layout,
      CAST(NULL AS INT64) AS sum,
      ARRAY_AGG(STRUCT(bucket AS bucket, observations AS count) ORDER BY bucket) AS buckets
    ),
    0.5
  ) AS median
FROM by_bucket
GROUP BY app_build_id, layout
ORDER BY app_build_id, layout
