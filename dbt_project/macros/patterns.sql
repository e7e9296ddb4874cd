{#
  The 28-day patterns of clients_last_seen_v1, name → when a row of clients_daily_v1 sets a bit. Adding a pattern is a
  line here (and its column in clients_last_seen_v1.yml): its column days_<name>_bits and its days_since_<name> in the
  view follow. `of_day`: the bit stands for that day, up to 6 days before the row's own, instead of for the row's own.
#}
{% macro patterns() -%}
    {{ return({
        'seen': {'when': 'true'},
        'active': {'when': 'if(reports_uris, active_ticks_sum > 0 and uri_count_sum > 0, duration_sum > 0)'},
        'visited_1_uri': {'when': 'uri_count_sum >= 1'},
        'visited_5_uri': {'when': 'uri_count_sum >= 5'},
        'visited_10_uri': {'when': 'uri_count_sum >= 10'},
        'interacted': {'when': 'active_ticks_sum > 0'},
        'had_8_active_ticks': {'when': 'active_ticks_sum >= 8'},
        'opened_dev_tools': {'when': 'devtools_opened_sum > 0'},
        'created_profile': {'when': 'profile_age_in_days between 0 and 6', 'of_day': 'profile_creation_date'},
    }) }}
{%- endmacro %}

{# What clients_last_seen_v1 carries on from the last day that a client was seen, name → type. #}
{% macro carried_columns() -%}
    {%- set columns = {'sample_id': 'int64'} -%}
    {%- do columns.update(dimensions()) -%}
    {%- for part in places() %}{% do columns.update({part: 'string'}) %}{% endfor -%}
    {{ return(columns) }}
{%- endmacro %}

{# The columns that the published table has by now; a pattern or dimension may be newer than the table. #}
{% macro published_columns() -%}
    {{ return(adapter.get_columns_in_relation(this) | map(attribute='name') | list if execute else []) }}
{%- endmacro %}

{% macro mask_28_bits() -%}
    268435455
{%- endmacro %}
