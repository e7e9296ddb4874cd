{#
  What describes a client on a day, name → type. A dimension of a day is the most frequent value among the client's
  pings, ties to the one seen last; NULL is no value, but '', FALSE and 0 are. Adding one is a line here, the column in
  the activity shape, and its description beside the tables that carry it.
#}
{% macro dimensions() -%}
    {{ return({
        'channel': 'string',
        'os': 'string',
        'os_version': 'string',
        'locale': 'string',
        'app_version': 'string',
        'app_build_id': 'string',
        'distribution_id': 'string',
        'is_default_browser': 'bool',
        'profile_creation_date': 'date',
    }) }}
{%- endmacro %}

{# The place, most exact last. It is one dimension: a city always comes with the country that it lies in. #}
{% macro places() -%}
    {{ return(['country', 'subdivision1', 'subdivision2', 'city']) }}
{%- endmacro %}
