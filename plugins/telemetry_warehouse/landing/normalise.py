"""The columns that every table has: ids, the sample, normalised dimensions and what the server added."""

import re
import zlib
from collections.abc import Mapping
from functools import lru_cache

from telemetry_warehouse.landing.message import as_uuid
from telemetry_warehouse.schemas import DocumentType

# Each family with the names that systems, runtimes and browsers give it, in any case. The first that fits counts: an
# iPhone's browser says "like Mac OS X", an Android's "Linux; Android".
_FAMILIES = [
    (family, re.compile(names, re.IGNORECASE | re.ASCII))
    for family, names in (
        ("Windows", r"^(microsoft )?win(dows|nt|ce|[ _-]?\d|$)|^(cygwin|mingw|msys)"),
        ("iOS", r"^i(os|pados)(?![a-z])|iphone|\bipad|\bipod"),
        ("Android", r"\bandroid"),
        ("Mac", r"^(apple )?mac([ _-]?os|intosh|intel|ppc|(?![a-z]))|^os ?x\b|^darwin|\bmac os x\b"),
        ("ChromeOS", r"\bcros\b|^(google )?chrom(e|ium)[ _-]?os\b"),
        ("BSD", r"bsd|^dragonfly"),
        ("Linux", r"linux|^(ubuntu|debian|fedora|centos|red ?hat|rhel|(open)?suse|gentoo|manjaro)\b"),
    )
]
OTHER_SYSTEM = "Other"
# No system's name is longer; what is not looked at costs no time and no memory.
_LONGEST_SYSTEM = 200
_COUNTRY = re.compile(r"[A-Za-z]{2}")


def sample_id(client_id: str) -> int:
    """CRC-32 (IEEE, unsigned) of the text, mod 100."""
    return zlib.crc32(client_id.encode()) % 100


def normalized_os(system: str) -> str:
    """The family of an operating system by any of its common names; OTHER_SYSTEM for what is none of them."""
    return _family(system[:_LONGEST_SYSTEM])


@lru_cache(maxsize=1000)
def _family(system: str) -> str:
    name = system.strip()
    return next((family for family, names in _FAMILIES if names.search(name)), OTHER_SYSTEM)


def standard_columns(document: dict, attributes: Mapping[str, str], document_type: DocumentType) -> dict:
    """client_id, sample_id, the normalised columns and metadata; a column that would be NULL is left out."""
    paths = document_type.paths
    row: dict = {}
    client_id = as_uuid(_first(document, paths["client_id"]))
    if client_id is not None:
        row["client_id"] = client_id
        row["sample_id"] = sample_id(client_id)
    for column, target in (("normalized_app_name", "app_name"), ("normalized_channel", "channel")):
        value = _first(document, paths[target])
        if value is not None:
            row[column] = value
    system = _first(document, paths["os"])
    if system is not None:
        row["normalized_os"] = normalized_os(system)
    country = attributes.get("geo_country") or _first(document, paths["country"])
    if country is not None and _COUNTRY.fullmatch(country):
        row["normalized_country_code"] = country.upper()
    row["metadata"] = _metadata(attributes)
    return row


def _first(document: dict, paths: tuple[tuple[str, ...], ...]) -> str | None:
    """The text at the first of the paths that leads to one."""
    for path in paths:
        value = document
        for key in path:
            value = value.get(key) if type(value) is dict else None
        if type(value) is str:
            return value
    return None


def _metadata(attributes: Mapping[str, str]) -> dict:
    # Attributes are named one by one: what a table may hold of them is this list, and an address is not on it.
    get = attributes.get
    return {
        "geo": {"country": get("geo_country"), "subdivision1": get("geo_subdivision1"), "city": get("geo_city")},
        "header": {"date": get("date"), "x_debug_id": get("x_debug_id"), "x_source_tags": get("x_source_tags")},
        "user_agent": get("user_agent"),
        "uri": get("uri"),
    }
