{#
  Histograms of a day over all clients, a row per `series`: each client once (its shares), and each count once (pings).
  A client's histograms of the day are added up first. Pings without client_id are left out, as in clients_daily_v1.
#}
{% macro histogram_aggregates(series) -%}
with counts as (
    select {{ series }}, client_id, b.bucket as bucket, b.count as count, place
    from {{ ref('histograms') }}
    cross join unnest(buckets) as b with offset as place
    where client_id is not null
),

per_client as (
    select {{ series }}, client_id, bucket, {{ saturated_sum('count') }} as count, countif(place = 0) as pings_begun
    from counts
    group by {{ series }}, client_id, bucket
),

with_totals as (
    select
        *,
        sum(cast(count as numeric)) over (partition by {{ series }}, client_id) as total,
        row_number() over (partition by {{ series }}, client_id order by bucket) = 1 as client_begun
    from per_client
),

per_bucket as (
    select
        {{ series }},
        bucket,
        {{ saturated_sum('count') }} as pings,
        sum({{ share('count', 'total') }}) as clients,
        sum(pings_begun) as pings_begun,
        countif(client_begun) as clients_begun,
        max(total) as largest_total
    from with_totals
    group by {{ series }}, bucket
)

select
    {{ series }},
    sum(clients_begun) as n_clients,
    sum(pings_begun) as n_pings,
    array_agg(struct(bucket as bucket, pings as pings, clients as clients) order by bucket) as buckets,
    greatest(max(pings), max(largest_total)) >= {{ int64_max() }} as saturated
from per_bucket
group by {{ series }}
{%- endmacro %}
