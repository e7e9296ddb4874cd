-- A flight in the common activity shape: an aircraft is the client, a carrier the channel, an airport the city.
select
    {{ in_shape('activity', standard_columns_and({
        'city': 'origin',
        'duration': 'safe_multiply(duration_minutes, 60)',
        'reports_uris': 'false',
    })) }}
from {{ source('fleet_stable', 'flight_v1') }}
where {{ in_range('date(submission_timestamp)') }}
