"""Importance-weighted bounds."""

from typing import Annotated, Literal, final

import torch
from annotated_types import Ge, Le
from jaxtyping import Float
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.objective.base import Group, Loss, Objective, ledger
from lowerbound.objective.gradient import apart, log_mean_exp, pathwise, scale, weights
from lowerbound.vae import Model, Trace


@final
class Importance(Objective):
    r"""The importance-weighted bound: of K samples in each of M groups, mixed with the elbo if wanted.

    .. math:: \mathcal L = \frac1M \sum_{m=1}^M \Bigl( \beta \, \frac1K \sum_{k=1}^K \log w_{mk}
        + (1 - \beta) \log \frac1K \sum_{k=1}^K w_{mk} \Bigr) \le \log p(x) \text{ in expectation}, \qquad
        w = \frac{p(x, z)}{q(z|x)}, \; z \sim q(z|x)

    This is the IWAE's; with M groups the MIWAE's, with β the CIWAE's. ``partial`` makes it the PIWAE's: the posterior
    maximises it, and the rest of the model that of all K M samples in one group. What is logged as bound is the value
    of the formula (the one of the rest), in nats per example. Under the weights w̃ = w / Σ w of a group, the gradients
    of the posterior's parameters φ, at β = 0, are

    .. math:: \text{total: } \sum_k \tilde w_k \frac{d \log w_k}{d \phi}, \qquad
        \text{stl: } \sum_k \tilde w_k \frac{\partial \log w_k}{\partial z_k} \frac{d z_k}{d \phi}, \qquad
        \text{dreg: } \sum_k \tilde w_k^2 \frac{\partial \log w_k}{\partial z_k} \frac{d z_k}{d \phi}

    and the rest always gets Σ w̃ d log w. "total" and "dreg" are unbiased, and "stl" for K = 1 only. Near the
    exact posterior "dreg" has less variance than "total", and none at it; far from it, as where q is too narrow, it can
    have more.

    Raises UsageError for a posterior without a density, without reparameterised draws, or, but for "total", without a
    density at a given z or with several groups of latents.

    Reference: Importance weighted autoencoders (Burda, Grosse and Salakhutdinov, 2016); Tighter variational bounds are
    not necessarily better (MIWAE, CIWAE, PIWAE; Rainforth et al., 2018); Sticking the landing (Roeder, Wu and Duvenaud,
    2017); Doubly reparameterized gradient estimators for Monte Carlo objectives (DReG; Tucker et al., 2019).

    Arguments:
        samples: K, in each group.
        groups: M, over which the bound is averaged.
        mix: β, the share of the elbo.
        gradient: of the posterior's parameters, "total", "stl" or "dreg".
        partial: whether the posterior alone maximises the bound of the groups, and the rest that of all samples.

    Example:
        >>> objective = Importance(samples=8, groups=2)
        >>> objective.samples  # drawn for each example
        16
    """

    bound: Literal["lower", "upper"] | None = "lower"
    weighs: bool = True

    def __init__(
        self,
        samples: Annotated[int, Ge(1)] = 5,
        groups: Annotated[int, Ge(1)] = 1,
        mix: Annotated[float, Ge(0), Le(1)] = 0.0,
        gradient: Literal["total", "stl", "dreg"] = "total",
        partial: bool = False,
    ) -> None:
        super().__init__()
        if samples < 1 or groups < 1 or not 0 <= mix <= 1:
            raise UsageError(
                f"samples is {samples}, groups {groups} and mix {mix}: at least 1, 1, and between 0 and 1."
            )
        if gradient not in ("total", "stl", "dreg"):
            raise UsageError(f"gradient is {gradient!r}: it is 'total', 'stl' or 'dreg'.")
        if partial and groups == 1:
            raise UsageError(
                "partial gives the posterior the bound of several groups, and groups is 1: set it to 2 or more."
            )
        self.samples = samples * groups
        self.groups, self.mix, self.gradient, self.partial = groups, mix, gradient, partial

    def players(self, model: Model) -> dict[str, Group]:
        """Name the model, or where it is partial the posterior and the rest."""
        return apart(model, self, "importance with partial") if self.partial else super().players(model)

    def reduce(self, model: Model, trace: Trace, *, step: int = 0) -> Loss:
        """Give minus the bound, and log the bound beside the ledger."""
        log_w = self._grouped(self._weights(trace))
        bound = self._bound(log_w)
        losses = {"model": -bound}
        if self.partial:
            losses = {"posterior": -bound, "model": -self._bound(log_w.flatten(0, 1)[None])}
        if self.gradient == "dreg":
            scale(trace.latents[0].z, self._ratio(log_w.detach()).flatten(0, 1))
        loss = losses["model"].detach()
        return Loss(losses, {**ledger(trace), "bound": -loss, "loss": loss})

    def _weights(self, trace: Trace) -> Float[Tensor, "S B"]:
        if self.gradient == "total":
            return weights(trace, "importance")
        return pathwise(trace, f"gradient '{self.gradient}'", through=self.gradient == "dreg").log_w

    def _grouped(self, log_w: Float[Tensor, "S B"]) -> Float[Tensor, "M K B"]:
        if len(log_w) % self.groups:
            raise UsageError(
                f"samples is {len(log_w)}, and the objective has {self.groups} groups of them: take a multiple of that."
            )
        return log_w.reshape(self.groups, -1, log_w.shape[1])

    def _bound(self, log_w: Float[Tensor, "M K B"]) -> Float[Tensor, ""]:
        bound = log_mean_exp(log_w, 1)
        return (torch.lerp(bound, log_w.mean(1), self.mix) if self.mix else bound).mean()

    def _ratio(self, log_w: Float[Tensor, "M K B"]) -> Float[Tensor, "M K B"]:
        """Give by how much the posterior's weight of each draw differs from the rest's: w̃ at β = 0."""
        w, share = log_w.softmax(1), self.mix / log_w.shape[1]
        return w if not self.mix else (share + (1 - self.mix) * w**2) / (share + (1 - self.mix) * w)
