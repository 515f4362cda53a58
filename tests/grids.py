"""Members of the registries with weights that are not their first ones, and densities of two dimensions on a grid."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound import rng, spec

INPUTS = 3
NET = {"kind": "mlp", "hidden": [8], "activation": "tanh"}


def member(registry: str, kind: str, latents: int = 2, **arguments: Any) -> Any:
    """Build a member as a spec does, for data of three real numbers, in float64, and move all its weights."""
    fields = {field.name for field in spec.describe(registry, kind)}
    known = {"net": NET, "components": 5, "hidden": [16], "transforms": 2, **arguments}
    node = spec.complete(registry, {"kind": kind, **{k: v for k, v in known.items() if k in fields}}, kind)
    with rng.noise(0, "laws"):
        made = spec.construct(registry, node, {"shape": (INPUTS,), "latents": latents, "unit": False}).double()
    return moved(made, 0.4)


def moved(module: nn.Module, by: float, seed: int = 1) -> nn.Module:
    """Add noise to every weight, so that none is still what it was made as; less where a matrix has many columns."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            width = p.shape[-1] ** 0.5 if p.ndim > 1 else 1.0
            p += by / width * torch.randn(p.shape, generator=g, dtype=torch.float64).to(p)
    return module


@dataclass(frozen=True)
class Grid:
    """The mass of each cell of a plane; the cells reach seven standard deviations to each side."""

    low: Tensor
    step: Tensor
    mass: Tensor

    def cells(self, z: Tensor) -> Tensor:
        """In which cell a point is, as two whole numbers."""
        return ((z - self.low) / self.step).floor().long().clamp(0, len(self.mass) - 1)

    def cdf(self, axis: int, values: Tensor) -> Tensor:
        """The distribution function of one coordinate."""
        total = torch.cat([torch.zeros(1, dtype=torch.float64), self.mass.sum(1 - axis).cumsum(0)])
        where = ((values - self.low[axis]) / self.step[axis]).clamp(0, len(self.mass) - 1e-6)
        below = where.floor().long()
        return total[below] + (where - below) * (total[below + 1] - total[below])


def on_a_grid(d: Distribution, side: int = 241, reach: float = 7.0) -> Grid:
    with torch.no_grad(), rng.noise(0, "grid"):
        z = d.sample((4000,))
        low = z.mean(0) - reach * z.std(0)
        step = 2 * reach * z.std(0) / side
        axes = [low[i] + step[i] * (torch.arange(side, dtype=torch.float64) + 0.5) for i in (0, 1)]
        points = torch.cartesian_prod(*axes)
        density = torch.cat([d.log_prob(part) for part in points.split(20_000)]).exp()
    return Grid(low, step, (density * step.prod()).reshape(side, side))
