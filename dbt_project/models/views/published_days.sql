with days as (
    select
        runs.table_name, submission_date, runs.ended_at as published_at, runs.run, runs.start_date, runs.end_date,
        runs.started_at, runs.checksum, runs.excluded, if(runs.start_date = runs.end_date, runs.row_count, null) as row_count
    from {{ source('monitoring', 'pipeline_runs') }} as runs
    cross join unnest(generate_date_array(runs.start_date, runs.end_date)) as submission_date
    where runs.status = 'published'
    qualify row_number() over (partition by runs.table_name, submission_date order by runs.token desc, runs.ended_at desc) = 1
),

{# The gate of a live table is the first part of the stage that publishes its stable table. #}
judged as (
    select days.table_name, days.submission_date, results.expectation, results.verdict, results.observed, results.overrides
    from days
    join {{ source('monitoring', 'gate_results') }} as results
        on days.table_name = replace(results.table_name, '_live.', '_stable.')
        and days.run = results.run
        and days.start_date = results.start_date
        and days.end_date = results.end_date
        and results.checked_at between days.started_at and days.published_at
    where results.checked_date >= date '2000-01-01' and results.verdict in ('warned', 'let through')
),

let_through as (
    select
        judged.table_name, judged.submission_date,
        array_agg(struct(
            judged.expectation as expectation, override.requested_by as requested_by, override.reviewed_by as reviewed_by,
            override.reason as reason, override.until_date as until_date
        ) order by judged.expectation) as overrides
    from judged
    cross join unnest(judged.overrides) as override
    where override.submission_date = judged.submission_date
    group by judged.table_name, judged.submission_date
),

{# Each day shows a ping type that it, or a day that it carries on, was built without. #}
lacking as (
    select
        days.table_name, days.submission_date, date(split(one, ' ')[safe_offset(0)]) as excluded_date,
        split(one, ' ')[safe_offset(1)] as ping_type, date(split(one, ' ')[safe_offset(2)]) as last_date
    from days
    cross join unnest(split(days.excluded, ', ')) as one
    where days.excluded != ''
),

reasons as (
    select submission_date as excluded_date, ping_type, run, reason
    from {{ source('monitoring', 'exclusions') }}
    where recorded_date >= date '2000-01-01' and status = 'excluded'
    qualify row_number() over (partition by submission_date, ping_type order by recorded_at desc) = 1
),

built_without as (
    select
        lacking.table_name, lacking.submission_date,
        array_agg(struct(
            lacking.ping_type as ping_type, lacking.excluded_date as excluded_date, reasons.run as run,
            reasons.reason as reason
        ) order by lacking.excluded_date, lacking.ping_type) as exclusions
    from lacking
    left join reasons using (excluded_date, ping_type)
    where lacking.submission_date between lacking.excluded_date and lacking.last_date
    group by lacking.table_name, lacking.submission_date
),

warned as (
    select
        table_name, submission_date,
        array_agg(struct(expectation as expectation, observed as observed) order by expectation) as warnings
    from judged
    where verdict = 'warned'
    group by table_name, submission_date
)

select
    days.submission_date, days.table_name, days.published_at, days.run, days.row_count, days.checksum,
    ifnull(let_through.overrides, []) as overrides, ifnull(warned.warnings, []) as warnings,
    ifnull(built_without.exclusions, []) as exclusions
from days
left join let_through using (table_name, submission_date)
left join warned using (table_name, submission_date)
left join built_without using (table_name, submission_date)
