"""The models with exact answers are right by other references: SciPy's densities, and sums written as loops."""

import itertools
import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

import linear
from lowerbound import oracle


def test_the_linear_models_closed_forms_are_scipys() -> None:
    known, x = linear.known(), linear.data()
    w, b = (t.numpy() for t in linear.loadings())
    reference = scipy.stats.multivariate_normal(b, w @ w.T + linear.SIGMA**2 * np.eye(linear.D))
    np.testing.assert_allclose(known.log_p(x), reference.logpdf(x.numpy()), rtol=0, atol=1e-11)
    mu, cov = known.posterior(x)
    var = cov.diagonal().expand(len(x), -1)
    torch.testing.assert_close(known.elbo(x, mu, var), linear.elbo(x, mu, var), rtol=0, atol=1e-11)
    # by Bayes' rule: log p(z|x) = log p(x|z) + log p(z) - log p(x), at a z that is not the mean
    z = np.array([0.3, -1.1])
    log_pxz = scipy.stats.norm(w @ z + b, linear.SIGMA).logpdf(x.numpy()).sum(1) + scipy.stats.norm.logpdf(z).sum()
    found = [scipy.stats.multivariate_normal(m, cov.numpy()).logpdf(z) for m in mu.numpy()]
    np.testing.assert_allclose(found, log_pxz - reference.logpdf(x.numpy()), rtol=0, atol=1e-10)


def test_the_gap_is_the_divergence_from_the_exact_posterior() -> None:
    known, x = linear.known(), linear.data()
    mu, var = torch.randn(len(x), linear.L).double(), torch.rand(len(x), linear.L).double() + 0.1
    exact, cov = known.posterior(x)
    q = torch.distributions.MultivariateNormal(mu, torch.diag_embed(var))
    p = torch.distributions.MultivariateNormal(exact, cov)
    torch.testing.assert_close(known.gap(x, mu, var), torch.distributions.kl_divergence(q, p), rtol=0, atol=1e-10)


def test_its_draws_have_its_moments() -> None:
    """Within 5 standard errors in each of 20 moments: false alarm 1e-5."""
    known, n = linear.known(), 100_000
    x = known.draw(n, seed=0) - known.b
    cov = known.w @ known.w.T + known.sigma**2 * torch.eye(linear.D, dtype=torch.float64)
    assert (x.mean(0).abs() < 5 * (cov.diagonal() / n) ** 0.5).all()
    spread = (cov.diagonal()[:, None] * cov.diagonal() + cov**2) / n
    assert ((x.T @ x / n - cov).abs() < 5 * spread.sqrt()).all()


def test_principal_components_are_the_maximum_of_the_likelihood() -> None:
    """The gradient of the mean log p(x) vanishes there, in W, b and σ, and the value is SciPy's."""
    x = linear.data(300)
    best = oracle.principal(x, 2)
    w, b = best.w.clone().requires_grad_(), best.b.clone().requires_grad_()
    sigma = torch.tensor(best.sigma, dtype=torch.float64, requires_grad=True)
    cov = w @ w.T + sigma**2 * torch.eye(linear.D, dtype=torch.float64)
    value = torch.distributions.MultivariateNormal(b, cov).log_prob(x).mean()
    for gradient in torch.autograd.grad(value, (w, b, sigma)):
        assert gradient.abs().max() < 1e-10
    assert float(best.log_p(x).mean()) == pytest.approx(float(value.detach()), abs=1e-11)
    assert float(best.log_p(x).mean()) > float(linear.log_p(x).mean())


def test_the_finite_models_sums_are_those_of_loops() -> None:
    model = oracle.Finite.draw(states=3, pixels=2, seed=5)
    prior, l, table = (scipy.special.softmax(model.prior), model.pixels.numpy(), model.table.numpy())
    for i, x in enumerate(itertools.product((0, 1), repeat=2)):
        assert model.images()[i].tolist() == list(x)
        joint = [
            prior[n] * math.prod(scipy.special.expit(l[p, n] if x[p] else -l[p, n]) for p in range(2)) for n in range(3)
        ]
        assert float(model.log_p()[i]) == pytest.approx(math.log(sum(joint)), abs=1e-12)
        q = scipy.special.softmax(table[i])
        elbo = sum(q[n] * math.log(joint[n] / q[n]) for n in range(3))
        assert float(model.bound(1)[i]) == pytest.approx(elbo, abs=1e-12)
        two = sum(q[n] * q[m] * math.log((joint[n] / q[n] + joint[m] / q[m]) / 2) for n in range(3) for m in range(3))
        assert float(model.bound(2)[i]) == pytest.approx(two, abs=1e-12)


def test_the_finite_vae_is_the_model() -> None:
    """Its importance weights are the joint's over the table's, exactly."""
    model = oracle.Finite.draw(states=4, pixels=3, seed=1)
    with torch.no_grad():
        trace = model.vae()(model.images(), samples=50)
    states = trace.latents[0].z.argmax(-1)
    log_w = model.log_joint() - model.table.log_softmax(1)
    want = log_w.gather(1, states.T).T
    torch.testing.assert_close(trace.log_w, want, rtol=0, atol=1e-6)  # the images are float32
    assert len(states.unique()) == 4
    rate = (model.table.softmax(1) * (model.table.log_softmax(1) - model.prior.log_softmax(0))).sum(1)
    torch.testing.assert_close(trace.kl, rate.expand(50, -1), rtol=0, atol=1e-12)
