"""What a model is used for: missing pixels, neighbours, codes in a plane, and scores, from functions to commands."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import linear
from lowerbound import explore, gibbs, likelihood, nets, oracle, posterior, prior
from lowerbound.errors import UsageError
from lowerbound.vae import VAE

# ---- missing pixels


def off() -> VAE:
    """The linear model with an encoder whose mean and spread are wrong."""
    model = linear.model(exact=True)
    assert isinstance(model.posterior, posterior.Gaussian)
    with torch.no_grad():
        model.posterior.mu.bias += 0.3
        model.posterior.logvar.bias += 0.7
    return model


def conditional(x: Tensor, missing: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the missing coordinates of one row given the others, by the normal's own formulas."""
    w, b = (part.numpy() for part in linear.loadings())
    cov = w @ w.T + linear.SIGMA**2 * np.eye(linear.D)
    m, o = missing.numpy(), ~missing.numpy()
    gain = cov[np.ix_(m, o)] @ np.linalg.inv(cov[np.ix_(o, o)])
    return b[m] + gain @ (x.numpy()[o] - b[o]), cov[np.ix_(m, m)] - gain @ cov[np.ix_(o, m)]


def departure(model: VAE, steps: int, warmup: int) -> float:
    """The p-value of Kolmogorov and Smirnov that 1,000 chains' draws of three coordinates are the exact conditional."""
    x, missing = linear.data(1), torch.tensor([[True, False, True, False, True]])
    hidden = torch.where(missing, torch.nan, x)
    found = gibbs.impute(model, hidden, missing, draws=1000, steps=steps, warmup=warmup, seed=1)
    assert bool((found.draws[:, ~missing] == x[~missing]).all())
    mean, cov = conditional(x[0], missing[0])
    white = np.linalg.solve(np.linalg.cholesky(cov), (found.draws[:, missing].numpy() - mean).T)
    return float(stats.kstest(white.ravel(), "norm").pvalue)


def test_missing_pixels_follow_the_exact_conditional_whatever_the_encoder() -> None:
    """False alarms: 1 in 1,000 for each of the two."""
    assert departure(off(), steps=60, warmup=5) > 1e-3
    assert departure(linear.model(exact=True), steps=30, warmup=5) > 1e-3


def test_without_the_correction_a_wrong_encoder_is_found_out() -> None:
    """The test above can fail: the same chains, every proposal accepted."""
    assert departure(off(), steps=0, warmup=65) < 1e-6


