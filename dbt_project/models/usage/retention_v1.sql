-- How many clients who were active in a week came back in the weeks after, by what they were like when last seen.
-- Reads one day of clients_last_seen_v1: everything that is asked lies in its 28 bits. Numerators repeat the condition
-- of their denominators, so that no rate can pass 1.
{%- set groups = 'submission_date, app_name, channel, country, os, app_version' %}
with counted as (
    select
        {{ groups }},
        [
            {%- for age in retention_windows() %}
            struct(
                {{ age }} as window_days
                {%- for measure, condition in retention_measures(age).items() %},
                {{ 'countif(' ~ condition ~ ')' if condition else 'cast(null as int64)' }} as {{ measure }}
                {%- endfor %}
            ){{ ',' if not loop.last }}
            {%- endfor %}
        ] as windows
    from (
        select {{ groups }}, days_active_bits as bits, days_created_profile_bits as created_bits
        from {{ ref('clients_last_seen_v1') }}
        where {{ in_range('submission_date') }}
    )
    group by {{ groups }}
)

select
    submission_date,
    w.window_days as window_days,
    date_sub(submission_date, interval w.window_days day) as metric_date,
    app_name,
    channel,
    country,
    os,
    app_version
    {%- for measure in retention_measures(27) %},
    w.{{ measure }} as {{ measure }}
    {%- endfor %}
from counted
cross join unnest(windows) as w
where w.active_in_week_0 > 0 or w.new_profiles > 0
