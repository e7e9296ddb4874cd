"""The text of main pings: columns of a day in, one JSON document per ping out.

Documents are not built as objects and serialised: that would be most of the time of a simulation. The document below
is compiled once into a template; what varies little (a build, a system) is serialised once a day.
"""

import datetime
import re
from collections.abc import Iterator

import numpy as np
import orjson

from telemetry_warehouse.simulate import catalogue
from telemetry_warehouse.simulate.clients import Pings, uuids
from telemetry_warehouse.simulate.clock import instants
from telemetry_warehouse.simulate.histograms import Histograms

# "$name" is a slot for text, "@name" a slot for JSON.
_DOCUMENT = {
    "type": "main",
    "id": "$document_id",
    "creationDate": "$made",
    "version": 4,
    "clientId": "$client_id",
    "application": "@application",
    "environment": {
        "build": "@build",
        "partner": "@partner",
        "experiments": "@experiments",
        "profile": "@profile",
        "settings": "@settings",
        "system": "@system",
        "addons": {"activeAddons": {}, "theme": {"id": "default-theme@example.org", "version": "1.0"}},
    },
    "payload": {
        "ver": 4,
        "info": {
            "reason": "$reason",
            "sessionId": "$session_id",
            "subsessionId": "$subsession_id",
            "previousSessionId": None,
            "subsessionCounter": "@counter",
            "profileSubsessionCounter": "@profile_counter",
            "subsessionLength": "@length",
            "sessionLength": "@length",
            "timezoneOffset": "@utc_offset",
        },
        "simpleMeasurements": {"firstPaint": "@first_paint"},
        "processes": {"parent": {"scalars": "@scalars"}},
        "histograms": "@histograms",
        "keyedHistograms": "@keyed_histograms",
    },
}


def _compiled(document: dict) -> tuple[str, list[str]]:
    """A %-template and the names of its slots in order."""
    text = orjson.dumps(document).decode().replace("%", "%%")
    slots = re.findall(r'"[@$](\w+)"', text)
    return re.sub(r'"\$\w+"', '"%s"', re.sub(r'"@\w+"', "%s", text)), slots


_TEMPLATE, _SLOTS = _compiled(_DOCUMENT)


def _json(value) -> str:
    return orjson.dumps(value).decode()


class Writer:
    """Writes the pings of one day; `distributions` are those of probes.distributions for that day."""

    def __init__(self, day: datetime.date, first_day: datetime.date, distributions: list[np.ndarray]):
        self._since_start = (day - first_day).days
        self.builds = [_build(c, day, lag) for c in catalogue.CHANNELS for lag in range(_LAGS)]
        self._application = [_json(_application(build, with_vendor=True)) for build in self.builds]
        self._build = [_json({"applicationName": "Firefox", **_application(build)}) for build in self.builds]
        self._histograms = Histograms(distributions)

    def build_index(self, pings: Pings, rows: slice) -> np.ndarray:
        """Which of `builds` each ping comes from."""
        return pings.of_client("channel", rows) * _LAGS + pings.of_client("update_lag", rows)

    def documents(self, pings: Pings, rows: slice, ids: list[str], rng: np.random.Generator) -> Iterator[str]:
        """The documents of a slice of the day's pings; `ids` are their document ids."""
        part = {name: pings.of_client(name, rows) for name in pings.clients}
        builds = self.build_index(pings, rows).tolist()
        plain, keyed = self._histograms.texts(_MACHINE_OF_MEMORY[part["memory"]], part["channel"] == _ESR, rng)
        engagement = [c[rows].tolist() for c in (pings.engagement, pings.ticks, pings.uris, pings.devtools)]
        columns = {
            "document_id": ids,
            "client_id": part["client_id"].tolist(),
            "made": instants(pings.made[rows], "ms"),
            "application": [self._application[b] for b in builds],
            "build": [self._build[b] for b in builds],
            "partner": _from_table(_PARTNERS, part["distribution"]),
            "experiments": self._experiments(part),
            "profile": [
                f'{{"creationDate":{day}}}' if said else "{}"
                for day, said in zip(part["creation_day"].tolist(), part["says_creation"].tolist(), strict=True)
            ],
            "settings": _from_table(_SETTINGS, (part["place"] * 3 + part["engine"]) * 3 + part["is_default"]),
            "system": _from_table(_SYSTEMS, part["system"] * len(catalogue.MEMORY_MB) + part["memory"]),
            "reason": _from_table(("shutdown", "daily", "environment-change"), rng.integers(0, 3, len(ids))),
            "session_id": pings.session_id[rows].tolist(),
            "subsession_id": uuids(rng, len(ids)).tolist(),
            "counter": pings.counter[rows].tolist(),
            "profile_counter": pings.profile_counter[rows].tolist(),
            "length": ["null" if length < 0 else length for length in pings.lengths[rows].tolist()],
            "utc_offset": part["utc_offset"].tolist(),
            "first_paint": rng.integers(300, 5_000, len(ids)).tolist(),
            "scalars": list(map(_scalars, *engagement)),
            "histograms": plain,
            "keyed_histograms": keyed,
        }
        for values in zip(*(columns[slot] for slot in _SLOTS), strict=True):
            yield _TEMPLATE % values

    def _experiments(self, part: dict[str, np.ndarray]) -> list[str]:
        """Each client's running experiments as JSON."""
        texts = [""] * len(part["client_id"])
        for experiment in catalogue.EXPERIMENTS:
            if 0 <= self._since_start - experiment.start < experiment.days:
                table = [f'"{experiment.name}":{{"branch":"{b}","type":"nimbus-nimbus"}},' for b in experiment.branches]
                table.append("")  # branch -1
                own = _from_table(table, part[f"branch of {experiment.name}"])
                texts = [text + more for text, more in zip(texts, own, strict=True)]
        return ["{" + text[:-1] + "}" for text in texts]


