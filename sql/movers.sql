-- The distributions of the alerts of ${start_date}..${end_date} before and since the change, over all clients (no dimension)
-- and by the values that enough of them have: a row per alert, half, dimension and value. A client counts once a day and
-- value. On the axis build_date, a ping is of the day its build was made, as in derived.distributions_v1.
WITH alerts AS (
  SELECT
    ROW_NUMBER() OVER (ORDER BY submission_date, axis, app_name, channel, os, probe, key, layout) AS alert,
    submission_date AS detected_date, axis, app_name, channel, os, probe, key, layout, nights,
    DATE_SUB(change_date, INTERVAL nights DAY) AS change_date,
    DATE_SUB(submission_date, INTERVAL nights DAY) AS last_date
  FROM (
    SELECT *, IF(axis = 'build_date', ${nights_of_a_build}, 0) AS nights
    FROM ${change_scores_v1}
    WHERE submission_date BETWEEN DATE '${start_date}' AND DATE '${end_date}' AND alert IS NOT NULL
  )
),

sent AS (
  SELECT
    submission_date, client_id, app_name, channel, os, country, app_version, app_build_id, probe, key, layout, counts,
    IF(REGEXP_CONTAINS(app_build_id, r'^20[0-9]{6}'), SAFE.PARSE_DATE('%Y%m%d', SUBSTR(app_build_id, 1, 8)), NULL) AS build_date
  FROM ${histograms}
  WHERE client_id IS NOT NULL
),

about AS (
  SELECT
    alert, change_date, last_date, nights, IF(axis = 'build_date', build_date, sent.submission_date) AS day,
    sent.submission_date, client_id, sent.channel, sent.os, country, app_version, app_build_id, counts
  FROM sent
  JOIN alerts
    ON sent.app_name = alerts.app_name AND sent.probe = alerts.probe AND sent.key = alerts.key
      AND sent.layout = alerts.layout
      AND (alerts.channel IS NULL OR alerts.channel = sent.channel) AND (alerts.os IS NULL OR alerts.os = sent.os)
),

halves AS (
  SELECT
    alert, day >= change_date AS since, submission_date, client_id, counts,
    [
      STRUCT(CAST(NULL AS STRING) AS dimension, CAST(NULL AS STRING) AS value), STRUCT('build', app_build_id),
      STRUCT('version', app_version), STRUCT('country', country), STRUCT('os', os), STRUCT('channel', channel)
    ] AS said
  FROM about
  WHERE day BETWEEN GREATEST(DATE_SUB(change_date, INTERVAL ${days_before} DAY), DATE_SUB(last_date, INTERVAL ${most_days} DAY))
    AND last_date
    AND submission_date BETWEEN day AND DATE_ADD(day, INTERVAL nights DAY)
),

per_client_and_bucket AS (
  SELECT
    alert, since, submission_date, client_id, of_ping.dimension, of_ping.value, CAST(c.key AS INT64) AS bucket,
    SUM(CAST(c.value AS NUMERIC)) AS count
  FROM halves
  CROSS JOIN UNNEST(said) AS of_ping
  CROSS JOIN UNNEST(counts) AS c
  WHERE c.value > 0 AND (of_ping.dimension IS NULL OR of_ping.value IS NOT NULL)
  GROUP BY alert, since, submission_date, client_id, of_ping.dimension, of_ping.value, bucket
),

per_client AS (
  SELECT
    alert, since, dimension, value, bucket, count,
    SUM(count) OVER (PARTITION BY alert, since, submission_date, client_id, dimension, value) AS total,
    MIN(bucket) OVER (PARTITION BY alert, since, submission_date, client_id, dimension, value) AS first_bucket
  FROM per_client_and_bucket
),

-- Shares are integers in units of 1e-9, so that their sum has no order; a client is counted with its first bucket.
per_bucket AS (
  SELECT
    alert, since, dimension, value, bucket, COUNTIF(bucket = first_bucket) AS n_clients,
    SUM(CAST(FLOOR(CAST(count AS FLOAT64) / CAST(total AS FLOAT64) * 1e9) AS INT64)) AS clients
  FROM per_client
  GROUP BY alert, since, dimension, value, bucket
),

per_value AS (
  SELECT
    alert, since, dimension, value, SUM(n_clients) AS n_clients,
    ARRAY_AGG(STRUCT(bucket AS bucket, clients AS clients) ORDER BY bucket) AS buckets
  FROM per_bucket
  GROUP BY alert, since, dimension, value
),

large AS (
  SELECT
    *, MAX(IF(since, n_clients, 0)) OVER (PARTITION BY alert, dimension, value) AS n_since,
    MAX(IF(since, n_clients, 0)) OVER (PARTITION BY alert) AS n_since_of_all
  FROM per_value
)

SELECT detected_date, axis, app_name, channel, os, probe, key, layout, since, dimension, value, n_clients, buckets
FROM large
JOIN alerts USING (alert)
WHERE dimension IS NULL OR 100 * n_since >= ${least_percent} * n_since_of_all
