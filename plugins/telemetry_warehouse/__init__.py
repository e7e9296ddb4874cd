"""A telemetry warehouse: pings from Pub/Sub to tables that answer questions in one cheap query."""
