-- A type is known when a macro is put in place, and what it would not be is not run.
CREATE MACRO _text(x) AS CASE WHEN typeof(x) = 'BLOB' THEN decode(x::BLOB) ELSE x::VARCHAR END;

-- Where SUBSTR begins: BigQuery counts neither from 0 nor from before the first character.
CREATE MACRO _start(s, p) AS CASE WHEN p = 0 OR p < -length(s) THEN 1 ELSE p END;

DROP MACRO bq.main.safe_convert_bytes_to_string;
CREATE MACRO safe_convert_bytes_to_string(b) AS _bytes_as_text(b);
