-- Nobody was there before the first day, or between the first and the second; and on these two days everybody was.
with daily as (
    select app_name, client_id, submission_date, true as was_there
    from {{ ref('clients_daily_v1') }}
    where {{ in_range('submission_date') }}
),

days as (
    select app_name, client_id, first_seen_date as submission_date
    from {{ ref('clients_first_seen_v1') }}
    where {{ in_range('first_seen_date') }}
    union all
    select app_name, client_id, second_seen_date as submission_date
    from {{ ref('clients_first_seen_v1') }}
    where {{ in_range('second_seen_date') }}
)

select submission_date, app_name, client_id
from days
left join daily using (submission_date, app_name, client_id)
where was_there is null
union all
select submission_date, app_name, client_id
from daily
left join {{ ref('clients_first_seen_v1') }} using (app_name, client_id)
where
    first_seen_date is null
    or submission_date < first_seen_date
    or (submission_date > first_seen_date and submission_date < ifnull(second_seen_date, date '9999-12-31'))
