{#
  All ping types in one common shape: the rows of stg_<type>__<shape> for every type in the variable `ping_types`.
  dbt needs to know the parents of a model when it parses, before it knows which models there are; hence the list,
  and hence the check that nobody has forgotten it. A type whose schema is not in WAREHOUSE_SCHEMAS is left out of the
  graph; where none is left, the shape is empty.
#}
{% macro union_of(shape) -%}
    {%- set listed, there = [], [] -%}
    {%- for ping_type in var('ping_types') %}
    {%- do listed.append('stg_' ~ ping_type ~ '__' ~ shape) %}
    {%- if not execute or 'model.telemetry_warehouse.' ~ listed[-1] in graph.nodes %}
    {%- do there.append(listed[-1]) %}
    {%- endif %}
    {%- endfor %}
    {%- for model_name in there %}
    {%- if 'ping_type' in columns_of(shape) %}
    select * replace (ifnull(ping_type, '{{ stable_tables_of(model_name) }}') as ping_type) from {{ ref(model_name) }}
    {%- else %}
    select * from {{ ref(model_name) }}
    {%- endif %}
    {%- if not loop.last %}
    union all
    {%- endif %}
    {%- else %}
    select {{ in_shape(shape, {}) }}
    from (select 1 as one)
    where false
    {%- endfor %}
    {%- if execute -%}
        {%- for node in graph.nodes.values() if modules.re.fullmatch('stg_.*__' ~ shape, node.name) and node.name not in listed -%}
            {%- do exceptions.raise_compiler_error(
                node.name ~ ' is in no table yet: add its ping type to `ping_types` in dbt_project.yml, which lists '
                ~ var('ping_types') | join(', ')
            ) -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}

{# The stable tables that a staging model reads, as <dataset>.<table>, with commas between them. #}
{% macro stable_tables_of(model_name) -%}
    {%- set tables = [] -%}
    {%- if execute -%}
        {%- for parent in graph.nodes['model.telemetry_warehouse.' ~ model_name].depends_on.nodes if parent in graph.sources -%}
            {%- set source = graph.sources[parent] -%}
            {%- do tables.append(source.source_name ~ '.' ~ source.name) if source.source_name.endswith('_stable') -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(tables | sort | join(', ')) }}
{%- endmacro %}
