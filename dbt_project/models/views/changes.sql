with reviews as (
    select alert_id, status, who, why
    from {{ source('monitoring', 'change_reviews') }}
    qualify row_number() over (partition by alert_id order by reviewed_at desc) = 1
),

known as (
    select *
    from {{ source('derived', 'changes_v1') }}
    where detected_date >= date '2000-01-01'
),

reversals as (
    select axis, app_name, channel, os, probe, key, layout, closes, min(change_date) as closed_on
    from known
    where kind = 'reverted'
    group by axis, app_name, channel, os, probe, key, layout, closes
),

{# What is sent and what is withheld are apart, or small alerts would join the events of large ones. #}
next_to_each_other as (
    select
        detected_date, alert_id, app_name, withheld is null as is_sent, change_date,
        date_diff(change_date, lag(change_date) over (partition by app_name, withheld is null order by change_date), day) as days_since
    from known
),

events as (
    select
        detected_date, alert_id,
        max(if(days_since <= 2, null, change_date)) over (partition by app_name, is_sent order by change_date) as event
    from next_to_each_other
)

select
    changes.*,
    ifnull(reviews.status, 'new') as status,
    reviews.who as reviewed_by,
    reviews.why,
    reversals.closed_on,
    events.event
from {{ source('derived', 'changes_v1') }} as changes
left join events
    on changes.detected_date = events.detected_date and changes.alert_id = events.alert_id
left join reversals
    on changes.app_name = reversals.app_name and changes.probe = reversals.probe and changes.key = reversals.key
        and changes.layout = reversals.layout and changes.axis = reversals.axis and changes.change_date = reversals.closes
        and changes.channel is not distinct from reversals.channel and changes.os is not distinct from reversals.os
left join reviews on changes.alert_id = reviews.alert_id
