"""The picture of an alert: its distribution over time, before and after the change, and its score. As PNG.

Drawn without a display and without matplotlib's global state, in tasks and in the API server. The same alert and
history give the same bytes. Colours are those of Okabe and Ito, which colour-blind people can tell apart: blue for
before and lost, vermillion for after and gained.
"""

import io
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from threading import Lock

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from telemetry_warehouse import wording
from telemetry_warehouse.changes.alert_rows import nights_of
from telemetry_warehouse.changes.scan import MIN_CLIENTS
from telemetry_warehouse.changes.window import MIN_SCORE
from telemetry_warehouse.layouts import Layout, ends

DAYS_BEFORE = 56
# Rows of the heat map and bars of the histogram: more cannot be told apart in an e-mail.
MAX_GROUPS = 44
# This share of the clients, at either end of both shapes, is drawn as one group.
_TAIL = 0.002

_BEFORE, _AFTER, _KEPT = "#0072B2", "#D55E00", "#C3C7CC"
_TEXT, _QUIET, _GRID = "#1B1F24", "#5A6270", "#E3E6EA"
_SHARES = LinearSegmentedColormap.from_list("shares", ["#FFFFFF", "#C9DDF0", "#6AA3D1", "#1F5F9E", "#08274D"])

_WIDTH, _DPI = 10.0, 100  # inches, pixels per inch
_LEFT, _RIGHT, _TOP, _BOTTOM = 1.0, 1.6, 0.3, 0.6  # margins in inches; right of the panels stand their legends
_TITLE_POINTS, _POINTS = 16, 12
_BESIDE_TICKS = 1.06  # in parts of a panel's width: right of the label of a tick at its end
_SHAPES = "Shares before and since the change"
# matplotlib makes no promise for threads, not even where they share no figure.
_ONE_AT_A_TIME = Lock()

_TITLE_LINES, _NAME = 5, 44  # at most: lines, and characters of a name


def picture(alert: Mapping, distributions: Iterable[Mapping], scores: Iterable[Mapping]) -> bytes:
    """The PNG of an alert, about 1000 × 1100 pixels.

    alert: a row of changes_v1. distributions, scores: the rows of distributions_v1 and change_scores_v1 of its series,
    in any order; days that are missing, and those of fewer than 50 clients, are gaps.
    """
    with _ONE_AT_A_TIME:
        return _Picture(alert, _History.of(alert, distributions, scores)).png()


@dataclass(frozen=True)
class _History:
    """The days of a picture in order, on the alert's axis, without holes.

    shares: (days, buckets), NaN on days that are gaps. scores: (days,), NaN where none was given. bounds: the lower
    bounds of the buckets, ascending. before, after: (buckets,), the alert's shapes.
    """

    days: list[date]
    bounds: list[int]
    shares: np.ndarray
    scores: np.ndarray
    before: np.ndarray
    after: np.ndarray

    @classmethod
    def of(cls, alert: Mapping, distributions: Iterable[Mapping], scores: Iterable[Mapping]) -> "_History":
        lag = timedelta(days=nights_of(alert["axis"]))
        sent = {row["submission_date"] - lag: row for row in distributions if row["n_clients"] >= MIN_CLIENTS}
        scored = {row["submission_date"] - lag: row["score"] for row in scores}
        first = alert["change_date"] - timedelta(days=DAYS_BEFORE)
        last = max([alert["detected_date"] - lag, alert["change_date"], *sent])
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]

        shapes = [alert["shares_before"], alert["shares_after"]]
        known = {part["bucket"] for shape in shapes for part in shape}
        known.update(part["bucket"] for row in sent.values() for part in row["buckets"])
        bounds = _filled(alert["layout"], known or {0})
        place = {bucket: at for at, bucket in enumerate(bounds)}
        shares = np.full((len(days), len(bounds)), np.nan)
        for at, day in enumerate(days):
            if day in sent:
                shares[at] = _shares(sent[day]["buckets"], "clients", place)
        score = [np.nan if scored.get(day) is None else scored[day] for day in days]
        before, after = (_shares(shape, "share", place) for shape in shapes)
        return cls(days, bounds, shares, np.array(score, float), before, after)


