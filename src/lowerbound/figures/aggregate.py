"""The aggregate posterior: what the rate is spent on, and where codes and prior differ."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.figures.style import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
    PAPER,
    RULE,
    SECOND,
    Array,
    array,
    blank,
    compact,
    entitle,
    styled,
    tidy,
)

MORE = LinearSegmentedColormap.from_list("more", [SECOND, PAPER, ACCENT])
SEEN = 6  # points of both in a cell, below which nothing can be said of it


@styled()
def rate_parts(parts: Sequence[tuple[str, float, float]], limit: float | None = None) -> Figure:
    """Draw the parts that the rate is the sum of, each beginning where the one above it ends, and the rate below.

    Arguments:
        parts: name, value and standard error of each, in nats.
        limit: what the first part cannot exceed.

    Example:
        >>> fig = rate_parts([("mutual information", 5.0, 0.1), ("KL(q(z) ‖ p(z))", 2.0, 0.1)], limit=6.0)
        >>> [label.get_text() for label in fig.axes[0].get_yticklabels()]
        ['mutual information', 'KL(q(z) ‖ p(z))', 'rate']
    """
    if not parts:
        raise UsageError("There is no part of the rate to draw.")
    fig = blank(7.2, 0.6 + 0.42 * (len(parts) + 1), layout="constrained")
    ax = fig.add_subplot()
    tidy(ax, grid=False)
    values = [value for _, value, _ in parts]
    starts = [sum(values[:i]) for i in range(len(values))]
    colours = [ACCENT, SECOND, MUTED][: len(parts)]
    ax.barh(range(len(parts)), values, left=starts, height=0.62, color=colours)
    ax.barh(len(parts), sum(values), height=0.62, color=FAINT)
    ends = [max(start, start + value) for start, value in zip(starts, values, strict=True)] + [sum(values)]
    wide = 1.16 * max(*ends, limit or 0.0, 1e-9)
    texts = [*(_figure(value, error) for _, value, error in parts), compact(sum(values))]
    for i, (end, text) in enumerate(zip(ends, texts, strict=True)):
        crossed = limit is not None and i == 0 and end < limit < end + 0.25 * wide
        at = limit if crossed and limit is not None else end
        ax.annotate(text, (at, i), (5, 0), "data", "offset points", va="center", color=INK)
    if limit is not None:
        ax.plot([limit, limit], [-0.42, 0.42], color=INK, linewidth=1.2, linestyle=(0, (2, 1.5)))
        ax.annotate(
            f"log N = {compact(limit)}", (limit, -0.45), (0, 2), "data", "offset points", ha="center", color=INK
        )
    ax.set_yticks(range(len(parts) + 1), [*(name for name, _, _ in parts), "rate"])
    ax.set_ylim(len(parts) + 0.5, -0.95 if limit is not None else -0.5)
    ax.set_xlim(min(0.0, *starts, sum(values)), wide)
    ax.set_xlabel("nats")
    return fig


@styled()
def marginals(codes: Float[Tensor, "N D"], draws: Float[Tensor, "M D"], names: Sequence[str]) -> Figure:
    """Draw for each coordinate the density of codes, filled, and that of draws of the prior, as a line.

    Arguments:
        codes, draws: the coordinates to be drawn, a panel for each.
        names: of the panels.
    """
    z, p = array(codes), array(draws)
    columns = min(3, z.shape[1])
    lines = -(-z.shape[1] // columns)
    fig = _under_key(0.4 + 1.75 * lines)
    axes = fig.subplots(lines, columns, squeeze=False).ravel()
    for ax, a, b, name in zip(axes, z.T, p.T, names, strict=False):
        low, high = np.quantile(np.concatenate([a, b]), [0.001, 0.999])
        edges = np.linspace(low, max(high, low + 1e-6), int(np.clip(len(a) ** 0.5 / 2, 8, 50)) + 1)
        tidy(ax, grid=False)
        ax.stairs(_density(a, edges), edges, fill=True, color=ACCENT, alpha=0.45, linewidth=0)
        ax.stairs(_density(b, edges), edges, color=SECOND, linewidth=1.4)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        entitle(ax, name)
    for ax in axes[z.shape[1] :]:
        ax.set_visible(False)
    return fig


@styled()
def holes(codes: Float[Tensor, "N 2"], draws: Float[Tensor, "N 2"], axes: tuple[str, str]) -> Figure:
    """Draw codes over draws of the prior in a plane, and beside it where there are more of these or of those.

    Example:
        >>> import torch
        >>> len(holes(torch.randn(100, 2), torch.randn(100, 2), ("z0", "z1")).axes)  # the third is the colour bar
        3
    """
    a, b = array(codes), array(draws)
    fig = _under_key(3.7)
    left, right = fig.subplots(1, 2, sharex=True, sharey=True)
    size = float(np.clip(9000 / len(a), 2, 14))
    for v, colour in ((b, SECOND), (a, ACCENT)):
        left.scatter(*v[:3000].T, s=size, color=colour, alpha=0.45, linewidths=0)
    mesh = right.pcolormesh(*_more(a, b), cmap=MORE, vmin=-1, vmax=1, rasterized=True)
    right.set_facecolor(RULE)
    for ax in (left, right):
        tidy(ax, grid=False)
        ax.set_aspect("equal", "box")
        ax.set_xlabel(axes[0])
    left.set_ylabel(axes[1])
    bar = fig.colorbar(mesh, ax=right, fraction=0.05, pad=0.02, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["prior only", "as many", "codes only"])
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=7.5, labelcolor=MUTED)
    return fig


def _figure(value: float, error: float) -> str:
    return f"{compact(value)} ± {compact(error)}" if error >= 0.005 else compact(value)


def _density(values: Array, edges: Array) -> Array:
    counts, _ = np.histogram(values, edges)
    density: Array = counts / (len(values) * np.diff(edges))
    return density


def _under_key(height: float) -> Figure:
    """Make a figure that says above its axes what the two colours are."""
    fig = blank(7.2, height, layout=ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - 0.28 / height)))
    y = 1 - 0.2 / height
    fig.text(0.012, y, "codes q(z)", color=ACCENT, fontweight="bold", fontsize=9, va="center")
    fig.text(0.145, y, "prior p(z)", color=SECOND, fontweight="bold", fontsize=9, va="center")
    return fig


def _more(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Give the edges of cells, and in each (codes - draws) / (codes + draws); none where there are few of both."""
    both = np.concatenate([a, b])
    side = int(np.clip((len(both) / 12) ** 0.5, 5, 32))
    low, high = np.quantile(both, [0.002, 0.998], axis=0)
    x, y = (np.linspace(low[i], max(high[i], low[i] + 1e-6), side + 1) for i in (0, 1))
    of_a, of_b = (np.histogram2d(v[:, 0], v[:, 1], bins=[x, y])[0].T for v in (a, b))
    n = of_a + of_b
    share = np.where(n >= SEEN, (of_a - of_b) / np.maximum(n, 1), np.nan)
    return x, y, np.ma.masked_invalid(share)
