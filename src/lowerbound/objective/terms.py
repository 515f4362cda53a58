"""Terms of the elbo: each reduces a Trace to a part of the Loss."""

from abc import ABC, abstractmethod
from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.errors import UsageError
from lowerbound.objective.base import Group, Loss
from lowerbound.objective.weight import Constant, NonNegative, Weight, as_weight
from lowerbound.vae import Latent, Model, Trace


class Term(nn.Module, ABC):
    """A part of an objective, in nats: summed over dimensions, the mean over the batch, once.

    ``densities_only`` says that it reads nothing of a trace but log_px, kl and kl_by_dim, see `Objective`.
    """

    densities_only: ClassVar[bool] = False

    @abstractmethod
    def forward(self, trace: Trace, step: int) -> Loss:
        """Reduce the trace at a step of the schedules."""

    def reduce(self, model: Model, trace: Trace, step: int) -> Loss:
        """Reduce the trace of a model: what `forward` does, but for terms that read the model's weights too."""
        found: Loss = self(trace, step)
        return found

    def players(self) -> dict[str, Group]:
        """Name the players that this term brings along, such as a critic, with their parameters; by default none."""
        return {}


@final
class Distortion(Term):
    r"""The reconstruction term, weighted by λ, which is 1 unless a constraint asks for more or less.

    .. math:: -\lambda \, \mathbb E_{q(z|x)} \log p(x|z)

    Arguments:
        weight: λ, a number or a schedule.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> from lowerbound.vae import Latent
        >>> q, p = Independent(Normal(torch.ones(5, 2), 1.0), 1), Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> px = Independent(Normal(torch.zeros(1, 5, 3), 1.0), 1)
        >>> trace = Trace(torch.zeros(5, 3), (Latent(q.sample((1,)), q, p),), px)
        >>> Distortion()(trace, 0).losses["model"]  # 3/2 log 2π
        tensor(2.7568)
    """

    densities_only: ClassVar[bool] = True

    def __init__(self, weight: NonNegative | Weight = 1.0) -> None:
        super().__init__()
        self.weight = as_weight(weight)

    def forward(self, trace: Trace, step: int) -> Loss:
        """Give λ times the mean distortion, and log λ where it is not 1 throughout."""
        distortion = -trace.log_px.mean()
        if isinstance(self.weight, Constant) and self.weight.end == 1:
            return Loss({"model": distortion})
        lam = self.weight(step, distortion.detach())
        return Loss({"model": lam * distortion}, {"lambda": logged(lam, distortion)})


@final
class KL(Term):
    r"""The rate, weighted by β.

    .. math:: \beta \, \mathrm{KL}(q(z|x) \| p(z))

    Reference: β-VAE: learning basic visual concepts with a constrained variational framework (Higgins et al., 2017).

    Arguments:
        weight: β, a number or a schedule.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> from lowerbound.vae import Latent
        >>> q, p = Independent(Normal(torch.ones(5, 2), 1.0), 1), Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> px = Independent(Normal(torch.zeros(1, 5, 3), 1.0), 1)
        >>> trace = Trace(torch.zeros(5, 3), (Latent(q.sample((1,)), q, p),), px)  # each latent's KL is ½
        >>> loss = KL(weight=4.0)(trace, step=0)
        >>> loss.losses["model"], loss.terms["beta"]
        (tensor(4.), tensor(4.))
    """

    densities_only: ClassVar[bool] = True

    def __init__(self, weight: NonNegative | Weight = 1.0) -> None:
        super().__init__()
        self.weight = as_weight(weight)

    def forward(self, trace: Trace, step: int) -> Loss:
        """Give β times the mean rate, and log β."""
        rate = trace.kl.mean()
        beta = self.weight(step, rate.detach())
        return Loss({"model": beta * rate}, {"beta": logged(beta, rate)})


