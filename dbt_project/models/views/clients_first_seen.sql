select * from {{ ref('clients_first_seen_v1') }}