def _from_table(table, index: np.ndarray) -> list:
    return [table[i] for i in index.tolist()]


def _scalars(says_engagement: bool, ticks: int, uris: int, devtools: int) -> str:
    members = []
    if says_engagement:
        members.append(f'"browser.engagement.active_ticks":{ticks}')
        members.append(f'"browser.engagement.total_uri_count":{uris}')
        members.append(f'"browser.engagement.unfiltered_uri_count":{uris + uris // 20}')
    if devtools:
        members.append(f'"devtools.toolbox.opened_count":{devtools}')
    return "{" + ",".join(members) + "}"


_LAGS = catalogue.LONGEST_UPDATE_LAG + 1
_MACHINE_OF_MEMORY = np.array([0, 1, 1, 2])  # indices of probes.MACHINES
_ESR = [channel.name for channel in catalogue.CHANNELS].index("esr")
_VERSION_DAYS = 28


def _build(channel: catalogue.Channel, day: datetime.date, lag: int) -> dict:
    """What a client of the channel runs on a day when it takes builds `lag` days late."""
    made = (day.toordinal() - lag) // channel.release_days * channel.release_days
    ahead = {"beta": 1, "nightly": 2}.get(channel.name, 0)
    version = 100 + (made // _VERSION_DAYS + ahead) % 900  # three digits in any year
    return {
        "channel": channel.name,
        "build_id": f"{datetime.date.fromordinal(made):%Y%m%d}103000",
        "version": f"{version}.0",
        "display_version": f"{version}.0{channel.suffix}" + ("1" if channel.name == "beta" else ""),
    }


def _application(build: dict, with_vendor: bool = False) -> dict:
    common = {
        "architecture": "x86-64",
        "buildId": build["build_id"],
        "displayVersion": build["display_version"],
        "platformVersion": build["version"],
        "vendor": "Mozilla",
        "version": build["version"],
        "xpcomAbi": "x86_64-gcc3",
    }
    return {"name": "Firefox", "channel": build["channel"], **common} if with_vendor else common


_PARTNERS = [_json({"distributionId": name, "partnerId": None}) for name, _ in catalogue.DISTRIBUTIONS]
_SETTINGS = [
    _json(
        {"locale": place.locale, "defaultSearchEngine": engine, "isDefaultBrowser": default, "telemetryEnabled": True}
    )
    for place in catalogue.PLACES
    for engine, _ in catalogue.SEARCH_ENGINES
    for default in (True, False, None)
]
_SYSTEMS = [
    _json(
        {
            "memoryMB": memory,
            "cpu": {"count": 8, "cores": 4, "vendor": None},
            "os": {"name": system.name, "version": system.version, "locale": "en-US"},
        }
    )
    for system in catalogue.SYSTEMS
    for memory, _ in catalogue.MEMORY_MB
]
