select * from {{ ref('histogram_aggregates_by_build_v1') }}
