select * from {{ source('telemetry_stable', 'main_v4') }}
