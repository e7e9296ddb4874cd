select * from {{ source('derived', 'changes_v1') }}
