"""Likelihoods p(x|z): a network, then a family over pixels."""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal, final

import torch
from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from lowerbound.dist import ContinuousBernoulli as ContinuousBernoulliDistribution
from lowerbound.dist import CrossEntropy, Joint, OptimalNormal
from lowerbound.errors import UsageError
from lowerbound.nets import leading


class Likelihood(nn.Module, ABC):
    """A module whose forward gives p(x|z); z may carry any leading axes, (K, B, D) first of all.

    ``real`` says whether its support is the real line; else data must lie in [0, 1].
    """

    real: ClassVar[bool] = False

    @abstractmethod
    def forward(self, z: Float[Tensor, "*B D"], c: Tensor | None = None) -> Distribution:
        """Give p(x|z), with z's leading axes as its batch shape and one example's shape as its event."""


def _pixels(net: nn.Module, z: Tensor) -> tuple[Tensor, int]:
    """Run the network over all leading axes, in float32 at least, and count the axes of one example."""
    y = leading(net, z, event=1)
    return y.to(torch.promote_types(y.dtype, torch.float32)), y.ndim - z.ndim + 1


@final
class Bernoulli(Likelihood):
    r"""Bernoulli pixels, on logits: the lecture's decoder, whose sigmoid is the mean of p(x|z).

    .. math:: \log p(x|z) = \sum_i x_i \log \lambda_i + (1 - x_i) \log (1 - \lambda_i),
        \quad \lambda = \mathrm{sigmoid}(\mathrm{net}(z))

    On binary pixels this is a likelihood. On grey ones it is a cross-entropy, which the lecture uses and which trains
    well, but not a likelihood: see `lowerbound.dist.CrossEntropy`. Wherever its number is shown, this is said.

    Example:
        >>> from lowerbound.nets import ConvDecoder
        >>> px = Bernoulli(ConvDecoder(16, (1, 28, 28)))(torch.randn(1, 5, 16))
        >>> px.batch_shape, px.event_shape
        (torch.Size([1, 5]), torch.Size([1, 28, 28]))
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: Float[Tensor, "*B D"], c: Tensor | None = None) -> Distribution:
        """Give independent Bernoulli pixels."""
        logits, event = _pixels(self.net, z)
        return Joint(CrossEntropy(logits=logits, validate_args=False), event, validate_args=False)


@final
class ContinuousBernoulli(Likelihood):
    r"""Grey pixels in [0, 1] with a density: the cross-entropy plus its normaliser log C(λ).

    .. math:: \log p(x|z) = \sum_i x_i l_i - \mathrm{softplus}(l_i) + \log C(l_i), \quad l = \mathrm{net}(z)

    Reference: The continuous Bernoulli (Loaiza-Ganem and Cunningham, 2019).

    Example:
        >>> from lowerbound.nets import MLP
        >>> px = ContinuousBernoulli(MLP((2,), (1, 8, 8)))(torch.zeros(5, 2))
        >>> px.log_prob(torch.rand(5, 1, 8, 8)).shape
        torch.Size([5])
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: Float[Tensor, "*B D"], c: Tensor | None = None) -> Distribution:
        """Give independent continuous Bernoulli pixels."""
        logits, event = _pixels(self.net, z)
        px = ContinuousBernoulliDistribution(logits, validate_args=False)
        return Independent(px, event, validate_args=False)


@final
class Gaussian(Likelihood):
    r"""Real pixels around a mean, with one σ for all of them.

    .. math:: \log p(x|z) = -\sum_i \frac{(x_i - \mu_i(z))^2}{2 \sigma^2} + \log \sigma + \tfrac12 \log 2\pi

    Reference: Simple and effective VAE training with calibrated decoders (σ-VAE; Rybkin, Daniilidis and Levine, 2021).

    Arguments:
        net: maps (N, D) to (N, \*shape).
        sigma: a number (fixed), "learned" (one scalar parameter, log σ) or "optimal": in training σ² is the batch's
            mean squared error and updates a buffer, the exponential mean of these; in evaluation σ² is the buffer, a
            proper density.
        unit: whether the mean passes a sigmoid, for pixels in [0, 1]; filled in from the data.

    Example:
        >>> from lowerbound.nets import MLP
        >>> px = Gaussian(MLP((2,), (3,)), sigma=0.5)(torch.zeros(5, 2))
        >>> px.base_dist.scale.unique()
        tensor([0.5000])
    """

    real: ClassVar[bool] = True
    variance: Tensor
    scored: Tensor

    def __init__(
        self,
        net: nn.Module,
        sigma: Annotated[float, Gt(0)] | Literal["learned", "optimal"] = "optimal",
        unit: bool = False,
    ) -> None:
        super().__init__()
        self.net, self.sigma, self.unit = net, sigma, unit
        if sigma == "learned":
            self.log_sigma = nn.Parameter(torch.zeros(()))
        elif sigma == "optimal":
            self.register_buffer("variance", torch.ones(()))
            self.register_buffer("scored", torch.zeros((), dtype=torch.int64))  # batches that are in it
        elif isinstance(sigma, str) or not sigma > 0:
            raise UsageError(f"sigma is {sigma!r}: give a number above 0, 'learned' or 'optimal'.")

    def forward(self, z: Float[Tensor, "*B D"], c: Tensor | None = None) -> Distribution:
        """Give independent normal pixels."""
        mu, event = _pixels(self.net, z)
        if self.unit:
            mu = torch.sigmoid(mu)
        return Independent(self._normal(mu), event, validate_args=False)

    def _normal(self, mu: Tensor) -> Normal:
        if self.sigma == "optimal" and self.training:
            return OptimalNormal(mu, self.variance, self.scored)
        if self.sigma == "optimal":
            sigma = self.variance.sqrt()
        elif self.sigma == "learned":
            sigma = self.log_sigma.exp()
        else:
            sigma = mu.new_tensor(self.sigma)  # in mu's precision: a float32 tensor on the way would round it
        return Normal(mu, sigma.to(mu), validate_args=False)
