-- First and second days are days of clients_daily_v1.
with days as (
    select app_name, client_id, first_seen_date as submission_date
    from {{ ref('clients_first_seen_v1') }}
    where {{ in_range('first_seen_date') }}
    union all
    select app_name, client_id, second_seen_date as submission_date
    from {{ ref('clients_first_seen_v1') }}
    where {{ in_range('second_seen_date') }}
),

daily as (
    select app_name, client_id, submission_date, true as was_there
    from {{ ref('clients_daily_v1') }}
    where {{ in_range('submission_date') }}
)

select submission_date, app_name, client_id
from days
left join daily using (submission_date, app_name, client_id)
where was_there is null
