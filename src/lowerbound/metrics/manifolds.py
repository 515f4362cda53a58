"""Precision, recall, density and coverage: how good samples are, and how much of the data they reach."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.metrics.search import nearest, tiles
from lowerbound.metrics.sets import pair

NEAREST = 5


@final
@dataclass(frozen=True)
class Manifolds:
    """How a set of samples lies to a set of data.

    Arguments:
        precision: the share of samples that are within the data's reach.
        recall: the share of data that are within the samples' reach.
        density: how many of the data reach a sample, over k; about 1 for samples of the data's distribution.
        coverage: the share of data that have a sample within their reach.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def prdc(x: Float[Tensor, "N F"], y: Float[Tensor, "M _"], k: int = NEAREST) -> Manifolds:
    r"""Give precision, recall, density and coverage of samples y against data x.

    .. math::
        \mathrm{precision} = \frac1M \sum_j [\exists i: \|y_j - x_i\| \le r_i], \quad
        \mathrm{recall} = \frac1N \sum_i [\exists j: \|x_i - y_j\| \le s_j] \\
        \mathrm{density} = \frac1{kM} \sum_{j, i} [\|y_j - x_i\| \le r_i], \quad
        \mathrm{coverage} = \frac1N \sum_i [\exists j: \|x_i - y_j\| \le r_i]

    r_i is the distance from x_i to its k-th nearest neighbour among the other x, s_j that of y_j among the other y. For
    two sets of one distribution density has mean 1, coverage that of `expected_coverage`; precision and recall have
    no such value: they fall with the dimension, and one outlier among the data raises precision. Memory does not grow
    with N or M.

    Raises UsageError where a set has not more than k examples.

    Reference: Improved precision and recall metric for assessing generative models (Kynkäänniemi et al., 2019);
    Reliable fidelity and diversity metrics for generative models (Naeem et al., 2020).

    Arguments:
        x: features of the data.
        y: features of the samples.
        k: which neighbour gives the reach.

    Example:
        >>> x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
        >>> found = prdc(x[:250], x[250:])
        >>> found.coverage > 0.9, prdc(x[:250], x[250:] + 9).coverage
        (True, 0.0)
    """
    if k < 1:
        raise UsageError(f"k is {k}: the reach of an example is the distance to its first neighbour at least.")
    x, y = pair(x, y, least=k + 1)
    r, s = reach(x, k), reach(y, k)
    reaching = torch.zeros(len(y), dtype=torch.int64)
    covered, recalled = torch.zeros(2, len(x), dtype=torch.bool)
    for rows, first, distances in tiles(x, y, torch.cdist):
        columns = slice(first, first + distances.shape[1])
        within = distances <= r[rows, None]
        reaching[columns] += within.sum(0)
        covered[rows] |= within.any(1)
        recalled[rows] |= (distances <= s[columns]).any(1)
    return Manifolds(
        precision=_share(reaching > 0),
        recall=_share(recalled),
        density=float(reaching.double().mean()) / k,
        coverage=_share(covered),
    )


def reach(x: Float[Tensor, "N F"], k: int) -> Float[Tensor, "N"]:
    """Give the distance of each example to its k-th nearest neighbour among the others.

    Example:
        >>> reach(torch.tensor([[0.0], [1.0], [3.0]]), 1)
        tensor([1., 1., 2.])
    """
    # the nearest of all is the example itself; distances are those of `prdc`, so that a copy lies at the edge exactly
    return nearest(x, x, k + 1, apart=torch.cdist)[0][:, -1]


def expected_coverage(n: int, m: int, k: int = NEAREST) -> float:
    r"""Give the mean coverage of n data by m samples of the same distribution.

    .. math:: 1 - \prod_{i=1}^{k} \frac{n - i}{n + m - i}

    Of the n + m - 1 others the k nearest to an example are then all data with this product's probability.

    Reference: Reliable fidelity and diversity metrics for generative models (Naeem et al., 2020), lemma 2.

    Example:
        >>> round(expected_coverage(10_000, 10_000, 5), 4)
        0.9688
    """
    missed = 1.0
    for i in range(1, k + 1):
        missed *= (n - i) / (n + m - i)
    return 1 - missed


def _share(flags: Tensor) -> float:
    return float(flags.double().mean())
