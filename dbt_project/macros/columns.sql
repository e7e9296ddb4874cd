{#
  The YAML beside a model is where its columns are said once: name, type, meaning and, in config.meta, the rule that
  computes them. Empty while dbt only parses, when it does not know other models yet.
#}
{% macro columns_of(model_name) -%}
    {{ return(graph.nodes['model.telemetry_warehouse.' ~ model_name].columns if execute else {}) }}
{%- endmacro %}

{# The columns of clients_daily_v1 with a rule, name → type: mode_last, sum, mean, max, min or ever. #}
{% macro columns_by_rule(rule) -%}
    {%- set found = {} -%}
    {%- for column in columns_of('clients_daily_v1').values() if column.config.meta.rule == rule -%}
        {%- do found.update({column.name: column.data_type}) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{# What a model takes over from clients_daily_v1 as it was on one day, name → type: the columns that both list. #}
{% macro taken_over(model_name) -%}
    {%- set found, daily = {}, columns_of('clients_daily_v1') -%}
    {%- for column in columns_of(model_name).values() -%}
        {%- if column.name in daily and column.name not in ('submission_date', 'app_name', 'client_id', 'experiments') -%}
            {%- do found.update({column.name: column.data_type}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{# The columns of a table and the members of its records, name as a.b → type, found in the table; none while dbt parses. #}
{% macro types_of(relation) -%}
    {%- set found = {} -%}
    {%- for column in adapter.get_columns_in_relation(relation) if execute -%}
        {%- do found.update({column.name: column.data_type}) -%}
        {%- for member in column.flatten() -%}{%- do found.update({member.name: member.dtype}) -%}{%- endfor -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}
