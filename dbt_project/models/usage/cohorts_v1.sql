-- On each Sunday, how many clients of every weekly cohort of the last year were there in the week that ended.
-- A cohort is the clients first seen in one week (Monday to Sunday), as they were on their first day; that never
-- changes, so the same clients are counted in every week. A week's use is 7 bits of one day of clients_last_seen_v1.
{%- set groups = 'cohort_week, app_name, channel, country, os' %}
with sundays as (
    select sunday, date_sub(sunday, interval 6 day) as monday
    from unnest(generate_date_array({{ day('start_date') }}, {{ day('end_date') }})) as sunday
    where extract(dayofweek from sunday) = 1
),

members as (
    select app_name, client_id, channel, country, os, date_trunc(first_seen_date, week(monday)) as cohort_week
    from {{ ref('clients_first_seen_v1') }}
    where
        first_seen_date
        between date_sub({{ day('start_date') }}, interval {{ 7 * cohort_weeks() + 6 }} day) and {{ day('end_date') }}
),

cohorts as (
    select {{ groups }}, count(*) as clients from members group by {{ groups }}
),

there as (
    select submission_date, app_name, client_id, (days_active_bits & 127) > 0 as is_active
    from {{ ref('clients_last_seen_v1') }}
    where
        {{ in_range('submission_date') }}
        and extract(dayofweek from submission_date) = 1
        and (days_seen_bits & 127) > 0
),

-- Cohorts and those who came are added up rather than joined, because a group may be NULL.
counted as (
    select sunday as submission_date, {{ groups }}, clients, 0 as seen, 0 as active
    from sundays
    join cohorts on cohort_week between date_sub(monday, interval {{ 7 * cohort_weeks() }} day) and monday
    union all
    select submission_date, {{ groups }}, 0 as clients, count(*) as seen, countif(is_active) as active
    from there
    join members using (app_name, client_id)
    where cohort_week between date_sub(submission_date, interval {{ 7 * cohort_weeks() + 6 }} day) and submission_date
    group by submission_date, {{ groups }}
)

select
    submission_date,
    cohort_week,
    div(date_diff(submission_date, cohort_week, day), 7) as weeks_since,
    app_name,
    channel,
    country,
    os,
    sum(clients) as clients,
    sum(seen) as seen,
    sum(active) as active
from counted
group by submission_date, {{ groups }}
