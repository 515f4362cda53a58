"""Pictures of one shape each, made by code from five factors: data of which all causes are known, as dSprites are."""

import hashlib
import os
from functools import cache
from math import cos, pi, prod, sin, sqrt
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Ge, Le
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from lowerbound.data.prepare import assemble, chunks
from lowerbound.data.source import Share, Source
from lowerbound.errors import DataError, UsageError
from lowerbound.rng import noise as seeded

SIDE, REACH = 64, 16  # of an image; of the largest shape from its centre, in pixels
SHAPES = ["square", "ellipse", "heart"]
FACTORS = {"shape": len(SHAPES), "scale": 6, "orientation": 40, "x": 32, "y": 32}
UNORDERED = ["shape", "orientation"]  # a name, and an angle: of neither is one value more than another
COMBINATIONS = prod(FACTORS.values())
PERIODS = (10, 20, 40)  # steps of orientation after which a square, an ellipse, a heart looks the same
AREA = 19**2  # of each shape at the largest scale, in pixels
# all that decides on a pixel is whole numbers, so that the bytes are the same on every machine
FINE = 8  # points along a pixel that are looked at
TURN = 2**12  # what a cosine of 1 is
UNIT = 2 * FINE * TURN  # what a pixel is, once turned
NOTES = [
    "Made by code after dSprites (Matthey et al., 2017): the factors and their numbers are its, the pixels are not. "
    "A square looks the same every 10 of the 40 orientations and an ellipse every 20, so no code can tell all 40.",
]
Factors = Int64[Tensor, "N 5"]


def shapes(
    count: Annotated[int, Ge(3), Le(COMBINATIONS)] = 50_000,
    seed: int = 0,
    validation: Share = 0.1,
    test: Share = 0.1,
) -> Source:
    r"""White squares, ellipses and hearts on black, 64 x 64: every combination of five factors is one image.

    The factors are those of dSprites: shape (3), scale (6), orientation (40), x (32) and y (32), which makes 737,280
    combinations. ``count`` of them are drawn without repetition. All pixels are 0 or 1. At equal scale all shapes have
    the same area; its side goes from a half to the whole in equal steps. A step of x goes a pixel to the right, one of
    y a pixel down, one of orientation 9 degrees clockwise. A square of orientation k is that of k + 10 to the byte, and
    an ellipse that of k + 20. So no combination is in two splits, but some images are: of the default draw, 8 in 100
    test images have such a twin in train. The label is the shape.

    Reference: dSprites: disentanglement testing sprites dataset (Matthey, Higgins, Hassabis and Lerchner, 2017).

    Raises:
        DataError: if the memory does not hold so many images.

    Arguments:
        count: how many of the 737,280 combinations are drawn; each takes 4,096 bytes.
        seed: of the draw, not of the training.
    """
    _fits(count)
    with seeded(seed, "shapes"):
        chosen = torch.randperm(COMBINATIONS)[:count]
    factors = combination(chosen)
    images = render(factors)
    whole = hashlib.sha256()
    for some in chunks(count, (SIDE, SIDE)):
        whole.update(images[some].numpy().tobytes())
    info: dict[str, Any] = {
        "kind": "shapes",
        "files": [{"from": "made by code", "sha256": whole.hexdigest()}],
        "classes": SHAPES,
        "factors": FACTORS,
        "unordered": UNORDERED,
        "notes": NOTES,
    }
    return assemble(
        "shapes",
        images,
        factors[:, 0].contiguous(),
        test=test,
        validation=validation,
        unit=True,
        info=info,
        factors=factors,
    )


def combination(number: Int64[Tensor, " N"]) -> Factors:
    """Give the factors of the combinations with these numbers, of 737,280: the last factor, y, counts fastest.

    Example:
        >>> combination(torch.tensor([0, 33, 737_279])).tolist()
        [[0, 0, 0, 0, 0], [0, 0, 0, 1, 1], [2, 5, 39, 31, 31]]
    """
    columns = []
    for size in reversed(FACTORS.values()):
        columns.append(number % size)
        number = number // size
    return torch.stack(columns[::-1], 1)


