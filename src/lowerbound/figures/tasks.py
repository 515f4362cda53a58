"""Pictures of the tasks: anomaly scores, the ROC curve, missing pixels, and nearest images."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.figures.images import _cells, _channels, _panel
from lowerbound.figures.style import (
    ACCENT,
    FAINT,
    INK,
    MUTED,
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

HIDDEN = (206, 214, 242)  # the colour of a missing pixel: of no image in grey
Strip = tuple[Float[Tensor, "n C H W"], Float[Tensor, "n"]]


@styled()
def anomalies(
    scores: Float[Tensor, "N"],
    normal: Float[Tensor, "M"] | None = None,
    threshold: float | None = None,
    anomalous: Bool[Tensor, "N"] | None = None,
    strips: Sequence[Strip] = (),
    axis: str = "anomaly score, in nats",
) -> Figure:
    """Draw how scores are spread, over those of normal images, with the threshold; and images with their scores.

    Arguments:
        scores: of the images.
        normal: those of held-out normal images.
        threshold: drawn as a line, unless it is infinite.
        anomalous: which images are known to be anomalous: they are drawn apart.
        strips: the most anomalous images with their scores, then the least.
        axis: what the scores are.
    """
    tall = 2.7 + 1.1 * len(strips)
    fig = blank(7.2, tall, layout="constrained")
    if not strips:
        _spread(fig.add_subplot(), scores, normal, threshold, anomalous, axis)
        return fig
    grid = fig.add_gridspec(2, 1, height_ratios=[2.7, 1.1 * len(strips)])
    _spread(fig.add_subfigure(grid[0]).add_subplot(), scores, normal, threshold, anomalous, axis)
    names = ["most anomalous", "least anomalous"]
    _strips(fig.add_subfigure(grid[1]), [(name, *strip) for name, strip in zip(names, strips, strict=True)])
    return fig


def _spread(
    ax: Axes, scores: Tensor, normal: Tensor | None, threshold: float | None, anomalous: Tensor | None, axis: str
) -> None:
    kinds: list[tuple[str, Array, str]] = []
    if normal is not None:
        kinds.append((f"held-out normal images ({len(normal):,})", array(normal), FAINT))
    if anomalous is None:
        kinds.append((f"these images ({len(scores):,})", array(scores), ACCENT))
    else:
        for name, which, colour in (("normal", ~anomalous, ACCENT), ("anomalous", anomalous, SECOND)):
            kinds.append((f"{name} ({int(which.sum()):,})", array(scores[which]), colour))
    finite = [v[np.isfinite(v)] for _, v, _ in kinds]
    some = [v for v in finite if len(v)]
    if not some:
        raise UsageError("No score is finite: there is nothing to draw.")
    low, high = _view(some)
    if threshold is not None and np.isfinite(threshold):
        high = max(high, threshold)
    low, high = low - 0.03 * (high - low), high + 0.03 * (high - low)
    bins = int(np.clip(2 * min(map(len, some)) ** 0.5, 8, 50))
    for (name, _, colour), v in zip(kinds, finite, strict=True):
        filled = colour == FAINT
        ax.hist(v, bins=bins, range=(low, high), weights=np.full(len(v), 1 / max(len(v), 1)), color=colour, label=name,
                histtype="stepfilled" if filled else "step", linewidth=1.4, alpha=0.7 if filled else 1)  # fmt: skip
    tidy(ax)
    ax.set(xlabel=axis, ylabel="share of images", xlim=(low, high))
    if threshold is not None and np.isfinite(threshold):
        ax.axvline(threshold, color=INK, linewidth=1, linestyle="--", label=f"threshold {compact(threshold)}")
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, frameon=False, fontsize=7.5, handlelength=1.4)
    above, below = (sum(int(side.sum()) for side in sides) for sides in
                    ([v > high for _, v, _ in kinds], [v < low for _, v, _ in kinds]))  # fmt: skip
    said = [f"← {below:,} below"] * (below > 0) + [f"{above:,} above →"] * (above > 0)
    if said:
        ax.text(1, 1.01, "   ".join(said), transform=ax.transAxes, ha="right", va="bottom", fontsize=7, color=MUTED)


def _view(kinds: Sequence[Array]) -> tuple[float, float]:
    """Choose what of the scores is shown: not those far out, which would squash the first kind, the normal ones.

    >>> [round(end) for end in _view([np.arange(1000.0), np.array([500.0, 1e6])])]
    [2, 5924]
    """
    ends = [(float(np.quantile(v, 0.002)), float(np.quantile(v, 0.99))) for v in kinds]
    low, high = ends[0]
    reach = max(high - low, 1e-3)
    return max(min(a for a, _ in ends), low - 5 * reach), min(max(b for _, b in ends), high + 5 * reach)


def _strips(fig: SubFigure, rows: Sequence[tuple[str, Tensor, Tensor]], columns: int = 10) -> None:
    """Lay rows of images out, each with a number under it."""
    axes = fig.subplots(len(rows), columns, squeeze=False)
    for line, (name, images, numbers) in zip(axes, rows, strict=True):
        cells = _cells(images)
        for i, ax in enumerate(line):
            ax.axis("off")
            if i < len(cells):
                ax.imshow(cells[i], interpolation="nearest")
                ax.set_title(compact(float(numbers[i])), fontsize=6.5, color=MUTED, y=-0.28, pad=0, va="bottom")
        said = line[0].text(0, 1.04, name, transform=line[0].transAxes, fontsize=7.5, color=INK, va="bottom")
        said.set_in_layout(False)  # it may be wider than its image


@styled()
def roc(
    alarms: Float[Tensor, "T"],
    detected: Float[Tensor, "T"],
    area: str = "",
    at: tuple[float, float] | None = None,
) -> Figure:
    """Draw the share of anomalous images that are found over that of normal ones that are flagged.

    Arguments:
        alarms, detected: the two shares at every threshold, as `lowerbound.metrics.roc` gives them.
        area: the area in words, which becomes part of the title.
        at: the two shares at the threshold that was chosen: a dot.
    """
    fig = blank(4.4, 4.4, layout="constrained")
    ax = fig.add_subplot()
    tidy(ax)
    ax.plot([0, 1], [0, 1], color=RULE, linewidth=1)
    ax.plot(array(alarms), array(detected), color=ACCENT, linewidth=1.5)
    if at:
        ax.plot(*at, "o", color=SECOND, markersize=5, clip_on=False, zorder=3)
        inner = at[0] < 0.5
        ax.annotate(
            "at the threshold", at, xytext=(9 if inner else -9, -9), textcoords="offset points", fontsize=7.5,
            color=SECOND, va="top", ha="left" if inner else "right",
        )  # fmt: skip
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.set(xlabel="normal images flagged (false alarms)", ylabel="anomalous images flagged")
    entitle(ax, f"Area {area}" if area else None)
    return fig


@styled()
def imputed(
    x: Float[Tensor, "N C H W"] | None,
    missing: Bool[Tensor, "N C H W"],
    draws: Float[Tensor, "K N C H W"],
    mean: Float[Tensor, "N C H W"],
    names: Sequence[str] = (),
    title: str | None = None,
) -> Figure:
    """Lay images out in rows: the original where it is known, what was seen of it, the draws, and their mean."""
    known = draws[0] if x is None else x
    seen = _cells(known)
    seen[array(missing).any(1)] = HIDDEN
    lines = []
    for i in range(len(mean)):
        parts = [_cells(known[i : i + 1])] if x is not None else []
        lines.append(np.concatenate([*parts, seen[i : i + 1], _cells(draws[:, i]), _cells(mean[i : i + 1])]))
    first = 1 + (x is not None)
    marks = {0: "original"} if x is not None else {}
    marks |= {first - 1: "seen", first: "drawn", len(lines[0]) - 1: "mean"}
    apart = (first, first + len(draws))
    fig, _ = _panel(lines, names=list(names), marks=marks, title=title, foot=_channels(mean), apart=apart)
    return fig


@styled()
def nearest(
    query: Float[Tensor, "1 C H W"], rows: Sequence[tuple[str, Float[Tensor, "K C H W"], Float[Tensor, "K"]]], name: str
) -> Figure:
    """Lay out the nearest images by each of some measures of distance, the distance under each, beside the query."""
    columns = max(len(images) for _, images, _ in rows)
    fig = blank(7.2, len(rows) * (0.42 + 5.8 / max(columns, 6)), layout="constrained")
    grid = fig.add_gridspec(1, 2, width_ratios=[1, 5])
    ax = fig.add_subfigure(grid[0]).add_subplot()
    ax.axis("off")
    ax.imshow(_cells(query)[0], interpolation="nearest")
    entitle(ax, name if len(name) < 22 else f"…{name[-20:]}")
    _strips(fig.add_subfigure(grid[1]), rows, columns)
    return fig
