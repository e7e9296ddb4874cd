-- Daily users over all groups are the rows of clients_daily_v1, and monthly users those of clients_last_seen_v1.
with users as (
    select submission_date, app_name, sum(dau) as dau, sum(mau) as mau
    from {{ ref('active_users_v1') }}
    where {{ in_range('submission_date') }}
    group by submission_date, app_name
),

daily as (
    select submission_date, app_name, count(*) as clients
    from {{ ref('clients_daily_v1') }}
    where {{ in_range('submission_date') }}
    group by submission_date, app_name
),

last_seen as (
    select submission_date, app_name, count(*) as clients
    from {{ ref('clients_last_seen_v1') }}
    where {{ in_range('submission_date') }}
    group by submission_date, app_name
)

select submission_date, app_name, dau, daily.clients as clients_today, mau, last_seen.clients as clients_of_28_days
from users
full join daily using (submission_date, app_name)
full join last_seen using (submission_date, app_name)
where ifnull(dau, 0) != ifnull(daily.clients, 0) or mau is distinct from last_seen.clients
