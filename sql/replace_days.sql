DELETE FROM ${table} WHERE ${days};
INSERT INTO ${table} (${columns}) ${rows} WHERE ${days};
