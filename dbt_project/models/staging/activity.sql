-- What every application reports about use, a row per ping, in one shape.
{{ union_of('activity') }}
