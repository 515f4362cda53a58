"""The logistic distribution rounded to the 256 levels of a pixel."""

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.utils import broadcast_all

from lowerbound.dist.levels import LEVELS, STEP, all_levels, on_levels
from lowerbound.dist.normal import Shape


@final
class DiscretisedLogistic(Distribution):
    r"""The mass of a logistic density within half a level of x; the two end levels take the tails.

    .. math:: P(x) = \sigma(b) - \sigma(a), \qquad a, b = \frac{x \mp 1/510 - \mu}{s}, \qquad
        a = -\infty \text{ at } x = 0, \quad b = \infty \text{ at } x = 1

    Computed as log σ(b) + log σ(-a) + log(1 - e^(a - b)), which is the same and loses no digits anywhere.

    Reference: Improved variational inference with inverse autoregressive flow (Kingma et al., 2016).

    Arguments:
        loc: μ, in the unit of the pixels, which go from 0 to 1.
        scale: s, in the same unit.

    Example:
        >>> px = DiscretisedLogistic(torch.tensor(0.5), torch.tensor(0.1))
        >>> px.log_prob(px.enumerate_support()).logsumexp(0).abs() < 1e-5
        tensor(True)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012 - torch's own declaration
    support = on_levels
    has_enumerate_support = True

    def __init__(
        self, loc: Float[Tensor, "..."], scale: Float[Tensor, "..."], validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Shape, _instance: None = None) -> "DiscretisedLogistic":
        """Expand the batch, as every torch distribution does."""
        return DiscretisedLogistic(self.loc.expand(batch_shape), self.scale.expand(batch_shape), validate_args=False)

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Give the log probability, elementwise, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        a, b = ((value + side * STEP / 2 - self.loc) / self.scale for side in (-1, 1))
        width = torch.log(-torch.expm1(-STEP / self.scale))
        first, last = value < STEP / 2, value > 1 - STEP / 2
        up = torch.where(last, 0.0, F.logsigmoid(b))
        down = torch.where(first, 0.0, F.logsigmoid(-a))
        return up + down + torch.where(first | last, 0.0, width)

    @property
    def mean(self) -> Float[Tensor, "..."]:
        """Give the mean level, Σ P(x ≥ k/255) / 255."""
        return self._moments()[0]

    @property
    def variance(self) -> Float[Tensor, "..."]:
        """Give the variance of the levels."""
        first, second = self._moments()
        return (second - first**2).clamp_min(0)

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Give E x and E x² by the tail probabilities, one after another: all at once are 255 numbers a pixel."""
        first, second = torch.zeros_like(self.loc), torch.zeros_like(self.loc)
        for k in range(1, LEVELS):
            tail = torch.sigmoid((self.loc - (k - 0.5) * STEP) / self.scale)
            first = first + STEP * tail
            second = second + STEP**2 * (2 * k - 1) * tail
        return first, second

    def enumerate_support(self, expand: bool = True) -> Float[Tensor, "256 ..."]:
        """Give all 256 levels along a first axis."""
        return all_levels(self.batch_shape if expand else [1] * len(self.batch_shape), self.loc)

    def sample(self, sample_shape: Shape = torch.Size()) -> Float[Tensor, "..."]:  # noqa: B008
        """Draw from the logistic and round to a level."""
        u = torch.rand(self._extended_shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        with torch.no_grad():
            x = self.loc + self.scale * torch.logit(u, eps=torch.finfo(u.dtype).eps / 2)
            return (x * (LEVELS - 1)).round().clamp(0, LEVELS - 1) / (LEVELS - 1)
