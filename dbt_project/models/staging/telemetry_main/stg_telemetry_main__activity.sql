-- The main ping in the common activity shape. It is sent at the end of a subsession, at the latest after a day.
with pings as (
    select *, environment.experiments as enrolments
    from {{ source('telemetry_stable', 'main_v4') }}
    where {{ in_range('date(submission_timestamp)') }}
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
    environment.system.os.version as os_version,
    environment.settings.locale as locale,
    application.version as app_version,
    application.build_id as app_build_id,
    environment.partner.distribution_id as distribution_id,
    normalized_country_code as country,
    metadata.geo.subdivision1 as subdivision1,
    cast(null as string) as subdivision2,
    metadata.geo.city as city,
    array(select as struct e.key as key, e.value.branch as value from unnest(enrolments) as e) as experiments,
    payload.info.subsession_length as duration,
    -- The scalar counts the subsession alone; clients from before it existed send only the older measurement.
    coalesce(
        payload.processes.parent.scalars.browser_engagement_active_ticks, payload.simple_measurements.active_ticks
    ) as active_ticks,
    payload.processes.parent.scalars.browser_engagement_total_uri_count as uri_count,
    true as reports_uris,
    payload.info.subsession_counter as subsession_counter,
    payload.processes.parent.scalars.devtools_toolbox_opened_count as devtools_opened,
    environment.settings.is_default_browser as is_default_browser,
    environment.system.memory_mb as memory_mb,
    {{ believable_date('environment.profile.creation_date') }} as profile_creation_date
from pings
