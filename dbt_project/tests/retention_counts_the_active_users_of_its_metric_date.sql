-- Who is looked back at from a later day are the active users of that day itself.
with followed as (
    select metric_date, submission_date, app_name, sum(active_on_metric_date) as clients
    from {{ ref('retention_v1') }}
    where {{ in_range('submission_date') }}
    group by metric_date, submission_date, app_name
),

users as (
    select submission_date as metric_date, app_name, sum(active_dau) as clients
    from {{ ref('active_users_v1') }}
    where submission_date between date_sub({{ day('start_date') }}, interval 27 day) and {{ day('end_date') }}
    group by metric_date, app_name
)

select submission_date, metric_date, app_name, users.clients as active_users, followed.clients as followed
from followed
join users using (metric_date, app_name)
where followed.clients != users.clients
