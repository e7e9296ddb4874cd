{# How many days after it a day is looked back at: whole weeks, less the day itself. #}
{% macro retention_windows() -%}
    {{ return([6, 13, 20, 27]) }}
{%- endmacro %}

{# Whether a client looked for `age` days ago was active in its week n: the 7 days from 7 * n days after that day. #}
{% macro active_in_week(n, age) -%}
    ((bits >> {{ age - 7 * n - 6 }}) & 127) != 0
{%- endmacro %}

{% macro active_on_metric_date(age) -%}
    ((bits >> {{ age }}) & 1) != 0
{%- endmacro %}

{% macro active_in_week_0_after_metric_date(age) -%}
    ((bits >> {{ age - 6 }}) & 63) != 0
{%- endmacro %}

{# The record of bits28_retention: a record for each of the windows. #}
{% macro retention_days() -%}
    struct(
        {%- for age in retention_windows() %}
        struct(
            date_sub(submission_date, interval {{ age }} day) as metric_date,
            {{ active_on_metric_date(age) }} as active_on_metric_date,
            {{ active_in_week(0, age) }} as active_in_week_0,
            {{ active_in_week_0_after_metric_date(age) }} as active_in_week_0_after_metric_date
            {%- for n in range(1, age // 7 + 1) %},
            {{ active_in_week(n, age) }} as active_in_week_{{ n }}
            {%- endfor %}
        ) as day_{{ age }}{{ ',' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}

{# The counts of retention_v1 for a window, name → what a client must fulfil; '' for a week that has not passed. #}
{% macro retention_measures(age) -%}
    {%- set on_day, week_0 = active_on_metric_date(age), active_in_week(0, age) -%}
    {%- set measures = {
        'active_on_metric_date': on_day,
        'active_on_metric_date_and_after': on_day ~ ' and ' ~ active_in_week_0_after_metric_date(age),
        'active_in_week_0': week_0,
    } -%}
    {%- for n in range(1, 4) -%}
        {%- set passed = 7 * n + 6 <= age -%}
        {%- do measures.update({'active_in_week_0_and_' ~ n: week_0 ~ ' and ' ~ active_in_week(n, age) if passed else ''}) -%}
    {%- endfor -%}
    {%- set is_new = '(created_bits >> ' ~ age ~ ') = 1' -%}
    {%- do measures.update({'new_profiles': is_new}) -%}
    {%- for n in range(4) -%}
        {%- set passed = 7 * n + 6 <= age -%}
        {%- do measures.update({'new_profiles_active_in_week_' ~ n: is_new ~ ' and ' ~ active_in_week(n, age) if passed else ''}) -%}
    {%- endfor -%}
    {{ return(measures) }}
{%- endmacro %}
