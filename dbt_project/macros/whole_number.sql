{# A number that a schema does not promise to be whole, as INT64, rounded down; NULL where INT64 cannot hold it. #}
{% macro whole_number(number) -%}
    safe_cast(floor({{ number }}) as int64)
{%- endmacro %}
