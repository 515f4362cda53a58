"""Hamiltonian Monte Carlo between two densities: what annealing moves its chains by."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Densities = Callable[[Float[Tensor, "C B D"]], tuple[Float[Tensor, "C B"], Float[Tensor, "C B"]]]


@final
@dataclass(frozen=True)
class Place:
    r"""Where chains stand, and the logs of both densities there with their gradients, from which comes any between.

    .. math:: \log f_b(z) = (1 - b) \log f_0(z) + b \log f_1(z)

    Arguments:
        z: C chains for each of B images.
        base: log f₀(z), of which a constant may be missing.
        target: log f₁(z), likewise.
        base_force, target_force: their gradients in z.

    Example:
        >>> z = torch.ones(1, 1, 2)
        >>> place = look(lambda z: (-0.5 * z.square().sum(-1), -2.0 * z.square().sum(-1)), z)
        >>> place.log_density(0.5), place.force(0.5)
        (tensor([[-2.5000]]), tensor([[[-2.5000, -2.5000]]]))
    """

    z: Float[Tensor, "C B D"]
    base: Float[Tensor, "C B"]
    target: Float[Tensor, "C B"]
    base_force: Float[Tensor, "C B D"]
    target_force: Float[Tensor, "C B D"]

    def log_density(self, b: float) -> Float[Tensor, "C B"]:
        """Give log f_b(z)."""
        return (1 - b) * self.base + b * self.target

    def force(self, b: float) -> Float[Tensor, "C B D"]:
        """Give the gradient of log f_b in z."""
        return (1 - b) * self.base_force + b * self.target_force

    def where(self, taken: Bool[Tensor, "C B"], other: "Place") -> "Place":
        """Give this place for the chains that have taken the step, and the other one for the rest."""
        mine, rest = vars(self), vars(other)
        each = {k: torch.where(taken[..., None] if v.ndim == 3 else taken, v, rest[k]) for k, v in mine.items()}
        return Place(**each)


def look(densities: Densities, z: Float[Tensor, "C B D"]) -> Place:
    """Give the place z: both log densities and their gradients, by automatic differentiation."""
    z = z.detach().requires_grad_()
    base, target = densities(z)
    (base_force,) = torch.autograd.grad(base.sum(), z, retain_graph=True)  # the prior may be a part of both
    (target_force,) = torch.autograd.grad(target.sum(), z)
    return Place(z.detach(), base.detach(), target.detach(), base_force, target_force)


def leapfrog(
    densities: Densities,
    place: Place,
    v: Float[Tensor, "C B D"],
    b: float,
    step: Float[Tensor, "#B #D"],
    leaps: int,
) -> tuple[Place, Float[Tensor, "C B D"]]:
    r"""Follow Hamilton's equations of log f_b for some leaps: a map that keeps volume, and goes back where v is turned.

    .. math:: v \leftarrow v + \tfrac{\epsilon}{2} \nabla \log f_b(z), \quad z \leftarrow z + \epsilon v, \quad
        v \leftarrow v + \tfrac{\epsilon}{2} \nabla \log f_b(z)

    ε has a value for each coordinate, which is the same as a diagonal mass matrix.

    Reference: MCMC using Hamiltonian dynamics (Neal, 2011).

    Arguments:
        densities: gives log f₀ and log f₁ of z.
        place: where the chains stand.
        v: their momenta.
        b: between 0 and 1.
        step: ε of each image and coordinate.
        leaps: how many; each takes one gradient.
    """
    v = v + 0.5 * step * place.force(b)
    for leap in range(1, leaps + 1):
        place = look(densities, place.z + step * v)
        v = v + (step if leap < leaps else 0.5 * step) * place.force(b)
    return place, v


def transition(
    densities: Densities,
    place: Place,
    b: float,
    step: Float[Tensor, "#B #D"],
    leaps: int,
    noise: tuple[Float[Tensor, "C B D"], Float[Tensor, "C B"]],
) -> tuple[Place, Float[Tensor, "C B"]]:
    r"""Move each chain by one step of Hamiltonian Monte Carlo, which leaves f_b as it is and is reversible under it.

    .. math:: \alpha = \min\left(1, \exp\left(\log f_b(z') - \tfrac12 |v'|^2
        - \log f_b(z) + \tfrac12 |v|^2\right)\right)

    z′ is taken with probability α (the Metropolis correction of what the leaps miss). A step that diverges to what is
    not a number is not taken.

    Reference: MCMC using Hamiltonian dynamics (Neal, 2011).

    Arguments:
        densities, place, b, step, leaps: see `leapfrog`.
        noise: the momenta v, standard normal, and uniform numbers that decide.

    Gives the new places, and the α of each chain.
    """
    v, u = noise
    end, after = leapfrog(densities, place, v, b, step, leaps)
    rise = end.log_density(b) - place.log_density(b) + 0.5 * (v.square().sum(-1) - after.square().sum(-1))
    chance = rise.nan_to_num(nan=-torch.inf, posinf=-torch.inf).clamp(max=0).exp()
    return end.where(u < chance, place), chance
