-- For every day and every day back, as many clients have the bit as there were in clients_daily_v1 on that day.
with bits as (
    select date_sub(submission_date, interval age day) as day, submission_date, app_name, count(*) as clients
    from {{ ref('clients_last_seen_v1') }}
    cross join unnest(generate_array(0, 27)) as age
    where {{ in_range('submission_date') }} and (days_seen_bits >> age) & 1 = 1
    group by day, submission_date, app_name
),

daily as (
    select submission_date as day, app_name, count(*) as clients
    from {{ ref('clients_daily_v1') }}
    where
        submission_date
        between date_sub({{ day('start_date') }}, interval 27 day) and {{ day('end_date') }}
    group by day, app_name
)

select submission_date, day, app_name, daily.clients as clients, bits.clients as clients_with_the_bit
from daily
join bits using (day, app_name)
where daily.clients != bits.clients
