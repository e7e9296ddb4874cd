-- Builds share out the pings and counts of a series, and a client is in at least one of them.
{%- set series = 'submission_date, app_name, channel, os, probe, key, layout' %}
with by_build as (
    select {{ series }}, n_pings, n_clients, saturated, (select sum(cast(b.pings as numeric)) from unnest(buckets) as b) as counts
    from {{ ref('histogram_aggregates_by_build_v1') }}
    where {{ in_range('submission_date') }}
),

over_all as (
    select {{ series }}, n_pings, n_clients, saturated, (select sum(cast(b.pings as numeric)) from unnest(buckets) as b) as counts
    from {{ ref('histogram_aggregates_v1') }}
    where {{ in_range('submission_date') }}
)

select
    {{ series }},
    sum(pings_of_builds) as n_pings_of_builds,
    sum(pings) as n_pings,
    sum(counts_of_builds) as n_counts_of_builds,
    sum(counts) as n_counts
from (
    select
        {{ series }}, n_pings as pings_of_builds, counts as counts_of_builds, n_clients as clients_of_builds,
        0 as pings, 0 as counts, 0 as clients, saturated
    from by_build
    union all
    select {{ series }}, 0, 0, 0, n_pings, counts, n_clients, saturated from over_all
)
group by {{ series }}
having
    sum(pings_of_builds) != sum(pings)
    or sum(clients_of_builds) < sum(clients)
    or (not logical_or(saturated) and sum(counts_of_builds) != sum(counts))
