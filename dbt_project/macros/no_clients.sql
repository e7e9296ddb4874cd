{# The client that a ping names; NULL where its id is one of the variable `no_clients`. #}
{% macro client_named(client_id) -%}
    if({{ client_id }} in ('{{ var('no_clients').values() | join("', '") }}'), null, {{ client_id }})
{%- endmacro %}

{# Why a ping's client_id names no client; NULL for any other id, and for none. #}
{% macro why_no_client(client_id) -%}
    case {{ client_id }}{% for reason, id in var('no_clients').items() %} when '{{ id }}' then '{{ reason }}'{% endfor %} end
{%- endmacro %}
