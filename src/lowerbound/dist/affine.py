"""A known distribution, moved and stretched."""

from typing import final

from jaxtyping import Float
from torch import Size, Tensor
from torch.distributions import Distribution, constraints

from lowerbound.dist.normal import Shape
from lowerbound.dist.tools import tempered


@final
class Affine(Distribution):
    r"""The distribution of a ⊙ y + b, where y has a known one; unlike torch's it knows of y's mean and temperature.

    .. math:: \log p(z) = \log p_y\Bigl(\frac{z - b}{a}\Bigr) - \sum_j \log a_j

    Arguments:
        base: the distribution of y, with event shape (D,).
        loc: b.
        scale: a, above 0.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> y = Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> p = Affine(y, torch.ones(2), torch.full((2,), 3.0))
        >>> p.mean, torch.allclose(p.log_prob(torch.ones(2)), y.log_prob(torch.zeros(2)) - 2 * torch.tensor(3.0).log())
        (tensor([1., 1.]), True)
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own declaration
    support = constraints.real_vector

    def __init__(self, base: Distribution, loc: Float[Tensor, "D"], scale: Float[Tensor, "D"]) -> None:
        self.base, self.loc, self.scale = base, loc, scale
        self.has_rsample = base.has_rsample
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def expand(self, batch_shape: Shape, _instance: None = None) -> "Affine":
        """Expand the batch, as every torch distribution does."""
        return Affine(self.base.expand(batch_shape), self.loc, self.scale)

    def log_prob(self, value: Float[Tensor, "*B D"]) -> Float[Tensor, "*B"]:
        """Give the log density, in nats."""
        found: Tensor = self.base.log_prob((value - self.loc) / self.scale)
        return found - self.scale.log().sum()

    def sample(self, sample_shape: Shape = Size()) -> Float[Tensor, "*B D"]:  # noqa: B008
        """Draw y, and move it."""
        return self.loc + self.scale * self.base.sample(sample_shape)

    def rsample(self, sample_shape: Shape = Size()) -> Float[Tensor, "*B D"]:  # noqa: B008
        """Draw y, differentiably where it can be, and move it."""
        return self.loc + self.scale * self.base.rsample(sample_shape)

    def tempered(self, sample_shape: Shape, temperature: float) -> Float[Tensor, "*B D"]:
        """Draw y at a temperature, in the way that y has, and move it."""
        return self.loc + self.scale * tempered(self.base, sample_shape, temperature)

    @property
    def mean(self) -> Float[Tensor, "*B D"]:
        """Give a E[y] + b."""
        return self.loc + self.scale * self.base.mean

    @property
    def variance(self) -> Float[Tensor, "*B D"]:
        """Give a² Var[y]."""
        return self.scale**2 * self.base.variance
