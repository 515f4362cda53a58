"""Figures: tensors and history rows in, a matplotlib ``Figure`` out, never shown.

Nothing process-wide is touched: no pyplot, and matplotlib's settings are changed only inside each function.
"""

import hashlib
import io
import math
import re
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from torch import Tensor

from lowerbound import files
from lowerbound.errors import UsageError

History = Sequence[Mapping[str, Any]]
Array = NDArray[Any]

ACCENT, SECOND = "#3b5bdb", "#e8590c"  # training and validation; a pair that every kind of sight tells apart
INK, MUTED, RULE, FAINT, PAPER = "#1f2430", "#6b7385", "#e6e8ee", "#c3c8d2", "#ffffff"
# ten classes that stay apart under colour blindness: Paul Tol's "muted", with a black for its pale grey
CLASSES = (
    "#332288", "#ddaa33", "#117733", "#cc6677", "#88ccee", "#882255", "#44aa99", "#999933", "#aa4499", "#222222",
)  # fmt: skip
NATS = LinearSegmentedColormap.from_list("nats", ["#f4f6fd", "#a9b8f0", ACCENT, "#16236b"])
DPI = 150
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
# a page may give its own colours for these, as for a dark screen
NAMES = {ACCENT: "accent", SECOND: "second", INK: "ink", MUTED: "muted", RULE: "rule", FAINT: "faint", PAPER: "paper"}
STYLE: Any = {
    "axes.edgecolor": FAINT, "axes.facecolor": PAPER, "axes.labelcolor": MUTED, "axes.linewidth": 0.8,
    "axes.spines.right": False, "axes.spines.top": False, "axes.titlecolor": INK, "axes.unicode_minus": True,
    "figure.facecolor": PAPER, "font.family": ["DejaVu Sans"], "font.size": 8.0, "image.interpolation": "nearest",
    "svg.fonttype": "none", "svg.hashsalt": "lowerbound", "text.color": INK, "text.parse_math": False,
    "text.usetex": False,
}  # fmt: skip
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # a name in a script that the font lacks shows as boxes in a PNG (an SVG has its text): no reason for alarm
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


