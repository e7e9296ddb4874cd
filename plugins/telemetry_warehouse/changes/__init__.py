"""Which distribution changed, since when, by how much: `scan` judges arrays, `table` makes rows of changes_v1."""

from telemetry_warehouse.changes.scan import Alarm, scan

__all__ = ["Alarm", "scan"]
