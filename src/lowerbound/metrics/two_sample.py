"""Whether two sets are told apart by a classifier: a test of two samples that needs no assumption about either."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lowerbound import rng
from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED
from lowerbound.metrics.search import nearest
from lowerbound.metrics.sets import pair, wilson

LEAST = 20  # of each set: a classifier that learns of fewer than ten of each tells nothing


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


@final
@dataclass(frozen=True)
class Answers:
    """How a classifier named held-out examples, m of each of two sets: what every test of two samples is read off.

    Arguments:
        m: how many of each set were held out.
        hits: how many of the first set were named as such.
        named: how many of both were named as of the first.
    """

    m: int
    hits: int
    named: int

    @classmethod
    def of(cls, first: Bool[Tensor, "two_m"]) -> "Answers":
        """Count the answers "of the first set", of which the first half is right."""
        m = len(first) // 2
        return cls(m, int(first[:m].sum()), int(first.sum()))

    @property
    def accuracy(self) -> float:
        """The share that was told right."""
        return (self.m + 2 * self.hits - self.named) / (2 * self.m)

    @property
    def standard_error(self) -> float:
        """That of the accuracy, binomial."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / (2 * self.m))

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy, which stays within 0 and 1."""
        return wilson(self.accuracy, 2 * self.m)

    @property
    def p(self) -> float:
        """Fisher's exact p: given how many were named as of the first, all ways to deal out the labels are alike."""
        return fisher(self.hits, self.m, self.named)

    @property
    def p_of_all(self) -> float:
        """The p of a coin that is thrown for each example, by the normal distribution: given nothing."""
        return 0.5 * math.erfc((self.accuracy - 0.5) * math.sqrt(4 * self.m))


def halved(
    x: Float[Tensor, "N F"], y: Float[Tensor, "M _"]
) -> tuple[tuple[Float[Tensor, "h F"], Float[Tensor, "h _"]], tuple[Float[Tensor, "m F"], Float[Tensor, "m _"]]]:
    """Give rows of two sets to learn from and others to be asked of, as many of each set, by torch's generator."""
    n = min(len(x), len(y))
    a, b = (some[torch.randperm(len(some))[:n]] for some in (x, y))
    return (a[: n // 2], b[: n // 2]), (a[n // 2 :], b[n // 2 :])


def fisher(hits: int, m: int, named: int) -> float:
    r"""Give the probability of so many hits or more, if the labels were dealt out at random: Fisher's exact test.

    .. math:: P(H \ge h) = \sum_{k \ge h} \binom{m}{k} \binom{m}{r - k} \Big/ \binom{2m}{r}

    Reference: Statistical methods for research workers, 5th edition (Fisher, 1934).

    Arguments:
        hits: h, how many of the first sample were named as such.
        m: the size of each sample.
        named: r, how many of both were named as of the first.

    Example:
        >>> round(fisher(3, 4, 4), 4)  # the lady who tastes tea
        0.2429
    """
    k = torch.arange(max(hits, named - m), min(m, named) + 1, dtype=torch.float64)
    log_p = _choose(m, k) + _choose(m, named - k) - _choose(2 * m, torch.tensor(float(named)).double())
    return min(1.0, float(log_p.logsumexp(0).exp()))


def _choose(n: int, k: Tensor) -> Tensor:
    return math.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)


def told_apart(x: Float[Tensor, "N F"], y: Float[Tensor, "M _"], *, seed: int = SEED) -> Told:
    r"""Guess for half of the examples which of two sets they are from, by the votes of their nearest in the other half.

    .. math:: \hat t = \frac1n \sum_{i=1}^n [\hat l_i = l_i], \qquad
        x, y \text{ of one distribution} \;\Rightarrow\; n \hat t \sim \mathrm{Binomial}(n, \tfrac12)

    The classifier is that of the about √n nearest neighbours, which needs no training and no settings: it finds any
    difference if there are examples enough, and few in many dimensions. Of the larger set only as many are taken as the
    smaller has. That a difference is found says nothing of how large it is: the accuracy does.

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
    with rng.noise(seed, "told apart"):
        known, asked = (torch.cat(parts) for parts in halved(x, y))
    answers = Answers.of(_votes(known, asked) > 0)
    return Told(answers.accuracy, *answers.interval, answers.p_of_all, 2 * answers.m)


def _votes(known: Float[Tensor, "K F"], asked: Float[Tensor, "A F"]) -> Float[Tensor, "A"]:
    """Give for each example the votes for the first set, less those for the second; there is never a draw."""
    k = math.isqrt(len(known)) | 1
    side = torch.where(torch.arange(len(known)) < len(known) // 2, 1.0, -1.0)
    return side[nearest(asked, known, k, apart=torch.cdist)[1]].sum(1)
