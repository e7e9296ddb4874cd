select * from {{ source('fleet_stable', 'flight_v1') }}
