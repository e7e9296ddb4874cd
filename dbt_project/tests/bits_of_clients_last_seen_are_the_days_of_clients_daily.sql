-- For every day and each of the 27 before it, exactly as many clients have the bit as there were in clients_daily_v1.
with bits as (
    select submission_date, date_sub(submission_date, interval age day) as day, app_name, count(*) as clients
    from {{ ref('clients_last_seen_v1') }}
    cross join unnest(generate_array(0, 27)) as age
    where {{ in_range('submission_date') }} and (days_seen_bits >> age) & 1 = 1
    group by submission_date, day, app_name
),

daily as (
    select submission_date as day, app_name, count(*) as clients
    from {{ ref('clients_daily_v1') }}
    where submission_date between date_sub({{ day('start_date') }}, interval 27 day) and {{ day('end_date') }}
    group by day, app_name
),

expected as (
    select submission_date, day, app_name, clients
    from daily
    cross join unnest(generate_date_array({{ day('start_date') }}, {{ day('end_date') }})) as submission_date
    where date_diff(submission_date, day, day) between 0 and 27
)

select submission_date, day, app_name, expected.clients as clients, bits.clients as clients_with_the_bit
from expected
full join bits using (submission_date, day, app_name)
where expected.clients is distinct from bits.clients