def test_missing_binary_pixels_have_the_probabilities_of_the_sum() -> None:
    """A finite model, whose p(x_mis | x_obs) is a table: χ² over the four images, false alarms 1 in 1,000."""
    known = oracle.Finite.draw(states=3, pixels=4, seed=2)
    images, log_p = known.images(), known.log_p()
    missing, seen = torch.tensor([[False, True, False, True]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    rows = (images[:, ~missing[0]] == seen[:, ~missing[0]]).all(1)
    exact = log_p[rows].softmax(0)
    found = gibbs.impute(known.vae(), seen, missing, draws=2000, steps=20, warmup=2, seed=3)
    counts = torch.stack([(found.draws[:, 0] == image).all(1).sum() for image in images[rows]])
    assert int(counts.sum()) == 2000
    assert stats.chisquare(counts.numpy(), 2000 * exact.numpy()).pvalue > 1e-3
    assert found.acceptance is not None
    assert 0 < float(found.acceptance[0]) < 1


def test_the_mean_and_the_acceptance_are_those_of_the_chains() -> None:
    """The mean of 200 chains over 50 steps, within 5 standard errors of the exact one; q exact accepts most."""
    x, missing = linear.data(3), torch.zeros(3, linear.D, dtype=torch.bool)
    missing[:, :2] = True
    found = gibbs.impute(linear.model(exact=True), x, missing, draws=200, steps=50, warmup=5)
    for i in range(3):
        mean, cov = conditional(x[i], missing[i])
        assert (np.abs(found.mean[i, :2].numpy() - mean) < 5 * np.sqrt(np.diag(cov) / 200)).all()
    assert bool((found.mean[:, 2:] == x[:, 2:]).all())
    assert found.means.shape == found.draws.shape == (200, 3, linear.D)
    assert found.acceptance is not None
    assert (found.acceptance > 0.99).all()  # q is p(z|x), of which every draw is accepted
    plain = gibbs.impute(linear.model(exact=True), x, missing, draws=2, steps=0, warmup=3)
    assert plain.acceptance is None


def test_imputing_leaves_mode_and_randomness_and_tells_how_far_it_is() -> None:
    model, x = linear.model(exact=True).train(), linear.data(3)
    missing = torch.zeros_like(x, dtype=torch.bool)
    missing[:, 0] = True
    torch.manual_seed(3)
    state, told = torch.get_rng_state(), []
    runs = [
        gibbs.impute(model, x, missing, draws=300, steps=2, warmup=1, progress=lambda *now: told.append(now))
        for _ in range(2)
    ]
    assert bool((torch.get_rng_state() == state).all())
    assert model.training
    assert told[:9] == [(i, 9) for i in range(1, 10)]  # three images, one at a time
    assert bool((runs[0].draws == runs[1].draws).all())


class Coupled(likelihood.Likelihood):
    """Pixels that are not independent given z."""

    real = True

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(linear.L, linear.D)

    def forward(self, z: Tensor, c: Tensor | None = None) -> torch.distributions.Distribution:
        return torch.distributions.MultivariateNormal(self.net(z), torch.eye(linear.D))


def test_what_cannot_be_imputed_is_refused() -> None:
    model, x = linear.model(exact=True), linear.data(3)
    some = torch.zeros_like(x, dtype=torch.bool)
    some[:, 0] = True
    holes = x.clone()
    holes[1, 2] = torch.nan
    point = VAE(posterior.Dirac(nets.MLP((5,)), 2), prior.Standard(2), likelihood.Gaussian(nets.MLP((2,), (5,))))
    coupled = VAE(posterior.Gaussian(nets.MLP((5,)), 2), prior.Standard(2), Coupled())
    row = some.clone()
    row[2] = True
    for call, says in (
        (lambda: gibbs.impute(model, x, some & False), "nothing to impute"),
        (lambda: gibbs.impute(model, x, row), "Of image 2 all is missing"),
        (lambda: gibbs.impute(model, holes, some), "not numbers"),
        (lambda: gibbs.impute(model, x, some[:2]), r"shape \(3, 5\), and what is missing of \(2, 5\)"),
        (lambda: gibbs.impute(model, x, some, draws=0), "draws is 0"),
        (lambda: gibbs.impute(model, x, some, steps=0, warmup=0), "one draw and step"),
        (lambda: gibbs.impute(point, x.float(), some), "point mass"),
        (lambda: gibbs.impute(coupled, x.float(), some), "MultivariateNormal, which does not factorise"),
    ):
        with pytest.raises(UsageError, match=says):
            call()


# ---- neighbours


def test_neighbours_are_those_of_all_distances() -> None:
    g = torch.Generator().manual_seed(0)
    codes, query = torch.randn(9000, 3, generator=g).double(), torch.randn(4, 3, generator=g).double()
    far, rows = explore.neighbours(query, codes, 5)  # in three blocks
    d = np.linalg.norm(query.numpy()[:, None] - codes.numpy(), axis=2)
    expected = np.argsort(d, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(rows.numpy(), expected)
    np.testing.assert_allclose(far.numpy(), np.take_along_axis(d, expected, 1), rtol=1e-12)
    blocks = explore.neighbours(query, codes.split(7), 5)
    assert bool((blocks[1] == rows).all())
    near = explore.neighbours(codes[:1] + 1e-9, codes, 1)
    assert float(near[0]) == pytest.approx(math.sqrt(3) * 1e-9, rel=1e-3)  # a product of matrices would say 0 or 1e-8
    assert explore.neighbours(query, codes[:3], 5)[1].shape == (4, 3)
    ties = explore.neighbours(torch.zeros(1, 1), torch.tensor([[2.0], [1.0], [-1.0], [1.0]]), 3)[1]
    assert ties.tolist() == [[1, 2, 3]]


def test_neighbours_that_cannot_be_are_refused() -> None:
    for arguments, says in (
        ((torch.zeros(1, 2), torch.zeros(5, 2), 0), "k is 0"),
        ((torch.zeros(1, 2), torch.zeros(5, 3), 1), "no distance"),
        ((torch.zeros(1, 2), [], 1), "nothing among which"),
    ):
        with pytest.raises(UsageError, match=says):
            explore.neighbours(*arguments)  # type: ignore[arg-type]
