"""The elbo and its importance weights against the closed forms of probabilistic PCA, in float64."""

import pytest
import torch

import linear
from lowerbound.errors import UsageError
from lowerbound.metrics import log_likelihood
from lowerbound.objective import Elbo

CASES = pytest.mark.parametrize("exact", [True, False], ids=["exact posterior", "wrong posterior"])


def test_importance_weights_at_the_exact_posterior_are_log_p() -> None:
    x = linear.data()
    with torch.no_grad():
        log_w = linear.model(exact=True)(x, samples=7).log_w
    torch.testing.assert_close(log_w, linear.log_p(x).expand(7, -1), rtol=0, atol=1e-10)


def test_closed_forms_agree_with_each_other() -> None:
    x, model = linear.data(), linear.model(exact=True)
    with torch.no_grad():
        q = model.posterior(x)
    torch.testing.assert_close(linear.elbo(x, q.mean, q.variance), linear.log_p(x), rtol=0, atol=1e-10)


@CASES
def test_elbo_is_its_closed_form(exact: bool) -> None:
    """Within 4.5 standard errors of 4,000 draws: false alarm 7e-6 a case."""
    x, model = linear.data(), linear.model(exact)
    with torch.no_grad():
        trace = model(x, samples=4000)
        q = model.posterior(x)
        draws = (trace.log_px - trace.kl).mean(1)  # the mean over images, for each draw
    want = linear.elbo(x, q.mean, q.variance).mean()
    assert abs(draws.mean() - want) <= 4.5 * draws.std() / len(draws) ** 0.5
    assert draws.std() > 0


@CASES
def test_logged_elbo_is_minus_distortion_minus_rate_whatever_the_terms(exact: bool) -> None:
    x, model = linear.data(), linear.model(exact)
    trace = model(x)
    terms = Elbo(samples=1).reduce(model, trace).terms
    assert terms["elbo"] == -(terms["distortion"] + terms["rate"])
    torch.testing.assert_close(terms["distortion"], -trace.log_px.mean(), rtol=0, atol=0)
    torch.testing.assert_close(terms["rate"], trace.latents[0].kl.mean(), rtol=0, atol=0)


def test_the_wrong_posterior_has_a_gap_and_the_exact_one_has_none() -> None:
    x = linear.data()
    gaps = {}
    for exact in (True, False):
        with torch.no_grad():
            q = linear.model(exact).posterior(x)
        gaps[exact] = (linear.log_p(x) - linear.elbo(x, q.mean, q.variance)).mean()
    assert abs(gaps[True]) < 1e-10
    assert gaps[False] > 0.1


def test_importance_bounds_rise_with_samples_and_stay_below_log_p() -> None:
    """mean ≤ exact + 4 standard errors (false alarm 3e-5 each), and each K is above the one before it."""
    x, model = linear.data(), linear.model(exact=False)
    exact, means = linear.log_p(x).mean(), []
    with torch.no_grad():
        for k in (1, 5, 50):
            log_w = model(x, samples=k * 400).log_w.reshape(400, k, -1)
            bound = (torch.logsumexp(log_w, 1) - torch.log(torch.tensor(float(k)))).mean(1)
            assert bound.mean() <= exact + 4 * bound.std() / 400**0.5
            means.append(bound.mean())
    assert means[0] < means[1] < means[2]


def test_log_likelihood_at_the_exact_posterior_is_exact_with_any_number_of_samples() -> None:
    x = linear.data()
    for samples, rows in ((1, 1000), (7, 3)):
        found = log_likelihood(linear.model(exact=True), x, samples=samples, rows=rows)
        torch.testing.assert_close(found, linear.log_p(x), rtol=0, atol=1e-10)


def test_log_likelihood_from_a_wrong_posterior_comes_near_and_uses_every_sample() -> None:
    """Its weights have a standard deviation s: the mean of log p̂ lies within 4 s / √(K n) of the exact one, and the
    bias is below s² / K (false alarm 6e-5).
    """
    x, model, samples = linear.data(), linear.model(exact=False), 20_000
    found = log_likelihood(model, x, samples=samples, rows=3_000)
    with torch.no_grad():
        weights = (model(x, samples=samples).log_w - linear.log_p(x)).exp()
    s = weights.std(0)
    allowed = 4 * s.square().mean().sqrt() / (samples * len(x)) ** 0.5 + s.square().mean() / samples
    assert abs((found - linear.log_p(x)).mean()) <= allowed
    few = log_likelihood(model, x, samples=3)
    assert (few - linear.log_p(x)).std() > 5 * (found - linear.log_p(x)).std()
    assert few.mean() < linear.log_p(x).mean()


def test_log_likelihood_of_an_image_does_not_depend_on_its_neighbours_or_change_the_model() -> None:
    x, model = linear.data(), linear.model(exact=False).train()
    torch.manual_seed(8)
    whole = log_likelihood(model, x, samples=10)
    assert torch.equal(log_likelihood(model, x[:4], samples=10), whole[:4])
    assert model.training
    assert not torch.equal(log_likelihood(model, x, samples=10, seed=1), whole)
    with pytest.raises(UsageError, match="at least 1"):
        log_likelihood(model, x, samples=0)
