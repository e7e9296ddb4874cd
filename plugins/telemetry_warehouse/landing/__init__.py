"""Pub/Sub → live: a room per step that a message goes through.

pull → decode (decompress, parse, URI) → validate (schema) → normalise → shape → load, then acknowledge. `document`
leads a message through the steps; `lander` leads a batch.
"""

from telemetry_warehouse.landing.backlog import backlog
from telemetry_warehouse.landing.backlog import watch as watch_backlog
from telemetry_warehouse.landing.errors import expire as expire_errors
from telemetry_warehouse.landing.lander import Totals, land
from telemetry_warehouse.landing.pull import ACK_DEADLINE_SECONDS
from telemetry_warehouse.landing.replay import Replayed, replay_errors, replay_raw

__all__ = [
    "ACK_DEADLINE_SECONDS",
    "Replayed",
    "Totals",
    "backlog",
    "expire_errors",
    "land",
    "replay_errors",
    "replay_raw",
    "watch_backlog",
]
