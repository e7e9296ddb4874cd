DELETE FROM ${table} WHERE ${days};
INSERT INTO ${table} (${columns}) SELECT ${columns} FROM ${candidate} WHERE ${days};
