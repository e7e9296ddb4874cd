select * from {{ ref('active_users_v1') }}
