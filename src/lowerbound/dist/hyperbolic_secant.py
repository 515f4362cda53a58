"""The hyperbolic secant distribution: the density whose logarithm is the log-cosh loss."""

import math
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.utils import broadcast_all

from lowerbound.dist.normal import Shape


@final
class HyperbolicSecant(Distribution):
    r"""A density with a round top as the normal's and the tails of the Laplace; its standard deviation is s.

    .. math:: p(x) = \frac{1}{2 s} \, \mathrm{sech}\, t, \qquad
        \log p(x) = -\log \cosh t - \log 2 s, \qquad t = \frac{\pi (x - \mu)}{2 s}

    Reference: Statistical properties of the log-cosh loss function used in machine learning (Saleh and Saleh, 2022).

    Arguments:
        loc: μ, the mean.
        scale: s, the standard deviation.

    Example:
        >>> HyperbolicSecant(torch.tensor(0.0), torch.tensor(0.5)).log_prob(torch.tensor(0.0))  # 1 / 2s is 1
        tensor(0.)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012 - torch's own declaration
    support = constraints.real
    has_rsample = True

    def __init__(
        self, loc: Float[Tensor, "..."], scale: Float[Tensor, "..."], validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Shape, _instance: None = None) -> "HyperbolicSecant":
        """Expand the batch, as every torch distribution does."""
        return HyperbolicSecant(self.loc.expand(batch_shape), self.scale.expand(batch_shape), validate_args=False)

    @property
    def mean(self) -> Float[Tensor, "..."]:
        """Give μ."""
        return self.loc

    @property
    def variance(self) -> Float[Tensor, "..."]:
        """Give s²."""
        return self.scale**2

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Give the log density, elementwise, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        t = math.pi / 2 * (value - self.loc) / self.scale
        return -torch.logaddexp(t, -t) - torch.log(self.scale)  # log cosh t = log(e^t + e^-t) - log 2

    def cdf(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Give the distribution function 2/π arctan e^t."""
        return 2 / math.pi * torch.atan(torch.exp(math.pi / 2 * (value - self.loc) / self.scale))

    def icdf(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Give μ + 2 s/π log tan(π u / 2), each half from its own end, where u has all its digits."""
        t = torch.log(torch.tan(math.pi / 2 * torch.minimum(value, 1 - value)))
        return self.loc + 2 / math.pi * self.scale * torch.where(value < 0.5, t, -t)

    def rsample(self, sample_shape: Shape = torch.Size()) -> Float[Tensor, "..."]:  # noqa: B008
        """Draw by the inverse of the distribution function, which is differentiable in μ and s."""
        u = torch.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.icdf(u.clamp_min(torch.finfo(u.dtype).eps / 2))  # half a step in place of 0
