"""A data set: one tensor, three splits, and a stream of batches that is a pure function of (seed, position)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeAlias, final

import torch
from annotated_types import Ge, Gt, Lt
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from lowerbound.errors import UsageError, nearest
from lowerbound.rng import BLOCK, blockwise, rowwise, seed_of

Binarise: TypeAlias = Literal["none", "dynamic", "static", "threshold"]
Share: TypeAlias = Annotated[int, Ge(0)] | Annotated[float, Gt(0), Lt(1)]
SPLITS = ("train", "validation", "test")
SEED = 0  # of everything that belongs to the data


@lru_cache(maxsize=2)  # a batch may span two epochs; the cached tensors never leave this file uncopied
def _permutation(n: int, seed: int, epoch: int) -> Int64[Tensor, " n"]:
    generator = torch.Generator().manual_seed(seed_of(seed, "order", epoch))
    return torch.randperm(n, generator=generator)


def order(n: int, seed: int, start: int, count: int) -> Int64[Tensor, " count"]:
    """Which of ``n`` training images stand at the stream's positions [start, start + count): a new shuffle each epoch.

    Raises:
        UsageError: if there is no image, or a negative position.

    Example:
        >>> whole = order(5, 0, 0, 10)
        >>> bool((order(5, 0, 3, 4) == whole[3:7]).all()), sorted(whole[5:].tolist())
        (True, [0, 1, 2, 3, 4])
    """
    if n < 1 or start < 0 or count < 0:
        raise UsageError(f"A stream of {n} images has no positions [{start}, {start + count}).")
    pieces = [torch.empty(0, dtype=torch.int64)]
    while count:
        epoch, first = divmod(start, n)
        piece = _permutation(n, seed, epoch)[first : first + count]
        pieces.append(piece)
        start, count = start + len(piece), count - len(piece)
    return torch.cat(pieces)


def scaled(
    x: UInt8[Tensor, "n *shape"] | Float32[Tensor, "n *shape"],
) -> Float32[Tensor, "n *shape"]:
    """Images as the models see them: float32, bytes divided by 255."""
    return x.to(torch.float32).div_(255) if x.dtype == torch.uint8 else x


def within(shape: Sequence[int]) -> Float32[Tensor, "block *rest"]:
    """Draw where in its level each value of a block of images lies, in [0, 1): in steps that float32 adds exactly."""
    return torch.randint(2**16, (BLOCK, *shape)).float() / 2**16


def dequantised(x: UInt8[Tensor, "n *shape"], u: Float32[Tensor, "n *shape"]) -> Float32[Tensor, "n *shape"]:
    """Give bytes with uniform noise of one level: (x + u) / 256, in [0, 1).

    Example:
        >>> dequantised(torch.tensor([0, 255], dtype=torch.uint8), torch.tensor([0.5, 0.5]))
        tensor([0.0020, 0.9980])
    """
    return (x.float() + u.to(x.device)) / 256


@final
@dataclass(frozen=True, eq=False)
class Split:
    """Some rows of one tensor, which splits share and never copy.

    Where ``drawn``, a value is the probability of a 1, and images are given as bits: each row's always the same, by a
    fixed seed. Where there is ``noise``, the purpose of its seed, bytes are given as `dequantised`: each row with the
    same noise always.
    """

    x: UInt8[Tensor, "N *shape"] | Float32[Tensor, "N *shape"]
    rows: Int64[Tensor, " n"]
    labels: Int64[Tensor, " N"] | None = None
    factors: Int64[Tensor, "N F"] | None = None  # what made each row, where it is known; named in the source's info
    drawn: bool = False
    noise: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def images(self, start: int = 0, stop: int | None = None) -> Float32[Tensor, "n *shape"]:
        """Give the split's images [start, stop) in order, float32, bytes scaled to [0, 1]."""
        rows = self.rows[start:stop]
        if self.noise:
            u = rowwise(lambda: within(self.x.shape[1:]), SEED, self.noise, rows)
            return dequantised(self.x.index_select(0, rows), u)
        x = scaled(self.x.index_select(0, rows)).contiguous()
        if not self.drawn:
            return x
        u = rowwise(lambda: torch.rand(BLOCK, *self.x.shape[1:]), SEED, "binarise train", rows)
        return (u.to(x.device) < x).float()

    def targets(self, start: int = 0, stop: int | None = None) -> Int64[Tensor, " n"] | None:
        """Give the labels of the images [start, stop), or None if there are none."""
        return None if self.labels is None else self.labels[self.rows[start:stop]]


