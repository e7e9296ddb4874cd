{# A series of fewer clients is not searched for changes: MIN_CLIENTS of telemetry_warehouse.changes.scan. #}
{% macro least_clients() -%}
    50
{%- endmacro %}
