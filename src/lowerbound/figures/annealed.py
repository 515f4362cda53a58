"""The bracket of log p(x) that annealing from both sides gives for images that the model has drawn."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lowerbound.errors import UsageError
from lowerbound.figures.style import ACCENT, INK, blank, compact, entitle, styled, tidy


@styled()
def bracket(gap: Sequence[float], error: Sequence[float]) -> Figure:
    """Draw upper - lower of each image, sorted, with the Monte Carlo error to both sides, and their mean.

    Arguments:
        gap: of each image, in nats.
        error: of each, in nats.

    Example:
        >>> bracket([0.1, 0.3], [0.1, 0.2]).axes[0].get_ylabel()
        'upper − lower, nats'
    """
    if not len(gap):
        raise UsageError("There are no images to draw.")
    value, half = np.asarray(gap, dtype=float), np.asarray(error, dtype=float)
    order, place = np.argsort(value, kind="stable"), np.arange(1, len(value) + 1)
    fig = blank(5.0, 3.4, layout="constrained")
    ax = fig.add_subplot()
    tidy(ax)
    ax.axhline(0, color=INK, linewidth=0.8)
    ax.axhline(value.mean(), color=ACCENT, linewidth=1.0, linestyle=(0, (4, 3)))
    ax.errorbar(place, value[order], half[order], fmt="none", ecolor=ACCENT, elinewidth=0.8, alpha=0.45)
    ax.scatter(place, value[order], s=10, color=ACCENT, linewidths=0, zorder=3)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set(xlabel="images drawn by the model, sorted", ylabel="upper − lower, nats")
    entitle(ax, f"Annealing from both sides: a gap of {compact(float(value.mean()))} nats on average")
    return fig
