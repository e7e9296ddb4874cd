{#
  Histograms of a day over all clients, a row per `series`: each client once (its shares), and each count once (pings).
  A client's histograms of the day are added up first. Buckets that nothing fell into are left out, and so are pings
  without client_id or application, as in clients_daily_v1. The first key with a count stands for its ping, a client's first bucket for
  the client.
#}
{% macro histogram_aggregates(series) -%}
with sent as (
    select {{ series }}, client_id, counts, regexp_extract(to_json_string(counts), r'"key":"([^"]+)","value":"?[1-9]') as first_key
    from {{ ref('histograms') }}
    where client_id is not null and app_name is not null
),

per_client_and_bucket as (
    {#- A bucket's entry is called `key` too. #}
    {%- set of_sent = 'sent.' ~ series | replace(', ', ', sent.') %}
    select
        {{ of_sent }},
        client_id,
        cast(c.key as int64) as bucket,
        {{ saturated_sum('c.value') }} as count,
        countif(c.key = first_key) as pings_begun
    from sent
    cross join unnest(counts) as c
    where c.value > 0
    group by {{ of_sent }}, client_id, bucket
),

per_client as (
    select
        {{ series }},
        sum(cast(count as numeric)) as total,
        min(bucket) as first_bucket,
        array_agg(struct(bucket as bucket, count as count, pings_begun as pings_begun)) as buckets
    from per_client_and_bucket
    group by {{ series }}, client_id
),

per_bucket as (
    select
        {{ series }},
        b.bucket as bucket,
        {{ saturated_sum('b.count') }} as pings,
        sum({{ share('b.count', 'total') }}) as clients,
        sum(b.pings_begun) as pings_begun,
        countif(b.bucket = first_bucket) as clients_begun,
        max(total) as largest_total
    from per_client
    cross join unnest(buckets) as b
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
