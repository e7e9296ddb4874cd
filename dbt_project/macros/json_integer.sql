{# A JSON value as INT64; NULL where it is no integer, or one that INT64 cannot hold. A fraction is never rounded. #}
{% macro json_integer(value) -%}
    if(json_type({{ value }}) = 'number', safe_cast(regexp_extract(json_value({{ value }}), r'^-?[0-9]+$') as int64), null)
{%- endmacro %}
