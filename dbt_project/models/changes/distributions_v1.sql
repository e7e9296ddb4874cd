-- The distributions that are searched for changes, each of all clients and of those of a channel, of a system, and of both.
-- Those of too few clients are left out: the detector takes them for gaps, and a single client can invent any number.
-- By build: a week's pings of the builds made on one day are added up, so that a build's day is judged six nights later.
{%- set of_probe = 'probe, key, layout, n_clients, buckets' %}
{%- set series = 'axis, submission_date, app_name, channel, os, probe, key, layout' %}
with by_submission as (
    select 'submission_date' as axis, submission_date, app_name, channel, os, {{ of_probe }}
    from {{ ref('histogram_aggregates_v1') }}
    where {{ in_range('submission_date') }}
),

built as (
    select submission_date as submitted_on, safe.parse_date('%Y%m%d', substr(app_build_id, 1, 8)) as built_on, app_name, channel, os, {{ of_probe }}
    from {{ ref('histogram_aggregates_by_build_v1') }}
    where submission_date between date_sub({{ day('start_date') }}, interval 6 day) and {{ day('end_date') }}
        and regexp_contains(app_build_id, r'^20[0-9]{6}')
),

by_build as (
    select 'build_date' as axis, date_add(built_on, interval 6 day) as submission_date, app_name, channel, os, {{ of_probe }}
    from built
    where submitted_on between built_on and date_add(built_on, interval 6 day)
        and {{ in_range('date_add(built_on, interval 6 day)') }}
),

rolled_up as (
    select
        axis, submission_date, app_name, if(over_all.channels, null, channel) as channel, if(over_all.systems, null, os) as os, {{ of_probe }}
    from (select * from by_submission union all select * from by_build)
    cross join unnest([
        struct(true as channels, true as systems),
        struct(false as channels, true as systems),
        struct(true as channels, false as systems),
        struct(false as channels, false as systems)
    ]) as over_all
    where (over_all.channels or channel is not null) and (over_all.systems or os is not null)
),

per_bucket as (
    {#- A row's clients are counted with its first bucket. #}
    select {{ series }}, b.bucket as bucket, sum(b.clients) as clients, sum(if(place = 0, n_clients, 0)) as n_clients
    from rolled_up
    cross join unnest(buckets) as b with offset as place
    group by {{ series }}, bucket
)

select
    {{ series }},
    sum(n_clients) as n_clients,
    array_agg(struct(bucket as bucket, clients as clients) order by bucket) as buckets
from per_bucket
group by {{ series }}
having sum(per_bucket.n_clients) >= {{ least_clients() }}
