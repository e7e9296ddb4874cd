select * from {{ ref('histogram_aggregates_v1') }}
