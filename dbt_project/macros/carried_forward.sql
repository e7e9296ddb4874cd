{#
  Patterns as of each event. `events` has at most one row per `key` and day, with ring_<name> (the bit it sets) and
  seed_<name> (on the row of the day before the range: the pattern as it stood then) for each of `names`. The result
  has bits_<name>, and last_day, until which the event stays the key's last.
#}
{% macro patterns_at_events(events, key, names, keep=[]) -%}
    select
        {{ ([key, 'submission_date', 'last_day'] + keep) | join(', ') }},
        {%- for name in names %}
        ({{ ring_to_pattern('ring_' ~ name, 'submission_date') }})
        | ((seed_{{ name }} << least(date_diff(submission_date, {{ day_before() }}, day), 28)) & {{ mask_28_bits() }})
        as bits_{{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
    from (
        select
            {{ ([key, 'submission_date'] + keep) | join(', ') }},
            least(
                ifnull(date_sub(lead(submission_date) over by_day, interval 1 day), {{ day('end_date') }}),
                date_add(submission_date, interval 27 day),
                {{ day('end_date') }}
            ) as last_day,
            {%- for name in names %}
            sum(ring_{{ name }}) over last_28_days as ring_{{ name }},
            max(seed_{{ name }}) over whole as seed_{{ name }}{{ ',' if not loop.last }}
            {%- endfor %}
        from {{ events }}
        window
            whole as (partition by {{ key }}),
            by_day as (whole order by unix_date(submission_date)),
            last_28_days as (whole order by unix_date(submission_date) range between 27 preceding and current row)
    )
{%- endmacro %}

{# Every day of the range on which an event is the last. #}
{% macro each_day() -%}
    cross join unnest(generate_date_array(greatest(submission_date, {{ day('start_date') }}), last_day)) as day
{%- endmacro %}

{# A pattern of the event, moved on to such a day. #}
{% macro on_day(bits) -%}
    ({{ bits }} << date_diff(day, submission_date, day)) & {{ mask_28_bits() }}
{%- endmacro %}
