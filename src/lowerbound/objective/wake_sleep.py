"""Reweighted wake-sleep."""

from typing import Annotated, Literal, final

import torch
from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.objective.base import Group, Loss, Objective, ledger
from lowerbound.objective.gradient import apart, log_mean_exp, score, single
from lowerbound.vae import VAE, Model, Trace


@final
class WakeSleep(Objective):
    r"""Reweighted wake-sleep: two players, neither of which needs reparameterised draws of q.

    .. math:: \text{the model: } -\log \frac1K \sum_k w_k, \qquad
        \text{the posterior: } -(1 - s) \sum_k \tilde w_k \log q(z_k|x)
        - s \, \mathbb E_{p(z', x')} \log q(z'|x')

    The draws z and the weights w̃ = w / Σ w are held fixed: awake, q is fitted to the posterior that they stand for; and
    asleep, to dreams (z', x') of the model, one for each example, given its c. What is logged as bound is the model's,
    the importance-weighted one, in nats per example. An evaluation does not dream.

    Raises UsageError for several groups of latents, a posterior that has no density at a given z, or, asleep, another
    model than a VAE.

    Reference: Reweighted wake-sleep (Bornschein and Bengio, 2015).

    Arguments:
        samples: K.
        sleep: s, the share of the dreams in what the posterior learns.

    Example:
        >>> WakeSleep(samples=10).bound
        'lower'
    """

    bound: Literal["lower", "upper"] | None = "lower"
    weighs: bool = True

    def __init__(self, samples: Annotated[int, Ge(1)] = 5, sleep: Annotated[float, Ge(0), Le(1)] = 0.0) -> None:
        super().__init__()
        if samples < 1 or not 0 <= sleep <= 1:
            raise UsageError(f"samples is {samples} and sleep {sleep}: at least 1, and between 0 and 1.")
        self.samples, self.sleep = samples, sleep

    def players(self, model: Model) -> dict[str, Group]:
        """Name the posterior and the rest of the model."""
        return apart(model, self, "wake-sleep")

    def reduce(self, model: Model, trace: Trace, *, step: int = 0) -> Loss:
        """Give minus the bound to the model and the cross-entropy of q to the posterior, and log the bound."""
        log_q = score(single(trace, "wake-sleep"), "wake-sleep")
        log_w = trace.log_w
        bound = log_mean_exp(log_w, 0).mean()
        fit = -(log_w.detach().softmax(0) * log_q).sum(0).mean()
        if self.sleep and self.training:
            fit = torch.lerp(fit, self._dream(model, trace), self.sleep)
        terms = {**ledger(trace), "bound": bound.detach(), "loss": -bound.detach()}
        return Loss({"posterior": fit, "model": -bound}, terms)

    def _dream(self, model: Model, trace: Trace) -> Float[Tensor, ""]:
        if not isinstance(model, VAE):
            raise UsageError(
                f"The sleep phase draws from a prior and a likelihood; {type(model).__name__} has none: set sleep to 0."
            )
        with torch.no_grad():
            p = model.prior(trace.c)
            z = p.sample(() if p.batch_shape else (len(trace.x),))  # of a prior given c, one for each c
            dreamt = model.likelihood(z, trace.c).sample()
        log_q: Tensor = model.posterior(dreamt, trace.c).log_prob(z)
        return -log_q.mean()
