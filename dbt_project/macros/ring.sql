{#
  28 days of bits in one window sum. A day has a fixed place on a ring of 35, counted backwards from its date, so that
  summing the places over a client's last 28 days sets the bit of each day once; turning the ring until the current
  day is at place 0 gives the pattern, bit 0 = today. Why 35 places: a bit may stand for a day up to 6 days before its
  row, which makes 34 days; those older than 27 days are masked out after the turn.
  BigQuery has no BIT_OR over a window, and joining every day with the 28 before it makes 28 times the rows.
#}
{% macro ring_place(date) -%}
    (34 - mod(unix_date({{ date }}), 35))
{%- endmacro %}

{# The bit that a row of clients_daily_v1 puts on the ring; of rows that speak of one day, only the first does. #}
{% macro ring_bit(pattern) -%}
    {%- if 'of_day' in pattern -%}
        {%- set of_day = 'if(' ~ pattern.when ~ ', ' ~ pattern.of_day ~ ', null)' -%}
        if(
            {{ pattern.when }} and 1 = row_number() over (
                partition by app_name, client_id, {{ of_day }} order by submission_date
            ),
            1 << {{ ring_place(pattern.of_day) }}, 0
        )
    {%- else -%}
        if({{ pattern.when }}, 1 << {{ ring_place('submission_date') }}, 0)
    {%- endif -%}
{%- endmacro %}

{% macro ring_to_pattern(ring, date) -%}
    (
        ({{ ring }} >> {{ ring_place(date) }})
        | (({{ ring }} & ((1 << {{ ring_place(date) }}) - 1)) << (35 - {{ ring_place(date) }}))
    ) & {{ mask_28_bits() }}
{%- endmacro %}
