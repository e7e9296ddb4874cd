{#
  A part of a positive total (NUMERIC) in integer units of 1e-9, rounded down, so that the sum over clients has no order.
  The integers reach up to totals of 9e9; past that, absurd for one client and day, the nearest double does.
#}
{% macro share(part, total) -%}
    if(
        {{ total }} <= 9000000000,
        div({{ part }} * 1000000000, cast({{ total }} as int64)),
        cast(floor(cast({{ part }} as float64) / cast({{ total }} as float64) * 1e9) as int64)
    )
{%- endmacro %}
