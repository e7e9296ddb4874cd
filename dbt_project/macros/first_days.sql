{# What clients_first_seen_v1 keeps of a client's first day, beside the date. #}
{% macro first_day_record() -%}
    struct(
        {%- for name in taken_over('clients_first_seen_v1') if name != 'sample_id' %}{{ name }} as {{ name }}{{ ', ' if not loop.last }}{% endfor -%}
    )
{%- endmacro %}

{# A row per client of clients_daily_v1: the first two of the days that `days` admits, and what the first was like. #}
{% macro first_days(days, join='') -%}
    select
        app_name,
        client_id,
        sample_id,
        submission_date as first_date,
        lead(submission_date) over (partition by app_name, client_id order by submission_date) as second_date,
        {{ first_day_record() }} as first_day
    from {{ ref('clients_daily_v1') }}
    {{ join }}
    where {{ days }}
    qualify row_number() over (partition by app_name, client_id order by submission_date) = 1
{%- endmacro %}
