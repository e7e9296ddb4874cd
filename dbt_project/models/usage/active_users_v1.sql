-- Daily, weekly and monthly users, seen and active, and how often they come, by what they were like when last seen.
select
    submission_date,
    app_name,
    channel,
    country,
    os,
    app_version,
    {%- for name, days in {'dau': 1, 'wau': 7, 'mau': 28}.items() %}
    countif((days_seen_bits & {{ 2 ** days - 1 }}) > 0) as {{ name }},
    countif((days_active_bits & {{ 2 ** days - 1 }}) > 0) as active_{{ name }},
    {%- endfor %}
    {%- for name, days in segments().items() %}
    countif(bit_count(days_active_bits) between {{ days[0] }} and {{ days[1] }}) as {{ name }}_users,
    {%- endfor %}
    countif(days_seen_bits = 1 and days_created_profile_bits > 0) as new_profiles
from {{ ref('clients_last_seen_v1') }}
where {{ in_range('submission_date') }}
group by submission_date, app_name, channel, country, os, app_version
