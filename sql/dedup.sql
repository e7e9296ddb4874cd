-- The documents of ${start_date}..${end_date}: a day keeps, of each document_id, the message received first, provided
-- that none was received in the ${look_back} days before. Messages tagged `automation` do not count at all.
-- Which messages are kept is settled on their ids and times alone, because to sort whole messages costs twice as much
-- as to copy them. Only where several were received at the same instant does their content decide: by its hash, so
-- that a rerun keeps the same one.
WITH candidates AS (
  SELECT *
  FROM ${live}
  WHERE
    DATE(submission_timestamp)
    BETWEEN DATE_SUB(DATE '${start_date}', INTERVAL ${look_back} DAY) AND DATE '${end_date}'
    AND ${slice}
    AND NOT REGEXP_CONTAINS(IFNULL(metadata.header.x_source_tags, ''), r'(^|,)\s*automation\s*(,|$$)')
),

received AS (
  SELECT document_id, submission_timestamp, COUNT(*) AS messages
  FROM candidates
  GROUP BY document_id, submission_timestamp
),

firsts AS (
  SELECT document_id, submission_timestamp, messages
  FROM received
  QUALIFY
    DATE(submission_timestamp) >= DATE '${start_date}'
    AND IFNULL(
      DATE_DIFF(
        DATE(submission_timestamp),
        DATE(LAG(submission_timestamp) OVER (PARTITION BY document_id ORDER BY submission_timestamp)),
        DAY
      ) > ${look_back},
      TRUE
    )
),

kept AS (
  SELECT candidates.*, messages
  FROM candidates
  JOIN firsts USING (document_id, submission_timestamp)
)

SELECT * EXCEPT (messages)
FROM kept
WHERE messages = 1
UNION ALL
SELECT * EXCEPT (messages)
FROM kept
WHERE messages > 1
QUALIFY ROW_NUMBER() OVER (PARTITION BY document_id, submission_timestamp ORDER BY MD5(TO_JSON_STRING(kept))) = 1
