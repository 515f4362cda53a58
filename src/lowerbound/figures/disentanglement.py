"""Pictures of the measures of disentanglement: what each latent has to do with each factor."""

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.figures.style import (
    INK,
    MUTED,
    NATS,
    PAPER,
    Array,
    array,
    blank,
    entitle,
    plain,
    spread,
    styled,
    tidy,
)

WRITTEN = 20  # latents beyond which the cells have no numbers


@styled()
def latents_by_factors(
    panels: Mapping[str, Float[Tensor, "D F"]], factors: Sequence[str], unused: Sequence[int] = ()
) -> Figure:
    """Draw matrices of latents and factors side by side, from white at 0 to dark blue at 1.

    Arguments:
        panels: title -> the matrix, with entries from 0 to 1.
        factors: their names, for the columns.
        unused: latents whose names are set pale.

    Example:
        >>> import torch
        >>> len(latents_by_factors({"importance": torch.eye(2)}, ["x", "y"]).axes)
        1
    """
    if not panels:
        raise UsageError("There are no matrices to draw.")
    rows = max(len(matrix) for matrix in panels.values())
    fig = blank(7.2, min(7.5, 0.85 + 0.23 * max(rows, 3)), layout="constrained")
    axes = fig.subplots(1, len(panels), squeeze=False)[0]
    for ax, (title, matrix) in zip(axes, panels.items(), strict=True):
        _matrix(ax, array(matrix), factors, unused)
        entitle(ax, title)
    return fig


def _matrix(ax: Axes, m: Array, factors: Sequence[str], unused: Sequence[int]) -> None:
    ax.imshow(m.clip(0, 1), cmap=NATS, vmin=0.0, vmax=1.0, aspect="auto")
    tidy(ax, grid=False)
    ax.spines[:].set_visible(False)
    ax.set_xticks(range(len(factors)), [plain(name) for name in factors])
    ax.tick_params(axis="x", labelcolor=INK, labelrotation=30 if max(map(len, factors)) > 7 else 0)
    shown = spread(len(m), WRITTEN)
    ax.set_yticks(list(shown), [f"z{i}" for i in shown])
    for label, i in zip(ax.get_yticklabels(), shown, strict=True):
        label.set_color(MUTED if i in unused else INK)
    if len(m) <= WRITTEN:
        for (i, j), value in [((i, j), float(m[i, j])) for i in range(m.shape[0]) for j in range(m.shape[1])]:
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6.5, color=PAPER if value > 0.45 else INK)
