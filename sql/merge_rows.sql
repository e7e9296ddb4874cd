MERGE ${table} AS __old
USING (${rows}) AS __built
ON ${same_key}
WHEN MATCHED AND __built._deleted THEN DELETE
WHEN MATCHED THEN UPDATE SET ${assignments}
WHEN NOT MATCHED AND NOT __built._deleted THEN INSERT (${columns}) VALUES (${new_columns});
