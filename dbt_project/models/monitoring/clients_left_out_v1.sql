-- The pings that are in no row of clients_daily_v1, and why.
with per_client as (
    select
        submission_date,
        app_name,
        client_id,
        why_no_client,
        if(app_name is null, ping_type, null) as type_without_application,
        count(*) as pings
    from {{ ref('activity') }}
    group by submission_date, app_name, client_id, why_no_client, type_without_application
)

select
    submission_date,
    app_name,
    case
        when app_name is null then 'no application'
        when client_id is null then ifnull(why_no_client, 'no client_id')
        else 'over {{ most_pings() }} pings'
    end as reason,
    type_without_application as ping_type,
    sum(pings) as pings,
    count(client_id) as clients
from per_client
where app_name is null or client_id is null or pings > {{ most_pings() }}
group by submission_date, app_name, reason, ping_type
