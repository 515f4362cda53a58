"""Several runs in one picture: rate against distortion, the elbo over what is varied, curves over one another."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lowerbound.errors import UsageError
from lowerbound.figures.style import (
    ACCENT,
    CLASSES,
    FAINT,
    INK,
    MUTED,
    SECOND,
    Array,
    History,
    blank,
    compact,
    plain,
    spread,
    styled,
    tidy,
)
from lowerbound.figures.training import PANELS, beside, clock, series, view

LINES = ("-", "--", ":", "-.")  # after as many runs as there are colours, the next kind of line
SIZE, FONT = (5.0, 4.0), 10.0  # inches and points: on a phone's 340 pixels the text is still as large as it is here


@final
@dataclass(frozen=True)
class Point:
    """A run, or some that differ in the seed only, by its rate and distortion in nats.

    Arguments:
        label: is written beside it.
        rate, distortion, elbo: each a mean and the half length of its bar, or None for no bar.
        link: what a page leads to from the point.
        value: of what a sweep varies.
        begun: whether it has hardly begun: it is then never the best one.
    """

    label: str
    rate: tuple[float, float | None]
    distortion: tuple[float, float | None]
    elbo: tuple[float, float | None]
    link: str | None = None
    value: Any = None
    begun: bool = False


@styled()
def rate_distortion(points: Sequence[Point], curve: bool = True) -> Figure:
    r"""Draw points by their rate and distortion, on faint lines of equal elbo; the best elbo is orange.

    .. math:: \mathrm{elbo} = -(\mathrm{distortion} + \mathrm{rate})

    Reference: Fixing a broken ELBO (Alemi et al., 2018).

    Arguments:
        points: in the order in which a curve joins them.
        curve: whether there is one, as there is in a sweep.

    Example:
        >>> some = [Point(f"β = {b}", (r, None), (d, None), (-r - d, None)) for b, r, d in ((1, 9, 80), (4, 5, 95))]
        >>> axes = rate_distortion(some).axes[0]
        >>> axes.get_xlabel(), axes.get_ylabel()
        ('rate, nats', 'distortion, nats')
    """
    if not points:
        raise UsageError("There are no points to draw.")
    fig, ax = _canvas()
    x, y = ([getattr(p, name)[0] for p in points] for name in ("rate", "distortion"))
    if curve:
        ax.plot(x, y, color=ACCENT, linewidth=1.2, zorder=2)
    _marks(ax, points, x, y, [p.rate[1] for p in points], [p.distortion[1] for p in points])
    ax.margins(0.1, 0.12)
    ax.autoscale_view()
    low, high = ax.get_xlim()
    ax.set_xlim(low, high + 0.12 * (high - low))  # for the last label
    _labels(ax, points, x, y)
    _lines_of_equal_elbo(ax)
    ax.grid(False)  # the slanted lines are the grid
    ax.set(xlabel="rate, nats", ylabel="distortion, nats")
    return fig


@styled()
def elbo_over(points: Sequence[Point], name: str) -> Figure:
    """Draw the elbo over what a sweep varies: on a logarithmic axis where its values allow it, else side by side."""
    if not points:
        raise UsageError("There are no points to draw.")
    fig, ax = _canvas()
    values = [p.value for p in points]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) and v > 0 for v in values)
    x = [float(v) for v in values] if numbers else [float(i) for i in range(len(points))]
    y = [p.elbo[0] for p in points]
    if numbers:
        ax.set_xscale("log")
        ax.plot(x, y, color=ACCENT, linewidth=1.2, zorder=2)
    _marks(ax, points, x, y, [None] * len(points), [p.elbo[1] for p in points])
    ax.margins(0.08, 0.12)
    at = [i for i in range(len(x)) if i in spread(len(x), 8)]
    texts = [f"{v:.3g}" for v in x] if numbers else [p.label for p in points]
    ax.set_xticks([x[i] for i in at], [plain(texts[i]) for i in at])
    ax.minorticks_off()
    if not numbers and max(map(len, texts)) * len(at) > 40:
        ax.tick_params(axis="x", labelrotation=30)
    ax.set(xlabel=plain(name), ylabel="elbo, nats")
    return fig


@styled()
def overlay(courses: Mapping[str, Sequence[History]]) -> Figure:
    """Draw elbo, distortion and rate of several trainings over one another, with one colour for each name.

    Arguments:
        courses: under each name the history of one run, or those of the same run from several seeds.

    Validations are drawn where every run has two or more, else the means of the training steps.

    Example:
        >>> row = {"split": "train", "epoch": 0.1, "elbo": -550.0, "distortion": 549.0, "rate": 1.0}
        >>> history = [{**row, "step": 1}, {**row, "step": 2}]
        >>> [axes.get_title(loc="left") for axes in overlay({"a": [history], "b": [history, history]}).axes]
        ['elbo', 'distortion', 'rate']
    """
    every = [history for some in courses.values() for history in some]
    split = "validation" if all(sum(r["split"] == "validation" for r in h) > 1 for h in every) else "train"
    rows = [r for h in every for r in h if r["split"] == split]
    kinds = ("elbo", "distortion", "rate") if any(r.get("elbo") is not None for r in rows) else ("distortion", "loss")
    panels = [key for key in kinds if any(r.get(key) is not None for r in rows)]
    if not panels:
        raise UsageError("The histories have no elbo, distortion or rate to draw: no step was logged.")
    unit, name = clock([row for history in every for row in history])
    names = [plain(label) for label in courses]
    columns = max(1, min(4, 110 // (max(map(len, names)) + 8)))
    depth = 0.19 * math.ceil(len(names) / columns)
    fig = blank(7.2, 2.1 * len(panels) + 0.5 + depth, layout="constrained")
    axes = fig.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for ax, key in zip(axes, panels, strict=True):
        _course(ax, courses, key, split, unit)
    axes[-1].set_xlabel(name)
    handles = [ax_line for ax_line in axes[0].lines if ax_line.get_label() in names]
    fig.legend(handles, names, loc="outside lower left", ncols=columns, frameon=False, fontsize=7.5)
    return fig


def _course(ax: Axes, courses: Mapping[str, Sequence[History]], key: str, split: str, unit: str) -> None:
    """Draw one figure of all runs, in a view that first steps do not squash."""
    tidy(ax)
    ax.set_title(key, loc="left", fontsize=9, fontweight="bold")
    xs, ys = [], []
    for i, (name, histories) in enumerate(courses.items()):
        style: dict[str, Any] = {"color": CLASSES[i % 10], "linestyle": LINES[i // 10 % len(LINES)]}
        for j, history in enumerate(histories):
            x, y = series(history, split, key, unit)
            xs.append(x)
            ys.append(y)
            label = plain(name) if j == 0 else f"_{i} {j}"  # matplotlib's legends leave out what begins so
            ax.plot(x, y, linewidth=1.3 if len(histories) == 1 else 0.9, label=label, **style)
    x, y = np.concatenate(xs), np.concatenate(ys)
    low, high, hidden = view(x, y)
    ax.set_ylim(low, high)
    beyond = f" · {hidden} {'point' if hidden == 1 else 'points'} beyond the view" if hidden else ""
    beside(ax, f"nats · {split} · {PANELS[key][0]}{beyond}", 1, 0, color=MUTED, ha="right")


def _canvas() -> tuple[Figure, Axes]:
    fig = blank(*SIZE, layout="constrained")
    ax = fig.add_subplot()
    tidy(ax)
    ax.tick_params(labelsize=FONT - 1)
    ax.xaxis.label.set_fontsize(FONT)
    ax.yaxis.label.set_fontsize(FONT)
    ax.locator_params(nbins=6)
    return fig, ax


def _marks(
    ax: Axes,
    points: Sequence[Point],
    x: Sequence[float],
    y: Sequence[float],
    across: Sequence[float | None],
    upright: Sequence[float | None],
) -> None:
    """Draw each point with its bars, as an element of its own, so that a page can make a link of it."""
    trained = [i for i, point in enumerate(points) if not point.begun]
    best = max(trained, key=lambda i: points[i].elbo[0], default=None)
    for i, point in enumerate(points):
        colour = SECOND if i == best else ACCENT
        ax.errorbar(x[i], y[i], upright[i], across[i], fmt="none", ecolor=colour, elinewidth=1.2, capsize=2.5, zorder=3)
        dot = ax.scatter([x[i]], [y[i]], s=46, color=colour, linewidths=0, zorder=4)
        if point.link:
            dot.set_urls([point.link])


def _labels(ax: Axes, points: Sequence[Point], x: Sequence[float], y: Sequence[float]) -> None:
    """Write labels above their points and to the right, where a falling curve is not; left out where they collide."""
    room = np.array([SIZE[0] * 58, SIZE[1] * 58])  # points on paper that the axes take, about
    spans = np.array([np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())])
    taken: list[tuple[Array, float]] = []
    for point, a, b in zip(points, x, y, strict=True):
        place, width = np.array([a, b]) / spans * room, 0.62 * FONT * len(point.label)
        if any(abs(place - other)[1] < 1.25 * FONT and abs(place - other)[0] < max(width, wide) + 4
               for other, wide in taken):  # fmt: skip
            continue
        taken.append((place, width))
        ax.annotate(plain(point.label), (a, b), (5, 4), "data", "offset points", fontsize=FONT - 0.5, color=INK)


def _lines_of_equal_elbo(ax: Axes) -> None:
    """Draw faint lines rate + distortion = constant, every so many nats, and say how many."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    sums = MaxNLocator(9).tick_values(left + low, right + high)
    for total in sums:
        ax.plot([left, right], [total - left, total - right], color=FAINT, linewidth=0.6, zorder=1)
    ax.set(xlim=(left, right), ylim=(low, high))
    beside(ax, f"faint: equal elbo, every {compact(float(sums[1] - sums[0]))} nats", 1, 0, color=MUTED, ha="right")
