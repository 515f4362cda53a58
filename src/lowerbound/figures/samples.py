"""Pictures of the measures of samples: the figures with their intervals, and samples beside what was trained on."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.figures.images import _cells, _channels
from lowerbound.figures.style import ACCENT, INK, MUTED, RULE, SECOND, blank, entitle, plain, styled, tidy

Shown = Mapping[str, float]  # "value", "low" and "high"


@styled()
def measures(panels: Mapping[str, tuple[str, Mapping[str, Shown]]]) -> Figure:
    """Draw measures side by side, each of several sets of images, as dots with their intervals.

    Arguments:
        panels: title -> (what is better, set -> value, low and high); every panel has the same sets.

    Example:
        >>> figure = measures({"recall": ("higher is better", {"samples": {"value": 0.5, "low": 0.4, "high": 0.6}})})
        >>> len(figure.axes)
        1
    """
    if not panels:
        raise UsageError("There are no measures to draw.")
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    sets = list(next(iter(panels.values()))[1])
    fig = blank(7.2, rows * (0.75 + 0.24 * len(sets)) + 0.1, layout="constrained")
    axes = fig.subplots(rows, columns, squeeze=False).flatten()
    for ax, (title, (hint, found)) in zip(axes, panels.items(), strict=False):
        _dots(ax, found)
        entitle(ax, title)
        ax.set_title(hint, loc="right", fontsize=7, color=MUTED)
    for ax in axes[len(panels) :]:
        ax.remove()
    return fig


def _dots(ax: Axes, found: Mapping[str, Shown]) -> None:
    tidy(ax, grid=False)
    ax.grid(True, axis="x", color=RULE, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines["left"].set_visible(False)
    for y, (each, colour) in enumerate(zip(found.values(), (ACCENT, SECOND, MUTED), strict=False)):
        ax.plot([each["low"], each["high"]], [y, y], color=colour, linewidth=2.4, alpha=0.45, solid_capstyle="butt")
        ax.plot(each["value"], y, "o", color=colour, markersize=5, clip_on=False, zorder=3)
    ax.set_yticks(range(len(found)), [plain(name) for name in found])
    ax.tick_params(axis="y", labelcolor=INK)
    ax.set_ylim(len(found) - 0.5, -0.5)
    ax.margins(x=0.08)
    ax.locator_params(axis="x", nbins=5)


@styled()
def copies(
    samples: Float[Tensor, "S C H W"],
    images: Float[Tensor, "S C H W"],
    distances: Float[Tensor, "S"],
    columns: int = 8,
    title: str | None = None,
) -> Figure:
    """Lay samples out, each above the training image that is nearest to it, with their distance under the pair.

    Example:
        >>> import torch
        >>> len(copies(torch.rand(5, 1, 8, 8), torch.rand(5, 1, 8, 8), torch.ones(5)).axes)
        5
    """
    if not len(samples):
        raise UsageError("There are no samples to lay out.")
    columns = min(columns, len(samples))
    rows = -(-len(samples) // columns)
    top, bottom = _cells(samples), _cells(images)
    fig = blank(7.2, rows * (2 * 6.6 / columns + 0.3) + (0.3 if title else 0.1), layout="constrained")
    axes = fig.subplots(rows, columns, squeeze=False).flatten()
    for i, ax in enumerate(axes):
        if i >= len(samples):
            ax.remove()
            continue
        line = np.full((max(1, top.shape[1] // 14), *top.shape[2:]), 255, np.uint8)
        ax.imshow(np.concatenate([top[i], line, bottom[i]]), interpolation="nearest")
        ax.spines[:].set_visible(False)
        ax.set(xticks=[], yticks=[])
        ax.set_xlabel(f"{float(distances[i]):.2f}", fontsize=7.5, color=MUTED, labelpad=2)
    foot = _channels(samples)
    if title:
        fig.suptitle(plain(title), x=0.01, ha="left", fontsize=9, fontweight="bold")
    if foot:
        fig.supxlabel(foot, x=0.01, ha="left", fontsize=7, color=MUTED)
    return fig
