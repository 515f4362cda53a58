"""Points in the plane, made by code: what a model learns can be seen at a glance."""

from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from lowerbound.data.prepare import assemble
from lowerbound.data.source import Share, Source
from lowerbound.rng import noise as seeded

Points = Annotated[int, Ge(3), Le(10_000_000)]
Noise = Annotated[float, Ge(0)]
π = torch.pi


def _source(name: str, x: Tensor, labels: Tensor | None, test: Share, validation: Share) -> Source:
    info = {"kind": name, "files": [{"from": "made by code"}]}
    return assemble(name, x.float(), labels, test=test, validation=validation, unit=False, info=info)


def _ring(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], -1)


def _spread(x: Tensor, noise: float) -> Tensor:
    return x + noise * torch.randn_like(x)


def moons(
    n: Points = 10_000,
    noise: Noise = 0.1,
    seed: int = 0,
    validation: Share = 0.1,
    test: Share = 0.1,
) -> Source:
    """Two interleaved half circles."""
    with seeded(seed, "moons"):
        labels = torch.arange(n) % 2
        x = _ring(π * torch.rand(n))
        lower = torch.tensor([1.0, 0.5]) - x
        x = _spread(torch.where(labels[:, None] == 1, lower, x), noise)
    return _source("moons", x, labels, test, validation)


def circles(
    n: Points = 10_000,
    noise: Noise = 0.05,
    seed: int = 0,
    validation: Share = 0.1,
    test: Share = 0.1,
) -> Source:
    """Two circles around the origin, of radius 1 and 1/2."""
    with seeded(seed, "circles"):
        labels = torch.arange(n) % 2
        radius = 1 - 0.5 * labels[:, None]
        x = _spread(radius * _ring(2 * π * torch.rand(n)), noise)
    return _source("circles", x, labels, test, validation)


def pinwheel(
    n: Points = 10_000,
    noise: Noise = 0.1,
    seed: int = 0,
    validation: Share = 0.1,
    test: Share = 0.1,
) -> Source:
    """Five arms of a wheel, bent around its centre; ``noise`` is the arms' thickness (Johnson et al., 2016)."""
    with seeded(seed, "pinwheel"):
        labels = torch.arange(n) % 5
        along = 1 + 0.3 * torch.randn(n)
        across = noise * torch.randn(n)
        angle = labels * (2 * π / 5) + 0.25 * along.exp()
        cos, sin = angle.cos(), angle.sin()
        x = 2 * torch.stack([along * cos - across * sin, along * sin + across * cos], -1)
    return _source("pinwheel", x, labels, test, validation)


def swiss_roll(
    n: Points = 10_000,
    noise: Noise = 0.1,
    seed: int = 0,
    validation: Share = 0.1,
    test: Share = 0.1,
) -> Source:
    """A spiral of one and a half turns."""
    with seeded(seed, "swiss-roll"):
        angle = 1.5 * π * (1 + 2 * torch.rand(n))
        x = _spread(angle[:, None] / 5 * _ring(angle), noise)
    return _source("swiss-roll", x, None, test, validation)


def eight_gaussians(
    n: Points = 10_000,
    noise: Noise = 0.1,
    seed: int = 0,
    validation: Share = 0.1,
    test: Share = 0.1,
) -> Source:
    """Eight round clusters on a circle of radius 2; ``noise`` is their standard deviation."""
    with seeded(seed, "eight-gaussians"):
        labels = torch.arange(n) % 8
        x = _spread(2 * _ring(labels * (π / 4)), noise)
    return _source("eight-gaussians", x, labels, test, validation)


def checkerboard(
    n: Points = 10_000,
    noise: Noise = 0.0,
    seed: int = 0,
    validation: Share = 0.1,
    test: Share = 0.1,
) -> Source:
    """The eight dark fields of a board of four by four, between -2 and 2."""
    with seeded(seed, "checkerboard"):
        column = torch.randint(4, (n,))
        row = 2 * torch.randint(2, (n,)) + column % 2
        corner = torch.stack([column, row], -1) - 2
        x = _spread(corner + torch.rand(n, 2), noise)
    return _source("checkerboard", x, None, test, validation)
