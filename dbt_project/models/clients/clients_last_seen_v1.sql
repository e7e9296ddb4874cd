-- On every day, each client seen in the 28 days up to it, with a bit a day for each pattern: bit 0 is the day itself.
-- Reads its own day before the range and clients_daily_v1 of the range, whatever the history.
{%- set key = 'app_name, client_id' %}
{%- set names = patterns().keys() | list %}
{%- set carried = taken_over('clients_last_seen_v1') %}
{%- set published = published_columns() %}
with seed as (
    select
        submission_date,
        {{ key }},
        {%- for column, type in carried.items() %}
        {{ column if column in published else 'cast(null as ' ~ type ~ ')' }} as {{ column }},
        {%- endfor %}
        {%- for name in names %}
        0 as ring_{{ name }},
        {{ 'ifnull(days_' ~ name ~ '_bits, 0)' if 'days_' ~ name ~ '_bits' in published else 0 }} as seed_{{ name }},
        {%- endfor %}
        experiments
    from {{ this }}
    where submission_date = {{ day_before() }}
),

daily as (
    select
        submission_date,
        {{ key }},
        {{ carried | join(', ') }},
        {%- for name, pattern in patterns().items() %}
        {{ ring_bit(pattern) }} as ring_{{ name }},
        0 as seed_{{ name }},
        {%- endfor %}
        experiments
    from {{ ref('clients_daily_v1') }}
    where {{ in_range('submission_date') }}
),

events as (
    select * except (experiments) from seed
    union all
    select * except (experiments) from daily
),

seen as (
    {{ patterns_at_events('events', key, names, carried | list) }}
),

clients as (
    select
        day as submission_date,
        {{ key }},
        {{ carried | join(', ') }},
        {%- for name in names %}
        {{ on_day('bits_' ~ name) }} as days_{{ name }}_bits{{ ',' if not loop.last }}
        {%- endfor %}
    from seen
    {{ each_day() }}
    where {{ on_day('bits_seen') }} > 0
),

branch_events as (
    select submission_date, {{ key }}, e.key as experiment, e.value as branch, 0 as ring_branch, e.bits as seed_branch
    from seed
    cross join unnest(experiments) as e
    union all
    select
        submission_date, {{ key }}, e.key as experiment, e.value as branch,
        1 << {{ ring_place('submission_date') }} as ring_branch, 0 as seed_branch
    from daily
    cross join unnest(experiments) as e
),

branches as (
    {{ patterns_at_events('branch_events', key ~ ', experiment, branch', ['branch']) }}
),

enrolled as (
    select
        day as submission_date,
        {{ key }},
        array_agg(
            struct(experiment as key, branch as value, {{ on_day('bits_branch') }} as bits) order by experiment, branch
        ) as experiments
    from branches
    {{ each_day() }}
    where {{ on_day('bits_branch') }} > 0
    group by day, {{ key }}
)

select clients.*, ifnull(experiments, []) as experiments
from clients
left join enrolled using (submission_date, {{ key }})
