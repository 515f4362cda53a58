"""log p(x): how its estimate rises with the samples, how far to trust it, and where the elbo falls short of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.figures.style import ACCENT, FAINT, INK, SECOND, array, blank, compact, styled, tidy
from lowerbound.words import counted


@styled()
def bound_curve(curve: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the mean estimate of log p(x) over the number of samples, from the elbo on.

    The band is the standard error, over images, of how far the mean is above the elbo: what the images differ in anyway
    would hide the rise.

    Arguments:
        curve: rows with "samples", "log_likelihood", "gain" and "gain_error", as `Estimates.summary` gives them.

    Example:
        >>> names = ("samples", "log_likelihood", "gain", "gain_error")
        >>> curve = [dict(zip(names, row)) for row in ((1, -99.0, 0.0, 0.0), (9, -95.0, 4.0, 0.3))]
        >>> bound_curve(curve).axes[0].get_xscale()
        'log'
    """
    if not curve:
        raise UsageError("There is no curve to draw.")
    k, y = (np.array([row[name] for row in curve], float) for name in ("samples", "log_likelihood"))
    error = np.array([row["gain_error"] or 0.0 for row in curve])
    fig = blank(7.2, 3.0, layout="constrained")
    ax = fig.add_subplot()
    tidy(ax)
    ax.fill_between(k, y - error, y + error, color=ACCENT, alpha=0.18, linewidth=0)
    ax.plot(k, y, "o-", color=ACCENT, linewidth=1.4, markersize=3.2)
    ax.set_xscale("log")
    powers = [10**e for e in range(len(str(int(k[-1]))))]
    ax.set_xticks(powers, [f"{power:,}" for power in powers])
    ax.minorticks_off()
    ax.set_xlabel("samples an image")
    ax.set_ylabel("nats")
    ax.ticklabel_format(axis="y", useOffset=False)  # a number of its own over the axis would cover the words
    ax.plot(k[:1], y[:1], "o", color=SECOND, markersize=5, zorder=3)
    words = [(f"elbo {compact(y[0])}", 0, SECOND)]
    words += [(f"{compact(y[-1])} with {int(k[-1]):,} samples", 90, ACCENT)] if len(k) > 1 else []
    for text, left, colour in words:  # over the axes, where nothing is covered
        ax.annotate(text, (0, 1), (left, 6), "axes fraction", "offset points", color=colour, fontweight="bold")
    ax.margins(x=0.03, y=0.12)
    return fig


@styled()
def tail(k_hat: Float[Tensor, "N"], limit: float) -> Figure:
    """Draw how many images have which k̂, with the limit up to which an estimate is to be trusted.

    Arguments:
        k_hat: of each image; what is not finite is left out.
        limit: see `lowerbound.metrics.trusted`.
    """
    values = array(k_hat.double())
    values = values[np.isfinite(values)].astype(float)
    if not len(values):
        raise UsageError("There is no finite k̂ to draw.")
    low, high = min(0.0, values.min()), max(1.0, values.max())
    width = max(0.05, (high - low) / 40)
    # the limit is an edge, so that no bar stands on both sides of it
    edges = limit + width * np.arange(-np.ceil((limit - low) / width) - 1, np.ceil((high - limit) / width) + 1)
    fig = blank(7.2, 2.2, layout="constrained")
    ax = fig.add_subplot()
    tidy(ax)
    for some, colour in ((values[values <= limit], ACCENT), (values[values > limit], SECOND)):
        ax.hist(some, edges, color=colour, rwidth=0.9)
    ax.axvline(limit, color=INK, linewidth=1)
    for words, side, colour in (("to be trusted", "right", ACCENT), ("not to be trusted", "left", SECOND)):
        offset = -5 if side == "right" else 5
        ax.annotate(words, (limit, 1), (offset, 4), ("data", "axes fraction"), "offset points", ha=side, color=colour)
    ax.set_xlabel("k̂")
    ax.set_ylabel("images")
    return fig


@styled()
def gaps(approximation: Float[Tensor, "N"], amortisation: Float[Tensor, "N"]) -> Figure:
    """Draw the two parts of each image's inference gap, in nats, over one another: the image with the largest first."""
    if not len(approximation):
        raise UsageError("There are no gaps to draw.")
    a, b = (array(v.double()).astype(float) for v in (approximation, amortisation))
    order = np.argsort(-(a + b), kind="stable")
    a, b, x = a[order], b[order], np.arange(len(order))
    fig = blank(7.2, 2.8, layout="constrained")
    ax = fig.add_subplot()
    tidy(ax)
    width = 0.9 if len(x) <= 150 else 1.0
    ax.bar(x, a, width, color=ACCENT)
    # an estimate may be below 0: it then stands under the line, and not upon the other part
    ax.bar(x, b, width, bottom=np.where(b >= 0, np.maximum(a, 0), np.minimum(a, 0)), color=SECOND)
    ax.axhline(0, color=FAINT, linewidth=0.8)
    ax.set_xlim(-0.7, len(x) - 0.3)
    ax.set_xticks([])
    ax.set_xlabel(f"{counted(len(x), 'image')}, the one with the largest gap first")
    ax.set_ylabel("nats")
    for words, left, colour in (("approximation", 0, ACCENT), ("amortisation", 90, SECOND)):
        ax.annotate(words, (0, 1), (left, 6), "axes fraction", "offset points", color=colour, fontweight="bold")
    return fig
