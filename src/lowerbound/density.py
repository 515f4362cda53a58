"""Densities in a plane of the latent space: of the prior, of the codes, and where the one is without the other."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from lowerbound.dist import Mixture, factors
from lowerbound.planes import Bounds, Linear, Plane

BLOCK = 4096  # points that are looked at in one go


@final
@dataclass(frozen=True, eq=False)
class Grid:
    """The centres of cells that tile some bounds: rows are y, upwards, and columns x; ``area`` is that of one.

    Example:
        >>> grid = grid_over((0.0, 4.0, 0.0, 2.0), 2)
        >>> grid.x.tolist(), grid.y.tolist(), grid.area
        ([1.0, 3.0], [0.5, 1.5], 2.0)
    """

    x: Float[Tensor, "W"]
    y: Float[Tensor, "H"]
    area: float


def grid_over(bounds: Bounds, side: int) -> Grid:
    """Tile bounds with side x side cells."""
    left, right, low, high = bounds
    at = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    area = (right - left) * (high - low) / side**2
    return Grid(left + (right - left) * at, low + (high - low) * at, area)


def exact(plane: Plane, p: Distribution, grid: Grid) -> Float[Tensor, "H W"] | None:
    r"""Give the density of p in a flat plane where it is known in closed form, else None.

    .. math:: p(xy) = \sum_k w_k \, \mathcal N(xy; V(\mu_k - m), \; V \mathrm{diag}(\sigma_k^2) V^\top)

    which is that of a diagonal Gaussian, or of a mixture of such. Of independent latents of any family, in the plane of
    two of them, it is the product of their own. Of a line it is the density of x.

    Example:
        >>> from lowerbound.planes import latents
        >>> from lowerbound.prior import Standard
        >>> grid = grid_over((-0.5, 0.5, -0.5, 0.5), 1)
        >>> round(float(exact(latents(torch.zeros(3), 0, 1), Standard(3)(), grid)), 4)  # 1 / 2π
        0.1592
    """
    if not isinstance(plane, Linear) or p.batch_shape:
        return None
    base = factors(p)
    if plane.pair is not None and base is not None:
        y, x = (_one(base, k, at) for k, at in zip(plane.pair[::-1], (grid.y, grid.x), strict=True))
        return x.expand(len(y), -1) if plane.line else torch.outer(y, x)
    known = _gaussians(p)
    return None if known is None else _mixture(plane, *known, grid)


def _one(base: Distribution, k: int, at: Float[Tensor, "G"]) -> Float[Tensor, "G"]:
    """Give the density of the k-th of independent latents."""
    d = base.batch_shape[0]
    return base.log_prob(at.to(base.mean)[:, None].expand(-1, d))[:, k].double().exp().cpu()


def _gaussians(p: Distribution) -> tuple[Float[Tensor, "K"], Float[Tensor, "K D"], Float[Tensor, "K D"]] | None:
    """Give the weights, means and standard deviations of a mixture of diagonal Gaussians, else None."""
    parts = p.components if isinstance(p, Mixture) else p
    weights = p.logits.double().softmax(-1) if isinstance(p, Mixture) else torch.ones(1, dtype=torch.float64)
    if not (isinstance(parts, Independent) and isinstance(factors(parts), Normal)):
        return None
    d = parts.event_shape[0]
    return weights.cpu(), parts.mean.double().reshape(-1, d).cpu(), parts.stddev.double().reshape(-1, d).cpu()


def _mixture(plane: Linear, w: Tensor, mu: Tensor, sigma: Tensor, grid: Grid) -> Float[Tensor, "H W"]:
    found = torch.zeros(len(grid.y), len(grid.x), dtype=torch.float64)
    for weight, mean, cov in zip(w, plane.project(mu), plane.covariance(sigma), strict=True):
        x, y = grid.x - mean[0], (grid.y - mean[1])[:, None]
        if plane.line:
            found += weight * torch.exp(-0.5 * x**2 / cov[0, 0]) / torch.sqrt(2 * math.pi * cov[0, 0])
            continue
        det = cov[0, 0] * cov[1, 1] - cov[0, 1] ** 2
        far = (cov[1, 1] * x**2 - 2 * cov[0, 1] * x * y + cov[0, 0] * y**2) / det
        found += weight * torch.exp(-0.5 * far) / (2 * math.pi * det.sqrt())
    return found


def bandwidths(xy: Float[Tensor, "N 2"], grid: Grid, line: bool = False) -> tuple[float, float]:
    r"""Give Scott's bandwidth along x and y, and at least that of a cell; of a line its own, along x.

    .. math:: h = \mathrm{sd} \cdot N^{-1/(d + 4)}

    Reference: Multivariate density estimation (Scott, 1992), section 6.3.
    """
    h = xy.double().std(0, correction=0) * len(xy) ** (-1 / 5 if line else -1 / 6)
    cell = [float(at[1] - at[0]) if len(at) > 1 else 0.0 for at in (grid.x, grid.y)]
    return max(float(h[0]), cell[0]), max(float(h[1]), cell[1])


def smoothed(
    xy: Float[Tensor, "N 2"], grid: Grid, h: tuple[float, float], line: bool = False
) -> Iterator[tuple[int, Float[Tensor, "H W"]]]:
    r"""Smooth points to a density, a block at a time: gives how many were done, and the density of these.

    .. math:: p(x, y) = \frac1N \sum_n \mathcal N(x; x_n, h_x^2) \, \mathcal N(y; y_n, h_y^2)

    Arguments:
        xy: the points; what is not on the grid counts all the same.
        grid: where the density is wanted.
        h: the bandwidths.
        line: whether the density is that of x alone.

    Example:
        >>> grid = grid_over((-6.0, 6.0, -6.0, 6.0), 24)
        >>> *_, (n, p) = smoothed(torch.randn(10_000, 2), grid, (0.2, 0.2))
        >>> n, round(float(p.sum()) * grid.area, 2)
        (10000, 1.0)
    """
    total = torch.zeros(len(grid.y), len(grid.x), dtype=torch.float64)
    done = 0
    for some in xy.double().split(BLOCK):
        x, y = (_kernel(at, v, width) for at, v, width in zip((grid.x, grid.y), some.T, h, strict=True))
        total += x.sum(1) if line else y @ x.T
        done += len(some)
        yield done, total / done


def _kernel(at: Float[Tensor, "G"], points: Float[Tensor, "n"], h: float) -> Float[Tensor, "G n"]:
    return torch.exp(-0.5 * ((at[:, None] - points) / h) ** 2) / (math.sqrt(2 * math.pi) * h)


def widened(p: Float[Tensor, "H W"], grid: Grid, h: tuple[float, float], line: bool = False) -> Float[Tensor, "H W"]:
    """Smooth a density as `smoothed` does points, so that the two can be compared; it is 0 beyond the grid."""
    x, y = (_kernel(at, at, width) * (at[1] - at[0]) for at, width in zip((grid.x, grid.y), h, strict=True))
    along = p.double() @ x.T
    return along if line else y @ along


def holes(p: Float[Tensor, "H W"], q: Float[Tensor, "H W"], area: float) -> tuple[Float[Tensor, "H W"], float]:
    r"""Give where a prior has more mass than codes have, and how much of its mass that is.

    .. math:: h(xy) = \max(p(xy) - q(xy), 0), \qquad \int h = \mathrm{TV}(p, q)

    the total variation distance, as far as both densities lie on the grid; seen in a plane it is at most that of the
    whole.

    Example:
        >>> more, mass = holes(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.25, 0.75]]), 1.0)
        >>> more.tolist(), mass
        ([[0.75, 0.0]], 0.75)
    """
    more = (p - q).clamp_min(0)
    return more, float(more.sum()) * area
