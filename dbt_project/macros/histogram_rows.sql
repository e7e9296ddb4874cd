{#
  The common histogram shape, a row per ping, probe and key: ping_columns(), probe, key ('' where the probe has none) and
  histogram_fields(), or for a scalar scalar_fields(). Each step names the columns it needs: an UNNEST beside a wide record
  is many times slower.
#}
{% macro ping_columns() -%}
    submission_date, document_id, client_id, sample_id, app_name, channel, os, country, app_version,
    app_build_id
{%- endmacro %}

{#
  The pings of the range. `said`: the columns among ping_columns() that are not standard, as the type says them, name →
  SQL; what it does not say is NULL. `maps`: what else is needed, as SQL.
#}
{% macro pings_with(stable, said, maps) -%}
    {%- set known = standard_columns_and(said) %}
    select
        {%- for name in ping_columns().split(',') | map('trim') %}
        {{ known.get(name, 'cast(null as string)') }} as {{ name }},
        {%- endfor %}
        {{ maps | join(',\n        ') }}
    from {{ stable }}
    where {{ in_range('date(submission_timestamp)') }}
{%- endmacro %}

{#
  A map of a ping with more names than this (`names`) is no browser's. Of it only the first element (`place` 0) is read, and
  becomes a scalar called 'over 5000 names' whose value is how many there are.
#}
{% macro most_names() -%}
    5000
{%- endmacro %}

{% macro within_names() -%}
    (names <= {{ most_names() }} or place = 0)
{%- endmacro %}

{% macro unless_too_many(value, otherwise="'over " ~ most_names() ~ " names'") -%}
    if(names > {{ most_names() }}, {{ otherwise }}, {{ value }})
{%- endmacro %}

{# Two histograms may be added up only where their layouts are equal. #}
{% macro histogram_fields(histogram) -%}
    {%- set layout -%}
    concat(
        ifnull(cast({{ histogram }}.histogram_type as string), '?'), '/',
        ifnull(cast({{ histogram }}.bucket_count as string), '?'), '/',
        replace(translate(to_json_string(ifnull({{ histogram }}.`range`, [])), '[]"', ''), ',', '-')
    )
    {%- endset -%}
    {{ unless_too_many(layout, "'scalar/2-digits'") }} as layout,
    {{ unless_too_many(histogram ~ '.`values`', counts_of_scalar('names')) }} as counts
{%- endmacro %}

{#
  A scalar is a histogram of one observation. Its bucket keeps the two leading digits, so that from 10 on a bucket is at
  most a tenth of its lower bound wide, whatever is measured and in whatever unit.
#}
{% macro scalar_fields(value) -%}
    'scalar/2-digits' as layout,
    {{ counts_of_scalar('greatest(' ~ value ~ ', -9000000000000000000)') }} as counts
{%- endmacro %}

{% macro counts_of_scalar(value) -%}
    [struct(cast({{ two_digits(value) }} as string) as key, 1 as value)]
{%- endmacro %}

{% macro two_digits(value) -%}
    {%- set unit = "cast(pow(10, greatest(length(cast(abs(" ~ value ~ ") as string)) - 2, 0)) as int64)" -%}
    {{ value }} - mod({{ value }}, {{ unit }}) - if(mod({{ value }}, {{ unit }}) < 0, {{ unit }}, 0)
{%- endmacro %}

{#
  A map of every process that `pings` has as PROCESS_MAP, as `of_probe`, beside how many `names` it has and what comes
  before them: nothing where it is the parent's. The schema defines such a map once for all processes, so they have one type.
#}
{% macro of_processes(processes, map) -%}
    {%- for process in processes %}
        select {{ ping_columns() }}, '{{ "" if process == "parent" else process ~ "/" }}' as process,
            {{ process }}_{{ map }} as of_probe, array_length({{ process }}_{{ map }}) as names
        from pings
        {{- ' union all' if not loop.last }}
    {%- endfor %}
{%- endmacro %}

{#
  The keys of each name of a map of maps of every process, as `of_key`; `names` is how many, or how many names the map has
  where these are too many.
#}
{% macro keys_of_processes(processes, map, probe_of_name) -%}
        select
            {{ ping_columns() }}, {{ probe_of_name }} as probe, p.value as of_key,
            {{ unless_too_many('array_length(p.value)', 'names') }} as names
        from ({{ of_processes(processes, map) }})
        cross join unnest(of_probe) as p with offset as place
        where {{ within_names() }}
{%- endmacro %}

{# What was measured, after the process where it is not the parent; so a name itself has no slash. #}
{% macro probe(name) -%}
    process || replace({{ name }}, '/', '_')
{%- endmacro %}

{# A scalar's dotted name is written like the column that it has, or gets once the schema names it. #}
{% macro scalar(name) -%}
    {{ probe("replace(" ~ name ~ ", '.', '_')") }}
{%- endmacro %}

{# The names of a record's members, found in the table; none while dbt only parses. #}
{% macro members_of(relation, record) -%}
    {%- set members = [] -%}
    {%- for column in adapter.get_columns_in_relation(relation) if execute -%}
        {%- for member in column.flatten() if member.name.startswith(record ~ '.') -%}
            {%- do members.append(member.name[(record | length) + 1 :].split('.')[0]) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(members | unique | list) }}
{%- endmacro %}

{#
  The numeric members of a record of a table, such as `payload.processes.parent.scalars`, as an array of (name, value).
  They are found in the table, which has the columns of its schema; an empty array while dbt only parses.
#}
{% macro numeric_members(relation, record) -%}
    {%- set members = [] -%}
    {%- for column in adapter.get_columns_in_relation(relation) if execute -%}
        {%- for member in column.flatten() if member.name.startswith(record ~ '.') and member.dtype in ('INTEGER', 'INT64', 'FLOAT', 'FLOAT64') -%}
            {%- set name = member.name[(record | length) + 1 :] -%}
            {%- set value = member.name if member.dtype.startswith('INT') else whole_number(member.name) -%}
            {%- do members.append("struct('" ~ name ~ "' as name, " ~ value ~ " as value)") -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- if members -%} [{{ members | join(', ') }}] {%- else -%} cast([] as array<struct<name string, value int64>>) {%- endif -%}
{%- endmacro %}
