"""Each likelihood integrates to one, has its own moments, and is what the papers say."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.distributions import Independent

from lowerbound import likelihood
from lowerbound.dist import ContinuousBernoulli, CrossEntropy, Joint, OptimalNormal
from lowerbound.dist.continuous_bernoulli import log_normaliser
from lowerbound.errors import UsageError


class Constant(nn.Module):
    """A network that gives the same numbers whatever z is."""

    def __init__(self, values: torch.Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.values.expand(len(z), *self.values.shape)


LOGITS = [-15.0, -3.0, -1e-3, 0.0, 1e-3, 0.049, 0.051, 2.0, 15.0]


@pytest.mark.parametrize("logit", LOGITS)
def test_continuous_bernoulli_integrates_to_one_with_its_mean_and_variance(logit: float) -> None:
    d = ContinuousBernoulli(torch.tensor(logit, dtype=torch.float64))

    def moment(k: int) -> float:
        def f(x: float) -> float:
            return x**k * math.exp(d.log_prob(torch.tensor(x, dtype=torch.float64)))

        return float(scipy.integrate.quad(f, 0, 1, epsabs=1e-13, epsrel=1e-12)[0])

    assert moment(0) == pytest.approx(1, abs=1e-10)
    assert float(d.mean) == pytest.approx(moment(1), abs=1e-9)
    assert float(d.variance) == pytest.approx(moment(2) - moment(1) ** 2, abs=1e-9)


@pytest.mark.parametrize("logit", [0.0, 1e-3, -1e-3, 15.0, -15.0, 50.0, 100.0, -100.0])
def test_log_normaliser_is_the_exact_one_even_at_large_logits(logit: float) -> None:
    """Against 40-digit arithmetic; torch's own is off by 1.1 nats at a logit of 50."""
    import mpmath

    with mpmath.workdps(40):
        exact = mpmath.log(mpmath.mpf(logit) / mpmath.tanh(mpmath.mpf(logit) / 2)) if logit else mpmath.log(2)
    assert float(log_normaliser(torch.tensor(logit, dtype=torch.float64))) == pytest.approx(float(exact), abs=1e-13)
    assert float(log_normaliser(torch.tensor(logit))) == pytest.approx(float(exact), rel=1e-6)


def test_log_normaliser_has_a_smooth_gradient_through_zero() -> None:
    l = torch.tensor([-1e-2, -1e-9, 0.0, 1e-9, 1e-2, 60.0], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(log_normaliser(l).sum(), l)
    want = torch.tensor([-1e-2 / 6, -1e-9 / 6, 0.0, 1e-9 / 6, 1e-2 / 6, 1 / 60], dtype=torch.float64)
    torch.testing.assert_close(gradient, want, rtol=1e-4, atol=1e-15)


@pytest.mark.parametrize("logit", [-40.0, -2.0, 0.0, 3.0, 40.0])
def test_continuous_bernoulli_draws_follow_its_density(logit: float) -> None:
    """Kolmogorov-Smirnov against the integral of the density; false alarm 1e-4 a case, fixed seed."""
    d = ContinuousBernoulli(torch.tensor(logit, dtype=torch.float64))
    draws = np.sort(d.sample(torch.Size([4000])).numpy())

    def cdf(x: "np.ndarray") -> "np.ndarray":
        return x if logit == 0 else np.expm1(logit * x) / np.expm1(logit)

    assert scipy.stats.kstest(draws, cdf).pvalue > 1e-4
    assert d.expand(torch.Size([3])).batch_shape == (3,)


def test_continuous_bernoulli_draws_are_reparameterised() -> None:
    l = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)

    def x(logit: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(5)
        return ContinuousBernoulli(logit).rsample()

    (gradient,) = torch.autograd.grad(x(l), l)
    with torch.no_grad():
        difference = (x(l + 1e-6) - x(l - 1e-6)) / 2e-6
    assert float(gradient) == pytest.approx(float(difference), rel=1e-6)
    assert float(gradient) > 0


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-12, 12)), min_size=1, max_size=20))
@settings(max_examples=100, derandomize=True, deadline=None)
def test_cross_entropy_on_logits_is_that_on_probabilities(pairs: list[tuple[float, float]]) -> None:
    x, logits = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    want = -F.binary_cross_entropy(torch.sigmoid(logits), x, reduction="none")
    torch.testing.assert_close(CrossEntropy(logits=logits).log_prob(x), want, rtol=1e-9, atol=1e-9)


SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 3, 4, 5, 8, 12, 64]))


@given(SHAPES, st.floats(0.1, 60), st.integers(0, 9))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_the_cross_entropy_summed_at_once_is_the_sum_with_its_gradients(
    shape: tuple[int, int, int, int], scale: float, seed: int
) -> None:
    torch.manual_seed(seed)
    k, b, c, w = shape
    logits = (scale * torch.randn(k, b, c, w, dtype=torch.float64)).requires_grad_()
    x = torch.rand(b, c, w, dtype=torch.float64).requires_grad_()
    g = torch.randn(k, b, dtype=torch.float64)
    once, each = (family(CrossEntropy(logits=logits), 2).log_prob(x) for family in (Joint, Independent))
    torch.testing.assert_close(once, each, rtol=1e-12, atol=1e-11)
    found, want = (torch.autograd.grad(y, [logits, x], g) for y in (once, each))
    torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)


def test_the_cross_entropy_summed_at_once_has_a_second_derivative_and_survives_large_logits() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 4, dtype=torch.float64, requires_grad=True)
    logits = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda l, x: Joint(CrossEntropy(logits=l), 2).log_prob(x), (logits, x))
    far = torch.tensor([300.0, -300.0] * 32)  # float32: a product of sigmoids of -300 would be nothing
    right, wrong = (Joint(CrossEntropy(logits=far), 1).log_prob(v) for v in ((far > 0).float(), (far < 0).float()))
    assert (float(right), float(wrong)) == (0.0, -300.0 * 64)


def test_deterministic_kernels_give_torchs_own_sum() -> None:
    torch.manual_seed(0)
    px, x = CrossEntropy(logits=torch.randn(5, 784)), torch.rand(5, 784)
    torch.use_deterministic_algorithms(True)
    try:
        found = Joint(px, 1).log_prob(x)
    finally:
        torch.use_deterministic_algorithms(False)
    assert bool((found == Independent(px, 1).log_prob(x)).all())


def test_bernoulli_sums_to_one_over_binary_pixels_and_is_scipys() -> None:
    logits = torch.tensor([0.3, -2.0, 4.0], dtype=torch.float64)
    px = likelihood.Bernoulli(Constant(logits))(torch.zeros(1, 2, dtype=torch.float64))
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
    log_p = px.log_prob(corners).detach()
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-12)
    want = scipy.stats.bernoulli.logpmf(corners.numpy(), torch.sigmoid(logits).numpy()).sum(1)
    np.testing.assert_allclose(log_p.detach().numpy(), want, rtol=1e-10)


def test_cross_entropy_on_grey_pixels_is_no_likelihood_and_says_so() -> None:
    px = likelihood.Bernoulli(Constant(torch.zeros(2)))(torch.zeros(1, 2))
    assert bool(px.support.check(torch.tensor([[0.0, 1.0]])).all())
    assert not bool(px.support.check(torch.tensor([[0.0, 0.5]])).all())
    half = CrossEntropy(logits=torch.zeros(()))
    integral, _ = scipy.integrate.quad(lambda x: math.exp(half.log_prob(torch.tensor(x))), 0, 1)
    assert integral == pytest.approx(0.5, abs=1e-6)  # a density would give 1


@pytest.mark.parametrize("sigma", [0.3, "learned", "optimal"])
def test_gaussian_is_scipys_and_integrates_to_one(sigma: float | str) -> None:
    part = likelihood.Gaussian(Constant(torch.tensor([0.2, -1.0], dtype=torch.float64)), sigma=sigma).double().eval()
    if sigma == "optimal":
        part.variance.fill_(0.36)
    scale = {0.3: 0.3, "learned": 1.0, "optimal": 0.6}[sigma]
    px = part(torch.zeros(1, 3, dtype=torch.float64))
    x = torch.tensor([[0.5, 0.1]], dtype=torch.float64)
    want = scipy.stats.norm.logpdf(x.numpy(), [0.2, -1.0], scale).sum()
    assert float(px.log_prob(x).detach()) == pytest.approx(want, rel=1e-12)
    base = px.base_dist
    density = lambda v: math.exp(base.log_prob(torch.tensor([v, v], dtype=torch.float64))[0, 0].detach())  # noqa: E731
    assert scipy.integrate.quad(density, -8, 8)[0] == pytest.approx(1, abs=1e-8)


