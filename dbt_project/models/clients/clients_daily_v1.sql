-- A client's pings of a day as one row: what it was like (mode_last) and what it did (sums, means, maxima).
-- Which column follows which rule stands in the YAML.
{%- set described_columns = columns_by_rule('mode_last').keys() | list + ['place'] %}
with numbered as (
    select
        *,
        {{ place_as_text() }} as place,
        row_number() over (partition by {{ client_day() }} order by submission_timestamp, document_id) as nth
    from {{ ref('activity') }}
    where client_id is not null and app_name is not null
    qualify count(*) over (partition by {{ client_day() }}) <= {{ most_pings() }}
),

sums as (
    select
        {{ client_day() }},
        max(sample_id) as sample_id,
        {%- for rule in ['sum', 'mean', 'max', 'min', 'ever'] %}
        {%- for name in columns_by_rule(rule) %}
        {{ aggregated(name, rule) }} as {{ name }},
        {%- endfor %}
        {%- endfor %}
        logical_or(reports_uris) as reports_uris,
        countif(subsession_counter = 1) as sessions_started_on_this_day,
        count(*) as pings_aggregated_by_this_row
    from numbered
    group by {{ client_day() }}
),

told as (
    select
        {{ client_day() }},
        {{ described_columns | join(', ') }},
        {{ weight() }} as weight,
        count(*) over (partition by {{ client_day() }}) as told_differently
    from numbered
    group by {{ client_day() }}, {{ described_columns | join(', ') }}
),

observed as (
    select {{ client_day() }}, v.name as name, v.value as value, {{ weight('sum(div(weight, 1048576))', 'max(mod(weight, 1048576))') }} as weight
    from (select * from told where told_differently > 1)
    cross join unnest({{ told_values() }}) as v
    where v.value is not null
    group by {{ client_day() }}, name, value
),

described as (
    select {{ client_day() }}, {{ described_columns | join(', ') }}
    from told
    where told_differently = 1
    union all
    select
        {{ client_day() }},
        {%- for name, type in columns_by_rule('mode_last').items() %}
        {{ heaviest(name, type) }} as {{ name }},
        {%- endfor %}
        {{ heaviest('place') }} as place
    from observed
    group by {{ client_day() }}
),

enrolled as (
    select {{ client_day() }}, array_agg(struct(key as key, value as value) order by key) as experiments
    from ({{ heaviest_by_key('experiments', 'key', 'entry.value') }})
    group by {{ client_day() }}
),

extended as (
    select
        {{ client_day() }},
        array_agg(
            struct(
                key as id,
                json_value(value, '$.name') as name,
                json_value(value, '$.version') as version,
                json_value(value, '$.type') as type,
                cast(json_value(value, '$.is_system') as bool) as is_system
            ) order by key
        ) as active_addons
    from ({{ heaviest_by_key('active_addons', 'id', 'to_json_string(entry)') }})
    group by {{ client_day() }}
)

select
    sums.*,
    described.* except ({{ client_day() }}, place),
    {%- for part in places() %}
    json_value(place, '$[{{ loop.index0 }}]') as {{ part }},
    {%- endfor %}
    ifnull(experiments, []) as experiments,
    ifnull(active_addons, []) as active_addons,
    date_diff(submission_date, profile_creation_date, day) as profile_age_in_days,
    active_ticks_sum / 720 as active_hours_sum,  -- a tick is 5 seconds
    duration_sum / 3600 as subsession_hours_sum
from sums
left join described using ({{ client_day() }})
left join enrolled using ({{ client_day() }})
left join extended using ({{ client_day() }})
