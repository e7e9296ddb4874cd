-- A probe's histogram of a day over the clients of one build; a client that ran two builds counts once in each.
{{ histogram_aggregates('submission_date, app_name, channel, os, app_build_id, probe, key, layout') }}
