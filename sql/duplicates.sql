-- How far apart the messages of a document were received, for the days ${start_date}..${end_date}, each on its own.
-- Distance 0 counts the messages of a day beside its first; distance n the documents of a day that were last received
-- n days before, ${most_days} at most. Messages tagged `automation` do not count, as in dedup.sql.
WITH __received AS (
  SELECT document_id, DATE(submission_timestamp) AS __day, COUNT(*) AS __messages
  FROM ${live}
  WHERE
    DATE(submission_timestamp) BETWEEN DATE_SUB(DATE '${start_date}', INTERVAL ${most_days} DAY) AND DATE '${end_date}'
    AND ${slice}
    AND NOT REGEXP_CONTAINS(IFNULL(metadata.header.x_source_tags, ''), r'(^|,)\s*automation\s*(,|$$)')
  GROUP BY document_id, __day
),

__spaced AS (
  SELECT
    __day AS submission_date,
    __messages AS messages,
    DATE_DIFF(__day, LAG(__day) OVER (PARTITION BY document_id ORDER BY __day), DAY) AS distance_days
  FROM __received
)

SELECT submission_date, 0 AS distance_days, SUM(messages - 1) AS messages
FROM __spaced
WHERE submission_date >= DATE '${start_date}'
GROUP BY submission_date
UNION ALL
SELECT submission_date, distance_days, COUNT(*) AS messages
FROM __spaced
WHERE submission_date >= DATE '${start_date}' AND distance_days <= ${most_days}
GROUP BY submission_date, distance_days