def test_optimal_sigma_is_the_batchs_mean_squared_error_and_moves_the_buffer() -> None:
    part = likelihood.Gaussian(Constant(torch.zeros(4, dtype=torch.float64)), sigma="optimal").double().train()
    x = torch.randn(10, 4, dtype=torch.float64)
    mse = x.square().mean()
    log_p = part(torch.zeros(1, 10, 2, dtype=torch.float64)).log_prob(x)
    want = scipy.stats.norm.logpdf(x.numpy(), 0, math.sqrt(mse)).sum(1)
    np.testing.assert_allclose(log_p[0].detach().numpy(), want, rtol=1e-10)
    assert float(part.variance) == pytest.approx(float(mse), rel=1e-12)  # nothing is left of where the buffer began


def test_evaluation_after_three_steps_has_the_sigma_of_these_three_batches() -> None:
    """The buffer is the exponential mean of the batches' errors without bias, and its state is two buffers."""
    part = likelihood.Gaussian(Constant(torch.zeros(4, dtype=torch.float64)), sigma="optimal").double().train()
    errors = []
    for scale in (0.1, 0.12, 0.09):
        x = scale * torch.randn(50, 4, dtype=torch.float64)
        part(torch.zeros(1, 50, 2, dtype=torch.float64)).log_prob(x)
        errors.append(float(x.square().mean()))
    want = sum(0.9 ** (2 - i) * e for i, e in enumerate(errors)) / sum(0.9**k for k in range(3))
    assert float(part.variance) == pytest.approx(want, rel=1e-12)
    assert min(errors) <= float(part.variance) <= max(errors)
    scale = part.eval()(torch.zeros(1, 50, 2, dtype=torch.float64)).base_dist.scale
    assert float(scale[0, 0, 0]) ** 2 == pytest.approx(want, rel=1e-12)
    assert set(part.state_dict()) == {"net.values", "variance", "scored"}


def test_a_batch_that_is_not_finite_leaves_the_optimal_sigma_alone() -> None:
    part = likelihood.Gaussian(Constant(torch.zeros(4)), sigma="optimal").train()
    part(torch.zeros(1, 10, 2)).log_prob(torch.full((10, 4), math.nan))
    assert (float(part.variance), int(part.scored)) == (1.0, 0)


def test_no_other_sigma_explains_the_batch_better() -> None:
    x, mu = torch.randn(10, 4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    buffers = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.int64)
    best = OptimalNormal(mu, *buffers).log_prob(x).sum()
    rms = float(x.square().mean().sqrt())
    others = [float(torch.distributions.Normal(mu, rms * f).log_prob(x).sum()) for f in (0.8, 0.99, 1.01, 1.25)]
    assert max(others) < float(best)


def test_evaluation_leaves_the_optimal_sigma_alone_and_constant_images_do_not_make_it_zero() -> None:
    part = likelihood.Gaussian(Constant(torch.zeros(4)), sigma="optimal")
    part.eval()(torch.zeros(1, 10, 2)).log_prob(torch.randn(10, 4))
    assert float(part.variance) == 1.0
    log_p = part.train()(torch.zeros(1, 10, 2)).log_prob(torch.zeros(10, 4))
    assert torch.isfinite(log_p).all()


def test_the_mean_of_a_gaussian_on_unit_data_stays_in_the_unit_interval() -> None:
    net = Constant(torch.tensor([-30.0, 0.0, 30.0]))
    assert likelihood.Gaussian(net, unit=True)(torch.zeros(1, 2)).mean.aminmax().max <= 1
    assert likelihood.Gaussian(net, unit=False)(torch.zeros(1, 2)).mean.min() == -30


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan])
def test_a_sigma_that_has_no_meaning_is_refused(sigma: float) -> None:
    with pytest.raises(UsageError, match="sigma is"):
        likelihood.Gaussian(Constant(torch.zeros(2)), sigma=sigma)
