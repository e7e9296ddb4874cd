{#- Named outside of the loop: dbt must see what the view depends on while it only parses and knows no patterns yet. -#}
{%- set days_since_seen = function('bits28_days_since_seen') %}
-- The first day is looked up and not joined, so that a query which does not ask for it does not read that table.
select * except (first_day), if(first_day <= submission_date, first_day, null) as first_seen_date
from (
    select
        last_seen.*,
        {%- for name in patterns() %}
        {{ days_since_seen }}(days_{{ name }}_bits) as days_since_{{ name }},
        {%- for days in [1, 7, 28] %}
        (days_{{ name }}_bits & {{ 2 ** days - 1 }}) > 0 as {{ name }}_in_{{ days }}_day{{ 's' if days > 1 }},
        {%- endfor %}
        {%- endfor %}
        case
            {%- for name, days in segments().items() %}
            when bit_count(days_active_bits) between {{ days[0] }} and {{ days[1] }} then '{{ name }}'
            {%- endfor %}
        end as segment,
        mod(sample_id, 20) as client_bucket,
        (
            select min(first_seen_date)
            from {{ ref('clients_first_seen_v1') }} as first_seen
            where first_seen.app_name = last_seen.app_name and first_seen.client_id = last_seen.client_id
        ) as first_day
    from {{ ref('clients_last_seen_v1') }} as last_seen
)
