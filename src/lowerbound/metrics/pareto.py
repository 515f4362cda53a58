"""How heavy the tail of importance weights is: whether their mean can be trusted."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.errors import UsageError

LIMIT = 0.7  # of k̂: beyond it the mean of the weights converges too slowly for any error that could be stated
LEAST = 5  # weights in a tail that is fitted
SAME = 1e-3  # a tail of weights that are the same up to a thousandth is none


def trusted(samples: int) -> float:
    r"""Give the k̂ up to which a mean of so many weights is to be trusted.

    .. math:: \min(1 - 1 / \log_{10} K, \; 0.7)

    Reference: Pareto smoothed importance sampling (Vehtari et al., 2024), section 3.2.4.

    Example:
        >>> trusted(5000), trusted(100)
        (0.7, 0.5)
    """
    if samples < 2:
        raise UsageError(f"samples is {samples}: of fewer than 2 weights nothing can be said of their tail.")
    return min(1 - 1 / math.log10(samples), LIMIT)


def tail_length(samples: int) -> int:
    r"""Give M, the number of the largest weights to which a tail is fitted.

    .. math:: M = \lceil \min(K / 5, \; 3 \sqrt K) \rceil

    Reference: Pareto smoothed importance sampling (Vehtari et al., 2024).

    Example:
        >>> tail_length(5000), tail_length(100)
        (213, 20)
    """
    return math.ceil(min(samples / 5, 3 * math.sqrt(samples)))


def tail_index(log_w: Float[Tensor, "K B"]) -> Float[Tensor, "B"] | None:
    r"""Estimate the tail index k̂ of importance weights, from the largest of each column.

    .. math:: P(w - u > y \mid w > u) \approx \Bigl(1 + \frac{k y}{\sigma}\Bigr)^{-1/k}

    Below ½ the weights have a variance; from 1 on not even a mean. Up to 0.7 their average is of use, see `trusted`.
    It is told by the weights that were drawn: a heavy tail of which none was drawn leaves it low.
    The index is −∞ where the largest weights are the same up to a thousandth, so that there is no tail; it is NaN
    where they are tied so often that fewer than five differ from u, which tells nothing. Where K is so small that
    fewer than five are the largest (K ≤ 20) there is no k̂ at all: None.

    Reference: Pareto smoothed importance sampling (Vehtari et al., 2024), with its weak prior about ½.

    Arguments:
        log_w: logarithms of the weights, each column a sample of its own.

    Example:
        >>> log_w = torch.randn(5000, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> bool(tail_index(log_w) < 0.7 < tail_index(5 * log_w))
        True
        >>> tail_index(log_w[:20])
    """
    most = tail_length(len(log_w))
    if most < LEAST:
        return None
    largest = log_w.cpu().double().topk(most + 1, dim=0).values.flip(0)  # ascending: the first is the threshold u
    return torch.tensor([_index(column) for column in largest.T], dtype=torch.float64)


def generalised_pareto(x: Float[Tensor, "M"]) -> tuple[float, float]:
    r"""Fit shape k and scale σ of a generalised Pareto distribution to exceedances, by an empirical Bayes estimate.

    .. math:: F(x) = 1 - \Bigl(1 + \frac{k x}{\sigma}\Bigr)^{-1/k}, \qquad
        k(b) = \frac1M \sum_i \log(1 - b x_i), \quad \hat b = \sum_j b_j \frac{L(b_j)}{\sum_l L(b_l)}

    L is the profile likelihood of b = −k/σ, and the bⱼ are quantiles of a prior that the quartile of x scales.

    Reference: A new and efficient estimation method for the generalized Pareto distribution (Zhang and Stephens, 2009).

    Arguments:
        x: exceedances, above 0, in any order.

    Example:
        >>> u = torch.rand(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> k, sigma = generalised_pareto(3.0 * (u ** -0.5 - 1) / 0.5)  # k = 1/2, sigma = 3
        >>> abs(k - 0.5) < 0.05, abs(sigma - 3) < 0.1
        (True, True)
    """
    x = x.double().sort().values
    n = len(x)
    if n < LEAST or not x[0] > 0:
        raise UsageError(f"A tail is fitted to {LEAST} or more values above 0, and these are {n} from {float(x[0])}.")
    m = 30 + math.isqrt(n)
    quartile = x[int(n / 4 + 0.5) - 1]
    grid = torch.arange(1, m + 1, dtype=x.dtype)
    b = 1 / x[-1] + (1 - (m / (grid - 0.5)).sqrt()) / (3 * quartile)
    k = torch.log1p(-b[:, None] * x).mean(1)
    profile = n * (torch.log(-b / k) - k - 1)
    mean = (b * profile.softmax(0)).sum()
    shape = torch.log1p(-mean * x).mean()
    return float(shape), float(-shape / mean)


def _index(largest: Tensor) -> float:
    """Give k̂ of one column's largest log weights, ascending, of which the first is the threshold."""
    top, u = largest[-1], largest[0]
    if not top - u > SAME:
        return -math.inf
    above = largest[largest > u]
    if len(above) < LEAST:
        return math.nan
    # against the largest, so that nothing overflows; what is lost beside it must stay above 0
    k, _ = generalised_pareto((torch.exp(above - top) - torch.exp(u - top)).clamp_min(1e-300))
    n = len(above)
    return (n * k + 10 * 0.5) / (n + 10)  # ten observations' worth of k = 1/2
