"""Every value that a variable can take, and its weight in an integral: all of them, or the nodes of a quadrature."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

PANELS, NODES = 64, 8  # of the Gauss-Legendre rule on an interval
REACH, STEPS = 12.0, 1201  # of the rule on the real line: x = centre + scale · sinh t for |t| ≤ 12


def values(d: Distribution) -> tuple[Float[Tensor, "G ..."], Float[Tensor, "G ..."]] | None:
    """Give the values of single variables and their weights, or None where the support is none of these kinds.

    Finite supports are enumerated; an interval gets a Gauss-Legendre rule in panels; the real line the trapezoidal
    rule in t of x = c + s sinh t, which takes heavy tails, with c and s from the quartiles of draws.

    Example:
        >>> from torch.distributions import Normal
        >>> d = Normal(torch.tensor([0.0, 5.0]), torch.tensor([1.0, 0.01]))
        >>> x, w = values(d)
        >>> (d.log_prob(x).exp() * w).sum(0)
        tensor([1.0000, 1.0000])
    """
    if d.has_enumerate_support:
        x = d.enumerate_support(expand=True)
        return x, torch.ones_like(x)
    parts = getattr(d, "component_distribution", None)
    if parts is not None and parts.has_enumerate_support:  # a mixture takes the values of its components
        x = parts.enumerate_support(expand=True)[..., 0]
        return x, torch.ones_like(x)
    support = d.support
    if support is None or support.is_discrete or support.event_dim:
        return None
    low, high = getattr(support, "lower_bound", None), getattr(support, "upper_bound", None)
    if low is not None and high is not None:
        return _interval(float(low), float(high), d)
    if low is None and high is None:
        return _line(d)
    return None


def _like(d: Distribution, numbers: np.ndarray) -> Tensor:
    sample = d.sample()
    return torch.from_numpy(numbers).to(sample).reshape(-1, *[1] * sample.ndim).expand(-1, *sample.shape)


def _interval(low: float, high: float, d: Distribution) -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    edges = np.linspace(low, high, PANELS + 1)
    half = (high - low) / PANELS / 2
    x = (edges[:-1, None] + half * (1 + nodes)).ravel()
    return _like(d, x), _like(d, np.tile(half * weights, PANELS))


def _line(d: Distribution) -> tuple[Tensor, Tensor]:
    quarters = torch.tensor([0.25, 0.5, 0.75])
    draws = d.sample(torch.Size([1001]))
    low, centre, high = torch.quantile(draws, quarters.to(draws), dim=0)
    scale = high - low
    t = _like(d, np.linspace(-REACH, REACH, STEPS))
    step = 2 * REACH / (STEPS - 1)
    return centre + scale * torch.sinh(t), scale * torch.cosh(t) * step
