"""Every name and endpoint, read once from the environment.

With WAREHOUSE_PROJECT set the warehouse runs on Google BigQuery and Pub/Sub with application-default credentials;
without it, on the stand-ins that `local/` keeps under WAREHOUSE_HOME. No other module asks which of the two it is.
"""

import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import time
from functools import cached_property
from pathlib import Path

from telemetry_warehouse.errors import NotRunning, SettingsError

ROOT = Path(__file__).resolve().parents[2]
LOCAL_PROJECT = "local"
# One loaded message must fit, and Pub/Sub's own limit is 10 MB; gRPC's default of 4 MB is too small.
UNLIMITED_MESSAGES = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

# Settings that are shares, above 0 and below 1.
_SHARES = ("least_effect", "false_alerts")
# Settings that are whole numbers, and of what.
_NUMBERS = {
    "max_bytes": "bytes",
    "dedup_slices": "queries",
    "backfill_days": "days",
    "raw_days": "days",
    "error_days": "days",
}


# What follows it is secret, for some services the host too.
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://(?=.)", re.IGNORECASE)


def _setting(variable: str, default: str | None, meaning: str):
    return field(metadata={"variable": variable, "default": default, "meaning": meaning})


def masked(address: str) -> str:
    """An Apprise URL as it may be shown: its scheme alone."""
    return _SCHEME.match(address)[0] + "…"


def _is_hour(text: str) -> bool:
    try:
        return time.fromisoformat(text).strftime("%H:%M") == text
    except ValueError:
        return False


def _is_share(text: str) -> bool:
    try:
        return 0 < float(text) < 1
    except ValueError:
        return False


