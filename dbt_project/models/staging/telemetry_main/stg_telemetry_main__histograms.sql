-- What main pings measured in every process that the schema names: histograms and numeric scalars, plain and keyed, in
-- the common shape. The parent's scalars have columns where the schema names them; others are in additional_properties.
{%- set stable = source('telemetry_stable', 'main_v4') %}
{%- set parent_scalars = 'payload.processes.parent.scalars' %}
{%- set others = members_of(stable, 'payload.processes') | reject('equalto', 'parent') | list %}
{%- set processes = ['parent'] + others %}
{%- set maps = [
    'payload.histograms as parent_histograms',
    'payload.keyed_histograms as parent_keyed_histograms',
    'payload.processes.parent.keyed_scalars as parent_keyed_scalars',
    numeric_members(stable, parent_scalars) ~ ' as parent_members',
    "to_json_string(json_query(additional_properties, '$." ~ parent_scalars ~ "')) as parent_others",
] %}
{%- for process in others %}
    {%- for map in ['histograms', 'keyed_histograms', 'scalars', 'keyed_scalars'] %}
        {%- do maps.append('payload.processes.' ~ process ~ '.' ~ map ~ ' as ' ~ process ~ '_' ~ map) %}
    {%- endfor %}
{%- endfor %}
{%- set said = {'app_version': 'application.version', 'app_build_id': 'application.build_id'} %}
{%- set name_of_member %}regexp_extract(member, r'^"([^"]+)"'){% endset %}
{%- set value_of_member %}regexp_extract(member, r':([^:]+)$'){% endset %}
with pings as (
    {{ pings_with(stable, said, maps) }}
),

histograms_sent as (
    select {{ ping_columns() }}, {{ probe(unless_too_many('h.key')) }} as probe, '' as key, {{ histogram_fields('h.value') }}
    from ({{ of_processes(processes, 'histograms') }})
    cross join unnest(of_probe) as h with offset as place
    where {{ within_names() }}
    union all
    select {{ ping_columns() }}, probe, {{ unless_too_many('h.key') }} as key, {{ histogram_fields('h.value') }}
    from (
        {{ keys_of_processes(processes, 'keyed_histograms', probe(unless_too_many('p.key'))) }}
    )
    cross join unnest(of_key) as h with offset as place
    where {{ within_names() }}
),

scalars_sent as (
    select {{ ping_columns() }}, s.name as probe, '' as key, s.value as value
    from (select {{ ping_columns() }}, parent_members from pings)
    cross join unnest(parent_members) as s
    union all
    select
        {{ ping_columns() }},
        {{ scalar(unless_too_many(name_of_member)) }} as probe,
        '' as key,
        {{ unless_too_many(whole_number_of_text(value_of_member), 'names') }} as value
    from (
        select {{ ping_columns() }}, '' as process, members, array_length(members) as names
        from (
            select
                {{ ping_columns() }},
                regexp_extract_all(parent_others, r'("[^"\\]+":-?[0-9][0-9.eE+-]*)[,}]') as members
            from pings
            where parent_others is not null
        )
    )
    cross join unnest(members) as member with offset as place
    where {{ within_names() }}
    {%- if others %}
    union all
    select
        {{ ping_columns() }},
        {{ scalar(unless_too_many('s.key')) }} as probe,
        '' as key,
        {{ unless_too_many(whole_number_of_json('s.value'), 'names') }} as value
    from ({{ of_processes(others, 'scalars') }})
    cross join unnest(of_probe) as s with offset as place
    where {{ within_names() }}
    {%- endif %}
    union all
    select
        {{ ping_columns() }},
        probe,
        {{ unless_too_many('s.key') }} as key,
        {{ unless_too_many(whole_number_of_json('s.value'), 'names') }} as value
    from (
        {{ keys_of_processes(processes, 'keyed_scalars', scalar(unless_too_many('p.key'))) }}
    )
    cross join unnest(of_key) as s with offset as place
    where {{ within_names() }}
)

select * from histograms_sent
union all
select {{ ping_columns() }}, probe, key, {{ scalar_fields('value') }}
from scalars_sent
where value is not null
