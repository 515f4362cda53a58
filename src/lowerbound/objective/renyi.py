"""The variational Rényi bound."""

import math
from typing import Annotated, Literal, final

from annotated_types import Ge

from lowerbound.errors import UsageError
from lowerbound.objective.base import Loss, Objective, ledger
from lowerbound.objective.gradient import log_mean_exp, weights
from lowerbound.vae import Model, Trace


@final
class Renyi(Objective):
    r"""The variational Rényi bound of order α, estimated from K samples.

    .. math:: \mathcal L_\alpha = \frac{1}{1 - \alpha} \log \mathbb E_q \, w^{1 - \alpha} \approx
        \frac{1}{1 - \alpha} \log \frac1K \sum_{k=1}^K w_k^{1 - \alpha}, \qquad w = \frac{p(x, z)}{q(z|x)}

    α = 0 is the importance-weighted bound and α = 1 the elbo. The estimate is biased: in expectation it lies between
    the elbo, which it is for K = 1, and L_α, to which it comes as K grows. So for α ≥ 0, where L_α ≤ log p(x), it is a
    lower bound for any K (for α > 1 one that falls with K); for α < 0, where L_α ≥ log p(x), it is below or above
    log p(x) as K is small or large, and no bound at all. In nats per example.

    Raises UsageError for a posterior without a density or without reparameterised draws.

    Reference: Rényi divergence variational inference (Li and Turner, 2016).

    Arguments:
        alpha: α, any number.
        samples: K.

    Example:
        >>> Renyi(alpha=0.5).bound, Renyi(alpha=-1.0).bound
        ('lower', None)
    """

    bound: Literal["lower", "upper"] | None
    weighs: bool = True

    def __init__(self, alpha: float = 0.5, samples: Annotated[int, Ge(1)] = 5) -> None:
        super().__init__()
        if samples < 1 or not math.isfinite(alpha):
            raise UsageError(f"alpha is {alpha} and samples {samples}: a number, and at least 1.")
        self.alpha, self.samples = alpha, samples
        self.bound = "lower" if alpha >= 0 else None

    def reduce(self, model: Model, trace: Trace, *, step: int = 0) -> Loss:
        """Give minus the bound, and log the bound beside the ledger."""
        bound = log_mean_exp(weights(trace, "renyi"), 0, power=1 - self.alpha).mean()
        return Loss({"model": -bound}, {**ledger(trace), "bound": bound.detach(), "loss": -bound.detach()})
