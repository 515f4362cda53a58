"""The rate: closed form = torch.distributions = Monte Carlo; its gradient, and whose it is; reparameterisation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence

import linear
from lowerbound import likelihood, nets, posterior, prior
from lowerbound.dist import draw, factors
from lowerbound.errors import UsageError
from lowerbound.objective import KL, Distortion
from lowerbound.vae import VAE, Latent


def gaussian(mu: torch.Tensor, logvar: torch.Tensor) -> Independent:
    family = posterior.Gaussian(linear.Identity(), mu.shape[-1])
    q = family.dist(torch.cat([mu, logvar], -1))
    assert isinstance(q, Independent)
    return q


def closed_form(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    return -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(-1)


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(-8, 4)), min_size=1, max_size=6),
)
@settings(max_examples=100, derandomize=True, deadline=None)
def test_kl_is_the_closed_form_and_torchs(pairs: list[tuple[float, float]]) -> None:
    mu, logvar = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    q, p = gaussian(mu[None], logvar[None]), prior.Standard(len(pairs)).double()()
    z, _ = draw(q, 1)
    latent = Latent(z, q, p)
    torch.testing.assert_close(latent.kl, closed_form(mu, logvar).expand(1, 1), rtol=1e-12, atol=1e-12)
    reference = Independent(Normal(mu, torch.exp(0.5 * logvar)), 1)
    torch.testing.assert_close(latent.kl[0, 0], kl_divergence(reference, p), rtol=1e-12, atol=1e-12)
    assert latent.kl_by_dim is not None
    torch.testing.assert_close(latent.kl_by_dim.sum(-1), latent.kl, rtol=1e-12, atol=1e-12)


def test_kl_is_its_monte_carlo_estimate() -> None:
    """Within 4.5 standard errors of 200,000 draws: false alarm 7e-6."""
    mu, logvar = torch.tensor([[0.5, -1.0]]).double(), torch.tensor([[-1.0, 0.7]]).double()
    q, p = gaussian(mu, logvar), prior.Standard(2).double()()
    z, _ = draw(q, 200_000)
    latent = Latent(z, q, p)
    estimate = (latent.log_q - latent.log_p)[:, 0]
    assert abs(estimate.mean() - latent.kl[0, 0]) <= 4.5 * estimate.std() / len(estimate) ** 0.5


def test_unregistered_pair_falls_back_to_the_estimate() -> None:
    class Odd(Normal):
        pass

    q = Independent(Odd(torch.zeros(4, 2), torch.ones(4, 2), validate_args=False), 1)
    p = Independent(torch.distributions.StudentT(torch.ones(2)), 1)
    z, _ = draw(q, 3)
    latent = Latent(z, q, p)
    torch.testing.assert_close(latent.kl, latent.log_q - latent.log_p, rtol=0, atol=0)
    assert latent.kl_by_dim is not None
    torch.testing.assert_close(latent.kl_by_dim.sum(-1), latent.kl)


def test_a_distribution_that_does_not_factorise_has_no_kl_by_dim() -> None:
    full = torch.distributions.MultivariateNormal(torch.zeros(4, 2), torch.eye(2))
    z, _ = draw(full, 3)
    assert factors(full) is None
    assert Latent(z, full, prior.Standard(2)()).kl_by_dim is None


def small() -> VAE:
    return VAE(
        posterior.Gaussian(nets.MLP((3,), hidden=(8,)), 2),
        prior.Standard(2),
        likelihood.Gaussian(nets.MLP((2,), (3,), hidden=(8,)), sigma=1.0),
    ).double()


def gradients(model: VAE, term: nn.Module) -> dict[str, float]:
    model.zero_grad()
    term(model(torch.randn(6, 3, dtype=torch.float64)), 0).losses["model"].backward()
    return {name: 0.0 if p.grad is None else float(p.grad.abs().max()) for name, p in model.named_parameters()}


def test_the_decoder_gets_no_gradient_from_the_kl_and_the_encoder_does() -> None:
    found = gradients(small(), KL(weight=3.0))
    assert {v for name, v in found.items() if name.startswith("likelihood")} == {0.0}
    assert all(v > 0 for name, v in found.items() if name.startswith("posterior"))


def test_both_get_a_gradient_from_the_distortion() -> None:
    assert all(v > 0 for v in gradients(small(), Distortion()).values())


@pytest.mark.parametrize("what", ["kl", "log_px"])
def test_reparameterised_gradient_is_the_finite_difference(what: str) -> None:
    """z = μ + σ ⊙ ε: with ε held, d/dparams by autograd equals the central difference, to 1e-6."""
    model, x = small(), torch.randn(4, 3, dtype=torch.float64)

    def value() -> torch.Tensor:
        torch.manual_seed(11)
        out: torch.Tensor = getattr(model(x, samples=3), what).mean()
        return out

    parameter = model.posterior.logvar.weight if what == "log_px" else model.posterior.mu.weight
    (gradient,) = torch.autograd.grad(value(), parameter)
    for i, j in ((0, 0), (1, 3), (1, 7)):
        h, old = 1e-5, parameter.data[i, j].clone()
        parameter.data[i, j] = old + h
        up = value().detach()
        parameter.data[i, j] = old - h
        down = value().detach()
        parameter.data[i, j] = old
        assert float(gradient[i, j]) == pytest.approx(float((up - down) / (2 * h)), abs=1e-6, rel=1e-6)
        assert abs(float(gradient[i, j])) > 1e-8


def test_sigma_is_the_root_of_the_variance() -> None:
    """z = μ + σ ⊙ ε with σ = exp(½ log σ²), not Σ ⊙ ε: the draws' variance is σ². False alarm 1e-6."""
    logvar = torch.tensor([[2.0]], dtype=torch.float64)
    z, _ = draw(gaussian(torch.zeros(1, 1, dtype=torch.float64), logvar), 100_000)
    error = logvar.exp() * (2 / 100_000) ** 0.5
    assert abs(z.var() - logvar.exp()) < 5 * error


