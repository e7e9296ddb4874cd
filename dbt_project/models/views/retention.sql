select * from {{ ref('retention_v1') }}
