"""Anomaly scores, thresholds and areas are what they say: against closed forms, simulation and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from scipy import stats
from sklearn import metrics as reference
from torch import Tensor

import linear
from lowerbound import likelihood, metrics, nets, posterior, prior
from lowerbound.errors import UsageError
from lowerbound.metrics.anomaly import DRAWS
from lowerbound.metrics.refine import given as elbo_given
from lowerbound.vae import VAE


def wrong() -> tuple[VAE, Tensor, Tensor, Tensor]:
    """A model whose encoder is off by a constant, and some data with the moments of its q."""
    model, x = linear.model(exact=True), linear.data(40)
    assert isinstance(model.posterior, posterior.Gaussian)
    with torch.no_grad():
        model.posterior.mu.bias += 0.4
        model.posterior.logvar.bias += 0.5
        mu, logvar = model.posterior.params(x).chunk(2, dim=1)
    return model, x, mu, logvar.exp()


# ---- scores


def test_the_elbo_and_the_reconstruction_are_those_of_the_closed_form() -> None:
    """Means of 4,000 draws: within 5 standard errors of each of 40 images (false alarms: 2e-5 each)."""
    model, x, mu, var = wrong()
    w, b = linear.loadings()
    # the variance of the squared misfit under q is largest here, and bounds that of the others
    for method, exact in (
        ("elbo", -linear.elbo(x, mu, var)),
        ("reconstruction", linear.known().distortion(x, mu, var)),
    ):
        found = metrics.score(model, x, method, samples=4000)
        with torch.no_grad():
            z = mu + var.sqrt() * torch.randn(500, *mu.shape, dtype=mu.dtype)
            spread = (0.5 * (x - b - z @ w.T).square().sum(-1) / linear.SIGMA**2).std(0)
        assert ((found - exact).abs() < 5 * spread / 4000**0.5).all()
        assert found.dtype == torch.float64


def test_the_importance_score_is_the_exact_one_under_the_exact_posterior() -> None:
    x = linear.data(10)
    found = metrics.score(linear.model(exact=True), x, "importance", samples=3)
    torch.testing.assert_close(found, -linear.log_p(x), rtol=0, atol=1e-10)


def test_the_regret_is_the_gap_that_the_encoder_leaves() -> None:
    """The best q of its family is the exact posterior here, so that the regret is KL(q ‖ p(z|x)); it costs Adam 0.02.

    Of 40 images, within 0.15 nats each: the noise of 1,000 draws, shared by both elbos, has a deviation of 0.02.
    """
    model, x, mu, var = wrong()
    found = metrics.score(model, x, "regret", samples=1000)
    gap = linear.log_p(x) - linear.elbo(x, mu, var)
    assert gap.min() > 0.3
    assert ((found - gap).abs() < 0.15).all()
    assert (found.mean() - gap.mean()).abs() < 0.02
    exact = metrics.score(linear.model(exact=True), x, "regret", samples=1000)
    assert exact.abs().max() < 0.05  # nothing is left


def test_an_images_own_posterior_is_found_from_far_away() -> None:
    model, x = linear.model(exact=False), linear.data(20)
    mu, logvar = metrics.refined(model, x, steps=200).chunk(2, dim=1)
    assert linear.known().gap(x, mu, logvar.exp()).mean() < 0.05
    before = model.posterior.params(x).detach().chunk(2, dim=1)
    assert linear.known().gap(x, before[0], before[1].exp()).mean() > 1
    assert all(p.grad is None for p in model.parameters())


def test_refining_leaves_mode_randomness_and_inference_as_they_were() -> None:
    model, x = linear.model(exact=False).train(), linear.data(3)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    told: list[tuple[int, int]] = []
    with torch.inference_mode():
        inside = metrics.refined(model, x * 1.0, steps=4, progress=lambda *now: told.append(now))
    assert bool((torch.get_rng_state() == state).all())
    assert model.training
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert bool((metrics.refined(model, x, steps=4) == inside).all())
    assert elbo_given(model, x, inside.clone(), 2).shape == (3,)


def test_what_is_unusual_scores_higher() -> None:
    """Rows three deviations from the mean against usual ones, by each score; the regret here is 0 for all."""
    model, x = linear.model(exact=True), linear.data(50)
    odd = x + 3 * torch.randn(50, linear.D, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    for method in ("elbo", "importance", "reconstruction"):
        found = metrics.score(model, torch.cat([x, odd]), method)
        assert metrics.area(found, torch.arange(100) >= 50).value > 0.9


def test_scores_are_told_repeated_and_refused() -> None:
    model, x = linear.model(exact=True).train(), linear.data(5)
    told: list[tuple[int, int]] = []
    again = [metrics.score(model, x, samples=1000, progress=lambda *now: told.append(now)) for _ in range(2)]
    assert bool((again[0] == again[1]).all())
    assert told[:3] == [(2, 5), (4, 5), (5, 5)]
    assert model.training
    assert metrics.score(model, x[:0]).shape == (0,)
    for change, says in (
        ({"method": "elb"}, "no anomaly score 'elb'.*elbo"),
        ({"samples": 0}, "samples is 0"),
    ):
        with pytest.raises(UsageError, match=says):
            metrics.score(model, x, **change)  # type: ignore[arg-type]
    x[3] = torch.nan
    with pytest.raises(UsageError, match="NaN for 1 of 5 images, the first at 3"):
        metrics.score(model, x)


def test_a_point_mass_has_the_reconstruction_only() -> None:
    model = VAE(posterior.Dirac(nets.MLP((3,)), 2), prior.Standard(2), likelihood.Gaussian(nets.MLP((2,), (3,))))
    x = torch.rand(4, 3)
    with torch.no_grad():
        expected = -model(x).log_px[0]
    torch.testing.assert_close(metrics.score(model, x, "reconstruction").float(), expected)
    for method in set(DRAWS) - {"reconstruction"}:
        with pytest.raises(UsageError, match="point mass"):
            metrics.score(model, x, method)


# ---- thresholds


def test_normal_images_are_flagged_at_the_rate_asked_for() -> None:
    """Over 4,000 sets of 59 normal scores: the rate is ⌊60 α⌋ / 60 exactly; outside 4.5 deviations in 1 of 10⁵."""
    rng = np.random.default_rng(0)
    for rate in (0.05, 0.1, 0.33):
        alarms = 0
        for scores in torch.from_numpy(rng.standard_normal((4000, 60))):
            alarms += float(scores[-1]) > metrics.threshold(scores[:-1], rate)
        exact = math.floor(60 * rate) / 60
        assert abs(alarms / 4000 - exact) < 4.5 * (exact * (1 - exact) / 4000) ** 0.5
        assert exact <= rate


def test_the_plain_quantile_would_flag_too_many() -> None:
    """The test above can fail: of 19 scores the 95 % quantile lets through one in eight or so, not one in twenty."""
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((4000, 20))
    plain = float((scores[:, -1] > np.quantile(scores[:, :-1], 0.95, axis=1)).mean())
    assert plain > 0.05 + 4.5 * (0.05 * 0.95 / 4000) ** 0.5


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    normal=some.lists(some.integers(0, 9), min_size=1, max_size=60),
    score=some.integers(0, 9),
    rate=some.sampled_from([0.01, 0.05, 0.07, 0.1, 0.25, 0.5, 0.9]),
)
def test_a_flag_and_a_p_value_say_the_same(normal: list[int], score: int, rate: float) -> None:
    """Ties included, and where the normal images are too few."""
    s = torch.tensor(normal, dtype=torch.float64)
    p = float(metrics.p_values(torch.tensor([score], dtype=torch.float64), s)[0])
    assert p == (1 + sum(n >= score for n in normal)) / (len(normal) + 1)
    assert (score > metrics.threshold(s, rate)) == (p <= rate + 1e-12)


def test_a_threshold_that_cannot_be_is_refused_or_infinite() -> None:
    s = torch.arange(18.0)
    assert metrics.threshold(s, 0.05) == math.inf  # 19 are needed
    assert metrics.threshold(torch.arange(19.0), 0.05) == 18
    for rate in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(UsageError, match="between 0 and 1"):
            metrics.threshold(s, rate)
    with pytest.raises(UsageError, match="there are none"):
        metrics.threshold(s[:0], 0.05)


# ---- areas


@settings(derandomize=True, deadline=None, max_examples=100)
@given(some.lists(some.tuples(some.integers(0, 6), some.booleans()), min_size=2, max_size=40))
def test_area_and_curve_are_scikit_learns(rows: list[tuple[int, bool]]) -> None:
    scores = torch.tensor([float(score) for score, _ in rows])
    odd = torch.tensor([which for _, which in rows])
    if bool(odd.all()) or not bool(odd.any()):
        with pytest.raises(UsageError, match="both kinds"):
            metrics.area(scores, odd)
        return
    found = metrics.area(scores, odd)
    assert found.value == pytest.approx(reference.roc_auc_score(odd.numpy(), scores.numpy()), abs=1e-12)
    alarms, detected = metrics.roc(scores, odd)
    theirs = reference.roc_curve(odd.numpy(), scores.numpy(), drop_intermediate=False)
    np.testing.assert_allclose(alarms.numpy(), theirs[0], atol=1e-12)
    np.testing.assert_allclose(detected.numpy(), theirs[1], atol=1e-12)
    if found.low is not None and found.high is not None:
        assert 0 < found.low <= found.value <= found.high < 1


def test_the_interval_of_an_area_covers_it() -> None:
    """Two normals one deviation apart: A = Φ(1 / √2). Of 600 intervals of 95 %, the share that covers is within 4.5
    binomial deviations of 0.95 (false alarms: 7e-6)."""
    g = torch.Generator().manual_seed(0)
    odd, exact = torch.arange(120) < 40, float(stats.norm.cdf(2**-0.5))
    hits, errors, values = 0, [], []
    for _ in range(600):
        found = metrics.area(torch.randn(120, generator=g) + odd, odd)
        assert found.low is not None
        assert found.high is not None
        assert found.error is not None
        hits += found.low < exact < found.high
        errors.append(found.error)
        values.append(found.value)
    assert abs(hits / 600 - 0.95) < 4.5 * (0.95 * 0.05 / 600) ** 0.5
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)


def test_an_area_without_overlap_has_no_interval() -> None:
    odd = torch.tensor([False, False, True, True])
    for scores, value in ((torch.arange(4.0), 1.0), (-torch.arange(4.0), 0.0), (torch.zeros(4), 0.5)):
        assert vars(metrics.area(scores, odd)) == {"value": value, "error": None, "low": None, "high": None}
