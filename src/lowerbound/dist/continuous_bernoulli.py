"""The continuous Bernoulli, with a normaliser that holds at every logit."""

import math
from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from lowerbound.dist.normal import Shape

# Below this |l| the series are exact to float64: the first dropped terms are under 1e-16.
SMALL = 0.05


@final
class ContinuousBernoulli(Distribution):
    r"""A density on [0, 1] for grey pixels, parameterised by the logit l of λ.

    .. math:: \log p(x) = x l - \mathrm{softplus}(l) + \log C, \qquad \log C = \log \frac{l}{\tanh(l / 2)}

    torch's own saturates at large logits (its log C stays near 2.77 where the exact value at l = 50 is 3.91).

    Reference: The continuous Bernoulli: fixing a pervasive error in variational autoencoders
    (Loaiza-Ganem and Cunningham, 2019).

    Example:
        >>> ContinuousBernoulli(torch.tensor(0.0)).log_prob(torch.tensor(0.3))  # uniform at l = 0
        tensor(0.)
    """

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012 - torch's own declaration
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, logits: Float[Tensor, "..."], validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=validate_args)

    def expand(self, batch_shape: Shape, _instance: None = None) -> "ContinuousBernoulli":
        """Expand the batch, as every torch distribution does."""
        return ContinuousBernoulli(self.logits.expand(batch_shape), validate_args=False)

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Give the log density, elementwise, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        l, x = torch.broadcast_tensors(self.logits, value)
        return log_normaliser(l) - F.binary_cross_entropy_with_logits(l, x, reduction="none")

    @property
    def mean(self) -> Float[Tensor, "..."]:
        """Give E[x] = 1 / (1 - exp(-l)) - 1 / l."""
        near, l = _split(self.logits)
        series = 0.5 + self.logits / 12 - self.logits**3 / 720 + self.logits**5 / 30240
        return torch.where(near, series, -1 / torch.expm1(-l) - 1 / l)

    @property
    def variance(self) -> Float[Tensor, "..."]:
        """Give Var[x] = 1 / l² - 1 / (4 sinh²(l / 2))."""
        near, l = _split(self.logits)
        s = self.logits**2
        series = 1 / 12 - s / 240 + s**2 / 6048 - s**3 / 172800
        tail = torch.exp(-l.abs())  # 1 / (4 sinh²(l/2)) = e^-|l| / (1 - e^-|l|)², which cannot overflow
        return torch.where(near, series, 1 / l**2 - tail / (1 - tail) ** 2)

    def rsample(self, sample_shape: Shape = torch.Size()) -> Float[Tensor, "..."]:  # noqa: B008
        """Draw by the inverse of the distribution function, which is differentiable in the logit."""
        shape = self._extended_shape(sample_shape)
        u = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        return self.icdf(u)

    def icdf(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Give log(1 + u (e^l - 1)) / l, from the side on which e^l cannot overflow."""
        l, u = torch.broadcast_tensors(self.logits, value)
        near, far = _split(l, 1e-5)  # expm1 and log1p hold down to here
        low = torch.where(far < 0, u, 1 - u)  # x(u, l) = 1 - x(1 - u, -l)
        x = torch.log1p(low * torch.expm1(-far.abs())) / -far.abs()
        x = torch.where(far < 0, x, 1 - x)
        series = u + l * u * (1 - u) / 2 + l**2 * u * (1 - u) * (1 - 2 * u) / 6
        return torch.where(near, series, x).clamp(0, 1)


def log_normaliser(l: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Give log C = log(l / tanh(l / 2)), and its series log 2 + log(1 + l²/12 - …) near l = 0.

    Example:
        >>> log_normaliser(torch.tensor(50.0))
        tensor(3.9120)
    """
    near, far = _split(l)
    s = l**2
    series = torch.log1p(s / 12 - s**2 / 720 + s**3 / 30240 - s**4 / 1209600)
    exact = torch.log(far.abs()) - torch.log(torch.tanh(far.abs() / 2))
    return torch.where(near, series + math.log(2), exact)


def _split(l: Tensor, small: float = SMALL) -> tuple[Tensor, Tensor]:
    """Say where l is small, and give l with 1 in those places, so that no 0/0 reaches the gradient."""
    near = l.abs() < small
    return near, torch.where(near, torch.ones_like(l), l)
