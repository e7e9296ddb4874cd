{#
  The sum of integers that clients report; NULL only if every value is. One absurd ping must not end the night with an
  overflow: a sum past the ends of INT64 stays at the end.
#}
{% macro saturated_sum(value) -%}
    {{ saturated('sum(cast(' ~ value ~ ' as numeric))') }}
{%- endmacro %}

{% macro saturated(numeric) -%}
    cast(least(greatest({{ numeric }}, -{{ int64_max() }}), {{ int64_max() }}) as int64)
{%- endmacro %}

{% macro int64_max() -%}
    9223372036854775807
{%- endmacro %}
