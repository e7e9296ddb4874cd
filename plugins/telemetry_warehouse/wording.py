"""An alert in words, the same in its picture, in the digest, on the page and on the command line."""

from collections.abc import Iterable, Mapping

from telemetry_warehouse.errors import printable


def series(alert: Mapping) -> str:
    """What the alert is about: application, channel, operating system, probe and key."""
    of = " ".join(filter(None, [alert["app_name"], alert["channel"]])) + (f" on {alert['os']}" if alert["os"] else "")
    return printable(f"{of}: {alert['probe']}" + (f"[{alert['key']}]" if alert["key"] else ""))


def sentence(alert: Mapping) -> str:
    """One line: what changed, since when and by how much."""
    since = f"since {alert['change_date']}"
    if alert["axis"] == "build_date":
        since = f"with the builds of {alert['change_date']}"
    what = f"moved {since}"
    if alert["kind"] == "reverted":
        what = f"went back {since} to what it was before {alert['closes']}"
    moved = f"{percent(alert['effect'])} of clients' weight moved"
    return f"{series(alert)} {what}: {', '.join([moved, *quantiles(alert)[:1]])}"


def quantiles(alert: Mapping) -> list[str]:
    """Median and 95th percentile before and after, those that moved first; left out where they are not known."""
    moved, stayed = [], []
    for name, of in (("median", "median"), ("p95", "95th percentile")):
        values = [alert[f"{name}_before"], alert[f"{name}_after"]]
        if None in values:
            continue
        before, after = map(number, values)
        if before == after:
            stayed.append(f"{of} still {before}")
        else:
            moved.append(f"{of} {before} → {after}")
    return moved + stayed


def evidence(alert: Mapping) -> str:
    """How many clients, and how sure it is; a reversal has no score."""
    parts = [f"{alert['n_clients']:,} clients"]
    if alert["score"] is not None:
        parts.append(f"score {alert['score']:.1f}")
    if alert["log10_e"] is not None:
        parts.append(f"e-value 10^{alert['log10_e']:.1f}")
    return ", ".join(parts)


def movers(alert: Mapping, most: int = 3) -> str:
    """The builds, versions, countries and so on that moved most, with how much and their part of the clients."""
    found = [
        (printable(f"{m['dimension']} {m['value']}"), percent(m["effect"]), percent(m["share"]))
        for m in alert["movers"]
    ]
    return ", ".join(f"{name} ({moved} moved, {part} of clients)" for name, moved, part in found[:most])


def buckets(parts: Iterable[Mapping]) -> str:
    """Buckets with the share that each gained or lost."""
    return ", ".join(f"{part['bucket']:,} ({percent(part['share'])})" for part in parts)


def event(event) -> str:
    """Which application changed, and when: the heading of the alerts of one event."""
    days = f"{event.first}" if event.first == event.last else f"{event.first} to {event.last}"
    return f"{printable(event.alerts[0]['app_name'])}, {days}"


def beside(event) -> list[str]:
    """What gates and landing said of the days of an event, a line each."""
    warned = [f"{w['submission_date']}: gate warning of {w['table_name']}: {w['expectation']}" for w in event.warnings]
    failed = [(e, f"{count(e['messages'], 'message')} of {e['document_type']}") for e in event.errors]
    lines = warned + [f"{e['submission_date']}: {what} could not land: {e['error_type']}" for e, what in failed]
    return list(map(printable, lines))


def count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    """A share with two or three digits: 2.4%, 12%."""
    return f"{share:.1%}" if share < 0.0995 else f"{share:.0%}"


def number(value: float) -> str:
    """A value of a probe with about three digits: 0.25, 31.4, 12,904, 129k, 1.29M."""
    for unit, name in ((10**18, "E"), (10**15, "P"), (10**12, "T"), (10**9, "G"), (10**6, "M"), (1000, "k")):
        if abs(value) >= max(unit, 10**5):
            return f"{value / unit:.3g}{name}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
