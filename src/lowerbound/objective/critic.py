"""Terms with a critic: a network that learns a density ratio from samples, and that is a player of its own."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, final

import torch
from annotated_types import Ge, Gt, Lt, MinLen
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from lowerbound.objective.base import Group, Loss
from lowerbound.objective.discrepancy import like
from lowerbound.objective.terms import Term, vector, weighed
from lowerbound.objective.weight import NonNegative, Weight, as_weight
from lowerbound.vae import Latent, Trace

Size = Annotated[int, Ge(1)]
Sizes = Annotated[Sequence[Size], MinLen(1)]
Rate = Annotated[float, Gt(0)]
Betas = tuple[Annotated[float, Ge(0), Lt(1)], Annotated[float, Ge(0), Lt(1)]]
SLOPE = 0.2  # of the leaky ReLU below 0


class Critic(Term, ABC):
    r"""A term of a classifier of codes z against other samples z', of which it learns the density ratio.

    .. math:: \min_\psi -\tfrac12 \mathbb E \log D_\psi(z) - \tfrac12 \mathbb E \log (1 - D_\psi(z')), \qquad
        \log \frac{D^*(z)}{1 - D^*(z)} = \log \frac{q(z)}{q'(z)}

    The critic's loss reads z detached: nothing of it reaches the model. The model's loss goes through the critic with
    its weights as constants: nothing of it reaches the critic. The two are taken on the same codes and step together.
    """

    player: ClassVar[str]

    def __init__(self, latents: int, hidden: Sizes, weight: NonNegative | Weight, lr: float, betas: Betas) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in pairwise((latents, *hidden)):
            layers += [nn.Linear(a, b), nn.LeakyReLU(SLOPE)]
        self.network = nn.Sequential(*layers, nn.Linear(hidden[-1], 1), nn.Flatten(-2))
        self.weight = as_weight(weight)
        self.options: dict[str, float | tuple[float, float]] = {"lr": lr, "betas": betas}

    @abstractmethod
    def others(self, latent: Latent) -> Float[Tensor, "K B D"]:
        """Give the samples that the critic tells codes from."""

    @abstractmethod
    def cost(self, logit: Float[Tensor, "K B"]) -> Float[Tensor, "K B"]:
        """Give what the model minimises, of the critic's log density ratio at its codes."""

    def forward(self, trace: Trace, step: int) -> Loss:
        """Give the model and the critic their losses, and log both."""
        latent = vector(trace, type(self).__name__)
        constants = {name: p.detach() for name, p in self.network.named_parameters()}
        value = self.cost(_promoted(functional_call(self.network, constants, (latent.z,)))).mean()
        ours = _promoted(self.network(latent.z.detach()))
        theirs = _promoted(self.network(self.others(latent).detach()))
        loss = 0.5 * (F.softplus(-ours).mean() + F.softplus(theirs).mean())
        mine = Loss({self.player: loss}, {f"{self.player}_loss": loss.detach()})
        return weighed(self.player, value, self.weight, step) + mine

    def players(self) -> dict[str, Group]:
        """Name the critic, which has a learning rate and decay rates of its own."""
        return {self.player: Group(list(self.network.parameters()), self.options)}


def _promoted(logit: Tensor) -> Tensor:
    """Leave autocast: a mean over bfloat16 would be one of 8 bits."""
    return logit.to(torch.promote_types(logit.dtype, torch.float32))


@final
class TotalCorrelationCritic(Critic):
    r"""The total correlation by the density-ratio trick, beside the elbo: the FactorVAE.

    .. math:: \gamma \, \mathbb E_{q(z)} \log \frac{D(z)}{1 - D(z)} \approx \gamma \, \mathrm{KL}
        \Big( q(z) \,\Big\|\, \prod_d q(z_d) \Big)

    The critic tells the codes of a batch from the same codes with each coordinate permuted across the batch on its own,
    which are samples of the product up to the batch's size (the paper permutes a second batch). What is logged as
    critic_tc is the critic's estimate in nats, which is 0 for a critic that has learned nothing.

    Raises UsageError for several groups of latents.

    Reference: Disentangling by factorising (Kim and Mnih, 2018).

    Arguments:
        latents: D, the number of latents; filled in.
        weight: γ, a number or a schedule.
        hidden: the widths of the critic's hidden layers.
        lr: the critic's learning rate, which follows the run's schedule.
        betas: the decay rates of the critic's two moments in Adam.

    Example:
        >>> critic = TotalCorrelationCritic(latents=2, hidden=[8])
        >>> critic.players()["critic_tc"].options
        {'lr': 0.0001, 'betas': (0.5, 0.9)}
    """

    player: ClassVar[str] = "critic_tc"

    def __init__(
        self,
        latents: Size,
        weight: NonNegative | Weight = 10.0,
        hidden: Sizes = (1000, 1000, 1000, 1000, 1000, 1000),
        lr: Rate = 1e-4,
        betas: Betas = (0.5, 0.9),
    ) -> None:
        super().__init__(latents, hidden, weight, lr, betas)

    def others(self, latent: Latent) -> Float[Tensor, "K B D"]:
        """Permute each coordinate across the batch, independently of the others."""
        return permuted(latent.z.detach())

    def cost(self, logit: Float[Tensor, "K B"]) -> Float[Tensor, "K B"]:
        """Give the log density ratio itself."""
        return logit


@final
class AdversarialCritic(Critic):
    r"""Codes that a critic cannot tell from draws of the prior, in place of the KL: the adversarial autoencoder.

    .. math:: -\lambda \, \mathbb E_{q(z)} \log (1 - D(z)), \qquad D(z) \to \frac{q(z)}{q(z) + p(z)}

    D is the critic's probability that z is a code; the model minimises the form whose gradient does not vanish where
    the critic is sure, -log of the probability that z is from the prior. For both, log 2 nats is a critic that cannot
    tell; adversary_loss, the critic's own, is lower the better it tells.

    Raises UsageError for several groups of latents.

    Reference: Adversarial autoencoders (Makhzani et al., 2015).

    Arguments:
        latents: D, the number of latents; filled in.
        weight: λ, a number or a schedule.
        hidden: the widths of the critic's hidden layers.
        lr: the critic's learning rate, which follows the run's schedule; the paper trains by plain gradient descent.
        betas: the decay rates of the critic's two moments in Adam.

    Example:
        >>> critic = AdversarialCritic(latents=2, hidden=[8])
        >>> critic.cost(torch.zeros(1, 1))  # log 2
        tensor([[0.6931]])
    """

    player: ClassVar[str] = "adversary"

    def __init__(
        self,
        latents: Size,
        weight: NonNegative | Weight = 1.0,
        hidden: Sizes = (1000, 1000),
        lr: Rate = 5e-4,
        betas: Betas = (0.5, 0.999),
    ) -> None:
        super().__init__(latents, hidden, weight, lr, betas)

    def others(self, latent: Latent) -> Float[Tensor, "K B D"]:
        """Draw from the prior."""
        return like(latent)

    def cost(self, logit: Float[Tensor, "K B"]) -> Float[Tensor, "K B"]:
        """Give -log of the probability that z is from the prior."""
        return F.softplus(logit)


def permuted(z: Float[Tensor, "K B D"]) -> Float[Tensor, "K B D"]:
    """Permute each coordinate of each of the K samples across the batch, by a permutation of its own.

    Example:
        >>> z = torch.arange(6.0).view(1, 3, 2)
        >>> bool((permuted(z).sort(1).values == z).all())
        True
    """
    return z.gather(1, torch.rand(z.shape, device=z.device).argsort(1))
