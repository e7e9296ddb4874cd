"""Whose distributions moved most in a change: the builds, versions, countries and so on that explain it."""

from collections.abc import Iterable, Mapping

from telemetry_warehouse.changes.effect import DECIMALS, total_variation

# A value that fewer of the clients have explains little, and its own distribution is mostly noise.
LEAST_PERCENT = 5
# Of each dimension as many values are named.
MOST_VALUES = 3


def movers(parts: Iterable[Mapping]) -> list[dict]:
    """The values of each dimension whose own distributions moved most, with their effect (total variation distance) and
    their share of the clients since the change; what moved most comes first.

    parts: rows of one alert as sql/movers.sql gives them: `since` the change or not, dimension, value, n_clients and
    buckets; the dimension NULL holds all clients. A value that under LEAST_PERCENT of the clients had before the
    change, such as a new build, is held against all clients of before.
    """
    known = {(part["since"], part["dimension"], part["value"]): part for part in parts}
    before, after = (known.get((since, None, None)) for since in (False, True))
    if before is None or after is None:
        return []
    found: dict[str, list[dict]] = {}
    for (since, dimension, value), part in known.items():
        # What all clients have in common explains nothing.
        if not since or dimension is None or not _is_part(part, after):
            continue
        own = known.get((False, dimension, value))
        moved = total_variation(_counts(own if own and _is_large(own, before) else before), _counts(part))
        share = round(part["n_clients"] / after["n_clients"], DECIMALS)
        found.setdefault(dimension, []).append({
            "dimension": dimension, "value": value, "effect": moved, "share": share,
        })  # fmt: skip
    most = [one for values in found.values() for one in sorted(values, key=_order)[:MOST_VALUES]]
    return sorted(most, key=_order)


def _is_large(part: Mapping, whole: Mapping) -> bool:
    return 100 * part["n_clients"] >= LEAST_PERCENT * whole["n_clients"]


def _is_part(part: Mapping, whole: Mapping) -> bool:
    return _is_large(part, whole) and part["n_clients"] < whole["n_clients"]


def _counts(part: Mapping) -> dict[int, int]:
    return {one["bucket"]: one["clients"] for one in part["buckets"]}


def _order(mover: dict) -> tuple:
    return -mover["effect"], mover["dimension"], mover["value"]
