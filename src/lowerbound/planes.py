"""Planes through the latent space: where a z is seen, and what a place of the plane stands for."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound import explore
from lowerbound.errors import UsageError

Bounds = tuple[float, float, float, float]  # the least and the greatest x, then those of y


class Plane(ABC):
    """A plane in which latents are seen: ``axes`` are its names, ``base`` the z that the rest is taken from."""

    axes: tuple[str, str]
    base: Float[Tensor, "D"]

    @abstractmethod
    def project(self, z: Float[Tensor, "*B D"]) -> Float[Tensor, "*B 2"]:
        """Give the place of each z."""

    @abstractmethod
    def back(self, xy: Float[Tensor, "*B 2"], base: Float[Tensor, "D"] | None = None) -> Float[Tensor, "*B D"]:
        """Give a z that is seen at each place."""

    @abstractmethod
    def covariance(self, sigma: Float[Tensor, "*B D"]) -> Float[Tensor, "*B 2 2"] | None:
        """Give the covariance that one of independent latents, of these standard deviations, has in the plane."""


@final
@dataclass(frozen=True, eq=False)
class Linear(Plane):
    r"""A flat plane, spanned by two orthonormal directions, the rows of V.

    .. math:: xy = V (z - m), \qquad z = b + V^\top (xy - V (b - m)), \qquad
        \mathrm{Cov}(xy) = V \, \mathrm{diag}(\sigma^2) \, V^\top

    The way back changes b in the plane only: what is orthogonal to it stays. Of one latent the second row is 0: its
    plane is a line, and y stands for nothing.

    Arguments:
        axes: the names of x and y.
        mean: m, what is seen at the origin.
        directions: V.
        base: b, where nothing else is said.
        pair: which two latents x and y are, where they are such.

    Example:
        >>> plane = latents(torch.tensor([0.0, 0.5, 0.0]), 0, 2)
        >>> plane.axes, plane.back(torch.tensor([1.0, -1.0])).tolist()
        (('z0', 'z2'), [1.0, 0.5, -1.0])
    """

    axes: tuple[str, str]
    mean: Float[Tensor, "D"]
    directions: Float[Tensor, "2 D"]
    base: Float[Tensor, "D"]
    pair: tuple[int, int] | None = None

    def project(self, z: Float[Tensor, "*B D"]) -> Float[Tensor, "*B 2"]:
        """Give V (z - m)."""
        return (z.to(self.mean) - self.mean) @ self.directions.T

    def back(self, xy: Float[Tensor, "*B 2"], base: Float[Tensor, "D"] | None = None) -> Float[Tensor, "*B D"]:
        """Give the z that is seen at each place, and is b beyond the plane."""
        b = self.base if base is None else base.to(self.mean)
        return b + (xy.to(b) - self.project(b)) @ self.directions

    def covariance(self, sigma: Float[Tensor, "*B D"]) -> Float[Tensor, "*B 2 2"]:
        """Give V diag(σ²) Vᵀ."""
        scaled = self.directions * sigma.to(self.mean).unsqueeze(-2)
        return scaled @ scaled.mT

    @property
    def line(self) -> bool:
        """Whether it is of one latent."""
        return len(self.mean) == 1


def latents(base: Float[Tensor, "D"], i: int, j: int) -> Linear:
    """Give the plane of the latents i and j, in which z is seen at (z_i, z_j); ``base`` holds all others.

    Of one latent it is a line. Raises UsageError where there are no such two.
    """
    d = len(base)
    if not (0 <= i < d and 0 <= j < d) or (i == j and d > 1):
        raise UsageError(f"z{i} and z{j} span no plane of {d} latents: choose two of z0 to z{d - 1}.")
    base = base.double()
    directions = torch.zeros(2, d, dtype=base.dtype)
    directions[0, i] = 1.0
    directions[1, j] = float(d > 1)
    return Linear((f"z{i}", f"z{j}" if d > 1 else ""), torch.zeros_like(base), directions, base, (i, j))


def pca(codes: Float[Tensor, "N D"]) -> Linear:
    """Give the plane of the two principal components of some codes, through their mean; it needs two latents.

    Example:
        >>> plane = pca(torch.tensor([[3.0, 1.0, 0.0], [1.0, 1.0, 0.0], [2.0, 1.5, 0.0], [2.0, 0.5, 0.0]]))
        >>> plane.base.tolist(), plane.axes[0]
        ([2.0, 1.0, 0.0], 'component 1 (80% of the variance)')
    """
    if codes.shape[1] < 2:
        raise UsageError("One latent has no principal components: its map is a line.")
    mean, directions, shares = explore.principal(codes)
    directions = torch.nn.functional.pad(directions[:2], (0, 0, 0, max(0, 2 - len(directions))))
    first, second, *_ = [*shares.tolist(), 0.0]
    axes = f"component 1 ({first:.0%} of the variance)", f"component 2 ({second:.0%} of the variance)"
    return Linear(axes, mean, directions, mean)


@final
@dataclass(frozen=True, eq=False)
class Layout(Plane):
    """Codes that were laid out one by one, as UMAP does: a z is seen where the nearest code is, and the way back too.

    Arguments:
        axes: the names of x and y.
        codes: what was laid out.
        places: where each of them is.

    Example:
        >>> plane = Layout(("a", "b"), torch.tensor([[0.0], [9.0]]), torch.tensor([[5.0, 5.0], [6.0, 6.0]]))
        >>> plane.project(torch.tensor([7.0])).tolist(), plane.back(torch.tensor([0.0, 0.0])).tolist()
        ([6.0, 6.0], [0.0])
    """

    axes: tuple[str, str]
    codes: Float[Tensor, "N D"]
    places: Float[Tensor, "N 2"]

    @property
    def base(self) -> Float[Tensor, "D"]:  # type: ignore[override]
        """The mean code."""
        return self.codes.mean(0)

    def project(self, z: Float[Tensor, "*B D"]) -> Float[Tensor, "*B 2"]:
        """Give the place of the code nearest to each z."""
        return self.places[nearest(z.to(self.codes), self.codes)]

    def back(self, xy: Float[Tensor, "*B 2"], base: Float[Tensor, "D"] | None = None) -> Float[Tensor, "*B D"]:
        """Give the code whose place is nearest."""
        return self.codes[nearest(xy.to(self.places), self.places)]

    def covariance(self, sigma: Float[Tensor, "*B D"]) -> None:
        """Give nothing: distances between places say nothing."""
        return


def nearest(query: Float[Tensor, "*B D"], among: Float[Tensor, "N D"]) -> Tensor:
    """Give the row of the nearest for each query.

    Example:
        >>> int(nearest(torch.tensor([0.9]), torch.tensor([[0.0], [1.0]])))
        1
    """
    _, rows = explore.neighbours(query.reshape(-1, query.shape[-1]), among, 1)
    return rows[:, 0].reshape(query.shape[:-1])


def ellipse(covariance: Float[Tensor, "*B 2 2"]) -> Float[Tensor, "*B 3"]:
    r"""Give the ellipse of one standard deviation: its half axes, the longer one first, and the angle of that one.

    .. math:: \mathrm{Cov} = U \, \mathrm{diag}(a^2, b^2) \, U^\top

    Example:
        >>> ellipse(torch.tensor([[1.0, 0.0], [0.0, 4.0]])).tolist()[:2]
        [2.0, 1.0]
    """
    variances, directions = torch.linalg.eigh(covariance)
    longest = directions[..., :, 1]
    angle = torch.atan2(longest[..., 1], longest[..., 0])
    return torch.cat([variances.flip(-1).clamp_min(0).sqrt(), angle[..., None]], -1)


def bounds(
    codes: Float[Tensor, "N 2"], draws: Float[Tensor, "M 2"] | None = None, line: bool = False, margin: float = 0.06
) -> Bounds:
    """Give bounds that hold places of codes, but for one in 500 on each side, and those of draws of the prior as well.

    Of a line, y is for the eye only, and half as far as x.

    Example:
        >>> bounds(torch.tensor([[0.0, 0.0], [1.0, 2.0]]), margin=0.0)
        (0.0, 1.0, 0.0, 2.0)
    """
    ends = torch.stack([_ends(xy) for xy in (codes, draws) if xy is not None])
    low, high = ends[:, 0].amin(0), ends[:, 1].amax(0)
    if line:
        low[1], high[1] = -0.25 * (high[0] - low[0]), 0.25 * (high[0] - low[0])
    middle, half = (low + high) / 2, (high - low).clamp_min(1e-3 * float((high - low).max().clamp_min(1e-3))) / 2
    half = half * (1 + 2 * margin)
    (left, bottom), (right, top) = (middle - half).tolist(), (middle + half).tolist()
    return left, right, bottom, top


def around(bounds: Bounds, aspect: float = 4 / 3, more: float = 1.4) -> Bounds:
    """Give wider bounds: those of a stage of this aspect, and ``more`` than it, in whose middle the bounds fit.

    Example:
        >>> around((0.0, 4.0, 0.0, 2.0), aspect=1.0, more=1.5)
        (-1.0, 5.0, -2.0, 4.0)
    """
    left, right, low, high = bounds
    height = more * max(high - low, (right - left) / aspect)
    x, y = (left + right) / 2, (low + high) / 2
    return x - aspect * height / 2, x + aspect * height / 2, y - height / 2, y + height / 2


def _ends(xy: Float[Tensor, "N 2"]) -> Float[Tensor, "2 2"]:
    skip = len(xy) // 500
    ordered = xy.double().sort(0).values
    return torch.stack([ordered[skip], ordered[-1 - skip]])
