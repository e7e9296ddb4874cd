"""A telemetry warehouse: pings from Pub/Sub to tables that answer questions in one cheap query."""

import os

# A process that speaks gRPC starts others: PostgreSQL's, as another user where we are root. gRPC's own handlers of a
# fork then crash the child now and then, before it is PostgreSQL.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
