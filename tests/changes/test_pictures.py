"""Pictures of alerts: the same bytes each time, and something to look at whatever the series is."""

import hashlib
import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from telemetry_warehouse import wording
from telemetry_warehouse.layouts import Layout
from telemetry_warehouse.pictures import MAX_GROUPS, _filled, _Groups, picture
from telemetry_warehouse.settings import ROOT
from tests.changes.alerts import DAYS, DETECTED, counted, rows_of

RNG = np.random.default_rng(1)
GAINED, LOST = (0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)


@pytest.fixture(scope="module")
def shift() -> tuple:
    return rows_of(*counted("shift 20%"))


def pixels(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG\r\n")
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def area(png: bytes, colour) -> int:
    return int((pixels(png) == colour).all(axis=2).sum())


def test_the_same_alert_gives_the_same_bytes_in_whatever_order_its_rows_come(shift):
    alert, distributions, scores = shift
    again = picture(alert, distributions[::-1], scores[::-1])
    assert picture(*shift) == again
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(lambda _: picture(*shift), range(8))) == {again}


def test_another_process_without_a_display_gives_the_same_bytes_and_names_no_software(shift):
    program = (
        "import hashlib\nfrom telemetry_warehouse.pictures import picture\n"
        "from tests.changes.alerts import counted, rows_of\n"
        "print(hashlib.sha256(picture(*rows_of(*counted('shift 20%')))).hexdigest())"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MPLBACKEND")}
    environment |= {"PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}", "TZ": "Asia/Tokyo"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    png = picture(*shift)
    assert done.stdout.strip() == hashlib.sha256(png).hexdigest()
    assert Image.open(io.BytesIO(png)).info.keys() <= {"dpi"}


def test_what_was_gained_and_lost_is_seen_and_no_more_where_nothing_moved(shift):
    alert, distributions, scores = shift
    assert area(picture(*shift), GAINED) > 3000 < area(picture(*shift), LOST)
    still = picture(alert | {"shares_after": alert["shares_before"]}, distributions, scores)
    assert area(still, GAINED) < area(picture(*shift), GAINED) / 2


def test_days_of_too_few_clients_and_days_without_any_are_gaps():
    counts, n_clients, bounds = counted(None)
    whole = picture(*rows_of(counts, n_clients, bounds))
    for clients in (0, 49):
        few = n_clients.copy()
        few[30:40] = clients
        assert area(picture(*rows_of(counts, few, bounds)), (0xEC, 0xEE, 0xF0)) > area(whole, (0xEC, 0xEE, 0xF0)) + 5000


def series(counts, clients: int = 1000):
    counts = np.asarray(counts)
    return counts, np.full(len(counts), clients), list(range(counts.shape[1]))


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(series(np.full((DAYS, 1), 1000)), id="one bucket"),
        pytest.param(series(np.tile([5, 3, 2], (DAYS, 1))), id="constant"),
        pytest.param(series(np.zeros((DAYS, 3), int)), id="all zero"),
        pytest.param(series(np.zeros((DAYS, 3), int), 0), id="no day at all"),
        pytest.param(series(RNG.multinomial(1000, np.full(10_000, 1e-4), DAYS)), id="10,000 buckets"),
        pytest.param((*series(np.tile([1, 0, 5], (DAYS, 1)))[:2], [-(10**12), 0, 2**62]), id="huge bounds"),
    ],
)
def test_degenerate_series_are_drawn(rows):
    assert pixels(picture(*rows_of(*rows))).shape[1] == 1000


def test_one_day_is_drawn():
    counts, n_clients, bounds = counted(None)
    n_clients = np.where(np.arange(DAYS) == DETECTED, n_clients, 0)
    assert pixels(picture(*rows_of(counts, n_clients, bounds))).shape[1] == 1000


