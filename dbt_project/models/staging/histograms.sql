-- Every histogram that every application reports, a row per ping, probe and key, in one shape.
{{ union_of('histograms') }}
