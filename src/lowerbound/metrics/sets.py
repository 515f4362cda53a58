"""What measures of two sets of features have in common: their checks, blocks, and an interval for each number."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED
from lowerbound.rng import seed_of

GROUPS = 10
NORMAL = 1.959963985  # 97.5 % of a normal distribution
STUDENT = 2.2621571628  # 97.5 % of Student's t with as many degrees of freedom as there are groups, less one
VALUES = 2**22  # held at a time: 32 MiB in float64


def pair(
    x: Float[Tensor, "N F"], y: Float[Tensor, "M _"], least: int = 1
) -> tuple[Float[Tensor, "N F"], Float[Tensor, "M F"]]:
    """Give two sets of features in float64 on the processor.

    Raises UsageError where they are not both (number, features) with as many features, where one has fewer than
    ``least`` rows, or where a value is not finite.

    Example:
        >>> a, b = pair(torch.zeros(2, 3), torch.ones(4, 3))
        >>> a.dtype, b.shape
        (torch.float64, torch.Size([4, 3]))
    """
    if x.ndim != 2 or y.ndim != 2:
        raise UsageError(
            f"The features are of the shapes {tuple(x.shape)} and {tuple(y.shape)}: (number, features) is needed of "
            "each, a row for each example."
        )
    if x.shape[1] != y.shape[1]:
        raise UsageError(
            f"Of one set each example has {x.shape[1]} features, of the other {y.shape[1]}: both must come from the "
            "same function."
        )
    for name, some in (("first", x), ("second", y)):
        if len(some) < least:
            raise UsageError(f"The {name} set has {len(some)} examples, and this measure needs {least} at least.")
        if not bool(some.isfinite().all()):
            bad = int((~some.isfinite()).any(1).sum())
            raise UsageError(
                f"{bad} of {len(some)} examples of the {name} set have features that are not finite. Look at the "
                "images that they were made of, or at the function that made them."
            )
    return x.detach().cpu().double(), y.detach().cpu().double()


def blocks(x: Float[Tensor, "N *X"], columns: int) -> Iterator[Float[Tensor, "n *X"]]:
    """Cut x into blocks of rows so that a block's distances to so many columns stay small.

    Example:
        >>> [len(block) for block in blocks(torch.zeros(5, 1).double(), VALUES // 2)]
        [2, 2, 1]
    """
    values = 8 * VALUES // x.element_size()
    return iter(x.split(max(1, values // max(1, columns))))


def wilson(share: float, n: float) -> tuple[float, float]:
    r"""Give the 95 % interval of a share of n independent examples, which stays within 0 and 1.

    .. math:: \frac{\hat p + z^2 / 2n}{1 + z^2 / n} \pm
        \frac{z}{1 + z^2 / n} \sqrt{\frac{\hat p (1 - \hat p)}{n} + \frac{z^2}{4 n^2}}

    Reference: Probable inference, the law of succession, and statistical inference (Wilson, 1927).

    Example:
        >>> [round(end, 3) for end in wilson(1.0, 20)]
        [0.839, 1.0]
    """
    z = NORMAL**2 / n
    middle = (share + z / 2) / (1 + z)
    reach = math.sqrt(z * (share * (1 - share) + z / 4)) / (1 + z)
    return middle - reach, middle + reach


@final
@dataclass(frozen=True)
class Interval:
    """A measure of two sets, and where it would lie for other sets of the same sizes.

    Arguments:
        value: the measure.
        low, high: the ends of its 95 % interval.
        bias: what the jackknife takes the part of the value to be that vanishes with more examples.
    """

    value: float
    low: float
    high: float
    bias: float


def jackknife(
    measure: Callable[[Tensor, Tensor], Mapping[str, float]],
    x: Float[Tensor, "N F"],
    y: Float[Tensor, "M _"],
    *,
    seed: int = SEED,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Interval]:
    r"""Give a 95 % interval for each number that a measure makes of two sets, by leaving out a tenth of both in turn.

    .. math:: \hat\theta \pm t_{9} \sqrt{\tfrac{9}{10} \sum_g (\hat\theta_{-g} - \bar\theta)^2}, \qquad
        \widehat{\mathrm{bias}} = 9 (\bar\theta - \hat\theta)

    The interval is of the measure's mean over other sets of these sizes: a bias that depends on the sizes stays in it,
    and stands beside it. It is no bootstrap, since this draws examples twice: a copy is its own nearest neighbour, and
    the biases of a Fréchet distance and of an unbiased estimate of MMD would enter once more. Where the two sets are
    of one distribution the jackknife's variance is too large rather than too small (Efron and Stein, 1981). Of a share
    so near 0 or 1 that a few examples decide it, the interval is too narrow.

    Raises UsageError where a set has fewer than twenty examples.

    Reference: The delete-a-group jackknife (Kott, 2001); The jackknife estimate of variance (Efron and Stein, 1981).

    Arguments:
        measure: gives numbers by name for two sets, of any sizes.
        x, y: the sets; rows are assumed to be drawn independently.
        seed: of the groups.
        progress: is told how many of the eleven evaluations are done.

    Example:
        >>> x = torch.arange(400.0).reshape(200, 2)
        >>> found = jackknife(lambda a, b: {"shift": float((b - a).mean())}, x, x + 3)["shift"]
        >>> found.value, found.low < 3 < found.high, abs(found.bias) < 1e-6
        (3.0, True, True)
    """
    if min(len(x), len(y)) < 2 * GROUPS:
        raise UsageError(
            f"There are {len(x)} and {len(y)} examples: an interval needs {2 * GROUPS} at least in each set."
        )
    a, b = _groups(len(x), seed, "jackknife first"), _groups(len(y), seed, "jackknife second")
    whole = dict(measure(x, y))
    without = []
    for g, (kept, also) in enumerate(left_out(a, b)):
        if progress:
            progress(g + 1, GROUPS + 1)
        without.append(measure(x[kept], y[also]))
    if progress:
        progress(GROUPS + 1, GROUPS + 1)
    return {name: _interval(value, [float(part[name]) for part in without]) for name, value in whole.items()}


def left_out(*labels: Int[Tensor, "_"]) -> Iterator[tuple[Bool[Tensor, "_"], ...]]:
    """Say which rows are kept as one group after the other is left out, of as many sets as have labels 0, 1, ….

    Example:
        >>> [kept.tolist() for (kept,) in left_out(torch.tensor([0, 1, 1]))]
        [[False, True, True], [True, False, False]]
    """
    return (tuple(some != g for some in labels) for g in range(1 + int(labels[0].max())))


def left_out_variance(without: Float[Tensor, "G *S"]) -> Float[Tensor, "*S"]:
    r"""Give the variance of a statistic of independent examples, from its values without one of G groups in turn.

    .. math:: \frac{G - 1}{G} \sum_g (\hat\theta_{-g} - \bar\theta)^2

    Reference: The delete-a-group jackknife (Kott, 2001).

    Example:
        >>> float(left_out_variance(torch.tensor([1.0, 3.0])))
        1.0
    """
    groups = len(without)
    return (groups - 1) / groups * (without - without.mean(0)).square().sum(0)


def _groups(n: int, seed: int, purpose: str) -> Int[Tensor, "n"]:
    """Give each row a group at random: rows may stand in the order of their classes."""
    generator = torch.Generator().manual_seed(seed_of(seed, purpose))
    return torch.randperm(n, generator=generator) % GROUPS


def _interval(value: float, without: list[float]) -> Interval:
    parts = torch.tensor(without, dtype=torch.float64)
    error = float(left_out_variance(parts).sqrt())
    bias = (GROUPS - 1) * (float(parts.mean()) - value)
    return Interval(value, value - STUDENT * error, value + STUDENT * error, bias)