@final
@dataclass(frozen=True, eq=False)
class Source:
    """A data set as training, evaluation and the command line see it.

    ``unit`` says that all values lie in [0, 1]; ``info`` is what is known about the data, in JSON's types: where the
    bytes came from, how many images, of which sizes, what could not be read, and notes in words. ``dequantise`` says
    that 8-bit values are given with uniform noise of one level, anew in each batch, and for evaluation by a fixed draw.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    unit: bool
    binarise: Binarise
    info: dict[str, Any]
    dequantise: bool = False

    @property
    def width(self) -> float | None:
        """The width of a level of dequantised values, by which a density is one of bits; None of other data."""
        return 1 / 256 if self.dequantise else None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image (C, H, W), or of one vector (D,)."""
        return tuple(self.train.x.shape[1:])

    def batch(
        self, start: int, count: int, *, seed: int
    ) -> tuple[Float32[Tensor, "B *shape"], Int64[Tensor, " B"] | None]:
        """Give the training images at positions [start, start + count) of the endless stream of ``seed``.

        Position p belongs to epoch ``p // len(train)``. Neither the order nor the noise of ``binarise="dynamic"`` and
        of ``dequantise`` depends on how the stream is cut into batches.

        Example:
            >>> from lowerbound.data import tensor
            >>> source = tensor(torch.rand(10, 1, 2, 2), validation=0, test=0)
            >>> source.batch(0, 4, seed=0)[0].shape
            torch.Size([4, 1, 2, 2])
        """
        rows = self.train.rows
        drawn = replace(self.train, rows=rows[order(len(rows), seed, start, count).to(rows.device)])
        if self.dequantise and count:
            u = blockwise(lambda: within(self.shape), seed, "dequantise", start, start + count)
            return dequantised(drawn.x.index_select(0, drawn.rows), u), drawn.targets()
        x = drawn.images()
        if self.binarise == "dynamic" and count:
            # drawn on the CPU, so that every device trains on the same bits
            u = blockwise(lambda: torch.rand(BLOCK, *self.shape), seed, "binarise", start, start + count)
            x = (u.to(x.device) < x).float()
        return x, drawn.targets()

    def part(self, split: str) -> Split:
        """Give a split as evaluation sees it: all of it binarised, the images of training too, once by a fixed seed.

        With ``binarise="dynamic"`` the attribute ``train`` has grey values, of which `batch` draws anew each time.

        Raises UsageError if there is no such split.

        Example:
            >>> from lowerbound.data import tensor
            >>> source = tensor(torch.rand(10, 1, 2, 2), binarise="dynamic", validation=0, test=0)
            >>> sorted(source.part("train").images().unique().tolist())
            [0.0, 1.0]
        """
        if split not in SPLITS:
            raise UsageError(f"There is no split {split!r}; {nearest(split, SPLITS)}")
        part: Split = getattr(self, split)
        noise = f"dequantise {split}" if self.dequantise else ""
        return replace(part, drawn=split == "train" and self.binarise == "dynamic", noise=noise)

    def blocks(
        self, split: str, size: int = 500
    ) -> Iterator[tuple[Float32[Tensor, "b *shape"], Int64[Tensor, " b"] | None]]:
        """Go through every row of `part` once, in order, at most ``size`` at a time: the order of evaluation.

        Raises:
            UsageError: if there is no such split, or ``size`` is not positive.
        """
        part = self.part(split)
        if size < 1:
            raise UsageError(f"Blocks of {size} images: the size must be at least 1.")
        starts = range(0, len(part), size)
        return ((part.images(s, s + size), part.targets(s, s + size)) for s in starts)

    def to(self, device: str | torch.device) -> "Source":
        """Give the same data with their tensors on a device; a tensor that splits share is moved once."""
        moved: dict[int, Tensor] = {}

        def move(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else moved.setdefault(id(tensor), tensor.to(device))

        parts = {
            name: replace(
                part,
                x=move(part.x),
                rows=part.rows.to(device),
                labels=move(part.labels),
                factors=move(part.factors),
            )
            for name in SPLITS
            for part in [getattr(self, name)]
        }
        return replace(self, **parts)
