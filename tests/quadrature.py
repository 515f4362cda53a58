"""Rules of integration over what a distribution may give, all points at once: for the laws that densities keep."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.distributions import constraints


def half_line(h: float = 0.05, end: float = 3.9) -> tuple[Tensor, Tensor]:
    """The exp-sinh rule for ∫₀^∞: its nodes bunch at 0 and reach far, so that kinks at 0 and heavy tails do no harm."""
    t = torch.arange(-end, end + h / 2, h, dtype=torch.float64)
    x = torch.exp(math.pi / 2 * torch.sinh(t))
    return x, h * math.pi / 2 * torch.cosh(t) * x


def line() -> tuple[Tensor, Tensor]:
    """A rule for ∫ over the real line, from 0 to both sides."""
    x, w = half_line()
    return torch.cat([-x.flip(0), x]), torch.cat([w.flip(0), w])


def unit() -> tuple[Tensor, Tensor]:
    """The Gauss-Legendre rule for ∫₀¹."""
    x, w = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(60))
    return (x + 1) / 2, w / 2


def rule(support: constraints.Constraint, levels: int | None = None) -> tuple[Tensor, Tensor]:
    """The rule for one coordinate: sums where there are a few values, else integrals; a real one about 0."""
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    if support.is_discrete:
        n = levels or 2
        return torch.arange(n, dtype=torch.float64) / (n - 1), torch.ones(n, dtype=torch.float64)
    return unit() if support is constraints.unit_interval else line()


def product(x: Tensor, w: Tensor, dims: int) -> tuple[Tensor, Tensor]:
    """The product rule in so many coordinates: nodes (N, dims) and weights (N,)."""
    if dims == 1:
        return x[:, None], w
    return torch.cartesian_prod(*[x] * dims), torch.cartesian_prod(*[w] * dims).prod(-1)
