{#- A histogram is flat, so its text can be read by expressions; JSON_QUERY cannot iterate over the keys of an object. -#}
case
    when json is null then null
    when not regexp_contains(json, r'"values"\s*:\s*[\[{]') then error(format("hist_extract: '%s' is not a histogram; it has no values", json))
    else struct(
        concat(
            ifnull(regexp_extract(json, r'"histogram_type"\s*:\s*([0-9]+)'), '?'), '/',
            ifnull(regexp_extract(json, r'"bucket_count"\s*:\s*([0-9]+)'), '?'), '/',
            ifnull(regexp_replace(regexp_extract(json, r'"range"\s*:\s*\[([^\]]*)\]'), r'\s*,\s*', '-'), '')
        ) as layout,
        cast(regexp_extract(json, r'"sum"\s*:\s*(-?[0-9]+)') as int64) as sum,
        array(
            select as struct x.bucket as bucket, x.count as count
            from (
                select
                    cast(regexp_extract(entry, r'-?[0-9]+') as int64) as bucket,
                    cast(regexp_extract(entry, r'[0-9]+$') as int64) as count
                -- Both {"0":3}, as a client sends it, and [{"key":"0","value":3}], as a table holds it.
                from unnest(regexp_extract_all(json, r'"-?[0-9]+"\s*(?::|,\s*"value"\s*:)\s*[0-9]+')) as entry
            ) as x
            where x.count > 0
            order by x.bucket
        ) as buckets
    )
end
