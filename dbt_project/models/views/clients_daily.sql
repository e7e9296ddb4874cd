select * from {{ ref('clients_daily_v1') }}
