-- One statement, so atomic as it is; refused where a newer holder of the lock left its token.
MERGE ${table} AS old
USING (
  SELECT *
  FROM ${candidate}
  WHERE (
    SELECT IF(COUNT(*) = 0, TRUE, ERROR('a newer holder of the lock on ${table} is at work; this one must not publish'))
    FROM monitoring.publish_tokens
    WHERE taken_date >= DATE '${token_date}' AND table_name = '${table}' AND token > ${token}
  )
) AS built
ON ${same_key}
WHEN MATCHED AND built._deleted THEN DELETE
WHEN MATCHED THEN UPDATE SET ${assignments}
WHEN NOT MATCHED AND NOT built._deleted THEN INSERT (${columns}) VALUES (${new_columns})
