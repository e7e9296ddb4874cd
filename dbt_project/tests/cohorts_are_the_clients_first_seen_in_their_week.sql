-- A cohort's size, on every Sunday, is the number of clients first seen in its week.
with sizes as (
    select submission_date, cohort_week, app_name, sum(clients) as clients
    from {{ ref('cohorts_v1') }}
    where {{ in_range('submission_date') }}
    group by submission_date, cohort_week, app_name
),

first_seen as (
    select date_trunc(first_seen_date, week(monday)) as cohort_week, app_name, count(*) as clients
    from {{ ref('clients_first_seen_v1') }}
    group by cohort_week, app_name
)

select submission_date, cohort_week, app_name, first_seen.clients as first_seen, sizes.clients as cohort
from sizes
left join first_seen using (cohort_week, app_name)
where first_seen.clients is distinct from sizes.clients
