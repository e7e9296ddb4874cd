-- Who is looked back at from a later day are the active users of that day itself, all of them.
with followed as (
    select submission_date, metric_date, app_name, sum(active_on_metric_date) as clients
    from {{ ref('retention_v1') }}
    where {{ in_range('submission_date') }}
    group by submission_date, metric_date, app_name
),

users as (
    select submission_date as metric_date, app_name, sum(active_dau) as clients
    from {{ ref('active_users_v1') }}
    where submission_date between date_sub({{ day('start_date') }}, interval 27 day) and {{ day('end_date') }}
    group by metric_date, app_name
),

expected as (
    select date_add(metric_date, interval window_days day) as submission_date, metric_date, app_name, clients
    from users
    cross join unnest({{ retention_windows() }}) as window_days
)

select submission_date, metric_date, app_name, expected.clients as active_users, followed.clients as followed
from expected
left join followed using (submission_date, metric_date, app_name)
where {{ in_range('submission_date') }} and expected.clients != ifnull(followed.clients, 0)
