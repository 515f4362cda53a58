"""Pictures of images: grids, reconstructions, traversals, interpolations and the plane of two latents."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.figures.style import (
    DPI,
    INK,
    MUTED,
    SECOND,
    Array,
    array,
    blank,
    compacts,
    entitle,
    plain,
    spread,
    styled,
)


@styled()
def grid(images: Float[Tensor, "N C H W"], columns: int | None = None, title: str | None = None) -> Figure:
    """Lay images in [0, 1] out in a grid, each pixel a crisp square.

    One channel is grey, three are colour, four colour and opacity; of any other number the first is shown, and said.

    Example:
        >>> import torch
        >>> grid(torch.rand(5, 1, 28, 28), columns=5).axes[0].get_images()[0].get_array().shape
        (196, 988, 3)
    """
    columns = columns or _columns(len(images))
    cells = _cells(images)
    lines = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    return _panel(lines, title=title, foot=_channels(images))[0]


@styled()
def reconstructions(
    x: Float[Tensor, "N C H W"], y: Float[Tensor, "N C H W"], columns: int | None = None, title: str | None = None
) -> Figure:
    """Lay originals out in rows, each row of originals above that of its reconstructions."""
    columns = columns or min(len(x), 12)
    a, b = _cells(x), _cells(y)
    lines = [part[i : i + columns] for i in range(0, len(a), columns) for part in (a, b)]
    names = ["original", "reconstruction"] * (len(lines) // 2)
    return _panel(lines, names=names, pairs=True, title=title, foot=_channels(x))[0]


@styled()
def traversal(
    rows: Float[Tensor, "R S C H W"],
    labels: Sequence[str],
    values: Float[Tensor, "S"] | None = None,
    title: str | None = None,
    own: Sequence[int] = (),
) -> Figure:
    """Lay out a walk along each of R latents, a row for each with its label, over an axis of the values taken.

    Where the walk starts from an image, ``own`` says for each row the column that is nearest to its code: it is framed.
    """
    at = () if values is None else spread(len(values), 11)
    marks = {} if values is None else dict(zip(at, compacts(float(values[i]) for i in at), strict=True))
    lines = [_cells(row) for row in rows]
    notes = [_channels(rows[0]), "Framed: nearest to the image's own code." if own else None]
    foot = "; ".join(note for note in notes if note) or None
    return _panel(lines, names=list(labels), marks=marks, title=title, foot=foot, framed=own)[0]


@styled()
def interpolation(
    rows: Float[Tensor, "R S C H W"],
    labels: Sequence[str] | None = None,
    title: str | None = None,
    ends: tuple[Float[Tensor, "R C H W"], Float[Tensor, "R C H W"]] | None = None,
) -> Figure:
    """Lay out strips of images, each on the way from its first to its last.

    ``ends`` are the images themselves that the strips begin and end at: they stand apart, at both sides.
    """
    marks, lines = {0: "from", rows.shape[1] - 1: "to"}, [_cells(row) for row in rows]
    apart: tuple[int, ...] = ()
    if ends:
        first, last = map(_cells, ends)
        lines = [np.concatenate([a[None], line, b[None]]) for a, line, b in zip(first, lines, last, strict=True)]
        marks = {0: "image", **{i + 1: name for i, name in marks.items()}, rows.shape[1] + 1: "image"}
        apart = (1, rows.shape[1] + 1)
    return _panel(lines, names=list(labels or ()), marks=marks, title=title, foot=_channels(rows[0]), apart=apart)[0]


@styled()
def manifold(images: Float[Tensor, "S S C H W"], values: Float[Tensor, "S"], title: str | None = None) -> Figure:
    """Lay out the images over two latents; the one in row i and column j is at z0 = values[j], z1 = values[S-1-i]."""
    at = spread(len(values), 7)
    ticks = dict(zip(at, compacts(float(values[i]) for i in at), strict=True))
    names = [ticks.get(len(values) - 1 - i, "") for i in range(len(values))]
    fig, ax = _panel(
        [_cells(r) for r in images], names=names, marks=ticks, gap=0, title=title, foot=_channels(images[0])
    )
    ax.set_xlabel("z0", color=MUTED)
    ax.set_ylabel("z1", color=MUTED, rotation=0)
    return fig


def _columns(n: int) -> int:
    """Choose the columns for n images: about 1.5 √n, and a number that leaves no gap in the last line if there is one.

    >>> _columns(5), _columns(64), _columns(100), _columns(2000), _columns(2003)
    (5, 8, 10, 80, 68)
    """
    if n <= 8:
        return max(1, n)
    wish = 1.5 * n**0.5
    even = [c for c in range(math.ceil(n**0.5), int(2 * n**0.5) + 1) if n % c == 0]
    return min(even, key=lambda c: abs(c - wish), default=math.ceil(wish))


def _channels(images: Tensor) -> str | None:
    c = images.shape[1]
    return None if c in (1, 3, 4) else f"the first of {c} channels"


def _cells(images: Float[Tensor, "N C H W"]) -> Array:
    """Give images as bytes, (N, H, W, 3): grey is repeated, opacity laid on paper."""
    x = np.nan_to_num(array(images).clip(0, 1)).transpose(0, 2, 3, 1)
    c = x.shape[-1]
    if c == 4:
        x = x[..., :3] * x[..., 3:] + (1 - x[..., 3:])
    elif c != 3:
        x = x[..., :1].repeat(3, axis=-1)
    pixels: Array = np.rint(x * 255).astype(np.uint8)
    return pixels


def _panel(
    lines: Sequence[Array],
    *,
    names: Sequence[str] = (),
    marks: Mapping[int, str] | None = None,
    gap: int = 2,
    pairs: bool = False,
    title: str | None = None,
    foot: str | None = None,
    apart: Sequence[int] = (),
    framed: Sequence[int] = (),
) -> tuple[Figure, Axes]:
    """Lay lines of images out; one screen pixel of the figure is one pixel of the mosaic, so nothing is resampled."""
    if not lines or not lines[0].size:
        raise UsageError("There are no images to lay out.")
    names, marks = [plain(n) for n in names], marks or {}
    mosaic, xs, ys = _mosaic(lines, gap, pairs, apart)
    left = 4 + (round(max(map(_width, names))) + 20 if names else 0) + (16 if gap == 0 else 0)
    top, bottom = 4 + (30 if title else 0), 4 + (24 if marks else 0) + (22 if foot or gap == 0 else 0)
    h, w = mosaic.shape[:2]
    # a title is bold, and larger than what is measured
    wide = max(left + w + 4, left + round(1.4 * _width(title or "")) + 16, left + round(_width(foot or "")) + 16)
    fig = blank(wide / DPI, (h + top + bottom) / DPI)
    ax = fig.add_axes((left / wide, bottom / (h + top + bottom), w / wide, h / (h + top + bottom)))
    ax.imshow(mosaic, interpolation="nearest", aspect="auto", extent=(0, w, h, 0))
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, labelsize=8, labelcolor=INK, pad=4)
    ax.set_xticks([xs[i] for i in marks], list(marks.values()))
    ax.set_yticks(ys if names else [], names or None)
    ax.tick_params(axis="x", labelcolor=MUTED)
    side, tall = (xs[0] + gap / 2) * 2, (ys[0] + gap / 2) * 2
    for y, column in zip(ys, framed, strict=False):  # on the gap about the image: it covers nothing
        corner = (xs[column] - side / 2, y - tall / 2)
        ax.add_patch(
            Rectangle(corner, side, tall, fill=False, color=SECOND, linewidth=gap * 72 / DPI * 1.5, clip_on=False)
        )
    entitle(ax, title)
    if foot:
        fig.text(left / wide, 4 / (h + top + bottom), foot, fontsize=7, color=MUTED, va="bottom")
    return fig, ax


def _mosaic(
    lines: Sequence[Array], gap: int, pairs: bool, apart: Sequence[int] = ()
) -> tuple[Array, list[float], list[float]]:
    """Put lines of images on paper, enlarged by a whole factor; give also the middle of each column and line.

    Before each of the columns in ``apart`` the gap is wider.
    """
    n, h, w = max(map(len, lines)), *lines[0].shape[1:3]
    k = max(1, min(12, round(1000 / (n * w))))
    x0 = [i * (w * k + gap) + 8 * gap * sum(i >= a for a in apart) for i in range(n)]
    y0 = [i * (h * k + gap) + (i // 2 * 5 * gap if pairs else 0) for i in range(len(lines))]
    mosaic = np.full((y0[-1] + h * k, x0[-1] + w * k, 3), 255, np.uint8)
    for y, line in zip(y0, lines, strict=True):
        for x, image in zip(x0, line, strict=False):
            mosaic[y : y + h * k, x : x + w * k] = image.repeat(k, axis=0).repeat(k, axis=1)
    return mosaic, [x + w * k / 2 for x in x0], [y + h * k / 2 for y in y0]


def _width(text: str) -> float:
    return float(TextPath((0, 0), text, size=8 * DPI / 72).get_extents().width) if text.strip() else 0.0
