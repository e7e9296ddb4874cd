MERGE ${table} AS old
USING ${candidate} AS built
ON ${same_key}
WHEN MATCHED AND built._deleted THEN DELETE
WHEN MATCHED THEN UPDATE SET ${assignments}
WHEN NOT MATCHED AND NOT built._deleted THEN INSERT (${columns}) VALUES (${new_columns});
