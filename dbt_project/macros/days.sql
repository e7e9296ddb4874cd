{# The days that are being built. They are literals, so that BigQuery prunes partitions. #}
{% macro day(bound) -%}
    date '{{ var(bound) }}'
{%- endmacro %}

{% macro in_range(expression) -%}
    {{ expression }} between {{ day('start_date') }} and {{ day('end_date') }}
{%- endmacro %}

{% macro day_before() -%}
    date_sub({{ day('start_date') }}, interval 1 day)
{%- endmacro %}
