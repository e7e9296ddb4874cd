{#
  All ping types in one common shape: the rows of stg_<type>__<shape> for every type in the variable `ping_types`.
  dbt needs to know the parents of a model when it parses, before it knows which models there are; hence the list,
  and hence the check that nobody has forgotten it.
#}
{% macro union_of(shape) -%}
    {%- set listed = [] -%}
    {%- for ping_type in var('ping_types') %}
    {%- do listed.append('stg_' ~ ping_type ~ '__' ~ shape) %}
    select * from {{ ref(listed[-1]) }}
    {%- if not loop.last %}
    union all
    {%- endif %}
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
