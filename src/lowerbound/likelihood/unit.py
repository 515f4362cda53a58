"""Likelihoods of pixels in [0, 1]."""

from typing import final

from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from lowerbound.dist import ContinuousBernoulli as ContinuousBernoulliDistribution
from lowerbound.dist import CrossEntropy, Joint
from lowerbound.likelihood.base import Likelihood, pixels


@final
class Bernoulli(Likelihood):
    r"""Bernoulli pixels, on logits: the lecture's decoder, whose sigmoid is the mean of p(x|z).

    .. math:: \log p(x|z) = \sum_i x_i \log \lambda_i + (1 - x_i) \log (1 - \lambda_i),
        \quad \lambda = \mathrm{sigmoid}(\mathrm{net}(z))

    On binary pixels this is a likelihood. On grey ones it is a cross-entropy, which the lecture uses and which trains
    well, but not a likelihood: see `lowerbound.dist.CrossEntropy`. Wherever its number is shown, this is said.

    Example:
        >>> import torch
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
        logits, event = pixels(self.net, z)
        return Joint(CrossEntropy(logits=logits, validate_args=False), event, validate_args=False)


@final
class ContinuousBernoulli(Likelihood):
    r"""Grey pixels in [0, 1] with a density: the cross-entropy plus its normaliser log C(λ).

    .. math:: \log p(x|z) = \sum_i x_i l_i - \mathrm{softplus}(l_i) + \log C(l_i), \quad l = \mathrm{net}(z)

    Reference: The continuous Bernoulli (Loaiza-Ganem and Cunningham, 2019).

    Example:
        >>> import torch
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
        logits, event = pixels(self.net, z)
        px = ContinuousBernoulliDistribution(logits, validate_args=False)
        return Independent(px, event, validate_args=False)