def render(factors: Factors) -> UInt8[Tensor, "N 1 64 64"]:
    """Draw the image of each row (shape, scale, orientation, x, y), in bytes 0 and 255.

    A pixel is white where half of its 64 points or more lie in the shape.

    Raises:
        UsageError: if a factor has no such value.

    Example:
        >>> image = render(torch.tensor([[0, 5, 0, 16, 16]]))  # the largest square, upright, in the middle
        >>> image.shape, int((image == 255).sum())
        (torch.Size([1, 1, 64, 64]), 361)
    """
    sizes = torch.tensor(list(FACTORS.values()))
    if len(factors) and not bool(((factors >= 0) & (factors < sizes)).all()):
        row = factors[((factors < 0) | (factors >= sizes)).any(1)][0].tolist()
        raise UsageError(f"There is no image {row}: {', '.join(FACTORS)} go from 0 to {(sizes - 1).tolist()}.")
    images = torch.zeros(len(factors), 1, SIDE, SIDE, dtype=torch.uint8)
    places = images[:, 0].unfold(1, 2 * REACH + 1, 1).unfold(2, 2 * REACH + 1, 1)  # (N, 32, 32, 33, 33), a view
    for some in chunks(len(factors), (SIDE, SIDE)):
        shape, scale, orientation, x, y = factors[some].T
        places[some][torch.arange(len(x)), y, x] = _stamps()[shape, scale, orientation]
    return images


@cache
def _stamps() -> UInt8[Tensor, "3 6 40 33 33"]:
    """Each shape, scale and orientation, about the middle of its own small picture."""
    shape, scale, orientation = FACTORS["shape"], FACTORS["scale"], FACTORS["orientation"]
    stamps = torch.empty(shape, scale, orientation, 2 * REACH + 1, 2 * REACH + 1, dtype=torch.uint8)
    for s in range(shape):
        for k in range(PERIODS[s]):
            u, v = _turned(k + 25 * (s == 2))  # a heart stands on its tip, which is a corner of its square
            for size in range(scale):
                points = (_square, _ellipse, _heart)[s](u, v, size)
                stamps[s, size, k :: PERIODS[s]] = _pixels(points)
    return stamps


def _turned(steps: int) -> tuple[Tensor, Tensor]:
    """The points of the small picture in the axes of a shape that is turned clockwise."""
    at = torch.arange(-REACH * FINE - FINE // 2, REACH * FINE + FINE // 2) * 2 + 1
    x, y = at, at[:, None]
    c, s = (round(TURN * f(2 * pi * steps / FACTORS["orientation"])) for f in (cos, sin))
    return c * x + s * y, c * y - s * x


def _pixels(inside: Bool[Tensor, "264 264"]) -> UInt8[Tensor, "33 33"]:
    cells = inside.view(2 * REACH + 1, FINE, 2 * REACH + 1, FINE).sum((1, 3))
    return (2 * cells >= FINE**2).byte() * 255


def _length(pixels: float, scale: int) -> int:
    """So many pixels at the largest scale, at this scale and in our unit."""
    return round(pixels * UNIT) * (5 + scale) // 10


def _square(u: Tensor, v: Tensor, scale: int) -> Tensor:
    return torch.maximum(u.abs(), v.abs()) <= _length(sqrt(AREA) / 2, scale)


def _ellipse(u: Tensor, v: Tensor, scale: int) -> Tensor:
    """Twice as long as it is wide: its area is π a² / 2."""
    return u**2 + 4 * v**2 <= _length(sqrt(2 * AREA / pi), scale) ** 2


def _heart(u: Tensor, v: Tensor, scale: int) -> Tensor:
    """A square with discs about the middles of two sides, of area (4 + π) a²; its centre of mass is moved to 0."""
    half = sqrt(AREA / (4 + pi))
    a, off = _length(half, scale), _length(half * (pi / 2 + 2 / 3) / (4 + pi), scale)
    u, v = u + off, v + off
    square = torch.maximum(u.abs(), v.abs()) <= a
    return square | (u**2 + (v - a) ** 2 <= a**2) | ((u - a) ** 2 + v**2 <= a**2)


def _fits(count: int) -> None:
    needed, there = count * SIDE**2, _memory()
    if needed > there:
        raise DataError(
            f"{count:,} images of 64 x 64 take {needed / 1e9:.2f} GB of memory, and {there / 1e9:.2f} GB are free: "
            f"ask for fewer, such as --set data.count={there // SIDE**2 // 2 // 1000 * 1000}."
        )


def _memory() -> int:
    """The bytes that may be had: what Linux calls available, elsewhere all that the machine has."""
    known = Path("/proc/meminfo")
    if known.exists():
        lines = dict(line.split(":", 1) for line in known.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
