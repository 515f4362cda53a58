"""Randomness as a pure function of (seed, purpose, position).

There is no generator whose state must be saved: the noise of training step t is drawn from a generator seeded by
(seed, "step", t), image 17 of a sample from one seeded by its block. Stopping, resuming, other batch sizes and other
draws in between change nothing.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int64
from torch import Tensor

BLOCK = 64
_TURN = threading.RLock()  # torch's generators are the whole process's: its threads have them one after the other


def seed_of(seed: int, purpose: str, position: int = 0) -> int:
    """Hash (seed, purpose, position) to the 63-bit seed of a generator.

    Example:
        >>> seed_of(0, "step", 3) == seed_of(0, "step", 3) != seed_of(0, "step", 4)
        True
    """
    text = f"{seed}/{purpose}/{position}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


@contextmanager
def noise(seed: int, purpose: str, position: int = 0) -> Iterator[None]:
    """Seed torch's generators for one block of code, and put their state back afterwards.

    Example:
        >>> with noise(0, "doc"):
        ...     a = torch.randn(2)
        >>> with noise(0, "doc"):
        ...     b = torch.randn(2)
        >>> bool((a == b).all())
        True
    """
    number = seed_of(seed, purpose, position)
    with _TURN:
        device = torch.accelerator.current_accelerator(check_available=True)
        if device is not None:
            with torch.random.fork_rng(device_type=device.type):
                torch.manual_seed(number)
                yield
            return
        before = torch.default_generator.get_state()  # what fork_rng does, without its look at each kind of device
        torch.default_generator.manual_seed(number)
        try:
            yield
        finally:
            torch.default_generator.set_state(before)


def blockwise(
    draw: Callable[[], Float[Tensor, "block *rest"]], seed: int, purpose: str, start: int, stop: int
) -> Float[Tensor, "rows *rest"]:
    """Rows [start, stop) of an endless random sequence whose rows do not depend on how it is cut.

    ``draw`` makes `BLOCK` rows; block b is drawn under ``noise(seed, purpose, b)``.

    Example:
        >>> whole = blockwise(lambda: torch.rand(BLOCK, 2), 0, "doc", 0, 200)
        >>> part = blockwise(lambda: torch.rand(BLOCK, 2), 0, "doc", 70, 140)
        >>> bool((whole[70:140] == part).all())
        True
    """
    blocks = []
    for b in range(start // BLOCK, -(-stop // BLOCK)):
        with noise(seed, purpose, b):
            blocks.append(draw())
    first = start // BLOCK * BLOCK
    return torch.cat(blocks)[start - first : stop - first]


def rowwise(
    draw: Callable[[], Float[Tensor, "block *rest"]], seed: int, purpose: str, rows: Int64[Tensor, " n"]
) -> Float[Tensor, "n *rest"]:
    """These rows of the sequence of `blockwise`, in any order, on the processor.

    Example:
        >>> whole = blockwise(lambda: torch.rand(BLOCK, 2), 0, "doc", 0, 200)
        >>> some = rowwise(lambda: torch.rand(BLOCK, 2), 0, "doc", torch.tensor([130, 7, 7, 199]))
        >>> bool((whole[[130, 7, 7, 199]] == some).all())
        True
    """
    ascending, places = rows.cpu().sort()
    numbers, counts = (ascending // BLOCK).unique_consecutive(return_counts=True)
    blocks = zip(numbers.tolist(), ascending.split(counts.tolist()), strict=True)
    found = [blockwise(draw, seed, purpose, b * BLOCK, (b + 1) * BLOCK)[some % BLOCK] for b, some in blocks]
    return torch.cat(found)[places.argsort()] if found else blockwise(draw, seed, purpose, 0, 1)[:0]
