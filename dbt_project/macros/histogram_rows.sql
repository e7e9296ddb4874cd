{#
  The common histogram shape, in two steps. First `sent`, a CTE of the model with a row per ping, probe and key:
  ping_columns(), probe, key ('' where the probe has none) and histogram_fields(). Then histogram_rows('sent').
  Each step names the columns it needs: an UNNEST beside a wide record is many times slower.
#}
{% macro ping_columns() -%}
    submission_date, document_id, client_id, sample_id, app_name, channel, os
{%- endmacro %}

{# The pings of the range, with `maps`: what else is needed of them, as SQL. #}
{% macro pings_with(stable, maps) -%}
    select
        date(submission_timestamp) as submission_date,
        document_id,
        client_id,
        sample_id,
        normalized_app_name as app_name,
        normalized_channel as channel,
        normalized_os as os,
        {{ maps | join(',\n        ') }}
    from {{ stable }}
    where {{ in_range('date(submission_timestamp)') }}
{%- endmacro %}

{% macro histogram_fields(histogram) -%}
    {{ histogram }}.histogram_type as histogram_type,
    {{ histogram }}.bucket_count as bucket_count,
    {{ histogram }}.`range` as bounds,
    {{ histogram }}.`values` as counts
{%- endmacro %}

{# Two histograms may be added up only where their layouts are equal. Buckets that nothing fell into are left out. #}
{% macro histogram_rows(sent) -%}
    select
        {{ ping_columns() }},
        probe,
        key,
        concat(
            ifnull(cast(histogram_type as string), '?'), '/',
            ifnull(cast(bucket_count as string), '?'), '/',
            array_to_string(array(select cast(bound as string) from unnest(bounds) as bound with offset as nth order by nth), '-')
        ) as layout,
        array(
            select as struct cast(v.key as int64) as bucket, v.value as count
            from unnest(counts) as v
            where v.value > 0
        ) as buckets
    from {{ sent }}
{%- endmacro %}
