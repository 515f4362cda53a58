"""Bits per dimension, in which likelihoods of images of any size compare."""

import math

from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.errors import UsageError


def bits_per_dimension(nats: float, px: Distribution) -> float:
    r"""Turn -log p(x), or its bound -elbo, of an image into bits for each pixel and channel.

    .. math:: \mathrm{bits} = \frac{-\log P(x)}{D \log 2}

    Raises UsageError where p(x|z) is a density: that of pixels in [0, 255] is another number than that of the same
    pixels in [0, 1], and it is no length of a code.

    Reference: A note on the evaluation of generative models (Theis, van den Oord and Bethge, 2016).

    Arguments:
        nats: -log p(x) or -elbo, in nats per example.
        px: p(x|z), which says whether pixels are discrete and how many there are.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent
        >>> from lowerbound.dist import Levels
        >>> px = Independent(Levels(torch.zeros(1, 8, 8, 256)), 3)  # 8 bits a pixel
        >>> round(bits_per_dimension(float(-px.log_prob(torch.zeros(1, 8, 8))), px), 4)
        8.0
    """
    support = px.support
    if support is None or not support.is_discrete:
        raise UsageError(
            "Bits per dimension are of a probability, and p(x|z) here is a density, which depends on the unit of the "
            "pixels. Take a likelihood of 8-bit images, such as --set model.likelihood.kind=discretised-logistic."
        )
    return nats / (px.event_shape.numel() * math.log(2))


def counts(px: Distribution, x: Float[Tensor, "B *X"]) -> bool:
    """Say whether p(x|z) gives each of these x a probability: it is discrete, and they are among its values.

    Example:
        >>> import torch
        >>> from lowerbound.dist import CrossEntropy
        >>> px = CrossEntropy(logits=torch.zeros(2))
        >>> counts(px, torch.tensor([[0.0, 1.0]])), counts(px, torch.tensor([[0.0, 0.5]]))
        (True, False)
    """
    try:
        support = px.support
    except NotImplementedError:  # an own distribution need not say
        return False
    return support is not None and support.is_discrete and bool(support.check(x).all())
