-- A client's pings of a day as one row: what it was like (mode_last) and what it did (sums).
with numbered as (
    select *, row_number() over (partition by {{ client_day() }} order by submission_timestamp, document_id) as nth
    from {{ ref('activity') }}
    where client_id is not null
    qualify count(*) over (partition by {{ client_day() }}) <= {{ most_pings() }}
),

sums as (
    select
        {{ client_day() }},
        max(sample_id) as sample_id,
        {{ saturated_sum('active_ticks') }} as active_ticks_sum,
        {{ saturated_sum('duration') }} as duration_sum,
        {{ saturated_sum('uri_count') }} as uri_count_sum,
        {{ saturated_sum('devtools_opened') }} as devtools_opened_sum,
        {{ saturated_sum("memory_mb") }} / nullif(count(memory_mb), 0) as memory_mb_mean,
        logical_or(reports_uris) as reports_uris,
        countif(subsession_counter = 1) as sessions_started_on_this_day,
        count(*) as pings_aggregated_by_this_row
    from numbered
    group by {{ client_day() }}
),

observed as (
    select {{ client_day() }}, name, value, {{ weight() }} as weight
    from (
        select {{ client_day() }}, nth, v.name as name, v.value as value
        from numbered
        cross join unnest({{ observed_values() }}) as v
        where v.value is not null
    )
    group by {{ client_day() }}, name, value
),

described as (
    select
        {{ client_day() }},
        {%- for name, type in dimensions().items() %}
        {{ heaviest(name, type) }} as {{ name }},
        {%- endfor %}
        {{ heaviest('place') }} as place
    from observed
    group by {{ client_day() }}
),

branches as (
    select {{ client_day() }}, experiment, branch, {{ weight() }} as weight
    from (
        select {{ client_day() }}, nth, e.key as experiment, e.value as branch
        from numbered
        cross join unnest(experiments) as e
        where e.key is not null and e.value is not null
    )
    group by {{ client_day() }}, experiment, branch
),

enrolled as (
    select {{ client_day() }}, array_agg(struct(experiment as key, branch as value) order by experiment) as experiments
    from (
        select {{ client_day() }}, experiment, any_value(branch having max weight) as branch
        from branches
        group by {{ client_day() }}, experiment
    )
    group by {{ client_day() }}
)

select
    sums.*,
    described.* except ({{ client_day() }}, place),
    {%- for part in places() %}
    json_value(place, '$[{{ loop.index0 }}]') as {{ part }},
    {%- endfor %}
    ifnull(experiments, []) as experiments,
    date_diff(submission_date, profile_creation_date, day) as profile_age_in_days,
    active_ticks_sum / 720 as active_hours_sum,  -- a tick is 5 seconds
    duration_sum / 3600 as subsession_hours_sum
from sums
left join described using ({{ client_day() }})
left join enrolled using ({{ client_day() }})
