{# A number that a schema does not promise to be whole, as INT64, rounded down; NULL where INT64 cannot hold it. #}
{% macro whole_number(number) -%}
    safe_cast(floor({{ number }}) as int64)
{%- endmacro %}

{# Likewise for a number's text: digits are taken as they are, because not every INT64 is a FLOAT64. #}
{% macro whole_number_of_text(text) -%}
    if(
        regexp_contains({{ text }}, r'^-?[0-9]+$'),
        safe_cast({{ text }} as int64),
        {{ whole_number('safe_cast(' ~ text ~ ' as float64)') }}
    )
{%- endmacro %}

{# And for a JSON value; NULL for what is no number. #}
{% macro whole_number_of_json(value) -%}
    if(json_type({{ value }}) = 'number', {{ whole_number_of_text('json_value(' ~ value ~ ')') }}, null)
{%- endmacro %}
