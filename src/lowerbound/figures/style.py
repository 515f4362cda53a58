"""What all figures share: colours, style, axes, and how one is saved or made SVG.

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
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from torch import Tensor

from lowerbound import files

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
def styled() -> Iterator[None]:
    """Set our style for a while; it decorates every function that draws."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # a name in a script that the font lacks shows as boxes in a PNG (an SVG has its text): no reason for alarm
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


@styled()
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
    root.attrib |= {"aria-label": plain(label), "style": "stroke-linejoin:round;stroke-linecap:butt"}
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


@styled()
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


def blank(width: float, height: float, **options: Any) -> Figure:
    """Make an empty figure of so many inches."""
    fig = Figure(figsize=(width, height), dpi=DPI, **options)
    FigureCanvasAgg(fig)
    return fig


def _pixels(fig: Figure) -> Array:
    canvas = FigureCanvasAgg(fig)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.array(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]


def _caption(note: str, width: int) -> Array:
    lines = textwrap.wrap(plain(note), max(16, int(width / (DPI / 72 * 6.5 * 0.6))))
    height = 10 + 17 * len(lines)
    fig = blank(width / DPI, height / DPI)
    fig.text(8 / width, 1 - 3 / height, "\n".join(lines), fontsize=6.5, color=MUTED, va="top", linespacing=1.2)
    return _pixels(fig)


def tidy(ax: Axes, grid: bool = True) -> None:
    """Take away what a reader does not need of the axes."""
    # said to the axes and not left to rcParams: ticks are made when the figure is drawn, after our settings are gone
    ax.tick_params(length=0, labelsize=7.5, labelcolor=MUTED, pad=5)
    if grid:
        ax.grid(True, axis="y", color=RULE, linewidth=0.8)
        ax.set_axisbelow(True)


def entitle(ax: Axes, title: str | None) -> None:
    """Put a title over the axes, on the left."""
    if title:
        ax.set_title(plain(title), loc="left", fontsize=9, fontweight="bold")


def plain(text: str) -> str:
    """Keep out control characters, which no font has and XML refuses."""
    return "".join(c if c.isprintable() else " " for c in text)


def legend_beside(ax: Axes) -> None:
    """Put the legend to the right of the axes."""
    legend = ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, handletextpad=0.2, fontsize=7.5)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)
            handle.set_sizes([24.0])  # type: ignore[attr-defined]


def compact(value: float) -> str:
    """Write three digits or all before the point, and a real minus.

    >>> compact(-168.04), compact(0.25), compact(3.0), compact(-1e-9), compact(12345.6)
    ('−168.0', '0.25', '3', '0', '12,346')
    """
    digits = 0 if value % 1 == 0 or abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    text = f"{value:,.{digits}f}"
    return "0" if not text.strip("-0.") else text.replace("-", "−")


def compacts(values: Iterable[float]) -> list[str]:
    """Write the ticks of one axis, all with the same number of decimals: no more than they need, and at most two.

    >>> compacts([-2.5, -2, 0]), compacts([-2, 0]), compacts([1 / 3, 1])
    (['−2.5', '−2.0', '0.0'], ['−2', '0'], ['0.33', '1.00'])
    """
    some = [round(v, 2) + 0.0 for v in values]  # + 0.0: no minus at a zero
    digits = next((d for d in (0, 1) if all(abs(v - round(v, d)) < 1e-6 for v in some)), 2)
    return [f"{v:.{digits}f}".replace("-", "−") for v in some]


def array(tensor: Tensor) -> Array:
    """Give a tensor as a NumPy array."""
    floating = tensor.detach().float() if tensor.is_floating_point() else tensor.detach()
    return np.asarray(floating.cpu().numpy())


def spread(n: int, most: int) -> range:
    """Choose at most ``most`` of n positions, evenly from the first."""
    return range(0, n, max(1, math.ceil(n / most)))
