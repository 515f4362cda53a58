"""Pixels of 256 levels: where they lie, and the distribution that gives each level its own probability."""

from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Categorical, Distribution, constraints

from lowerbound.dist.normal import Shape

LEVELS = 256
STEP = 1 / (LEVELS - 1)
CLOSE = 1e-3  # of a level: float32 keeps k/255 to a hundredth of this


class _Levels(constraints.Constraint):
    """The multiples of 1/255 in [0, 1], as bytes divided by 255 are."""

    is_discrete = True

    def check(self, value: Tensor) -> Any:
        k = value * (LEVELS - 1)
        return ((k - k.round()).abs() < CLOSE) & (value > -STEP / 2) & (value < 1 + STEP / 2)


on_levels = _Levels()


def all_levels(batch_shape: Shape, like: Tensor) -> Float[Tensor, "256 ..."]:
    """Give every level for each element of a batch, as ``enumerate_support`` of torch's distributions does.

    Example:
        >>> all_levels((3,), torch.zeros(()))[[0, -1]]
        tensor([[0., 0., 0.],
                [1., 1., 1.]])
    """
    values = torch.arange(LEVELS, dtype=like.dtype, device=like.device) / (LEVELS - 1)
    return values.reshape(-1, *[1] * len(batch_shape)).expand(-1, *batch_shape)


@final
class Levels(Distribution):
    r"""A probability for each of the 256 levels of a pixel, by a softmax.

    .. math:: \log P(x = k / 255) = l_k - \log \sum_j e^{l_j}

    Reference: Pixel recurrent neural networks (van den Oord, Kalchbrenner and Kavukcuoglu, 2016).

    Arguments:
        logits: l, with the levels as the last axis.

    Example:
        >>> Levels(torch.zeros(5, 256)).log_prob(torch.ones(5))[0]  # -log 256
        tensor(-5.5452)
    """

    arg_constraints = {"logits": constraints.independent(constraints.real, 1)}  # noqa: RUF012 - torch's own declaration
    support = on_levels
    has_enumerate_support = True

    def __init__(self, logits: Float[Tensor, "*B 256"], validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-1], validate_args=validate_args)

    def expand(self, batch_shape: Shape, _instance: None = None) -> "Levels":
        """Expand the batch, as every torch distribution does."""
        return Levels(self.logits.expand(*batch_shape, LEVELS), validate_args=False)

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Give the log probability of the level next to each value, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(value.shape, self.batch_shape)
        k = (value * (LEVELS - 1)).round().long().expand(shape)
        found = self.logits.expand(*shape, LEVELS).gather(-1, k[..., None])[..., 0]
        return found - self.logits.logsumexp(-1)

    @property
    def mean(self) -> Float[Tensor, "..."]:
        """Give the mean level."""
        return self._moment(1)

    @property
    def variance(self) -> Float[Tensor, "..."]:
        """Give the variance of the levels."""
        return (self._moment(2) - self._moment(1) ** 2).clamp_min(0)

    def _moment(self, power: int) -> Tensor:
        return (self.logits.softmax(-1) * all_levels((), self.logits) ** power).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Float[Tensor, "256 ..."]:
        """Give all 256 levels along a first axis."""
        return all_levels(self.batch_shape if expand else [1] * len(self.batch_shape), self.logits)

    def sample(self, sample_shape: Shape = torch.Size()) -> Float[Tensor, "..."]:  # noqa: B008
        """Draw levels."""
        k = Categorical(logits=self.logits, validate_args=False).sample(torch.Size(sample_shape))
        x: Tensor = k.to(self.logits.dtype) / (LEVELS - 1)
        return x
