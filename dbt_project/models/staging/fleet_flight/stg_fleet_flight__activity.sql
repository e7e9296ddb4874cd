-- A flight in the common activity shape: an aircraft is the client, a carrier the channel, an airport the city.
with pings as (
    select * from {{ source('fleet_stable', 'flight_v1') }} where {{ in_range('date(submission_timestamp)') }}
)

select
    date(submission_timestamp) as submission_date,
    submission_timestamp,
    document_id,
    client_id,
    sample_id,
    normalized_app_name as app_name,
    normalized_channel as channel,
    normalized_os as os,
    cast(null as string) as os_version,
    cast(null as string) as locale,
    cast(null as string) as app_version,
    cast(null as string) as app_build_id,
    cast(null as string) as distribution_id,
    normalized_country_code as country,
    cast(null as string) as subdivision1,
    cast(null as string) as subdivision2,
    origin as city,
    cast([] as array<struct<key string, value string>>) as experiments,
    safe_multiply(duration_minutes, 60) as duration,
    cast(null as int64) as active_ticks,
    cast(null as int64) as uri_count,
    false as reports_uris,
    cast(null as int64) as subsession_counter,
    cast(null as int64) as devtools_opened,
    cast(null as bool) as is_default_browser,
    cast(null as int64) as memory_mb,
    cast(null as date) as profile_creation_date
from pings
