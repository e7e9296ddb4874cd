{#
  A column of clients_daily_v1 that sums up a client's pings, by its rule: `memory_mb_mean` is the mean of `memory_mb`.
  NULLs do not count, and where nothing else is the result is NULL. A mean divides last, because sums of integers have
  no order.
#}
{% macro aggregated(name, rule) -%}
    {%- set of = name[: -(rule | length) - 1] -%}
    {%- if rule == 'sum' -%} {{ saturated_sum(of) }}
    {%- elif rule == 'mean' -%} {{ saturated_sum(of) }} / nullif(count({{ of }}), 0)
    {%- elif rule == 'ever' -%} logical_or({{ of }})
    {%- else -%} {{ rule }}({{ of }})
    {%- endif -%}
{%- endmacro %}
