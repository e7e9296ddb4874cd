{# For how many weeks a cohort is followed. #}
{% macro cohort_weeks() -%}
    {{ return(52) }}
{%- endmacro %}
