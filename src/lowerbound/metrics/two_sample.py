"""Whether two sets are told apart by a classifier: a test of two samples that needs no assumption about either."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED
from lowerbound.metrics.search import nearest
from lowerbound.metrics.sets import pair
from lowerbound.rng import seed_of

NORMAL = 1.959963985  # 97.5 % of a normal distribution
LEAST = 20


@final
@dataclass(frozen=True)
class Told:
    """How well two sets are told apart.

    Arguments:
        accuracy: the share of held-out examples whose set is guessed rightly: about 0.5 for two draws of one
            distribution, 1 where the sets have nothing in common.
        low, high: its 95 % interval.
        p: the probability of such an accuracy or a higher one if both sets are of one distribution, one-sided.
        examples: how many were guessed.
    """

    accuracy: float
    low: float
    high: float
    p: float
    examples: int


def told_apart(x: Float[Tensor, "N F"], y: Float[Tensor, "M _"], *, seed: int = SEED) -> Told:
    r"""Guess for half of the examples which of two sets they are from, by the votes of their nearest in the other half.

    .. math:: \hat t = \frac1n \sum_{i=1}^n [\hat l_i = l_i], \qquad
        x, y \text{ of one distribution} \;\Rightarrow\; n \hat t \sim \mathrm{Binomial}(n, \tfrac12)

    The classifier is that of the about √n nearest neighbours: it finds any difference if there are examples enough,
    and few in many dimensions. Of the larger set only as many are taken as the smaller has. That a difference is found
    says nothing of how large it is: the accuracy does.

    Raises UsageError where a set has fewer than twenty examples.

    Reference: Revisiting classifier two-sample tests (Lopez-Paz and Oquab, 2017).

    Arguments:
        x, y: the sets; their rows are assumed to be drawn independently.
        seed: of the halves.

    Example:
        >>> x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
        >>> told_apart(x[:250], x[250:]).p > 0.05, told_apart(x[:250], x[250:] + 3).accuracy > 0.95
        (True, True)
    """
    x, y = pair(x, y)
    n = min(len(x), len(y))
    if n < LEAST:
        raise UsageError(f"There are {len(x)} and {len(y)} examples: this test needs {LEAST} at least in each set.")
    generator = torch.Generator().manual_seed(seed_of(seed, "told apart"))
    orders = [torch.randperm(len(some), generator=generator)[:n] for some in (x, y)]
    known = torch.cat([some[order[: n // 2]] for some, order in zip((x, y), orders, strict=True)])
    asked = torch.cat([some[order[n // 2 :]] for some, order in zip((x, y), orders, strict=True)])
    right = (_votes(known, asked) > 0) == (torch.arange(len(asked)) < len(asked) // 2)
    return _told(float(right.double().mean()), len(asked))


def _votes(known: Float[Tensor, "K F"], asked: Float[Tensor, "A F"]) -> Float[Tensor, "A"]:
    """Give for each example the votes for the first set, less those for the second; there is never a draw."""
    k = math.isqrt(len(known)) | 1
    side = torch.where(torch.arange(len(known)) < len(known) // 2, 1.0, -1.0)
    return side[nearest(asked, known, k, apart=torch.cdist)[1]].sum(1)


def _told(accuracy: float, n: int) -> Told:
    """Give Wilson's interval, which stays within 0 and 1, and the tail of the binomial by the normal one."""
    p = 0.5 * math.erfc((accuracy - 0.5) * math.sqrt(2 * n))
    z = NORMAL**2 / n
    middle = (accuracy + z / 2) / (1 + z)
    reach = math.sqrt(z * (accuracy * (1 - accuracy) + z / 4)) / (1 + z)
    return Told(accuracy, middle - reach, middle + reach, p, n)
