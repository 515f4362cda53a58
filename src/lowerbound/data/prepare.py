"""From one tensor to a Source: the cut into splits and binarisation, both by a fixed seed, never by the training's."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, get_args

import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from lowerbound.data.source import SEED, Binarise, Share, Source, Split, scaled
from lowerbound.errors import DataError, UsageError, nearest
from lowerbound.rng import BLOCK, blockwise, seed_of

CHUNK = 2**22  # values converted at a time
Images = UInt8[Tensor, "N *shape"] | Float32[Tensor, "N *shape"]
Labels = Int64[Tensor, " N"] | None

NOTES = {
    "static": "Binarised once by a fixed draw of ours (seed 0), not the file behind published static numbers.",
    "dynamic": "Training images are binarised anew each time they are drawn; what is evaluated once, by a fixed draw "
    "of ours.",
    "threshold": "Binarised: 1 where the grey value is at least 0.5.",
    "dequantise": "Dequantised: (x + u) / 256 of bytes x, u uniform; drawn anew for each batch of training, and "
    "once for evaluation, by a fixed draw of ours.",
}


def chunks(rows: int, shape: Sequence[int]) -> Iterator[slice]:
    """Slices of rows of ``shape`` that hold about `CHUNK` values each, cut at multiples of `BLOCK`."""
    step = max(BLOCK, CHUNK // max(1, prod(shape)) // BLOCK * BLOCK)
    return (slice(s, min(s + step, rows)) for s in range(0, rows, step))


def _count(share: int | float, n: int, what: str) -> int:
    """How many images a share is: a number is itself; a fraction is at least one, or the split would vanish unasked."""
    if isinstance(share, int) and not isinstance(share, bool) and share >= 0:
        return share
    if isinstance(share, float) and 0 < share < 1:
        return max(1, round(share * n))
    raise UsageError(f"{what} = {share!r}: give a number of images (0, 1, 2, …) or a fraction between 0 and 1.")


def cut(n: int, *, test: Share, validation: Share) -> dict[str, Int64[Tensor, " _"]]:
    """Cut n rows into train, validation and test by one seeded permutation; rows ascend within a split.

    Raises:
        UsageError: if a share has no meaning.
        DataError: if no image is left to train on.

    Example:
        >>> {name: len(rows) for name, rows in cut(100, test=0.1, validation=5).items()}
        {'train': 85, 'validation': 5, 'test': 10}
    """
    t, v = _count(test, n, "test"), _count(validation, n, "validation")
    if t + v >= n:
        test_part = f" and {t} for the test" if t else ""
        raise DataError(
            f"Of {n} images, {v} for validation{test_part} leave none to train on. "
            "Ask for smaller shares (0 is allowed), or add images."
        )
    generator = torch.Generator().manual_seed(seed_of(SEED, "split"))
    permutation = torch.randperm(n, generator=generator)
    parts = {
        "train": permutation[t + v :],
        "validation": permutation[t : t + v],
        "test": permutation[:t],
    }
    return {name: rows.sort().values for name, rows in parts.items()}


def _fixed_draw(x: Images, rows: Int64[Tensor, " n"], purpose: str) -> Iterator[tuple[Tensor, Tensor]]:
    for some in chunks(len(rows), x.shape[1:]):
        u = blockwise(lambda: torch.rand(BLOCK, *x.shape[1:]), SEED, purpose, some.start, some.stop)
        yield rows[some], u < scaled(x[rows[some]])


def _all_binary(x: Images, binarise: Binarise, purpose: str) -> UInt8[Tensor, "N *shape"]:
    """The whole tensor as bytes 0 and 255."""
    bits = torch.empty(x.shape, dtype=torch.uint8)
    if binarise == "threshold":
        for some in chunks(len(x), x.shape[1:]):
            bits[some] = (scaled(x[some]) >= 0.5).byte() * 255
    else:
        for rows, drawn in _fixed_draw(x, torch.arange(len(x)), purpose):
            bits[rows] = drawn.byte() * 255
    return bits


def _draw_rows(split: Split, purpose: str) -> None:
    """Replace a split's rows, in place, by a fixed draw."""
    top = 255 if split.x.dtype == torch.uint8 else 1
    for rows, drawn in _fixed_draw(split.x, split.rows, purpose):
        split.x[rows] = drawn.to(split.x.dtype) * top


def assemble(
    name: str,
    x: Images,
    labels: Labels,
    *,
    test: Share | tuple[Tensor, Tensor | None],
    validation: Share,
    unit: bool,
    binarise: Binarise = "none",
    dequantise: bool = False,
    info: dict[str, Any],
    factors: Int64[Tensor, "N F"] | None = None,
) -> Source:
    """Cut, binarise and describe: the last step of every loader.

    ``x`` must be the loader's own, since ``dynamic`` binarises rows in place. ``test`` is a share of ``x``, or the
    data set's own test images and labels.

    Raises:
        UsageError: if data that are not in [0, 1] shall be binarised, or those that are no bytes be dequantised, or a
            share has no meaning.
        DataError: if no image is left to train on.
    """
    if dequantise and binarise != "none":
        raise UsageError(
            f"binarise = {binarise!r} makes bits, which dequantise = true has no levels of: leave one out."
        )
    if dequantise and x.dtype != torch.uint8:
        raise UsageError(
            f"dequantise adds noise within the levels of 8-bit values, and those of {name} are others: leave it out, "
            "or give bytes."
        )
    if binarise not in (known := get_args(Binarise)):
        raise UsageError(f"binarise = {binarise!r} is unknown; {nearest(str(binarise), known)}")
    if binarise != "none" and not unit:
        raise UsageError(
            f"binarise = {binarise!r}, but the values of {name} are not all in [0, 1]: a value is the probability "
            "of a 1. Leave binarise out, or scale the data first."
        )
    own = test if isinstance(test, tuple) else None
    rows = cut(len(x), test=0 if isinstance(test, tuple) else test, validation=validation)
    fixed = binarise in ("static", "threshold")
    if fixed:
        x = _all_binary(x, binarise, "binarise train")
    parts = {split: Split(x, where, labels, factors) for split, where in rows.items()}
    if own:
        test_x = _all_binary(own[0], binarise, "binarise test") if fixed else own[0]
        parts["test"] = Split(test_x, torch.arange(len(test_x)), own[1])
    if binarise == "dynamic":
        _draw_rows(parts["validation"], "binarise validation")
        _draw_rows(parts["test"], "binarise test")
    return Source(
        name,
        **parts,
        unit=unit,
        binarise=binarise,
        info=_described(info, x, parts, "dequantise" if dequantise else binarise),
        dequantise=dequantise,
    )


def _described(info: dict[str, Any], x: Tensor, parts: dict[str, Split], how: str) -> dict[str, Any]:
    counts = {name: len(part) for name, part in parts.items()}
    n = sum(counts.values())
    sizes = {f"{x.shape[3]}x{x.shape[2]}": n} if x.ndim == 4 else {}
    facts = {"images": n, "sizes": sizes, "shape": list(x.shape[1:]), "splits": counts}
    notes = [*info.get("notes", []), *([NOTES[how]] if how in NOTES else [])]
    return info | facts | {"unreadable": info.get("unreadable", []), "notes": notes}
