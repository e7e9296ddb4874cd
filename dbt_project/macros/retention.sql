{# Whether a client looked for `age` days ago was active in its week n: the 7 days from 7 * n days after that day. #}
{% macro active_in_week(n, age) -%}
    ((bits >> {{ age - 7 * n - 6 }}) & 127) != 0 as active_in_week_{{ n }}
{%- endmacro %}

{# The record of bits28_retention: a record for each day that lies whole weeks, less one day, before submission_date. #}
{% macro retention_days() -%}
    struct(
        {%- for age in [6, 13, 20, 27] %}
        struct(
            date_sub(submission_date, interval {{ age }} day) as metric_date,
            ((bits >> {{ age }}) & 1) != 0 as active_on_metric_date,
            {{ active_in_week(0, age) }},
            ((bits >> {{ age - 6 }}) & 63) != 0 as active_in_week_0_after_metric_date
            {%- for n in range(1, age // 7 + 1) %},
            {{ active_in_week(n, age) }}
            {%- endfor %}
        ) as day_{{ age }}{{ ',' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}
