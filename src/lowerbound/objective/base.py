"""`Loss`, which adds up, and `Objective`, which makes one from a Trace."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, final

from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.errors import UsageError
from lowerbound.nets import unsteady
from lowerbound.vae import Model, Trace

Scalars = Mapping[str, Float[Tensor, ""]]


@final
@dataclass(frozen=True)
class Loss:
    """Scalars to minimise, one for each player, and detached ones to log, in nats per example.

    Losses form a vector space: ``a + b`` adds name by name, ``loss * 0.5`` scales everything, so that means weighted
    by count are ordinary sums.

    Example:
        >>> import torch
        >>> one = torch.ones(())
        >>> total = Loss({"model": one}, {"rate": one}) * 2 + Loss({"model": one})
        >>> total.losses["model"], total.terms["rate"]
        (tensor(3.), tensor(2.))
    """

    losses: Scalars
    terms: Scalars = field(default_factory=dict)

    def __add__(self, other: "Loss") -> "Loss":
        return Loss(_add(self.losses, other.losses), _add(self.terms, other.terms))

    def __mul__(self, scale: float) -> "Loss":
        return Loss(_scale(self.losses, scale), _scale(self.terms, scale))

    __rmul__ = __mul__


def _add(a: Scalars, b: Scalars) -> Scalars:
    return {**a, **b, **{k: a[k] + b[k] for k in a if k in b}}


def _scale(a: Scalars, scale: float) -> Scalars:
    return {k: v * scale for k, v in a.items()}


@final
@dataclass(frozen=True)
class Group:
    """The parameters of one player, and what differs for it from the run's optimiser settings."""

    params: list[nn.Parameter]
    options: Mapping[str, float | tuple[float, float]] = field(default_factory=dict)


class Objective(nn.Module, ABC):
    """What is minimised: the reduction of a Trace to a Loss.

    ``bound`` says what is logged as bound, or else as elbo, is to log p(x) in expectation; ``samples`` is the number of
    latents drawn for each example; ``comparable`` says that of the losses of two steps the lower one is the better, as
    it is not where a weight adapts or a critic learns; ``weighs`` says that single samples are weighed by their
    densities, for which the networks must be functions of one example, see `check`; ``densities_only`` says that it
    reads nothing of a trace but log_px, kl and kl_by_dim. Evaluation then reduces a whole split at once; without it, it
    averages over blocks, which is another number where the loss is not linear in the examples.
    """

    bound: Literal["lower", "upper"] | None = None
    samples: int = 1
    densities_only: bool = False
    comparable: bool = True
    weighs: bool = False

    @abstractmethod
    def reduce(self, model: Model, trace: Trace, *, step: int = 0) -> Loss:
        """Reduce a trace of the model to its Loss at a step of the schedules."""

    def forward(self, model: Model, x: Float[Tensor, "B *X"], c: Tensor | None = None, *, step: int = 0) -> Loss:
        """Trace x through the model and reduce the trace."""
        if model.training:
            self.check(model)
        return self.reduce(model, model(x, c, samples=self.samples), step=step)

    def check(self, model: Model) -> None:
        """Raise UsageError where the networks of the model, while training, are not what the objective needs."""
        found = unsteady(model) if self.weighs else ""
        if found:
            raise UsageError(
                f"The networks of this model have {found}, and {type(self).__name__} weighs single samples by "
                "p(x, z) / q(z|x). While training, batch norm lets these depend on the other examples of a batch, and "
                "dropout draws another network for each sample: set norm to none or layer and dropout to 0, take "
                "another posterior than bn-gaussian, or the objective elbo."
            )

    def players(self, model: Model) -> dict[str, Group]:
        """Name who is trained: by default one player, "model", with every parameter."""
        return {"model": Group([*model.parameters(), *self.parameters()])}


def ledger(trace: Trace) -> dict[str, Float[Tensor, ""]]:
    r"""Give the figures that are logged whatever is minimised, detached, as means over the batch in nats.

    .. math:: \mathrm{distortion} = -\mathbb E \log p(x|z), \quad \mathrm{rate} = \mathrm{KL}(q(z|x) \| p(z)), \quad
        \mathrm{elbo} = -(\mathrm{distortion} + \mathrm{rate})

    Where q is a point mass there is no rate and no elbo, and none is given.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> from lowerbound.vae import Latent
        >>> q, p = Independent(Normal(torch.ones(5, 2), 1.0), 1), Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> px = Independent(Normal(torch.zeros(1, 5, 3), 1.0), 1)
        >>> ledger(Trace(torch.zeros(5, 3), (Latent(q.sample((1,)), q, p),), px))
        {'distortion': tensor(2.7568), 'rate': tensor(1.), 'elbo': tensor(-3.7568)}
    """
    distortion = -trace.log_px.detach().mean()
    if not trace.density:
        return {"distortion": distortion}
    rate = trace.kl.detach().mean()
    return {"distortion": distortion, "rate": rate, "elbo": -(distortion + rate)}
