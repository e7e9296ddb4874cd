{# What a row of the clients' tables is about. #}
{% macro client_day() -%}
    submission_date, app_name, client_id
{%- endmacro %}

{# A client with more pings than this in a day is no person; it is left out whole, and counted in `monitoring`. #}
{% macro most_pings() -%}
    150000
{%- endmacro %}
