"""The nearest of many rows to each of some others: distances are made a part at a time, and never all held."""

from collections.abc import Callable, Iterable, Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.metrics.sets import blocks

Apart = Callable[[Tensor, Tensor], Tensor]  # (A, …) and (B, …) to distances (A, B)
COLUMNS = 2**15  # rows of a tensor that are searched at a time


def exactly(a: Float[Tensor, "A *X"], b: Float[Tensor, "B *X"]) -> Float[Tensor, "A B"]:
    """Give Euclidean distances, but not by a product of matrices: of close neighbours it leaves the rounding only.

    Example:
        >>> exactly(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
        tensor([[5.]])
    """
    return torch.cdist(a.flatten(1), b.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")


def tiles(
    query: Float[Tensor, "Q *X"], codes: Tensor | Iterable[Tensor], apart: Apart
) -> Iterator[tuple[slice, int, Float[Tensor, "q n"]]]:
    """Give the distances of all queries to all codes in parts: which queries, the first code's number, and a table.

    Raises UsageError where shapes differ, and where there is no code.

    Example:
        >>> for rows, first, d in tiles(torch.zeros(3, 1), torch.ones(4, 1).split(3), exactly):
        ...     rows, first, d.shape
        (slice(0, 3, None), 0, torch.Size([3, 3]))
        (slice(0, 3, None), 3, torch.Size([3, 1]))
    """
    seen = 0
    for block in codes.split(COLUMNS) if isinstance(codes, Tensor) else codes:
        if block.shape[1:] != query.shape[1:]:
            raise UsageError(f"A query of shape {tuple(query.shape[1:])} has no distance to {tuple(block.shape[1:])}.")
        start = 0
        for part in blocks(query, len(block)):
            yield slice(start, start + len(part)), seen, apart(part, block)
            start += len(part)
        seen += len(block)
    if not seen:
        raise UsageError("There is nothing among which neighbours could be found.")


def nearest(
    query: Float[Tensor, "Q *X"], codes: Tensor | Iterable[Tensor], k: int, *, apart: Apart = exactly
) -> tuple[Float[Tensor, "Q K"], Int[Tensor, "Q K"]]:
    """Find the k nearest codes to each query: their distances, the smallest first, and their numbers.

    Of codes that are equally far the first come first. There are fewer than k columns where there are fewer codes.
    Raises UsageError where k is below 1, shapes differ, there is no code, or a distance is not a number.

    Example:
        >>> nearest(torch.tensor([[0.0]]), torch.tensor([[3.0], [-1.0], [1.0]]), 2)
        (tensor([[1., 1.]]), tensor([[1, 2]]))
    """
    if k < 1:
        raise UsageError(f"k is {k}: at least 1 neighbour is needed.")
    far = query.new_full((len(query), k), torch.nan)  # which sorts behind all distances
    number = torch.zeros(len(query), k, dtype=torch.long, device=query.device)
    seen = 0
    for rows, first, d in tiles(query, codes, apart):
        if bool(d.isnan().any()):
            raise UsageError(
                "Some codes, or images, are not numbers, and have no nearest neighbour: the model gives NaN, or was "
                "given it."
            )
        seen = first + d.shape[1]
        d, at = _smallest(d, k)
        far[rows], best = _smallest(torch.cat([far[rows], d], 1), k)
        number[rows] = torch.cat([number[rows], first + at], 1).gather(1, best)
    return far[:, :seen], number[:, :seen]


def _smallest(d: Float[Tensor, "q n"], k: int) -> tuple[Float[Tensor, "q m"], Int[Tensor, "q m"]]:
    """Give the k smallest of each row in order, or all where there are fewer, and of equals the first."""
    far, at = d.topk(min(k, d.shape[1]), largest=False)
    tied = (d <= far[:, -1:]).sum(1) > far.shape[1]  # which of these topk takes is not said
    if bool(tied.any()):
        at[tied] = d[tied].argsort(dim=1, stable=True)[:, : far.shape[1]]
    at = at.sort(1).values
    at = at.gather(1, d.gather(1, at).argsort(dim=1, stable=True))
    return d.gather(1, at), at
