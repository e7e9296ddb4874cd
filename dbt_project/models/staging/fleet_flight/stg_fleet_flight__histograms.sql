-- Delays in minutes in the common histogram shape; a flight that was cancelled has none.
with pings as (
    {{ pings_with(source('fleet_stable', 'flight_v1'), {}, ['histograms', 'array_length(histograms) as names']) }}
)

select {{ ping_columns() }}, {{ unless_too_many('h.key') }} as probe, '' as key, {{ histogram_fields('h.value') }}
from pings
cross join unnest(histograms) as h with offset as place
where {{ within_names() }}