def test_a_prior_of_another_number_of_latents_is_refused() -> None:
    """Torch would broadcast N(0, 1) over three coordinates and call it a KL."""
    model = VAE(
        posterior.Gaussian(nets.MLP((3,), hidden=(8,)), 3),
        prior.Standard(1),
        likelihood.Gaussian(nets.MLP((3,), (3,), hidden=(8,)), sigma=1.0),
    )
    with pytest.raises(UsageError, match=r"latents of shape \(3,\) and the prior of \(1,\)"):
        model(torch.randn(6, 3))


LIKELIHOODS = {
    "bernoulli": likelihood.Bernoulli,
    "continuous-bernoulli": likelihood.ContinuousBernoulli,
    "gaussian": lambda net: likelihood.Gaussian(net, sigma=0.5),
}


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_log_px_has_the_finite_difference_as_gradient_in_mu_and_logvar(name: str) -> None:
    """d log p(x|μ + σ ⊙ ε) / dμ and / d log σ², with ε held, against central differences in float64, to 1e-7."""
    decoder = LIKELIHOODS[name](nets.MLP((2,), (3,), hidden=(8,), activation="tanh")).double()
    x = torch.rand(4, 3, dtype=torch.float64)
    params = torch.randn(4, 4, dtype=torch.float64, requires_grad=True)  # μ and log σ² side by side
    family = posterior.Gaussian(linear.Identity(), 2)

    def value(params: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(11)
        z, _ = draw(family.dist(params), 3)
        out: torch.Tensor = decoder(z).log_prob(x).mean()
        return out

    (gradient,) = torch.autograd.grad(value(params), params)
    assert gradient.abs().min() > 1e-8
    h = 1e-5
    for i in range(4):
        for j in range(4):
            step = torch.zeros(4, 4, dtype=torch.float64)
            step[i, j] = h
            with torch.no_grad():
                difference = float(value(params + step) - value(params - step)) / (2 * h)
            assert float(gradient[i, j]) == pytest.approx(difference, rel=1e-7, abs=1e-9)