@dataclass(frozen=True)
class Settings:
    """What the environment says; build it with `Settings.load()`."""

    home: Path = _setting("WAREHOUSE_HOME", str(ROOT / ".warehouse"), "where the stand-ins keep data, logs and ports")
    schemas: tuple[Path, ...] = _setting(
        "WAREHOUSE_SCHEMAS", str(ROOT / "schemas"), "schema directories, colon-separated"
    )
    project: str | None = _setting("WAREHOUSE_PROJECT", None, "Google Cloud project; unset: the stand-ins")
    location: str = _setting("WAREHOUSE_LOCATION", "US", "location of all datasets and jobs")
    max_bytes: int = _setting("WAREHOUSE_MAX_BYTES", str(10**12), "maximum bytes billed by one query")
    lock_url: str | None = _setting(
        "WAREHOUSE_LOCK_URL", None, "PostgreSQL that holds the locks; unset: the embedded one"
    )
    topic: str = _setting("WAREHOUSE_TOPIC", "pings", "Pub/Sub topic that pings are published to")
    subscription: str = _setting("WAREHOUSE_SUBSCRIPTION", "pings-landing", "Pub/Sub subscription that `land` drains")
    dedup_slices: int = _setting("WAREHOUSE_DEDUP_SLICES", "1", "queries that share the documents of a dedup")
    backfill_days: int = _setting("WAREHOUSE_BACKFILL_DAYS", "366", "most days that a backfill builds in one query")
    raw_days: int = _setting("WAREHOUSE_RAW_DAYS", "7", "days that messages are kept as received; 0: not at all")
    error_days: int = _setting("WAREHOUSE_ERROR_DAYS", "30", "days that messages which could not land are kept")
    pii_key: str | None = _setting("WAREHOUSE_PII_KEY", None, "secret key of hashed fields (x-pii in a schema)")
    notify: tuple[str, ...] = _setting(
        "WAREHOUSE_NOTIFY", "", "Apprise URLs that are told of failures, with spaces between; unset: the log alone"
    )
    night_deadline: str = _setting("WAREHOUSE_NIGHT_DEADLINE", "06:00", "when a night must be over, UTC")
    least_effect: float = _setting(
        "WAREHOUSE_LEAST_EFFECT", "0.02", "least share of the clients that must have moved for an alert to be sent"
    )
    false_alerts: float = _setting(
        "WAREHOUSE_FALSE_ALERTS", "0.05", "share of a calendar month's alerts that may be false, as expected"
    )
    pubsub_server: str = _setting("WAREHOUSE_PUBSUB_SERVER", "broker", "Pub/Sub stand-in: broker or google")

    @classmethod
    def load(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Reads the environment. Raises SettingsError naming the variable and what it may be."""
        text = {f.name: environment.get(f.metadata["variable"]) or f.metadata["default"] for f in fields(cls)}
        directories = tuple(Path(d).resolve() for d in text["schemas"].split(":") if d)
        for directory in directories:
            if not directory.is_dir():
                raise SettingsError(f"WAREHOUSE_SCHEMAS names {directory}, which is not a directory")
        for name, unit in _NUMBERS.items():
            if not text[name].isdigit():
                raise SettingsError(f"WAREHOUSE_{name.upper()} is {text[name]!r}; give a whole number of {unit}")
        for name in ("dedup_slices", "backfill_days"):
            if int(text[name]) < 1:
                raise SettingsError(f"WAREHOUSE_{name.upper()} is {text[name]}; give 1 or more")
        for name in _SHARES:
            if not _is_share(text[name]):
                raise SettingsError(
                    f"WAREHOUSE_{name.upper()} is {text[name]!r}; give a share above 0 and below 1, such as 0.05"
                )
        if text["pubsub_server"] not in ("broker", "google"):
            raise SettingsError(f"WAREHOUSE_PUBSUB_SERVER is {text['pubsub_server']!r}; give broker or google")
        addresses = tuple(text["notify"].split())
        if not all(_SCHEME.match(address) for address in addresses):
            raise SettingsError(
                "WAREHOUSE_NOTIFY has a part that is no Apprise URL, such as mailto://… or json://…; separate"
                " them by spaces (what it holds is secret and not shown)"
            )
        if not _is_hour(text["night_deadline"]):
            raise SettingsError(f"WAREHOUSE_NIGHT_DEADLINE is {text['night_deadline']!r}; give a time such as 06:00")
        if text["project"] and not text["lock_url"]:
            raise SettingsError(
                "WAREHOUSE_PROJECT is set, so set WAREHOUSE_LOCK_URL to a PostgreSQL that all machines reach"
            )
        return cls(
            **text
            | {
                "home": Path(text["home"]).resolve(),
                "schemas": directories,
                "notify": addresses,
                **{name: int(text[name]) for name in _NUMBERS},
                **{name: float(text[name]) for name in _SHARES},
            }
        )

    def variables(self) -> dict[str, str]:
        """The settings that have a value as the variables that they are read from, secrets included."""
        texts = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, tuple):
                value = (" " if f.name == "notify" else ":").join(map(str, value))
            if value is not None:
                texts[f.metadata["variable"]] = str(value)
        return texts

    def listed(self) -> list[tuple[str, str, str]]:
        """(variable, value, meaning) of every setting; secrets are not shown."""
        rows, texts = [], self.variables()
        for f in fields(self):
            value = texts.get(f.metadata["variable"], "")
            if f.name == "notify":
                value = " ".join(map(masked, self.notify))
            if f.name == "lock_url" and "@" in value:
                value = value.split("://")[0] + "://…@" + value.rsplit("@", 1)[1]
            if f.name == "pii_key" and value:
                value = "…"
            rows.append((f.metadata["variable"], value, f.metadata["meaning"]))
        return rows

    @property
    def project_id(self) -> str:
        return self.project or LOCAL_PROJECT

    @property
    def endpoints_file(self) -> Path:
        """Written by `local/` when the stand-ins are up: bigquery, bigquery_storage, pubsub, postgres."""
        return self.home / "endpoints.json"

    @property
    def dbt_target(self) -> Path:
        return self.home / "dbt" / "target"

    @cached_property
    def _endpoints(self) -> dict[str, str]:
        try:
            return json.loads(self.endpoints_file.read_text())
        except FileNotFoundError:
            raise NotRunning(
                f"the stand-ins of {self.home} are not running; start them with `./warehouse up`"
            ) from None

    def _answering(self, name: str) -> str:
        """A stand-in's endpoint. Raises NotRunning where nobody listens: Google's clients would try for minutes."""
        endpoint = self._endpoints[name]
        host, port = endpoint.rpartition("//")[2].split(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except OSError as error:
            raise NotRunning(
                f"the {name} stand-in of {self.home} does not answer at {endpoint} ({error.strerror or error});"
                " start it with `./warehouse up`"
            ) from None
        return endpoint

    @property
    def postgres_url(self) -> str:
        """The PostgreSQL that holds the locks."""
        return self.lock_url or self._endpoints["postgres"]

    def bigquery_client(self):
        """A google.cloud.bigquery.Client."""
        import google.auth
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery

        from telemetry_warehouse.deadlines import bigquery_client

        if self.project:
            credentials, _ = google.auth.default(scopes=bigquery.Client.SCOPE)
            options = None
        else:
            credentials, options = AnonymousCredentials(), {"api_endpoint": self._answering("bigquery")}
        return bigquery_client(self.project_id, credentials, location=self.location, client_options=options)

    def storage_client(self):
        """A BigQueryReadClient, for results as Arrow."""
        import grpc
        from google.cloud.bigquery_storage import BigQueryReadClient
        from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

        from telemetry_warehouse.deadlines import with_deadlines

        if self.project:
            channel = BigQueryReadGrpcTransport.create_channel(options=UNLIMITED_MESSAGES)
        else:
            channel = grpc.insecure_channel(self._answering("bigquery_storage"), options=UNLIMITED_MESSAGES)
        return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=with_deadlines(channel)))

    def publisher_client(self):
        """A google.cloud.pubsub_v1.PublisherClient."""
        from google.cloud import pubsub_v1

        if self.project:
            return pubsub_v1.PublisherClient()
        from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

        return pubsub_v1.PublisherClient(transport=PublisherGrpcTransport(channel=self._pubsub_channel()))

    def subscriber_client(self):
        """A google.cloud.pubsub_v1.SubscriberClient."""
        from google.cloud import pubsub_v1

        if self.project:
            return pubsub_v1.SubscriberClient()
        from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

        return pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=self._pubsub_channel()))

    @property
    def pubsub_server_name(self) -> str:
        """Pub/Sub as an error names it."""
        return f"Pub/Sub's project {self.project}" if self.project else f"Pub/Sub at {self._endpoints['pubsub']}"

    def _pubsub_channel(self):
        import grpc

        return grpc.insecure_channel(self._answering("pubsub"), options=UNLIMITED_MESSAGES)

    def dbt_profile(self) -> dict:
        """The content of dbt's profiles.yml."""
        output = {
            "type": "bigquery",
            "project": self.project_id,
            "dataset": "derived",
            "threads": 4,
            "location": self.location,
            "priority": "interactive",
            "job_retries": 0,
            "maximum_bytes_billed": self.max_bytes,
        }
        if self.project:
            output["method"] = "oauth"
        else:
            output |= {"method": "oauth-secrets", "token": "emulator", "api_endpoint": self._endpoints["bigquery"]}
        return {"telemetry_warehouse": {"target": "warehouse", "outputs": {"warehouse": output}}}