@_style()
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
    fig = _figure(7.2, sum(heights) + 0.3 * len(heights) + 0.4, layout="constrained")
    axes = fig.subplots(len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    unit, name = _clock(history)
    for ax, key in zip(axes, panels + strips, strict=True):
        _tidy(ax)
        _curve(ax, history, key, unit) if key in panels else _schedule(ax, history, key, unit)
    axes[-1].set_xlabel(name)
    return fig


@_style()
def kl_heat(history: History, kl: Sequence[float] | None = None) -> Figure:
    """Draw the KL of each latent over the training: a row for each, the one with the largest on top.

    Arguments:
        history: the rows; those with a "kl_by_dim" are drawn.
        kl: what the latents are ordered by, so that they stand as in `kl_bars`; without it, by the last row.
    """
    rows = [r for r in history if r.get("kl_by_dim")]
    if not rows:
        raise UsageError("The history has no KL per latent: it takes a posterior and a prior that factorise.")
    unit, name = _clock(history)
    course = np.array([r["kl_by_dim"] for r in rows], float).T
    order = np.argsort(-course[:, -1] if kl is None else -np.array(kl), kind="stable")
    shown = _spread(len(order), 24)
    fig = _figure(7.2, min(6.0, 1.1 + 0.17 * len(order)), layout="constrained")
    ax = fig.add_subplot()
    x, y = _edges([float(r[unit]) for r in rows]), np.arange(len(order) + 1)
    mesh = ax.pcolormesh(x, y, course[order], cmap=NATS, vmin=0.0, rasterized=True)
    _tidy(ax, grid=False)
    ax.set_yticks([i + 0.5 for i in shown], [f"z{order[i]}" for i in shown])
    ax.invert_yaxis()
    ax.set_xlabel(name)
    bar = fig.colorbar(mesh, ax=ax, fraction=0.04, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelcolor=MUTED)
    bar.set_label("KL, nats", color=MUTED)
    return fig


@_style()
def kl_bars(kl: Sequence[float], collapsed: Iterable[int] = (), constant: Iterable[int] = ()) -> Figure:
    """Draw the KL of each latent as bars, the largest first; collapsed ones are faint, constant ones grey."""
    if not kl:
        raise UsageError("There is no KL per latent to draw: the list is empty.")
    order = sorted(range(len(kl)), key=lambda i: -kl[i])
    grey = dict.fromkeys(constant, MUTED) | dict.fromkeys(collapsed, FAINT)
    fig = _figure(7.2, 2.2, layout="constrained")
    ax = fig.add_subplot()
    _tidy(ax)
    width = 0.8 * min(1.0, len(kl) / 8)  # few bars stand over the whole width, but are not slabs
    ax.bar(range(len(kl)), [kl[i] for i in order], color=[grey.get(i, ACCENT) for i in order], width=width)
    shown = _spread(len(kl), 24 if len(kl) <= 24 else 16)
    ax.set_xticks(list(shown), [f"z{order[r]}" for r in shown])
    for label, r in zip(ax.get_xticklabels(), shown, strict=True):
        label.set_color(FAINT if grey.get(order[r]) == FAINT else MUTED)
    ax.set_xlim(-0.7, len(kl) - 0.3)
    ax.set_ylabel("KL, nats")
    return fig


@_style()
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


@_style()
def reconstructions(
    x: Float[Tensor, "N C H W"], y: Float[Tensor, "N C H W"], columns: int | None = None, title: str | None = None
) -> Figure:
    """Lay originals out in rows, each row of originals above that of its reconstructions."""
    columns = columns or min(len(x), 12)
    a, b = _cells(x), _cells(y)
    lines = [part[i : i + columns] for i in range(0, len(a), columns) for part in (a, b)]
    names = ["original", "reconstruction"] * (len(lines) // 2)
    return _panel(lines, names=names, pairs=True, title=title, foot=_channels(x))[0]


@_style()
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
    at = () if values is None else _spread(len(values), 11)
    marks = {} if values is None else dict(zip(at, _numbers(float(values[i]) for i in at), strict=True))
    lines = [_cells(row) for row in rows]
    notes = [_channels(rows[0]), "Framed: nearest to the image's own code." if own else None]
    foot = "; ".join(note for note in notes if note) or None
    return _panel(lines, names=list(labels), marks=marks, title=title, foot=foot, framed=own)[0]


@_style()
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


@_style()
def manifold(images: Float[Tensor, "S S C H W"], values: Float[Tensor, "S"], title: str | None = None) -> Figure:
    """Lay out the images over two latents; the one in row i and column j is at z0 = values[j], z1 = values[S-1-i]."""
    at = _spread(len(values), 7)
    ticks = dict(zip(at, _numbers(float(values[i]) for i in at), strict=True))
    names = [ticks.get(len(values) - 1 - i, "") for i in range(len(values))]
    fig, ax = _panel(
        [_cells(r) for r in images], names=names, marks=ticks, gap=0, title=title, foot=_channels(images[0])
    )
    ax.set_xlabel("z0", color=MUTED)
    ax.set_ylabel("z1", color=MUTED, rotation=0)
    return fig


@_style()
def scatter(
    codes: Float[Tensor, "N 2"],
    labels: Shaped[Tensor, "N"] | None = None,
    classes: Sequence[str] | None = None,
    axes: tuple[str, str] = ("z0", "z1"),
    title: str | None = None,
) -> Figure:
    """Draw codes as points, coloured by label with a legend, or with a colour bar beyond 20 classes."""
    z = _numpy(codes)
    y = None if labels is None else _numpy(labels)
    kinds = [] if y is None else sorted(set(y.tolist()))
    fig = _figure(6.4 if kinds else 5.4, 5.2, layout="constrained")
    ax = fig.add_subplot()
    _tidy(ax)
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
            ax.scatter(a, b, color=CLASSES[i % 10], marker="o^"[i // 10], label=_plain(name), **dots)
        _legend(ax)
    if float(np.ptp(z, axis=0).max()) > 1e-3:
        ax.set_aspect("equal", "datalim")
    else:  # all latents collapsed: one point has no extent that could be the view
        ax.set(xlim=(z[0, 0] - 1, z[0, 0] + 1), ylim=(z[0, 1] - 1, z[0, 1] + 1))
    ax.set(xlabel=_plain(axes[0]), ylabel=_plain(axes[1]))
    _title(ax, title)
    return fig


@_style()
def points(x: Float[Tensor, "N D"], y: Float[Tensor, "M D"], names: tuple[str, str] = ("data", "samples")) -> Figure:
    """Draw vector data beside samples, in the same axes; of more than two coordinates the first two, and says so."""
    a, b = (np.pad(_numpy(v)[:, :2], ((0, 0), (0, max(0, 2 - v.shape[1])))) for v in (x, y))
    fig = _figure(7.2, 3.7, layout="constrained")
    pair = fig.subplots(1, 2, sharex=True, sharey=True)
    for ax, v, name, colour in zip(pair, (a, b), names, (ACCENT, SECOND), strict=True):
        _tidy(ax)
        ax.scatter(*v.T, color=colour, s=_dot(len(v)), alpha=0.5, linewidths=0)
        ax.set_aspect("equal")
        _title(ax, name)
    # the data give the view: one sample far out would squash both
    middle, reach = (a.max(0) + a.min(0)) / 2, 0.6 * max(float(np.ptp(a, axis=0).max()), 1e-3)
    ax.set(xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] - reach, middle[1] + reach))
    beyond = int((np.abs(b - middle) > reach).any(1).sum())
    notes = [f"{beyond} of {len(b)} samples lie beyond the view"] if beyond else []
    notes += [f"the first two of {x.shape[1]} coordinates"] if x.shape[1] > 2 else []
    if notes:
        fig.supxlabel("; ".join(notes), color=MUTED, fontsize=7.0)
    return fig


@_style()
def svg(fig: Figure, label: str = "") -> str:
    """Give a figure as one ``<svg>`` element to stand in a page: no header, nothing external, ids of its own.

    Equal figures give equal text. ``label`` is read out by screen readers.
    """
    file = io.BytesIO()
    fig.savefig(file, format="svg", dpi=2 * DPI, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    root = ElementTree.fromstring(file.getvalue())
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {k.rpartition("}")[2]: v.replace("'DejaVu Sans'", FONTS) for k, v in element.items()}
    for defs in [d for d in root.findall("defs") if d.find("style") is not None]:
        root.remove(defs)  # its rule is for every element: in a page it would reach beyond the figure
    for element in root.iter():
        if style := element.get("style"):
            element.set("style", re.sub(r"#[0-9a-f]{6}\b", _themed, style))
    root.attrib = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": root.get("viewBox", ""), "role": "img"}
    root.attrib |= {"aria-label": _plain(label), "style": "stroke-linejoin:round;stroke-linecap:butt"}
    used = re.findall(r"#([\w.-]+)", " ".join(v for e in root.iter() for k, v in e.items() if k != "id"))
    named = [e.get("id", "") for e in root.iter()]
    # matplotlib's ids hash the last bits of the layout, which differ from run to run: counted ones do not
    numbers = {name: f"i{n}" for n, name in enumerate(name for name in named if name in set(used))}
    _rename(root, numbers)
    mark = f"f{hashlib.sha256(ElementTree.tostring(root)).hexdigest()[:10]}"
    _rename(root, {name: f"{mark}-{name}" for name in numbers.values()})
    return ElementTree.tostring(root, encoding="unicode")


def _themed(colour: re.Match[str]) -> str:
    """Give a colour the name under which a page may change it."""
    name = NAMES.get(colour[0])
    return f"var(--chart-{name}, {colour[0]})" if name else colour[0]


def _rename(root: ElementTree.Element, names: Mapping[str, str]) -> None:
    """Give elements other ids, here and where they are referred to; an id without a new name is left out."""
    for element in root.iter():
        for key, value in list(element.items()):
            if key == "id":
                del element.attrib[key]
                element.attrib |= {key: names[value]} if value in names else {}
            elif key == "href" and value[1:] in names:
                element.set(key, f"#{names[value[1:]]}")
            else:
                element.set(key, re.sub(r"url\(#([^)]+)\)", lambda m: f"url(#{names.get(m[1], m[1])})", value))


@_style()
def save(fig: Figure, path: Path | str, note: str | None = None) -> Path:
    """Write a figure as PNG, all or nothing; equal figures give equal bytes.

    Arguments:
        fig: the figure, which is left as it is.
        path: the file; its folder must exist.
        note: which weights the figure came from: put into the file's text, and under the figure as a small line.
    """
    pixels = _pixels(fig)
    text = PngImagePlugin.PngInfo()
    if note:
        text.add_itxt("Description", note)
        pixels = np.concatenate([pixels, _caption(note, pixels.shape[1])])
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", pnginfo=text, optimize=True)
    files.write(Path(path), file.getvalue())
    return Path(path)


def _figure(width: float, height: float, **options: Any) -> Figure:
    fig = Figure(figsize=(width, height), dpi=DPI, **options)
    FigureCanvasAgg(fig)
    return fig


def _pixels(fig: Figure) -> Array:
    canvas = FigureCanvasAgg(fig)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.array(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]


def _caption(note: str, width: int) -> Array:
    lines = textwrap.wrap(_plain(note), max(16, int(width / (DPI / 72 * 6.5 * 0.6))))
    height = 10 + 17 * len(lines)
    fig = _figure(width / DPI, height / DPI)
    fig.text(8 / width, 1 - 3 / height, "\n".join(lines), fontsize=6.5, color=MUTED, va="top", linespacing=1.2)
    return _pixels(fig)


def _tidy(ax: Axes, grid: bool = True) -> None:
    # said to the axes and not left to rcParams: ticks are made when the figure is drawn, after our settings are gone
    ax.tick_params(length=0, labelsize=7.5, labelcolor=MUTED, pad=5)
    if grid:
        ax.grid(True, axis="y", color=RULE, linewidth=0.8)
        ax.set_axisbelow(True)


def _title(ax: Axes, title: str | None) -> None:
    if title:
        ax.set_title(_plain(title), loc="left", fontsize=9, fontweight="bold")


def _plain(text: str) -> str:
    """Keep out control characters, which no font has and XML refuses."""
    return "".join(c if c.isprintable() else " " for c in text)


def _legend(ax: Axes) -> None:
    legend = ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, handletextpad=0.2, fontsize=7.5)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)
            handle.set_sizes([24.0])  # type: ignore[attr-defined]


def _known(history: History, key: str, *splits: str) -> bool:
    return any(len(_series(history, split, key, "step")[1]) for split in splits or ("train", "validation"))


def _series(history: History, split: str, key: str, unit: str) -> tuple[Array, Array]:
    rows = [(r[unit], r[key]) for r in history if r["split"] == split and r.get(key) is not None]
    x, y = np.array(rows, float).reshape(-1, 2).T
    return x[np.isfinite(y)], y[np.isfinite(y)]


def _clock(history: History) -> tuple[str, str]:
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
        x, y = _series(history, split, key, unit)
        if len(x):
            lone = "o-" if len(x) == 1 else "-" if len(x) > MARKED else form
            width, depth = (1.0, 2) if split == "train" else (1.5, 3)
            ax.plot(x, y, lone, color=colour, linewidth=width, markersize=3.2, zorder=depth)
            ends.append((f"{split} {_number(float(y[-1]))}", colour))
        every.append(y)
        xs.append(x)
    # at the left, where a narrow screen has it in view
    for (text, colour), left in zip(ends, (start, start + 78), strict=False):
        _beside(ax, text, 0, left, color=colour, fontweight="bold")
    low, high, hidden = _view(np.concatenate(xs), np.concatenate(every))
    ax.set_ylim(low, high)
    beyond = f" · {hidden} {'point' if hidden == 1 else 'points'} beyond the view" if hidden else ""
    _beside(ax, f"nats · {hint}{beyond}", 1, 0, color=MUTED, ha="right")


def _beside(ax: Axes, text: str, x: float, offset: float, **options: Any) -> None:
    """Write on the line of the title."""
    ax.annotate(text, (x, 1), (offset, 6), "axes fraction", "offset points", **options)


def _view(x: Array, y: Array) -> tuple[float, float, int]:
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
    x, y = _series(history, "train", key, unit)
    ax.plot(x, y, "-" if len(x) > 1 else "o", color=INK, linewidth=1.3, markersize=3.2)
    ax.fill_between(x, 0, y, color=RULE, linewidth=0)
    ax.set_title(STRIPS[key], loc="left", fontsize=9, fontweight="bold")
    ax.set_ylabel(key).set_visible(False)
    _beside(ax, _number(float(y[-1])), 1, 0, ha="right", fontweight="bold")
    ax.set_ylim(0, 1.15 * max(float(y.max()), 1e-9))
    ax.locator_params(axis="y", nbins=2)


def _edges(x: list[float]) -> list[float]:
    """Give cells about points that need not be evenly spaced."""
    between = [(a + b) / 2 for a, b in pairwise(x)]
    first, last = (2 * x[0] - between[0], 2 * x[-1] - between[-1]) if between else (x[0] - 0.5, x[0] + 0.5)
    return [first, *between, last]


def _spread(n: int, most: int) -> range:
    """Choose at most ``most`` of n positions, evenly from the first."""
    return range(0, n, max(1, math.ceil(n / most)))


def _number(value: float) -> str:
    """Write three digits or all before the point, and a real minus.

    >>> _number(-168.04), _number(0.25), _number(3.0), _number(-1e-9), _number(12345.6)
    ('−168.0', '0.25', '3', '0', '12,346')
    """
    digits = 0 if value % 1 == 0 or abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    text = f"{value:,.{digits}f}"
    return "0" if not text.strip("-0.") else text.replace("-", "−")


def _numbers(values: Iterable[float]) -> list[str]:
    """Write the ticks of one axis, all with the same number of decimals: no more than they need, and at most two.

    >>> _numbers([-2.5, -2, 0]), _numbers([-2, 0]), _numbers([1 / 3, 1])
    (['−2.5', '−2.0', '0.0'], ['−2', '0'], ['0.33', '1.00'])
    """
    some = [round(v, 2) + 0.0 for v in values]  # + 0.0: no minus at a zero
    digits = next((d for d in (0, 1) if all(abs(v - round(v, d)) < 1e-6 for v in some)), 2)
    return [f"{v:.{digits}f}".replace("-", "−") for v in some]


def _numpy(tensor: Tensor) -> Array:
    floating = tensor.detach().float() if tensor.is_floating_point() else tensor.detach()
    return np.asarray(floating.cpu().numpy())


def _dot(n: int) -> float:
    return float(np.clip(16000 / max(n, 1), 3, 18))


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
    x = np.nan_to_num(_numpy(images).clip(0, 1)).transpose(0, 2, 3, 1)
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
    names, marks = [_plain(n) for n in names], marks or {}
    mosaic, xs, ys = _mosaic(lines, gap, pairs, apart)
    left = 4 + (round(max(map(_width, names))) + 20 if names else 0) + (16 if gap == 0 else 0)
    top, bottom = 4 + (30 if title else 0), 4 + (24 if marks else 0) + (22 if foot or gap == 0 else 0)
    h, w = mosaic.shape[:2]
    # a title is bold, and larger than what is measured
    wide = max(left + w + 4, left + round(1.4 * _width(title or "")) + 16, left + round(_width(foot or "")) + 16)
    fig = _figure(wide / DPI, (h + top + bottom) / DPI)
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
    _title(ax, title)
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
