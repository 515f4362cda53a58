"""Scatter plots of codes and of data that are vectors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.figure import Figure
from torch import Tensor

from lowerbound.figures.style import (
    ACCENT,
    CLASSES,
    MUTED,
    SECOND,
    array,
    blank,
    entitle,
    legend_beside,
    plain,
    styled,
    tidy,
)


@styled()
def scatter(
    codes: Float[Tensor, "N 2"],
    labels: Shaped[Tensor, "N"] | None = None,
    classes: Sequence[str] | None = None,
    axes: tuple[str, str] = ("z0", "z1"),
    title: str | None = None,
) -> Figure:
    """Draw codes as points, coloured by label with a legend, or with a colour bar beyond 20 classes."""
    z = array(codes)
    y = None if labels is None else array(labels)
    kinds = [] if y is None else sorted(set(y.tolist()))
    fig = blank(6.4 if kinds else 5.4, 5.2, layout="constrained")
    ax = fig.add_subplot()
    tidy(ax)
    dots: dict[str, Any] = {"s": _dot(len(z)), "alpha": 0.7, "linewidths": 0}
    if y is None:
        ax.scatter(z[:, 0], z[:, 1], color=ACCENT, **dots)
    elif len(kinds) > 20:
        bar = fig.colorbar(ax.scatter(z[:, 0], z[:, 1], c=y, cmap="viridis", **dots), ax=ax, fraction=0.04, pad=0.02)
        bar.ax.tick_params(length=0, labelcolor=MUTED)
        bar.solids.set_alpha(1)  # type: ignore[union-attr]
    else:
        for i, kind in enumerate(kinds):
            name = classes[int(kind)] if classes else f"{kind:g}"
            a, b = z[y == kind].T
            ax.scatter(a, b, color=CLASSES[i % 10], marker="o^"[i // 10], label=plain(name), **dots)
        legend_beside(ax)
    if float(np.ptp(z, axis=0).max()) > 1e-3:
        ax.set_aspect("equal", "datalim")
    else:  # all latents collapsed: one point has no extent that could be the view
        ax.set(xlim=(z[0, 0] - 1, z[0, 0] + 1), ylim=(z[0, 1] - 1, z[0, 1] + 1))
    ax.set(xlabel=plain(axes[0]), ylabel=plain(axes[1]))
    entitle(ax, title)
    return fig


@styled()
def points(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"], names: tuple[str, str] = ("data", "samples")) -> Figure:
    """Draw vector data beside samples, in the same axes; of more than two coordinates the first two, and says so."""
    a, b = (np.pad(array(v)[:, :2], ((0, 0), (0, max(0, 2 - v.shape[1])))) for v in (x, y))
    fig = blank(7.2, 3.7, layout="constrained")
    pair = fig.subplots(1, 2, sharex=True, sharey=True)
    for ax, v, name, colour in zip(pair, (a, b), names, (ACCENT, SECOND), strict=True):
        tidy(ax)
        ax.scatter(*v.T, color=colour, s=_dot(len(v)), alpha=0.5, linewidths=0)
        ax.set_aspect("equal")
        entitle(ax, name)
    # the data give the view: one sample far out would squash both
    middle, reach = (a.max(0) + a.min(0)) / 2, 0.6 * max(float(np.ptp(a, axis=0).max()), 1e-3)
    ax.set(xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] - reach, middle[1] + reach))
    beyond = int((np.abs(b - middle) > reach).any(1).sum())
    notes = [f"{beyond} of {len(b)} samples lie beyond the view"] if beyond else []
    notes += [f"the first two of {x.shape[1]} coordinates"] if x.shape[1] > 2 else []
    if notes:
        fig.supxlabel("; ".join(notes), color=MUTED, fontsize=7.0)
    return fig


def _dot(n: int) -> float:
    return float(np.clip(16000 / max(n, 1), 3, 18))