def _filled(layout: str, known: set[int]) -> list[int]:
    """The known lower bounds and those that the layout has between them, ascending."""
    first, last = min(known), max(known)
    parsed = Layout.parse(layout)
    if parsed:
        between = {bound for bound in parsed.bounds() if first < bound < last}
    else:
        between, end = set(), first
        while (end := ends(layout, [end, last])[0]) < last:
            between.add(end)
    return sorted(known | between)


def _shares(parts: Iterable[Mapping], name: str, place: dict[int, int]) -> np.ndarray:
    """The parts of a histogram as shares of its sum; zeros where that is 0."""
    values = np.zeros(len(place))
    for part in parts:
        values[place[part["bucket"]]] += part[name]
    return values / (values.sum() or 1)


@dataclass(frozen=True)
class _Groups:
    """Neighbouring buckets drawn as one. firsts: the index of the first bucket of each group, ascending from 0."""

    bounds: list[int]
    firsts: np.ndarray

    @classmethod
    def of(cls, bounds: list[int], before: np.ndarray, after: np.ndarray) -> "_Groups":
        """At most MAX_GROUPS: those at the ends take the tails, the others equally many buckets."""
        if len(bounds) <= MAX_GROUPS:
            return cls(bounds, np.arange(len(bounds)))
        low, high = len(bounds) - 1, 0
        for shape in (before, after):
            low = min(low, int(np.searchsorted(np.cumsum(shape), _TAIL)))
            high = max(high, len(bounds) - 1 - int(np.searchsorted(np.cumsum(shape[::-1]), _TAIL)))
        size = -(-(high - low + 1) // (MAX_GROUPS - 2))
        inner = np.arange(low, high + 1, size) if low <= high else np.array([], int)
        ends = [0, min(high + 1, len(bounds) - 1)]
        return cls(bounds, np.unique(np.concatenate([inner, ends])).astype(int))

    def __len__(self) -> int:
        return len(self.firsts)

    def sums(self, shares: np.ndarray) -> np.ndarray:
        """Shares (…, buckets) as shares (…, groups)."""
        return np.add.reduceat(shares, self.firsts, axis=-1)

    def place(self, value: float) -> float:
        """Where a value of the probe lies on an axis on which group i reaches from i to i + 1."""
        lows = self._lows
        at = min(max(bisect_right(lows, value) - 1, 0), len(lows) - 1)
        width = lows[at + 1] - lows[at] if at + 1 < len(lows) else self.bounds[-1] - lows[at] + 1
        return at + min(max((value - lows[at]) / width, 0), 1)

    @cached_property
    def _lows(self) -> list[int]:
        return [self.bounds[first] for first in self.firsts]

    def ticks(self, most: int) -> tuple[list[int], list[str]]:
        """Places and lower bounds of at most `most` groups, evenly among them."""
        places = list(range(0, len(self), -(-len(self) // most)))
        return places, [_bound(self._lows[place]) for place in places]


def _bound(bucket: int) -> str:
    """A lower bound in few characters: 950, 12,500, 3.2e+07."""
    return f"{bucket:,}" if abs(bucket) < 10**6 else wording.number(bucket)


class _Picture:
    def __init__(self, alert: Mapping, history: _History):
        self.alert, self.history = alert, history
        self.groups = _Groups.of(history.bounds, history.before, history.after)
        # Categories have no order, so no quantiles; their numbers stand in the middle of what they name.
        self.has_order = alert["median_before"] is not None
        self.figure = Figure(dpi=_DPI, facecolor="white")
        self.canvas = FigureCanvasAgg(self.figure)

    def png(self) -> bytes:
        title = self._wrapped(wording.sentence(self.alert | self._short_names()))
        # From the top, in inches: title, heat map, score, and the two shapes with the strip of their quantiles.
        heights = {"title": 0.34 * len(title) + 0.42, "heat": 3.5, "score": 1.5, "shapes": 2.6}
        gaps = {"heat": 0.4, "score": 0.4, "shapes": 1.0}
        if self.has_order:
            heights["quantiles"] = 0.62
            gaps |= {"quantiles": 1.0, "shapes": 0.06}
        self.height = _TOP + sum(heights.values()) + sum(gaps.values()) + _BOTTOM
        self.figure.set_size_inches(_WIDTH, self.height)
        self._title(title)
        top = self.height - _TOP - heights["title"]
        panels = {"heat": self._heat, "score": self._score, "quantiles": self._quantiles, "shapes": self._shapes}
        for name, draw in panels.items():
            if name in heights:
                top -= gaps[name] + heights[name]
                draw(self._panel(top, heights[name]))
        file = io.BytesIO()
        self.canvas.print_png(file, metadata={"Software": None})
        return file.getvalue()

    def _panel(self, bottom: float, height: float, left: float = _LEFT, right: float = _RIGHT):
        size = [left / _WIDTH, bottom / self.height, (_WIDTH - left - right) / _WIDTH, height / self.height]
        axes = self.figure.add_axes(size)
        axes.tick_params(labelsize=_POINTS, colors=_TEXT, length=3, width=0.8)
        for side in axes.spines.values():
            side.set_color(_QUIET)
            side.set_linewidth(0.8)
        return axes

    def _text(self, axes, x: float, y: float, text: str, color: str = _TEXT, **options) -> None:
        """Text at a place in parts of the axes' width (or as `transform` has it) and height."""
        options = {"transform": axes.transAxes, "fontsize": _POINTS, "clip_on": False} | options
        axes.text(x, y, text, color=color, parse_math=False, **options)

    def _ticks(self, most: int) -> tuple[list[float], list[str]]:
        places, labels = self.groups.ticks(most)
        return [place if self.has_order else place + 0.5 for place in places], labels

    def _heading(self, axes, text: str) -> None:
        """Left above a panel."""
        box = axes.get_position()
        y = box.y1 + 0.1 / self.height
        options = {"fontsize": _POINTS, "fontweight": "bold", "color": _QUIET, "parse_math": False}
        self.figure.text(box.x0, y, text, **options)

    # Title

    def _title(self, lines: list[str]) -> None:
        def write(text, inches_from_top, **options):
            y = 1 - inches_from_top / self.height
            self.figure.text(0.3 / _WIDTH, y, text, va="top", parse_math=False, **options)

        for place, line in enumerate(lines):
            write(line, _TOP + 0.34 * place, fontsize=_TITLE_POINTS, fontweight="bold", color=_TEXT)
        found = f"found {self.alert['detected_date']}"
        facts = [found, wording.evidence(self.alert), *wording.quantiles(self.alert)[1:]]
        write(" · ".join(facts), _TOP + 0.34 * len(lines) + 0.06, fontsize=_POINTS + 1, color=_QUIET)

    def _short_names(self) -> dict:
        """The names of the series, without the middle of those that are very long."""
        names = {name: self.alert[name] or "" for name in ("app_name", "channel", "os", "probe", "key")}
        half = _NAME // 2
        return {name: text if len(text) <= _NAME else f"{text[:half]}…{text[-half:]}" for name, text in names.items()}

    def _wrapped(self, text: str) -> list[str]:
        """The lines of the title: broken at blanks, and within words that are wider than the picture."""
        font = FontProperties(size=_TITLE_POINTS, weight="bold")
        renderer = self.canvas.get_renderer()
        widest = (_WIDTH - 0.6) * _DPI

        def fits(line: str) -> bool:
            return renderer.get_text_width_height_descent(line, font, ismath=False)[0] <= widest

        lines, line = [], ""
        for word in text.replace(" → ", "\xa0→\xa0").split(" "):
            if fits(f"{line} {word}".strip()):
                line = f"{line} {word}".strip()
                continue
            if line:
                lines.append(line)
            while not fits(word):
                cut = bisect_left(range(1, len(word)), True, key=lambda end: not fits(word[:end])) or 1
                lines.append(word[:cut])
                word = word[cut:]
            line = word
        lines.append(line)
        if len(lines) > _TITLE_LINES:
            # The end says how much: what is left out is the middle of a name.
            half = _TITLE_LINES // 2
            lines = [*lines[: half - 1], lines[half - 1][:-1] + "…", *lines[-half:]]
        return lines

    # Over time

    def _heat(self, axes) -> None:
        history, groups = self.history, self.groups
        shares = groups.sums(history.shares).T
        top = np.nanmax(shares) if np.isfinite(shares).any() else 1.0
        norm = PowerNorm(0.75, 0, max(top, 1e-9))
        axes.set_facecolor("#F1F2F4")
        gaps = np.isnan(shares[0])
        for at in np.flatnonzero(gaps):
            axes.axvspan(at, at + 1, facecolor="#ECEEF0", edgecolor="#B9BEC6", hatch="////", linewidth=0, zorder=1)
        extent = (0, len(history.days), 0, len(groups))
        axes.imshow(
            np.ma.masked_invalid(shares),
            cmap=_SHARES,
            norm=norm,
            origin="lower",
            aspect="auto",
            extent=extent,
            interpolation="nearest",
            zorder=2,
        )
        axes.set_xlim(*extent[:2])
        axes.set_ylim(*extent[2:])
        axes.set_yticks(*self._ticks(14))
        axes.tick_params(labelbottom=False, bottom=False)
        self._heading(axes, "Share of clients, by bucket and day")
        self._mark_days(axes, labelled=True)
        self._colour_bar(axes, norm, top)

    def _mark_days(self, axes, labelled: bool = False) -> None:
        """The change, at the beginning of its day, and the detection, at the end of its."""
        lag = timedelta(days=nights_of(self.alert["axis"]))
        changed = (self.alert["change_date"] - self.history.days[0]).days
        detected = (self.alert["detected_date"] - lag - self.history.days[0]).days + 1
        for at, style in ((changed, "-"), (detected, (0, (3, 2)))):
            axes.axvline(at, color=_AFTER, linewidth=2, linestyle=style, zorder=4, clip_on=False)
        if labelled:
            across = axes.get_xaxis_transform()
            for at, text, side in ((changed, "changed", "right"), (detected, "detected", "left")):
                self._text(axes, at, 1.03, f"{text} ", _AFTER, transform=across, ha=side, fontweight="bold")

    def _colour_bar(self, axes, norm, top: float) -> None:
        box = axes.get_position()
        bar = self.figure.add_axes([box.x1 + 0.2 / _WIDTH, box.y0, 0.2 / _WIDTH, box.height])
        marks = self.figure.colorbar(ScalarMappable(norm, _SHARES), cax=bar)
        steps = [0.0]
        for step in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1):
            if step <= top and norm(step) - norm(steps[-1]) > 0.06:
                steps.append(step)
        marks.set_ticks(steps, labels=[f"{100 * step:.3g}%" for step in steps])
        marks.ax.tick_params(labelsize=_POINTS, colors=_TEXT, length=3)
        marks.outline.set_edgecolor(_QUIET)

    def _score(self, axes) -> None:
        history = self.history
        middle = np.arange(len(history.days)) + 0.5
        highest = max(np.nanmax(history.scores, initial=0), MIN_SCORE)
        axes.set_xlim(0, len(history.days))
        axes.set_ylim(min(0, np.nanmin(history.scores, initial=0)) - 0.06 * highest, 1.12 * highest)
        axes.axhline(MIN_SCORE, color=_QUIET, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        self._text(axes, 1.015, MIN_SCORE, "alerts\nbegin", _QUIET, transform=axes.get_yaxis_transform(), va="center")
        axes.plot(middle, history.scores, color=_TEXT, linewidth=1.5, marker="o", markersize=3.5, zorder=3)
        self._heading(axes, "Score")
        axes.yaxis.get_major_locator().set_params(nbins=4)
        self._mark_days(axes)
        self._date_ticks(axes)

    def _date_ticks(self, axes) -> None:
        """Mondays, as many as fit, the year below the first and below each that follows a turn of the year."""
        days = self.history.days
        mondays = [at for at, day in enumerate(days) if day.weekday() == 0]
        mondays = mondays[:: -(-len(mondays) // 9)]
        labels, year = [], None
        for at in mondays:
            day = days[at]
            labels.append(f"{day.day} {day:%b}" + (f"\n{day.year}" if day.year != year else "\n"))
            year = day.year
        axes.set_xticks(mondays, labels)
        what = "build date" if self.alert["axis"] == "build_date" else "submission\ndate"
        self._text(axes, _BESIDE_TICKS, -0.07, what, _QUIET, va="top")

    # Before and after

    def _quantiles(self, axes) -> None:
        """Arrows from where median and 95th percentile were to where they are, above the shapes."""
        axes.set_xlim(0, len(self.groups))
        axes.set_ylim(0, 2)
        axes.set_xticks([])
        axes.set_yticks([1.5, 0.5], ["median", "95th pct."])
        axes.tick_params(length=0)
        axes.set_facecolor("#F7F8F9")
        for side in axes.spines.values():
            side.set_visible(False)
        self._heading(axes, _SHAPES)
        for y, name in ((1.5, "median"), (0.5, "p95")):
            before, after = self.alert[f"{name}_before"], self.alert[f"{name}_after"]
            ends = [self.groups.place(before), self.groups.place(after)]
            axes.plot(ends, [y, y], color=_QUIET, linewidth=1.5, zorder=2)
            axes.plot(ends[:1], [y], marker="o", markersize=9, color=_BEFORE, zorder=3, clip_on=False)
            axes.plot(ends[1:], [y], marker="D", markersize=8, color=_AFTER, zorder=3, clip_on=False)
            values = f"{wording.number(before)} → {wording.number(after)}"
            self._text(axes, 1.015, y / 2, values, va="center")

    def _shapes(self, axes) -> None:
        """A bar for each group: what stayed, and on top of it what was lost or gained."""
        groups = self.groups
        if not self.has_order:
            self._heading(axes, _SHAPES)
        before, after = groups.sums(self.history.before), groups.sums(self.history.after)
        kept = np.minimum(before, after)
        left = np.arange(len(groups))
        width = {"width": 1.0, "align": "edge", "edgecolor": "white", "linewidth": 0.6 if len(groups) > 25 else 1.2}
        axes.bar(left, kept, color=_KEPT, label="in both", **width)
        axes.bar(left, before - kept, bottom=kept, color=_BEFORE, label="lost", **width)
        axes.bar(left, after - kept, bottom=kept, color=_AFTER, label="gained", **width)
        axes.set_xlim(0, len(groups))
        axes.set_ylim(0, 1.08 * (max(before.max(), after.max()) or 1))
        axes.yaxis.get_major_locator().set_params(nbins=5)
        axes.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g}%")
        axes.grid(axis="y", color=_GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        axes.set_xticks(*self._ticks(12))
        self._text(axes, _BESIDE_TICKS, -0.035, "bucket,\nfrom" if self.has_order else "category", _QUIET, va="top")
        for place, (color, label) in enumerate(((_AFTER, "gained"), (_BEFORE, "lost"), (_KEPT, "in both"))):
            y = 0.93 - 0.13 * place
            axes.plot([1.03], [y], marker="s", markersize=11, color=color, transform=axes.transAxes, clip_on=False)
            self._text(axes, 1.055, y, label, va="center")
