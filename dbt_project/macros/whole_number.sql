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

{#
  A whole number in a record, by the columns of its table as `types_of` gives them: the member's column, rounded down where
  the schema does not promise it to be whole; or where the record is a map or JSON, the value of `key`, which is the name
  unless it is written otherwise there. A dotted name is written with _ in its column. NULL where there is none of these.
#}
{% macro whole_member(types, record, name, key=none) -%}
    {%- set path = record ~ '.' ~ name | replace('.', '_') -%}
    {%- if types.get(path) in ('INTEGER', 'INT64') -%} {{ return(path) }}
    {%- elif types.get(path) in ('FLOAT', 'FLOAT64') -%} {{ return(whole_number(path)) }}
    {%- elif types.get(record) == 'JSON' -%}
        {{ return(whole_number_of_json("json_query(" ~ record ~ ", '$." ~ (key or name) ~ "')")) }}
    {%- elif types.get(record ~ '.value') == 'JSON' -%}
        {%- set value = whole_number_of_json('m.value') -%}
        {{ return("(select " ~ value ~ " from unnest(" ~ record ~ ") as m where m.key = '" ~ (key or name) ~ "')") }}
    {%- else -%} {{ return('cast(null as int64)') }}
    {%- endif -%}
{%- endmacro %}
