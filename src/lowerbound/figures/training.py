"""The course of a training: its curves, and the KL of each latent."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lowerbound.errors import UsageError
from lowerbound.figures.style import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    NATS,
    RULE,
    SECOND,
    Array,
    History,
    blank,
    compact,
    spread,
    styled,
    tidy,
)

# what is drawn over the training: its hint, and the room that its title takes
PANELS = {
    "elbo": ("higher is better", 28),
    "bound": ("higher is better", 40),
    "distortion": ("lower is closer", 58),
    "rate": ("what the latents carry", 28),
    "loss": ("what is minimised", 28),
}
STRIPS = {"beta": "β", "lambda": "λ", "capacity": "C"}
MARKED = 60  # points of a line: more of them would run into one another


@styled()
def curves(history: History) -> Figure:
    """Draw elbo, distortion and rate over the training, and under them the course of β, λ or the capacity.

    Where there is no elbo, since q has no density, the loss is drawn beside the distortion.

    Arguments:
        history: rows with "split", "step", "epoch" and the figures; a panel whose figure no row has is left out.

    Example:
        >>> row = {"split": "train", "step": 1, "epoch": 0.1, "elbo": -550.0, "distortion": 549.0, "rate": 1.0}
        >>> [axes.get_ylabel() for axes in curves([row, {**row, "step": 2, "elbo": -200.0}]).axes]
        ['elbo', 'distortion', 'rate']
    """
    panels = [k for k in PANELS if _known(history, k) and (k != "loss" or not _known(history, "elbo"))]
    # of the training's rows only: a validation is weighed as at the schedule's end, whatever the step
    strips = [k for k in STRIPS if _known(history, k, "train")]
    if not panels:
        raise UsageError("The history has no elbo, distortion or rate to draw: no step was logged.")
    heights = [1.9] * len(panels) + [0.8] * len(strips)
    fig = blank(7.2, sum(heights) + 0.3 * len(heights) + 0.4, layout="constrained")
    axes = fig.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    unit, name = clock(history)
    for ax, key in zip(axes, panels + strips, strict=True):
        tidy(ax)
        _curve(ax, history, key, unit) if key in panels else _schedule(ax, history, key, unit)
    axes[-1].set_xlabel(name)
    return fig


@styled()
def kl_heat(history: History, kl: Sequence[float] | None = None) -> Figure:
    """Draw the KL of each latent over the training: a row for each, the one with the largest on top.

    Arguments:
        history: the rows; those with a "kl_by_dim" are drawn.
        kl: what the latents are ordered by, so that they stand as in `kl_bars`; without it, by the last row.
    """
    rows = [r for r in history if r.get("kl_by_dim")]
    if not rows:
        raise UsageError("The history has no KL per latent: it takes a posterior and a prior that factorise.")
    unit, name = clock(history)
    course = np.array([r["kl_by_dim"] for r in rows], float).T
    order = np.argsort(-course[:, -1] if kl is None else -np.array(kl), kind="stable")
    shown = spread(len(order), 24)
    fig = blank(7.2, min(6.0, 1.1 + 0.17 * len(order)), layout="constrained")
    ax = fig.add_subplot()
    x, y = _edges([float(r[unit]) for r in rows]), np.arange(len(order) + 1)
    mesh = ax.pcolormesh(x, y, course[order], cmap=NATS, vmin=0.0, rasterized=True)
    tidy(ax, grid=False)
    ax.set_yticks([i + 0.5 for i in shown], [f"z{order[i]}" for i in shown])
    ax.invert_yaxis()
    ax.set_xlabel(name)
    bar = fig.colorbar(mesh, ax=ax, fraction=0.04, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelcolor=MUTED)
    bar.set_label("KL, nats", color=MUTED)
    return fig


@styled()
def kl_bars(kl: Sequence[float], collapsed: Iterable[int] = (), constant: Iterable[int] = ()) -> Figure:
    """Draw the KL of each latent as bars, the largest first; collapsed ones are faint, constant ones grey."""
    if not kl:
        raise UsageError("There is no KL per latent to draw: the list is empty.")
    order = sorted(range(len(kl)), key=lambda i: -kl[i])
    grey = dict.fromkeys(constant, MUTED) | dict.fromkeys(collapsed, FAINT)
    fig = blank(7.2, 2.2, layout="constrained")
    ax = fig.add_subplot()
    tidy(ax)
    width = 0.8 * min(1.0, len(kl) / 8)  # few bars stand over the whole width, but are not slabs
    ax.bar(range(len(kl)), [kl[i] for i in order], color=[grey.get(i, ACCENT) for i in order], width=width)
    shown = spread(len(kl), 24 if len(kl) <= 24 else 16)
    ax.set_xticks(list(shown), [f"z{order[r]}" for r in shown])
    for label, r in zip(ax.get_xticklabels(), shown, strict=True):
        label.set_color(FAINT if grey.get(order[r]) == FAINT else MUTED)
    ax.set_xlim(-0.7, len(kl) - 0.3)
    ax.set_ylabel("KL, nats")
    return fig


def _known(history: History, key: str, *splits: str) -> bool:
    return any(len(series(history, split, key, "step")[1]) for split in splits or ("train", "validation"))


def series(history: History, split: str, key: str, unit: str) -> tuple[Array, Array]:
    """Give one figure of a split over steps or epochs, where it is there and finite."""
    rows = [(r[unit], r[key]) for r in history if r["split"] == split and r.get(key) is not None]
    x, y = np.array(rows, float).reshape(-1, 2).T
    return x[np.isfinite(y)], y[np.isfinite(y)]


def clock(history: History) -> tuple[str, str]:
    """Count in epochs where there is more than one, else in steps."""
    epochs = [r.get("epoch") for r in history]
    many = all(e is not None for e in epochs) and max(float(e or 0) for e in epochs) > 1
    return ("epoch", "epochs") if many else ("step", "steps")


def _curve(ax: Axes, history: History, key: str, unit: str) -> None:
    hint, start = PANELS[key]
    ax.set_ylabel(key).set_visible(False)
    ax.set_title(key, loc="left", fontsize=9, fontweight="bold")
    ends, every, xs = [], [], []
    for split, colour, form in (("train", ACCENT, "-"), ("validation", SECOND, "o-")):
        x, y = series(history, split, key, unit)
        if len(x):
            lone = "o-" if len(x) == 1 else "-" if len(x) > MARKED else form
            width, depth = (1.0, 2) if split == "train" else (1.5, 3)
            ax.plot(x, y, lone, color=colour, linewidth=width, markersize=3.2, zorder=depth)
            ends.append((f"{split} {compact(float(y[-1]))}", colour))
        every.append(y)
        xs.append(x)
    # at the left, where a narrow screen has it in view
    for (text, colour), left in zip(ends, (start, start + 78), strict=False):
        beside(ax, text, 0, left, color=colour, fontweight="bold")
    low, high, hidden = view(np.concatenate(xs), np.concatenate(every))
    ax.set_ylim(low, high)
    beyond = f" · {hidden} {'point' if hidden == 1 else 'points'} beyond the view" if hidden else ""
    beside(ax, f"nats · {hint}{beyond}", 1, 0, color=MUTED, ha="right")


def beside(ax: Axes, text: str, x: float, offset: float, **options: Any) -> None:
    """Write on the line of the title."""
    ax.annotate(text, (x, 1), (offset, 6), "axes fraction", "offset points", **options)


def view(x: Array, y: Array) -> tuple[float, float, int]:
    """Choose limits that the first steps and lone spikes do not squash; say how many values lie outside."""
    late = y[x > x.min() + 0.05 * np.ptp(x)]
    low, high = np.quantile(late if len(late) >= 3 else y, [0.01, 0.99])
    room = max(high - low, 1e-9)
    if np.ptp(y) <= 2.5 * room:
        low, high = y.min(), y.max()
    low, high = max(y.min(), low - 0.15 * room), min(y.max(), high + 0.15 * room)
    pad = 0.06 * (high - low) or 0.5 * max(1.0, abs(high) * 0.01)
    return float(low - pad), float(high + pad), int(((y < low - pad) | (y > high + pad)).sum())


def _schedule(ax: Axes, history: History, key: str, unit: str) -> None:
    x, y = series(history, "train", key, unit)
    ax.plot(x, y, "-" if len(x) > 1 else "o", color=INK, linewidth=1.3, markersize=3.2)
    ax.fill_between(x, 0, y, color=RULE, linewidth=0)
    ax.set_title(STRIPS[key], loc="left", fontsize=9, fontweight="bold")
    ax.set_ylabel(key).set_visible(False)
    beside(ax, compact(float(y[-1])), 1, 0, ha="right", fontweight="bold")
    ax.set_ylim(0, 1.15 * max(float(y.max()), 1e-9))
    ax.locator_params(axis="y", nbins=2)


def _edges(x: list[float]) -> list[float]:
    """Give cells about points that need not be evenly spaced."""
    between = [(a + b) / 2 for a, b in pairwise(x)]
    first, last = (2 * x[0] - between[0], 2 * x[-1] - between[-1]) if between else (x[0] - 0.5, x[0] + 0.5)
    return [first, *between, last]
