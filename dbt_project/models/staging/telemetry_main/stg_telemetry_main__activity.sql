-- The main ping in the common activity shape. It is sent at the end of a subsession, at the latest after a day.
{%- set scalars = 'payload.processes.parent.scalars.browser_engagement_' %}
with pings as (
    select *, environment.experiments as __enrolments, environment.addons.active_addons as __addons
    from {{ source('telemetry_stable', 'main_v4') }}
    where {{ in_range('date(submission_timestamp)') }}
)

select
    {{ in_shape('activity', standard_columns_and({
        'os_version': 'environment.system.os.version',
        'locale': 'environment.settings.locale',
        'app_version': 'application.version',
        'app_display_version': 'application.display_version',
        'app_build_id': 'application.build_id',
        'architecture': 'application.architecture',
        'distribution_id': 'environment.partner.distribution_id',
        'distributor': 'environment.partner.distributor',
        'subdivision1': 'metadata.geo.subdivision1',
        'city': 'metadata.geo.city',
        'windows_build_number': whole_number('environment.system.os.windows_build_number'),
        'kernel_version': 'environment.system.os.kernel_version',
        'is_wow64': 'environment.system.is_wow64',
        'cpu_vendor': 'environment.system.cpu.vendor',
        'cpu_cores': 'environment.system.cpu.cores',
        'cpu_speed_mhz': whole_number('environment.system.cpu.speed_m_hz'),
        'gfx_vendor_id': 'environment.system.gfx.adapters[safe_offset(0)].vendor_id',
        'gfx_compositor': 'environment.system.gfx.features.compositor',
        'disk_type': 'environment.system.hdd.profile.type',
        'memory_mb': 'environment.system.memory_mb',
        'is_default_browser': 'environment.settings.is_default_browser',
        'default_search_engine': 'environment.settings.default_search_engine',
        'search_cohort': 'environment.settings.search_cohort',
        'attribution_source': 'environment.settings.attribution.source',
        'update_channel': 'environment.settings.update.channel',
        'updates_automatically': 'environment.settings.update.auto_download',
        'theme_id': 'environment.addons.theme.id',
        'profile_creation_date': believable_date('environment.profile.creation_date'),
        'first_use_date': believable_date('environment.profile.first_use_date'),
        'profile_reset_date': believable_date('environment.profile.reset_date'),
        'timezone_offset': 'payload.info.timezone_offset',
        'duration': 'payload.info.subsession_length',
        'subsession_counter': 'payload.info.subsession_counter',
        'active_ticks': 'coalesce(' ~ scalars ~ 'active_ticks, payload.simple_measurements.active_ticks)',
        'uri_count': scalars ~ 'total_uri_count',
        'reports_uris': 'true',
        'unfiltered_uri_count': scalars ~ 'unfiltered_uri_count',
        'tabs_opened': scalars ~ 'tab_open_event_count',
        'windows_opened': scalars ~ 'window_open_event_count',
        'concurrent_tabs': scalars ~ 'max_concurrent_tab_count',
        'concurrent_windows': scalars ~ 'max_concurrent_window_count',
        'unique_domains': scalars ~ 'unique_domains_count',
        'devtools_opened': 'payload.processes.parent.scalars.devtools_toolbox_opened_count',
        'first_paint_ms': 'payload.simple_measurements.first_paint',
        'experiments': 'array(select as struct e.key as key, e.value.branch as value from unnest(__enrolments) as e)',
        'active_addons': "array(select as struct a.key as id, a.value.name as name, json_value(a.value.version) as version,"
            ~ " a.value.type as type, a.value.is_system as is_system from unnest(__addons) as a)",
    })) }}
from pings