@pytest.mark.parametrize("score", [None, float("nan")])
def test_nights_that_were_not_judged_have_no_score(shift, score):
    alert, distributions, scores = shift
    none = picture(alert, distributions, [row | {"score": score} for row in scores])
    assert none == picture(alert, distributions, [])


def test_a_reversal_without_a_score_is_drawn(shift):
    alert, distributions, scores = shift
    none = {"kind": "reverted", "closes": alert["change_date"], "score": None, "log10_e": None}
    assert wording.evidence(alert) == f"{alert['n_clients']:,} clients, score 8.5, e-value 10^12.5"
    assert wording.evidence(alert | none) == f"{alert['n_clients']:,} clients"
    assert pixels(picture(alert | none, distributions, scores)).shape[1] == 1000


def test_categories_have_no_quantiles(shift):
    none = dict.fromkeys(("median_before", "median_after", "p95_before", "p95_after"))
    drawn = picture(shift[0] | none, *shift[1:])
    assert len(pixels(drawn)) < len(pixels(picture(*shift)))


def test_buckets_that_nobody_fills_keep_their_place(shift):
    """The second mode of a sparse distribution is not drawn next to the first."""
    alert, distributions, scores = shift
    bounds = _filled(alert["layout"], {1, 10_000})
    assert bounds == Layout.parse(alert["layout"]).bounds()[1:]
    assert _filled("scalar/2-digits", {98, 130}) == [98, 99, 100, 110, 120, 130]
    assert _filled("an unknown layout", {98, 130}) == [98, 130]


def test_a_build_is_drawn_on_its_own_day_and_not_on_that_of_its_night():
    counts, n_clients, bounds = counted("shift 20%")
    by_night, by_build = (rows_of(counts, n_clients, bounds, axis=axis) for axis in ("submission_date", "build_date"))
    heat = np.s_[180:520, 110:830]
    assert (pixels(picture(*by_night))[heat] == pixels(picture(*by_build))[heat]).all()
    assert "with the builds of 2013-11-30" in wording.sentence(by_build[0])


def test_long_names_do_not_leave_the_picture(shift):
    names = {name: f"{name}_$x^2$_" + "VERY_LONG_" * 30 for name in ("app_name", "channel", "os", "probe", "key")}
    png = pixels(picture(shift[0] | names, *shift[1:]))
    assert png.shape[1] == 1000
    assert (png[:, -20:] == 255).all() and (png[:, :15] == 255).all(), "the margins are white"


@pytest.mark.parametrize("buckets", [1, 44, 45, 100, 10_000])
def test_groups_keep_every_client_and_are_few(buckets):
    shape = np.random.default_rng(buckets).dirichlet(np.full(buckets, 0.1))
    groups = _Groups.of(list(range(buckets)), shape, shape[::-1])
    assert 1 <= len(groups) <= MAX_GROUPS
    assert groups.sums(shape).sum() == pytest.approx(1)
    places = [groups.place(value) for value in np.linspace(-5, buckets + 5, 99)]
    assert places == sorted(places) and places[0] == 0 and places[-1] == len(groups)


def test_a_narrow_shape_among_many_buckets_fills_the_axis():
    shape = np.zeros(10_000)
    shape[500:540] = 1 / 40
    assert np.count_nonzero(_Groups.of(list(range(10_000)), shape, shape).sums(shape)) == 40


def test_sentences():
    alert = rows_of(*counted(None))[0]
    alert |= {"effect": 0.1234, "median_before": 31.2, "median_after": 38.4, "change_date": "2013-12-05"}
    assert wording.sentence(alert) == (
        "Firefox release: GC_MS moved since 2013-12-05: 12% of clients' weight moved, median 31.2 → 38.4"
    )
    closed = alert | {"kind": "reverted", "closes": "2013-11-01", "channel": None, "os": "Linux", "key": "k"}
    assert wording.sentence(closed).startswith(
        "Firefox on Linux: GC_MS[k] went back since 2013-12-05 to what it was before 2013-11-01: 12% of"
    )
