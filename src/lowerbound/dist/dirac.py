"""The point mass, which has no density."""

from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from lowerbound.dist.normal import Shape


@final
class Dirac(Distribution):
    r"""All probability on one point, by which an autoencoder is a VAE.

    .. math:: \Pr(z = \mathrm{point}) = 1

    It has no density with respect to the volume, and says so (``density``). ``log_prob`` is the log of the
    probability, 0 at the point and -∞ elsewhere, so that log q - log p is -log p(z), the penalty of a regularised
    autoencoder, and no divergence.

    Reference: From variational to deterministic autoencoders (RAE; Ghosh et al., 2020).

    Arguments:
        point: with any leading axes, which are the batch.

    Example:
        >>> q = Dirac(torch.tensor([1.0, 2.0]))
        >>> q.rsample((3,)).shape, q.log_prob(torch.tensor([[1.0, 2.0], [0.0, 2.0]]))
        (torch.Size([3, 2]), tensor([0., -inf]))
    """

    arg_constraints = {"point": constraints.real_vector}  # noqa: RUF012 - torch's own declaration
    support = constraints.real_vector
    has_rsample = True
    density: ClassVar[bool] = False

    def __init__(self, point: Float[Tensor, "... D"], validate_args: bool | None = None) -> None:
        self.point = point
        super().__init__(point.shape[:-1], point.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Shape, _instance: None = None) -> "Dirac":
        """Expand the batch, as every torch distribution does."""
        return Dirac(self.point.expand(*batch_shape, *self.event_shape), validate_args=False)

    def rsample(self, sample_shape: Shape = torch.Size()) -> Float[Tensor, "... D"]:  # noqa: B008
        """Give the point."""
        return self.point.expand(self._extended_shape(sample_shape))

    def log_prob(self, value: Float[Tensor, "... D"]) -> Float[Tensor, "..."]:
        """Give 0 at the point and -∞ elsewhere."""
        there = (value == self.point).all(-1)
        return torch.where(there, value.new_zeros(()), value.new_tensor(-torch.inf))

    @property
    def mean(self) -> Float[Tensor, "... D"]:
        """Give the point."""
        return self.point

    @property
    def variance(self) -> Float[Tensor, "... D"]:
        """Give 0."""
        return torch.zeros_like(self.point)
