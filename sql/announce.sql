-- Leaves the token of a lock's new holder, larger than any that was left for the table or published with, whatever
-- clocks said meanwhile.
INSERT INTO monitoring.publish_tokens (taken_date, table_name, token, holder)
SELECT CURRENT_DATE('UTC'), @table, 1 + IFNULL(MAX(token), 0), @holder
FROM (
  SELECT token FROM monitoring.publish_tokens WHERE taken_date >= DATE '1970-01-01' AND table_name = @table
  UNION ALL
  SELECT token FROM monitoring.pipeline_runs WHERE table_name = @table
);
SELECT MAX(token) AS token
FROM monitoring.publish_tokens
WHERE taken_date >= DATE '1970-01-01' AND table_name = @table AND holder = @holder;
