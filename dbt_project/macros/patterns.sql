{#
  The 28-day patterns: the columns days_<name>_bits of clients_last_seen_v1 whose YAML says in config.meta `when` a row
  of clients_daily_v1 sets a bit; name → that meta. `of_day`: the bit stands for that day, up to 6 days before the row's
  own, instead of for the row's own.
#}
{% macro patterns() -%}
    {%- set found = {} -%}
    {%- for column in columns_of('clients_last_seen_v1').values() if 'when' in column.config.meta -%}
        {%- do found.update({modules.re.fullmatch('days_(.*)_bits', column.name).group(1): column.config.meta}) -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{# The columns that the published table has by now; a pattern or another column may be newer than the table. #}
{% macro published_columns() -%}
    {{ return(adapter.get_columns_in_relation(this) | map(attribute='name') | list if execute else []) }}
{%- endmacro %}

{% macro mask_28_bits() -%}
    268435455
{%- endmacro %}
