"""The normal distribution whose variance is the one that fits best."""

from typing import final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Normal

Shape = torch.Size | list[int] | tuple[int, ...]  # as torch annotates it
DECAY = 0.9  # of the weight of a batch in the mean of the variances, with each batch after it
FLOOR = 1e-6  # of the variance: constant images would drive it to zero and the density to infinity


@final
class OptimalNormal(Normal):
    r"""N(μ, σ²) with σ² = mean (x - μ)², the value that maximises the likelihood of the x that is scored.

    .. math:: \bar\sigma^2_n = (1 - w_n) \, \bar\sigma^2_{n - 1} + w_n \sigma^2_n, \qquad
        w_n = \frac{0.1}{1 - 0.9^n}

    Scoring also moves ``variance`` to this exponential mean of the n batches scored, so that evaluation can use a
    proper density with a fixed σ. The weights w are those of a mean without bias (w₁ = 1): nothing of where the buffer
    began is left in it. The gradient with respect to σ vanishes at the optimum, so σ is a constant.

    Reference: Simple and effective VAE training with calibrated decoders (Rybkin, Daniilidis and Levine, 2021); the
    correction is that of Adam: a method for stochastic optimization (Kingma and Ba, 2015).

    Arguments:
        loc: μ.
        variance: the buffer of the mean of σ².
        scored: the buffer of n, how many batches were scored.

    Example:
        >>> variance, scored = torch.ones(()), torch.zeros((), dtype=torch.int64)
        >>> _ = OptimalNormal(torch.zeros(4), variance, scored).log_prob(torch.full((4,), 3.0))
        >>> variance, scored
        (tensor(9.), tensor(1))
    """

    def __init__(self, loc: Float[Tensor, "..."], variance: Float[Tensor, ""], scored: Int[Tensor, ""]) -> None:
        super().__init__(loc, variance.sqrt().to(loc.dtype), validate_args=False)
        self.buffers = variance, scored

    def expand(self, batch_shape: Shape, _instance: None = None) -> "OptimalNormal":
        """Expand the batch, as every torch distribution does."""
        return OptimalNormal(self.loc.expand(batch_shape), *self.buffers)

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Give the log density at the optimal σ, elementwise, in nats, and update the buffers."""
        variance, scored = self.buffers
        with torch.no_grad():
            mse = (value - self.loc).square().mean(dtype=variance.dtype).clamp_min(FLOOR)
            if mse.isfinite():
                scored += 1
                decay = variance.new_tensor(DECAY)  # a tensor, so that both differences round alike: w₁ is exactly 1
                variance.lerp_(mse, (1 - decay) / (1 - decay**scored))
        best = Normal(self.loc, mse.sqrt().to(self.loc.dtype), validate_args=False)
        log_p: Tensor = best.log_prob(value)
        return log_p
