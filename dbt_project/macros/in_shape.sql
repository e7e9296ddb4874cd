{#
  The columns of a common shape, `activity` or `histograms`, as a ping type says them: `said` is name → SQL, and what it
  does not say is NULL. The shape's YAML lists names and types.
#}
{% macro in_shape(shape, said) -%}
    {%- set columns = columns_of(shape) -%}
    {%- for name in said if execute and name not in columns -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ' says ' ~ name ~ ', which ' ~ shape ~ ' does not have; it has ' ~ columns | join(', ')
        ) -%}
    {%- endfor -%}
    {%- for column in columns.values() %}
    {{ said.get(column.name, 'cast(null as ' ~ column.data_type ~ ')') }} as {{ column.name }}{{ ',' if not loop.last }}
    {%- endfor %}
{%- endmacro %}
