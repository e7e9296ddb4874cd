-- The documents of ${start_date}..${end_date}: a day keeps, of each document_id, the message received first, provided
-- that none was received in the ${look_back} days before. Messages tagged `automation` do not count at all.
-- Which messages are kept is settled on their ids and times alone, because to sort whole messages costs twice as much
-- as to copy them. Only where several were received at the same instant does their content decide: by its hash, so
-- that a rerun keeps the same one; the hash has the number of messages by its older name, so that days built before
-- keep the same one too. Names of our own begin with two underscores, which no column of a ping type does.
WITH __candidates AS (
  SELECT *
  FROM ${live}
  WHERE
    DATE(submission_timestamp)
    BETWEEN DATE_SUB(DATE '${start_date}', INTERVAL ${look_back} DAY) AND DATE '${end_date}'
    AND ${slice}
    AND NOT REGEXP_CONTAINS(IFNULL(metadata.header.x_source_tags, ''), r'(^|,)\s*automation\s*(,|$$)')
),

__received AS (
  SELECT document_id, submission_timestamp, COUNT(*) AS __messages
  FROM __candidates
  GROUP BY document_id, submission_timestamp
),

__firsts AS (
  SELECT document_id, submission_timestamp, __messages
  FROM __received
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

__kept AS (
  SELECT __candidates.*, __firsts.__messages
  FROM __candidates
  JOIN __firsts USING (document_id, submission_timestamp)
)

SELECT * EXCEPT (__messages)
FROM __kept
WHERE __messages = 1
UNION ALL
SELECT * EXCEPT (__messages)
FROM __kept
WHERE __messages > 1
QUALIFY
  ROW_NUMBER() OVER (
    PARTITION BY document_id, submission_timestamp
    ORDER BY MD5(REPLACE(TO_JSON_STRING(__kept), '"__messages":', '"messages":'))
  ) = 1
