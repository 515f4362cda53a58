"""The Bernoulli on logits, and what it is on grey pixels."""

from typing import final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Bernoulli


@final
class CrossEntropy(Bernoulli):
    r"""The negative cross-entropy of pixels in [0, 1] against logits.

    .. math:: \log p(x) = x \log \mathrm{sigmoid}(l) + (1 - x) \log (1 - \mathrm{sigmoid}(l))

    For x in {0, 1} this is the Bernoulli's log-likelihood. For grey x it is a cross-entropy and *not* a
    log-likelihood, since it does not integrate to one over [0, 1]; the support stays {0, 1}, so that
    ``px.support.check(x).all()`` tells which of the two a number is. `ContinuousBernoulli` is the likelihood.

    Example:
        >>> px = CrossEntropy(logits=torch.zeros(2))
        >>> px.log_prob(torch.tensor([1.0, 0.5]))
        tensor([-0.6931, -0.6931])
        >>> px.support.check(torch.tensor([1.0, 0.5]))
        tensor([ True, False])
    """

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Give minus the cross-entropy, elementwise, in nats; grey values are let through."""
        logits, value = torch.broadcast_tensors(self.logits, value)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none")