@final
class FreeBits(Term):
    r"""The rate, of which each latent may spend λ nats for nothing.

    .. math:: \beta \sum_j \max(\lambda, \mathbb E_x \mathrm{KL}(q(z_j|x) \| p(z_j)))

    Per dimension where q and p factorise, else per group of latents.

    Reference: Improved variational inference with inverse autoregressive flow (Kingma et al., 2016).

    Arguments:
        nats: λ, for each latent.
        weight: β, a number or a schedule.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> from lowerbound.vae import Latent
        >>> q, p = Independent(Normal(torch.ones(5, 2), 1.0), 1), Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> px = Independent(Normal(torch.zeros(1, 5, 3), 1.0), 1)
        >>> trace = Trace(torch.zeros(5, 3), (Latent(q.sample((1,)), q, p),), px)  # each latent's KL is ½
        >>> FreeBits(nats=0.75)(trace, step=0).losses["model"]  # each is below its 0.75 free nats
        tensor(1.5000)
    """

    densities_only: ClassVar[bool] = True

    def __init__(self, nats: NonNegative = 0.25, weight: NonNegative | Weight = 1.0) -> None:
        super().__init__()
        self.nats, self.weight = nats, as_weight(weight)

    def forward(self, trace: Trace, step: int) -> Loss:
        """Give β times the rate beyond the free bits, and log β and that rate."""
        parts = [latent.kl if latent.kl_by_dim is None else latent.kl_by_dim for latent in trace.latents]
        means = [part.mean(dim=(0, 1)) for part in parts]
        rate = torch.stack([mean.clamp_min(self.nats).sum() for mean in means]).sum()
        beta = self.weight(step, rate.detach())
        terms = {"beta": logged(beta, rate), "charged_rate": rate.detach()}
        return Loss({"model": beta * rate}, terms)


@final
class Capacity(Term):
    r"""The distance of the rate from a capacity C that grows while training.

    .. math:: \gamma \, | \mathbb E_x \mathrm{KL}(q(z|x) \| p(z)) - C |

    Reference: Understanding disentangling in β-VAE (Burgess et al., 2018).

    Arguments:
        capacity: C in nats, a number or a schedule.
        weight: γ, a number or a schedule.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> from lowerbound.vae import Latent
        >>> q, p = Independent(Normal(torch.ones(5, 2), 1.0), 1), Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> px = Independent(Normal(torch.zeros(1, 5, 3), 1.0), 1)
        >>> trace = Trace(torch.zeros(5, 3), (Latent(q.sample((1,)), q, p),), px)  # each latent's KL is ½
        >>> Capacity(capacity=3.0, weight=10.0)(trace, step=0).losses["model"]  # 10 |1 - 3|
        tensor(20.)
    """

    densities_only: ClassVar[bool] = True

    def __init__(self, capacity: NonNegative | Weight = 25.0, weight: NonNegative | Weight = 1000.0) -> None:
        super().__init__()
        self.capacity, self.weight = as_weight(capacity), as_weight(weight)

    def forward(self, trace: Trace, step: int) -> Loss:
        """Give γ |rate - C|, and log γ and C."""
        rate = trace.kl.mean()
        c, gamma = self.capacity(step, rate.detach()), self.weight(step, rate.detach())
        terms = {"capacity": logged(c, rate), "gamma": logged(gamma, rate)}
        return Loss({"model": gamma * (rate - c).abs()}, terms)


def weighed(name: str, value: Float[Tensor, ""], weight: Weight, step: int) -> Loss:
    """Give a quantity times its weight, and log the quantity, and the weight where it follows a schedule.

    Example:
        >>> loss = weighed("mmd", torch.tensor(0.5), as_weight(10.0), step=0)
        >>> loss.losses["model"], dict(loss.terms)
        (tensor(5.), {'mmd': tensor(0.5000)})
    """
    w = weight(step, value.detach())
    scheduled = {} if isinstance(weight, Constant) else {f"{name}_weight": logged(w, value)}
    return Loss({"model": w * value}, {name: value.detach(), **scheduled})


def vector(trace: Trace, what: str) -> Latent:
    """Give the one group of latents, a vector for each example, that a term is defined for; else raise UsageError.

    Arguments:
        trace: of a model.
        what: the term, as the message names it.
    """
    if len(trace.latents) != 1 or trace.latents[0].z.ndim != 3:
        shapes = ", ".join(str(tuple(latent.z.shape[2:])) for latent in trace.latents)
        raise UsageError(
            f"{what} is defined for one group of latents that are a vector, and this model has groups of shape "
            f"{shapes}: take this term out of objective.terms, or a model with one vector of latents."
        )
    return trace.latents[0]


def logged(value: float | Tensor, like: Tensor) -> Float[Tensor, ""]:
    """Give a number as a tensor in the precision and on the device of another, to stand among what is logged."""
    return torch.as_tensor(value, dtype=like.dtype, device=like.device)
