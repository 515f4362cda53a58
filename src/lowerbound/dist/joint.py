"""Independent variables whose family adds up their log densities faster than one by one."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent


@final
class Joint(Independent[Distribution]):
    """torch's Independent, which lets a family that can add up its log densities do so.

    Such a family has a method ``summed_log_prob(value, axes)``. The value is the same up to
    rounding; under ``torch.use_deterministic_algorithms`` it is torch's own.

    Example:
        >>> from lowerbound.dist import CrossEntropy
        >>> px = Joint(CrossEntropy(logits=torch.zeros(2, 3)), 1)
        >>> px.log_prob(torch.ones(2, 3))
        tensor([-2.0794, -2.0794])
    """

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Give the log density of all variables together, in nats."""
        axes, summed = self.reinterpreted_batch_ndims, getattr(self.base_dist, "summed_log_prob", None)
        if summed is None or axes == 0 or torch.are_deterministic_algorithms_enabled():
            return super().log_prob(value)  # type: ignore[no-any-return,no-untyped-call]
        found: Tensor = summed(value, axes)
        return found
