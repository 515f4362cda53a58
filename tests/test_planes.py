"""Planes of the latent space, and densities in them, held against closed forms."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Laplace, MultivariateNormal, Normal

from lowerbound import density, explore, planes
from lowerbound.dist import Mixture
from lowerbound.errors import UsageError
from lowerbound.prior import MAF, MixtureOfGaussians, Scaled, Standard


def drawn(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def plane() -> planes.Linear:
    """The PCA of codes that are neither centred nor aligned with the axes."""
    return planes.pca(drawn(200, 5) @ drawn(5, 5, seed=1) + torch.arange(5))


@pytest.fixture
def grid() -> density.Grid:
    return density.grid_over((-12.0, 12.0, -9.0, 9.0), 24)


def normal(grid: density.Grid, mean: Tensor, covariance: Tensor) -> Tensor:
    at = torch.stack(torch.meshgrid(grid.x, grid.y, indexing="xy"), -1)
    return MultivariateNormal(mean, covariance).log_prob(at).exp()


def test_the_way_back_is_seen_where_it_was_asked_for_and_changes_nothing_else(plane: planes.Linear) -> None:
    xy, base = drawn(7, 2, seed=2), drawn(1, 5, seed=3)[0]
    for one, b in ((plane, base), (plane, None), (planes.latents(base, 3, 1), drawn(1, 5, seed=4)[0])):
        z = one.back(xy, b)
        assert torch.allclose(one.project(z), xy, atol=1e-12)
        moved = z - (one.base if b is None else b)
        left = moved - moved @ one.directions.T @ one.directions
        assert float(left.abs().max()) < 1e-12
    assert torch.allclose(plane.back(torch.zeros(2)), plane.mean)


def test_pca_is_that_of_the_pictures() -> None:
    codes = drawn(50, 4) @ drawn(4, 4, seed=1)
    assert torch.allclose(planes.pca(codes).project(codes), explore.pca(codes)[0], atol=1e-12)


def test_a_covariance_in_the_plane_and_its_ellipse(plane: planes.Linear) -> None:
    sigma = torch.tensor([0.1, 2.0, 0.5, 1.0, 3.0], dtype=torch.float64)
    covariance = plane.covariance(sigma)
    v = plane.directions
    assert torch.allclose(covariance, v @ torch.diag(sigma**2) @ v.T)
    a, b, angle = planes.ellipse(covariance)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    assert torch.allclose(turn @ torch.diag(torch.stack([a**2, b**2])) @ turn.T, covariance)
    assert a >= b


def test_the_standard_normal_in_a_pca_plane_is_a_normal_about_the_projected_middle(
    plane: planes.Linear, grid: density.Grid
) -> None:
    found = density.exact(plane, Standard(5)(), grid)
    assert found is not None
    mean = plane.directions @ (0 - plane.mean)
    assert torch.allclose(found, normal(grid, mean, torch.eye(2, dtype=torch.float64)), rtol=1e-10, atol=1e-300)


def test_mixtures_of_gaussians_in_a_pca_plane(plane: planes.Linear, grid: density.Grid) -> None:
    torch.manual_seed(0)
    prior = MixtureOfGaussians(5, components=4).double()
    with torch.no_grad():
        prior.log_sigma.normal_()
        prior.logits.normal_()
        found = density.exact(plane, prior(), grid)
        assert found is not None
        v, wanted = plane.directions, torch.zeros_like(found)
        for w, mu, s in zip(prior.logits.softmax(0), prior.mu, prior.log_sigma.exp(), strict=True):
            wanted += w * normal(grid, v @ (mu - plane.mean), v @ torch.diag(s**2) @ v.T)
    assert torch.allclose(found, wanted, rtol=1e-9, atol=1e-300)


def test_independent_latents_of_any_family_in_the_plane_of_two(grid: density.Grid) -> None:
    scale = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    p = Independent(Laplace(torch.zeros(3, dtype=torch.float64), scale), 1)
    found = density.exact(planes.latents(torch.zeros(3), 2, 0), p, grid)
    wanted = torch.outer(Laplace(0.0, 1.0).log_prob(grid.y).exp(), Laplace(0.0, 0.5).log_prob(grid.x).exp())
    assert found is not None
    assert torch.allclose(found, wanted)


def test_what_has_no_closed_form_has_none(plane: planes.Linear, grid: density.Grid) -> None:
    assert density.exact(plane, MAF(5)(), grid) is None
    laplace = Independent(Laplace(torch.zeros(5), 1.0), 1)
    assert density.exact(plane, laplace, grid) is None  # a sum of its latents is of no family
    mixed = Mixture(Independent(Laplace(torch.zeros(2, 5), 1.0), 1), torch.zeros(2))
    assert density.exact(plane, mixed, grid) is None


def test_a_line_has_the_density_of_its_latent(grid: density.Grid) -> None:
    plane = planes.latents(torch.zeros(1), 0, 0)
    prior = Scaled(1)
    with torch.no_grad():
        prior.log_sigma.fill_(0.5)
        exact = density.exact(plane, prior(), grid)
    wanted = Normal(0.0, math.exp(0.5)).log_prob(grid.x).exp()
    mixture = Mixture(Independent(Normal(torch.zeros(1, 1), math.exp(0.5)), 1), torch.zeros(1))
    for found in (exact, density.exact(plane, mixture, grid)):
        assert found is not None
        assert torch.allclose(found.float(), wanted.expand(24, -1).float(), atol=1e-7)
    z = plane.back(torch.tensor([1.5, 7.0]))
    assert z.tolist() == [1.5]


def test_smoothing_is_the_sum_of_the_kernels_and_holds_all_mass() -> None:
    xy, h = drawn(50, 2), (0.4, 0.7)
    grid = density.grid_over((-8.0, 8.0, -8.0, 8.0), 48)
    *_, (n, found) = density.smoothed(xy, grid, h)
    spread = torch.diag(torch.tensor(h, dtype=torch.float64) ** 2)
    assert n == 50
    assert torch.allclose(found, torch.stack([normal(grid, point, spread) for point in xy]).mean(0))
    assert float(found.sum()) * grid.area == pytest.approx(1, abs=1e-6)


def test_a_smoothed_prior_is_what_smoothed_draws_of_it_tend_to() -> None:
    grid, h = density.grid_over((-7.0, 7.0, -7.0, 7.0), 56), (0.5, 0.5)
    plane = planes.latents(torch.zeros(2), 0, 1)
    exact = density.exact(plane, Standard(2)(), grid)
    assert exact is not None
    wide = density.widened(exact, grid, h)
    assert torch.allclose(wide, normal(grid, torch.zeros(2).double(), 1.25 * torch.eye(2).double()), atol=1e-5)
    n = 40_000
    *_, (_, found) = density.smoothed(drawn(n, 2), grid, h)
    # of a kernel estimate, Var ≤ E K² / n = p * (1 / 4π h²) / n
    error = (wide.max() / (4 * math.pi * 0.25) / n).sqrt()
    assert float((found - wide).abs().max()) < 5 * float(error)


def test_holes_are_the_total_variation_distance() -> None:
    grid = density.grid_over((-8.0, 10.0, -8.0, 8.0), 200)
    eye = torch.eye(2, dtype=torch.float64)
    p, q = (normal(grid, torch.tensor([m, 0.0], dtype=torch.float64), eye) for m in (0.0, 1.5))
    more, mass = density.holes(p, q, grid.area)
    assert mass == pytest.approx(2 * float(Normal(0.0, 1.0).cdf(torch.tensor(0.75))) - 1, abs=1e-3)
    assert bool((more[:, grid.x > 0.8] == 0).all())
    assert density.holes(p, p, grid.area)[1] == 0


def test_a_layout_knows_the_nearest_code_only() -> None:
    codes, places = drawn(20, 3), drawn(20, 2, seed=1)
    layout = planes.Layout(("a", "b"), codes, places)
    assert torch.equal(layout.project(codes), places)
    assert torch.equal(layout.back(places + 1e-6), codes)
    assert layout.covariance(torch.ones(3)) is None


def test_planes_that_are_none_are_refused() -> None:
    for i, j in ((0, 0), (0, 3), (5, 1)):
        with pytest.raises(UsageError, match="span no plane"):
            planes.latents(torch.zeros(3), i, j)
    with pytest.raises(UsageError, match="line"):
        planes.pca(torch.zeros(4, 1))
    with pytest.raises(UsageError, match="not numbers"):
        planes.pca(torch.full((4, 2), float("nan")))


def test_collapsed_codes_and_one_code_have_bounds_all_the_same() -> None:
    for codes in (torch.zeros(10, 3), torch.zeros(1, 3)):
        plane = planes.pca(codes)
        left, right, low, high = planes.bounds(plane.project(codes))
        assert left < right
        assert low < high
    left, right, *_ = planes.bounds(torch.zeros(10, 2), drawn(500, 2))
    assert left < -2
    assert right > 2
