-- A flight in the common activity shape: an aircraft is the client, a carrier the channel, an airport the city.
select
    {{ in_shape('activity', {
        'submission_date': 'date(submission_timestamp)',
        'submission_timestamp': 'submission_timestamp',
        'document_id': 'document_id',
        'client_id': 'client_id',
        'sample_id': 'sample_id',
        'app_name': 'normalized_app_name',
        'channel': 'normalized_channel',
        'os': 'normalized_os',
        'country': 'normalized_country_code',
        'city': 'origin',
        'duration': 'safe_multiply(duration_minutes, 60)',
        'reports_uris': 'false',
    }) }}
from {{ source('fleet_stable', 'flight_v1') }}
where {{ in_range('date(submission_timestamp)') }}
