-- Readers see all of the old rows or all of the new ones, and the record of the publish is there as soon as they are.
-- Refused where a newer holder of the lock left its token, or another one the same.
BEGIN TRANSACTION;
ASSERT (
  SELECT COUNTIF(token > ${token}) = 0 AND COUNT(*) <= 1
  FROM monitoring.publish_tokens
  WHERE taken_date >= DATE '1970-01-01' AND table_name = '${table}' AND token >= ${token}
) AS 'a newer holder of the lock on ${table} is at work; this one must not publish';
${change}INSERT INTO monitoring.pipeline_runs (${recorded}) VALUES (${record});
COMMIT TRANSACTION;
