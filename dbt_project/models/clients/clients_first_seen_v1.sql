-- The first and the second day of every client, whichever days are built and in whatever order.
--
-- A client's row can change only where the client is in the range now, or was: where its stored first or second day
-- lies there. Stored days outside the range stay right. Where the range lost a stored day, the days after the range
-- say what comes next. A client with no day left is marked, and publishing deletes its row.
with stored as (
    select app_name, client_id, sample_id, first_seen_date, second_seen_date, {{ first_day_record() }} as first_day
    from {{ this }}
),

-- The clients of the range: their first two days in it.
found as (
    {{ first_days(in_range('submission_date')) }}
),

touched as (
    select
        app_name,
        client_id,
        coalesce(stored.sample_id, found.sample_id) as sample_id,
        if(first_seen_date < {{ day('start_date') }}, first_seen_date, null) as first_before,
        if(second_seen_date < {{ day('start_date') }}, second_seen_date, null) as second_before,
        found.first_date as first_within,
        found.second_date as second_within,
        if(first_seen_date > {{ day('end_date') }}, first_seen_date, null) as first_after,
        if(second_seen_date > {{ day('end_date') }}, second_seen_date, null) as second_after,
        -- It had a second day, and now fewer than two are known up to the range's end.
        second_seen_date is not null
        and ({{ in_range('first_seen_date') }} or {{ in_range('second_seen_date') }})
        and if(first_seen_date < {{ day('start_date') }}, 1, 0)
        + if(found.first_date is null, 0, 1) + if(found.second_date is null, 0, 1) < 2 as needs_later,
        stored.first_day as stored_first_day,
        found.first_day as found_first_day
    from stored
    full join found using (app_name, client_id)
    where found.first_date is not null or {{ in_range('first_seen_date') }} or {{ in_range('second_seen_date') }}
),

-- What comes after the range, for the few that lost a day in it.
later as (
    {{ first_days(
        'submission_date > ' ~ day('end_date'),
        'join (select app_name, client_id from touched where needs_later) using (app_name, client_id)'
    ) }}
),

ordered as (
    select
        touched.* except (first_after, second_after, sample_id),
        coalesce(touched.sample_id, later.sample_id) as sample_id,
        if(needs_later, later.first_date, coalesce(first_after, second_after)) as first_after,
        if(needs_later, later.second_date, if(first_after is null, null, second_after)) as second_after,
        later.first_day as later_first_day
    from touched
    left join later using (app_name, client_id)
),

dated as (
    select
        app_name,
        client_id,
        sample_id,
        coalesce(first_before, first_within, first_after) as first_seen_date,
        case
            when first_before is not null then coalesce(second_before, first_within, first_after)
            when first_within is not null then coalesce(second_within, first_after)
            else second_after
        end as second_seen_date,
        case
            when first_before is not null then stored_first_day
            when first_within is not null then found_first_day
            else later_first_day
        end as first_day
    from ordered
)

select dated.* except (first_day), first_day.*, first_seen_date is null as _deleted
from dated
