select * from {{ ref('cohorts_v1') }}
