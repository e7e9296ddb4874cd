-- The main process's histograms in the common shape, plain and keyed.
with pings as (
    {{ pings_with(source('telemetry_stable', 'main_v4'), [
        'payload.histograms as histograms', 'payload.keyed_histograms as keyed_histograms'
    ]) }}
),

keyed as (
    select {{ ping_columns() }}, p.key as probe, p.value as histograms
    from pings
    cross join unnest(keyed_histograms) as p
),

sent as (
    select {{ ping_columns() }}, h.key as probe, '' as key, {{ histogram_fields('h.value') }}
    from pings
    cross join unnest(histograms) as h
    union all
    select {{ ping_columns() }}, probe, h.key as key, {{ histogram_fields('h.value') }}
    from keyed
    cross join unnest(histograms) as h
)

{{ histogram_rows('sent') }}
