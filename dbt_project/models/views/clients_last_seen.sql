{#- Named outside of the loop: dbt must see what the view depends on while it only parses and knows no patterns yet. -#}
{%- set days_since_seen = function('bits28_days_since_seen') %}
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
    if(first_seen_date <= submission_date, first_seen_date, null) as first_seen_date
from {{ ref('clients_last_seen_v1') }} as last_seen
left join (
    select app_name, client_id, first_seen_date from {{ ref('clients_first_seen_v1') }}
) using (app_name, client_id)
