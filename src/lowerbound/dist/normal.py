"""The normal distribution whose variance is the one that fits best."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal

Shape = torch.Size | list[int] | tuple[int, ...]  # as torch annotates it
MOMENTUM = 0.1
FLOOR = 1e-6  # of the variance: constant images would drive it to zero and the density to infinity


class OptimalNormal(Normal):
    r"""N(μ, σ²) with σ² = mean (x - μ)², the value that maximises the likelihood of the x that is scored.

    Scoring also moves ``variance_buffer`` towards that value (an exponential mean), so that evaluation can use
    a proper density with a fixed σ. The gradient with respect to σ vanishes at the optimum, so σ is a constant.

    Reference: Simple and effective VAE training with calibrated decoders (Rybkin, Daniilidis and Levine, 2021).
    """

    def __init__(self, loc: Float[Tensor, "..."], variance_buffer: Float[Tensor, ""]) -> None:
        super().__init__(loc, variance_buffer.sqrt().to(loc.dtype), validate_args=False)
        self.variance_buffer = variance_buffer

    def expand(self, batch_shape: Shape, _instance: None = None) -> "OptimalNormal":
        """Expand the batch, as every torch distribution does."""
        return OptimalNormal(self.loc.expand(batch_shape), self.variance_buffer)

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Give the log density at the optimal σ, elementwise, in nats, and update the buffer."""
        with torch.no_grad():
            mse = (value - self.loc).square().mean(dtype=self.variance_buffer.dtype).clamp_min(FLOOR)
            if mse.isfinite():
                self.variance_buffer.lerp_(mse, MOMENTUM)
        best = Normal(self.loc, mse.sqrt().to(self.loc.dtype), validate_args=False)
        log_p: Tensor = best.log_prob(value)
        return log_p
