-- How far apart the messages of a document were received, for ${start_date}..${end_date}: from it the look-back is chosen.
-- Distance 0 counts the messages of a day beside its first; distance n the documents of a day that were last received
-- n days before, ${days} at most. Messages tagged `automation` do not count, as in dedup.sql.
BEGIN TRANSACTION;
DELETE FROM ${duplicates}
WHERE submission_date BETWEEN DATE '${start_date}' AND DATE '${end_date}' AND table_name = '${table}';
INSERT INTO ${duplicates} (submission_date, table_name, distance_days, messages)
WITH received AS (
  SELECT document_id, DATE(submission_timestamp) AS submission_date, COUNT(*) AS messages
  FROM ${live}
  WHERE
    DATE(submission_timestamp) BETWEEN DATE_SUB(DATE '${start_date}', INTERVAL ${days} DAY) AND DATE '${end_date}'
    AND NOT REGEXP_CONTAINS(IFNULL(metadata.header.x_source_tags, ''), r'(^|,)\s*automation\s*(,|$$)')
  GROUP BY document_id, submission_date
),

spaced AS (
  SELECT
    submission_date,
    messages,
    DATE_DIFF(
      submission_date, LAG(submission_date) OVER (PARTITION BY document_id ORDER BY submission_date), DAY
    ) AS distance_days
  FROM received
)

SELECT submission_date, '${table}' AS table_name, 0 AS distance_days, SUM(messages - 1) AS messages
FROM spaced
WHERE submission_date >= DATE '${start_date}' AND messages > 1
GROUP BY submission_date
UNION ALL
SELECT submission_date, '${table}' AS table_name, distance_days, COUNT(*) AS messages
FROM spaced
WHERE submission_date >= DATE '${start_date}' AND distance_days <= ${days}
GROUP BY submission_date, distance_days;
COMMIT TRANSACTION;
