"""Likelihoods of 8-bit images: a probability for each of the 256 levels, so that they compare in bits per dimension."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, final

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Categorical as Choice
from torch.distributions import Distribution, Independent, MixtureSameFamily

from lowerbound.dist import DiscretisedLogistic as DiscretisedLogisticDistribution
from lowerbound.dist import Levels
from lowerbound.errors import UsageError
from lowerbound.likelihood.base import Likelihood, LocationScale, Scale, pixels

LEAST = 1e-4  # of a scale: a fortieth of a level, at which a level can be as good as certain
BEGIN = -2.0  # of log s: at s = 1, seven times as wide, all levels are alike and learning begins slowly


@final
class DiscretisedLogistic(LocationScale):
    r"""Pixels of 256 levels under a logistic density: each level has the mass that is nearest to it.

    .. math:: P(x|z) = \prod_i \sigma\left(\frac{x_i + 1/510 - \mu_i(z)}{s}\right)
        - \sigma\left(\frac{x_i - 1/510 - \mu_i(z)}{s}\right), \quad x_i \in \{0, 1/255, \dots, 1\}

    The end levels take the tails. μ is any number, so that black and white may be certain. s begins at e⁻².

    Reference: Improved variational inference with inverse autoregressive flow (Kingma et al., 2016).

    Arguments:
        net: maps (N, D) to (N, \*shape); with sigma "image" or "each" to twice the channels.
        sigma: s: a number (fixed), "learned" (one scalar parameter, log s), "pixel" (a parameter for each position),
            "image" (the network gives one for each image) or "each" (the network gives one for each pixel).
        shape: of one example, which "pixel" needs; filled in from the data.

    Example:
        >>> from lowerbound.nets import MLP
        >>> px = DiscretisedLogistic(MLP((2,), (2, 8, 8)))(torch.zeros(5, 2))
        >>> px.event_shape, px.base_dist.enumerate_support().shape[0]
        (torch.Size([1, 8, 8]), 256)
    """

    levels: ClassVar[int | None] = 256
    least: ClassVar[float] = LEAST
    begin: ClassVar[float] = BEGIN

    def __init__(self, net: nn.Module, sigma: Scale = "each", shape: Sequence[int] | None = None) -> None:
        super().__init__(net, sigma, unit=False, shape=shape)

    def family(self, mu: Float[Tensor, "..."], sigma: Float[Tensor, "..."]) -> Distribution:
        """Give the discretised logistic distribution."""
        return DiscretisedLogisticDistribution(mu, sigma, validate_args=False)


@final
class DiscretisedLogisticMixture(Likelihood):
    r"""Pixels of 256 levels under a mixture of M discretised logistics; channels are independent given z.

    .. math:: P(x|z) = \prod_i \sum_{m=1}^M \pi_{im} P(x_i; \mu_{im}, s_{im}), \quad \pi = \mathrm{softmax}

    The network gives 3 M numbers a pixel: logits, locations and log scales, each for all components. They begin with
    locations spread over [0, 1] and scales of e⁻².

    Reference: PixelCNN++: improving the PixelCNN with discretized logistic mixture likelihood and other modifications
    (Salimans, Karpathy, Chen and Kingma, 2017), whose channels depend on each other.

    Arguments:
        net: maps (N, D) to (N, 3 M C, ...) for data of C channels.
        components: M.

    Example:
        >>> from lowerbound.nets import MLP
        >>> DiscretisedLogisticMixture(MLP((2,), (6, 8, 8)), components=2)(torch.zeros(5, 2)).mean.shape
        torch.Size([5, 1, 8, 8])
    """

    levels: ClassVar[int | None] = 256

    def __init__(self, net: nn.Module, components: Annotated[int, Ge(1)] = 5) -> None:
        super().__init__()
        if components < 1:
            raise UsageError(f"components is {components}: at least 1 is needed.")
        self.net, self.components = net, components

    @classmethod
    def numbers(cls, **arguments: Any) -> int:
        """Give 3 M."""
        return 3 * int(arguments["components"])

    def forward(self, z: Float[Tensor, "*B D"], c: Tensor | None = None) -> Distribution:
        """Give independent pixels, each a mixture."""
        y, event = pixels(self.net, z, self.numbers(components=self.components))
        logits, mu, s = y.movedim(0, -1).chunk(3, dim=-1)
        begin = (torch.arange(self.components, dtype=y.dtype, device=y.device) + 0.5) / self.components
        parts = DiscretisedLogisticDistribution(mu + begin, torch.exp(s + BEGIN) + LEAST, validate_args=False)
        px = MixtureSameFamily(Choice(logits=logits, validate_args=False), parts, validate_args=False)
        return Independent(px, event, validate_args=False)


@final
class Categorical(Likelihood):
    r"""Pixels of 256 levels, each with a probability of its own, by a softmax.

    .. math:: \log P(x|z) = \sum_i l_{i, 255 x_i}(z) - \log \sum_{k=0}^{255} e^{l_{ik}(z)}

    The network gives 256 numbers a pixel: a last layer of an MLP then has 256 times the weights.

    Reference: Pixel recurrent neural networks (van den Oord, Kalchbrenner and Kavukcuoglu, 2016).

    Arguments:
        net: maps (N, D) to (N, 256 C, ...) for data of C channels.

    Example:
        >>> from lowerbound.nets import MLP
        >>> Categorical(MLP((2,), (256, 4, 4)))(torch.zeros(5, 2)).event_shape
        torch.Size([1, 4, 4])
    """

    levels: ClassVar[int | None] = 256

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    @classmethod
    def numbers(cls, **arguments: Any) -> int:
        """Give 256."""
        return 256

    def forward(self, z: Float[Tensor, "*B D"], c: Tensor | None = None) -> Distribution:
        """Give independent pixels of 256 levels."""
        logits, event = pixels(self.net, z, self.numbers())
        return Independent(Levels(logits.movedim(0, -1), validate_args=False), event, validate_args=False)
