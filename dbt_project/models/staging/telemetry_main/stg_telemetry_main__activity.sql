-- The main ping in the common activity shape. It is sent at the end of a subsession, at the latest after a day.
-- Scalars of the parent process are columns where the schema names them, and else members of a map.
{%- set stable = source('telemetry_stable', 'main_v4') %}
{%- set types = types_of(stable) %}
{%- set scalars = 'payload.processes.parent.scalars' %}
with pings as (
    select *, environment.experiments as __enrolments, environment.addons.active_addons as __addons
    from {{ stable }}
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
        'memory_mb': whole_member(types, 'environment.system', 'memory_mb'),
        'is_default_browser': 'environment.settings.is_default_browser',
        'default_search_engine': 'environment.settings.default_search_engine',
        'search_cohort': 'environment.settings.search_cohort',
        'attribution_source': 'environment.settings.attribution.source',
        'update_channel': 'environment.settings.update.channel',
        'updates_automatically': 'environment.settings.update.auto_download',
        'theme_id': 'environment.addons.theme.id',
        'profile_creation_date': believable_date(whole_member(types, 'environment.profile', 'creation_date')),
        'first_use_date': believable_date(whole_member(types, 'environment.profile', 'first_use_date')),
        'profile_reset_date': believable_date(whole_member(types, 'environment.profile', 'reset_date')),
        'timezone_offset': 'payload.info.timezone_offset',
        'duration': 'payload.info.subsession_length',
        'subsession_counter': 'payload.info.subsession_counter',
        'active_ticks': 'coalesce(' ~ whole_member(types, scalars, 'browser.engagement.active_ticks') ~ ', '
            ~ whole_member(types, 'payload.simple_measurements', 'active_ticks', 'activeTicks') ~ ')',
        'uri_count': whole_member(types, scalars, 'browser.engagement.total_uri_count'),
        'reports_uris': 'true',
        'unfiltered_uri_count': whole_member(types, scalars, 'browser.engagement.unfiltered_uri_count'),
        'tabs_opened': whole_member(types, scalars, 'browser.engagement.tab_open_event_count'),
        'windows_opened': whole_member(types, scalars, 'browser.engagement.window_open_event_count'),
        'concurrent_tabs': whole_member(types, scalars, 'browser.engagement.max_concurrent_tab_count'),
        'concurrent_windows': whole_member(types, scalars, 'browser.engagement.max_concurrent_window_count'),
        'unique_domains': whole_member(types, scalars, 'browser.engagement.unique_domains_count'),
        'devtools_opened': whole_member(types, scalars, 'devtools.toolbox_opened_count'),
        'first_paint_ms': whole_member(types, 'payload.simple_measurements', 'first_paint', 'firstPaint'),
        'experiments': 'array(select as struct e.key as key, e.value.branch as value from unnest(__enrolments) as e)',
        'active_addons': "array(select as struct a.key as id, a.value.name as name, json_value(a.value.version) as version,"
            ~ " a.value.type as type, a.value.is_system as is_system from unnest(__addons) as a)",
    })) }}
from pings
