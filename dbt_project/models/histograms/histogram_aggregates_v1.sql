-- A probe's histogram of a day over all clients, whatever they run.
{{ histogram_aggregates('submission_date, app_name, channel, os, probe, key, layout') }}
