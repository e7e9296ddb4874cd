select
    last_seen.*,
    {%- for name in patterns() %}
    {{ function('bits28_days_since_seen') }}(days_{{ name }}_bits) as days_since_{{ name }},
    {%- endfor %}
    if(first_seen_date <= submission_date, first_seen_date, null) as first_seen_date
from {{ ref('clients_last_seen_v1') }} as last_seen
left join {{ ref('clients_first_seen_v1') }} as first_seen using (app_name, client_id)
