{# How often a client comes: segment → the first and last number of active days in 28 that belong to it. #}
{% macro segments() -%}
    {{ return({'infrequent': [1, 6], 'casual': [7, 13], 'regular': [14, 20], 'core': [21, 28]}) }}
{%- endmacro %}
