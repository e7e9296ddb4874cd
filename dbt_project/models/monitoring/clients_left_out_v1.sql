-- The pings that are in no row of clients_daily_v1, and why.
with per_client as (
    select submission_date, app_name, client_id, why_no_client, count(*) as pings
    from {{ ref('activity') }}
    group by submission_date, app_name, client_id, why_no_client
)

select
    submission_date,
    app_name,
    if(client_id is null, ifnull(why_no_client, 'no client_id'), 'over {{ most_pings() }} pings') as reason,
    sum(pings) as pings,
    count(client_id) as clients
from per_client
where client_id is null or pings > {{ most_pings() }}
group by submission_date, app_name, reason
