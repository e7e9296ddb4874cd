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
    select {{ ping_columns() }}, {{ probe('h.key') }} as probe, '' as key, {{ histogram_fields('h.value') }}
    from ({{ of_processes(processes, 'histograms') }})
    cross join unnest(of_probe) as h
    union all
    select {{ ping_columns() }}, probe, h.key as key, {{ histogram_fields('h.value') }}
    from (
        select {{ ping_columns() }}, {{ probe('p.key') }} as probe, p.value as of_key
        from ({{ of_processes(processes, 'keyed_histograms') }})
        cross join unnest(of_probe) as p
    )
    cross join unnest(of_key) as h
),

scalars_sent as (
    select {{ ping_columns() }}, s.name as probe, '' as key, s.value as value
    from (select {{ ping_columns() }}, parent_members from pings)
    cross join unnest(parent_members) as s
    union all
    select
        {{ ping_columns() }},
        {{ scalar(name_of_member) }} as probe,
        '' as key,
        {{ whole_number_of_text(value_of_member) }} as value
    from (
        select
            {{ ping_columns() }},
            '' as process,
            regexp_extract_all(parent_others, r'("[^"\\]+":-?[0-9][0-9.eE+-]*)[,}]') as members
        from pings
        where parent_others is not null
    )
    cross join unnest(members) as member
    {%- if others %}
    union all
    select {{ ping_columns() }}, {{ scalar('s.key') }} as probe, '' as key, {{ whole_number_of_json('s.value') }} as value
    from ({{ of_processes(others, 'scalars') }})
    cross join unnest(of_probe) as s
    {%- endif %}
    union all
    select {{ ping_columns() }}, probe, s.key as key, {{ whole_number_of_json('s.value') }} as value
    from (
        select {{ ping_columns() }}, {{ scalar('p.key') }} as probe, p.value as of_key
        from ({{ of_processes(processes, 'keyed_scalars') }})
        cross join unnest(of_probe) as p
    )
    cross join unnest(of_key) as s
)

select * from histograms_sent
union all
select {{ ping_columns() }}, probe, key, {{ scalar_fields('value') }}
from scalars_sent
where value is not null
