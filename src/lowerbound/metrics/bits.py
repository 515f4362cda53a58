"""Bits per dimension, in which likelihoods of images of any size compare."""

import math

from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.errors import UsageError
from lowerbound.metrics.support import inside, support_of

DENSITY = (
    "Bits per dimension are of a probability, and p(x|z) here is a density, which depends on the unit of the pixels."
)
DISCRETE = (
    "Take a likelihood of 8-bit images, such as --set model.likelihood.kind=discretised-logistic, or, of bytes, add "
    "noise to the data: --set data.dequantise=true."
)


def bits_per_dimension(nats: float, px: Distribution, *, width: float | None = None) -> float:
    r"""Turn -log p(x), or its bound -elbo, of an image into bits for each pixel and channel.

    .. math:: \mathrm{bits} = \frac{-\log P(x)}{D \log 2}, \qquad
        -\log P(x) \le -\mathbb E_{u \sim U[0, w)^D} \log p(x + u) - D \log w

    On the right are dequantised data: pixels of levels that are w apart, to which uniform noise of one level was added.
    Their mean log density is then a lower bound of the levels' log probability, once the log of w is counted: of bytes
    in [0, 1], (k + u) / 256, it adds log 256, which is 8 bits a pixel.

    Raises UsageError where p(x|z) is a density of data that were not dequantised: that of pixels in [0, 255] is another
    number than that of the same pixels in [0, 1], and it is no length of a code. Raises it for a width that is not
    positive, and for one of a p(x|z) that is discrete.

    Reference: A note on the evaluation of generative models (Theis, van den Oord and Bethge, 2016); RNADE: the
    real-valued neural autoregressive density-estimator (Uria, Murray and Larochelle, 2013).

    Arguments:
        nats: -log p(x) or -elbo, in nats per example.
        px: p(x|z), which says whether pixels are discrete and how many there are.
        width: w, the distance of two levels of dequantised data, in the unit in which the model sees them.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent
        >>> from lowerbound.dist import Levels
        >>> px = Independent(Levels(torch.zeros(1, 8, 8, 256)), 3)  # 8 bits a pixel
        >>> round(bits_per_dimension(float(-px.log_prob(torch.zeros(1, 8, 8))), px), 4)
        8.0
    """
    support = support_of(px)
    discrete = support is not None and support.is_discrete
    if width is not None and (discrete or not (math.isfinite(width) and width > 0)):
        raise UsageError(
            f"width is {width}: it is a number above 0, for data that were dequantised and a p(x|z) that is a density."
        )
    if not discrete and width is None:
        raise UsageError(f"{DENSITY} {DISCRETE}")
    return nats / (px.event_shape.numel() * math.log(2)) - (0.0 if width is None else math.log2(width))


def counts(px: Distribution, x: Float[Tensor, "B *X"], width: float | None = None) -> bool:
    """Say whether -log p(x|z) counts bits: each x is a value of a discrete p(x|z), or, where they are dequantised, of a
    density; see `bits_per_dimension` for the width.

    Example:
        >>> import torch
        >>> from lowerbound.dist import CrossEntropy
        >>> px = CrossEntropy(logits=torch.zeros(2))
        >>> counts(px, torch.tensor([[0.0, 1.0]])), counts(px, torch.tensor([[0.0, 0.5]]))
        (True, False)
    """
    there, support = inside(px, x), support_of(px)
    return there is not None and support is not None and support.is_discrete == (width is None) and bool(there.all())
