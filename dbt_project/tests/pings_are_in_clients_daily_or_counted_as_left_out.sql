-- Every ping of a stable table is in a row of clients_daily_v1, or monitoring says why not.
with pings as (
    select submission_date, ifnull(app_name, '') as app_name, count(*) as pings
    from {{ ref('activity') }}
    group by submission_date, app_name
),

accounted as (
    select submission_date, app_name, sum(pings) as pings
    from (
        select submission_date, app_name, pings_aggregated_by_this_row as pings
        from {{ ref('clients_daily_v1') }}
        where {{ in_range('submission_date') }}
        union all
        select submission_date, ifnull(app_name, '') as app_name, pings
        from {{ ref('clients_left_out_v1') }}
        where {{ in_range('submission_date') }}
    )
    group by submission_date, app_name
)

select submission_date, app_name, pings.pings as pings, accounted.pings as accounted
from pings
full join accounted using (submission_date, app_name)
where pings.pings is distinct from accounted.pings
