"""log p(x) by importance sampling: its errors hold what they say, and where they cannot, it is said."""

import json
import math
import re

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import linear
from lowerbound import likelihood, metrics, nets, oracle, posterior, prior, rng
from lowerbound.errors import UsageError
from lowerbound.metrics import Estimates, weights
from lowerbound.metrics.pareto import tail_length
from lowerbound.objective import Elbo
from lowerbound.vae import VAE

KNOWN = linear.known()


def model(shift: float = 0.0, stretch: float = 1.0) -> VAE:
    """The linear model under the exact posterior, moved and stretched by so many of its standard deviations."""
    vae = linear.model(exact=True)
    with torch.no_grad():
        sigma = (0.5 * vae.posterior.logvar.bias).exp()
        vae.posterior.mu.bias += shift * sigma
        vae.posterior.logvar.bias += 2 * math.log(stretch)
    return vae


def trials(vae: VAE, count: int, samples: int, seed: int = 0) -> tuple[Estimates, Tensor]:
    """So many independent estimates of log p(x) of one image, and the exact one."""
    x = linear.data(1)
    with torch.no_grad(), rng.noise(seed, "test"):
        return Estimates.of(vae(x.expand(count, -1), samples=samples).log_w), linear.log_p(x)[0]


def coverage(value: Tensor, error: Tensor, exact: Tensor) -> float:
    return float(((value - exact).abs() <= 1.96 * error).double().mean())


# --- the estimate and its errors -------------------------------------------------------------------------------------


def test_estimates_lie_within_their_stated_error_of_the_exact_log_p() -> None:
    """Each of 50 images within 4.5 standard errors: false alarm 4e-4 in all."""
    x, vae = linear.data(), model(shift=0.3, stretch=1.2)
    found = metrics.importance_sampling(vae, x, samples=2000, rows=700)
    exact = linear.log_p(x)
    for value, error in ((found.log_p, found.error), (found.jackknife, found.jackknife_error)):
        assert ((value - exact).abs() < 4.5 * error).all()
        assert 0.3 < float(((value - exact) / error).square().mean()) < 2  # and the error is not merely large
    assert found.k_hat is not None
    assert found.k_hat.max() < 0.5
    assert found.doubtful == 0
    torch.testing.assert_close(found.log_p, metrics.log_likelihood(vae, x, samples=2000, rows=700), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("shift", "stretch", "samples"), [(0.3, 1.2, 300), (0.0, 0.8, 2000)])
def test_intervals_cover_the_exact_log_p_at_their_nominal_rate(shift: float, stretch: float, samples: int) -> None:
    """95 % of 600 seeded trials, within 4 standard errors of a binomial (false alarm 6e-5 each): 91.4 to 98.6 %.

    A q that is too wide, whose weights are bounded, and one that is too narrow: k = 1 - 0.8² = 0.36. Thousands of
    trials gave 95.4 and 94.2 %, see benchmarks/coverage.py.
    """
    found, exact = trials(model(shift, stretch), 600, samples)
    assert found.k_hat is not None
    kept = found.k_hat < 0.5
    assert kept.double().mean() > 0.8
    allowed = 4 * math.sqrt(0.95 * 0.05 / int(kept.sum()))
    for value, error in ((found.log_p, found.error), (found.jackknife, found.jackknife_error)):
        assert coverage(value[kept], error[kept], exact) == pytest.approx(0.95, abs=allowed)


def test_where_the_weights_have_heavy_tails_it_is_said_and_the_intervals_are_indeed_not_to_be_trusted() -> None:
    """A q of a fifth of the posterior's variance: its weights have the index k = 1 - 1/5 in each dimension."""
    found, exact = trials(model(stretch=0.2**0.5), 400, samples=1000)
    assert found.k_hat is not None
    assert found.k_hat.median() == pytest.approx(0.8, abs=0.1)
    assert found.doubtful is not None
    assert found.doubtful > 0.6 * 400
    assert coverage(found.log_p, found.error, exact) < 0.9
    fine, exact = trials(model(shift=0.3, stretch=1.2), 100, samples=1000)
    assert fine.doubtful == 0


def test_the_jackknife_takes_the_bias_away() -> None:
    """Of 20 samples the mean of 20,000 trials is biased by 9.6 standard errors; corrected it is so by 1.7 of them."""
    found, exact = trials(model(shift=0.5, stretch=1.3), 20_000, samples=20)
    off = {name: getattr(found, name) - exact for name in ("log_p", "jackknife")}
    standard = {name: float(v.mean() / v.std() * len(v) ** 0.5) for name, v in off.items()}
    assert standard["log_p"] < -8
    assert abs(float(off["jackknife"].mean())) < 0.4 * abs(float(off["log_p"].mean()))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.floats(-60, 60), min_size=2, max_size=12), st.sampled_from([0.0, -700.0, 900.0]))
def test_the_jackknife_is_that_of_leaving_out_each_weight(values: list[float], level: float) -> None:
    """Weights that a single one outweighs by e^120, and logarithms beyond what a float's exponential holds, too."""
    w = np.array(values) + level
    found, k = Estimates.of(torch.tensor(w)[:, None]), len(w)
    whole = np.logaddexp.reduce(w) - math.log(k)
    without = np.array([np.logaddexp.reduce(np.delete(w, j)) - math.log(k - 1) for j in range(k)])
    np.testing.assert_allclose(found.log_p, whole, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.jackknife, k * whole - (k - 1) * without.mean(), rtol=1e-9, atol=1e-9)
    want = math.sqrt((k - 1) / k * ((without - without.mean()) ** 2).sum())
    np.testing.assert_allclose(found.jackknife_error, want, rtol=1e-7, atol=1e-9)


def test_error_and_effective_samples_are_those_of_the_weights() -> None:
    w = torch.rand(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = Estimates.of(w.log())
    torch.testing.assert_close(found.error, w.std(0) / (50**0.5 * w.mean(0)))
    torch.testing.assert_close(found.effective, w.sum(0).square() / w.square().sum(0))
    torch.testing.assert_close(found.error, ((50 / found.effective - 1) / 49).sqrt())
    far = torch.tensor([[0.0, 0.0, 0.0], [0.0, -800.0, 0.0], [0.0, -900.0, -800.0], [0.0, -900.0, 0.0]]).double()
    torch.testing.assert_close(Estimates.of(far).effective, torch.tensor([4.0, 1.0, 3.0]).double())


# --- the tail --------------------------------------------------------------------------------------------------------


def empirical_bayes(x: np.ndarray) -> float:
    """Zhang and Stephens' shape, in their own sign and with plain likelihoods, written out once more; -k of ours."""
    x, n = np.sort(x), len(x)
    m = 30 + int(n**0.5)
    theta = np.array(
        [1 / x[-1] + (1 - (m / (j - 0.5)) ** 0.5) / (3 * x[int(n / 4 + 0.5) - 1]) for j in range(1, m + 1)]
    )
    k = np.array([-np.log1p(-t * x).mean() for t in theta])
    logs = n * (np.log(theta / k) + k - 1)
    return float(-np.log1p(-(theta * scipy.special.softmax(logs)).sum() * x).mean())


@pytest.mark.parametrize("k", [-0.3, 0.2, 0.5, 0.9])
def test_the_fitted_shape_is_the_known_one_and_that_of_the_references(k: float) -> None:
    """Within 4.5 of the standard errors (1 + k) / √n of the best estimator there is: false alarm 3e-5 in all."""
    x = scipy.stats.genpareto.rvs(k, scale=2.0, size=20_000, random_state=np.random.default_rng(7))
    shape, scale = metrics.generalised_pareto(torch.from_numpy(x))
    assert shape == pytest.approx(k, abs=4.5 * (1 + k) / 20_000**0.5)
    assert scale == pytest.approx(2.0, rel=0.1)
    assert shape == pytest.approx(scipy.stats.genpareto.fit(x, floc=0)[0], abs=0.01)  # greatest likelihood
    assert shape == pytest.approx(-empirical_bayes(x), abs=1e-8)
    few = x[:20]
    assert metrics.generalised_pareto(torch.from_numpy(few))[0] == pytest.approx(-empirical_bayes(few), abs=1e-8)


@pytest.mark.parametrize("samples", [25, 500, 5000])
@pytest.mark.parametrize("level", [0.0, 2000.0])
def test_the_index_of_weights_is_the_fit_of_the_largest(samples: int, level: float) -> None:
    """Weights u^-k have exceedances of the index k at any threshold; the level of the logarithms does not matter."""
    u = np.random.default_rng(3).random(samples)
    w = np.sort(u**-0.6)
    most = min(math.ceil(samples / 5), math.ceil(3 * samples**0.5))
    raw = -empirical_bayes(w[-most:] - w[-most - 1])
    found = metrics.tail_index(torch.from_numpy(np.log(w) + level)[torch.randperm(samples), None])
    assert found is not None
    assert float(found[0]) == pytest.approx((most * raw + 5) / (most + 10), abs=1e-6)
    assert tail_length(samples) == most


def test_weights_without_a_tail_have_none_and_ties_are_not_taken_for_one() -> None:
    exact = 1e-6 * torch.randn(200, 1, generator=torch.Generator().manual_seed(0)).double()
    tied = torch.zeros(200, 1).double()
    tied[:3] = 5.0
    far = torch.linspace(-3000, 0, 200)[:, None].double()
    found = metrics.tail_index(torch.cat([exact, tied, far], 1))
    assert found is not None
    assert found[0] == -math.inf
    assert found[1].isnan()
    assert found[2] > 10  # each weight is e^15 times the next
    estimates = Estimates.of(torch.cat([exact, tied, far], 1))
    assert estimates.doubtful == 2
    found = estimates.summary()
    assert found["k_hat"][:2] == [None, None]
    assert found["no_tail"] == [0]  # the first has none, of the second it cannot be told: only that one is in doubt
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_of_few_samples_no_index_is_given_and_the_limit_is_stricter() -> None:
    log_w = torch.randn(21, 2, generator=torch.Generator().manual_seed(0)).double()
    assert metrics.tail_index(log_w[:20]) is None
    assert Estimates.of(log_w[:20]).doubtful is None
    assert metrics.tail_index(log_w) is not None
    assert [round(metrics.trusted(k), 3) for k in (21, 100, 1000, 2200, 10**6)] == [0.244, 0.5, 0.667, 0.7, 0.7]


# --- the curve -------------------------------------------------------------------------------------------------------


def test_the_curve_is_the_bound_of_each_number_of_samples() -> None:
    """The finite model's bounds by enumeration, each image within 4.5 standard errors over groups: false alarm 8e-5."""
    finite = oracle.Finite.draw(states=3, pixels=2, seed=5)
    found = metrics.importance_sampling(finite.vae(), finite.images(), samples=6000, seed=3)
    assert found.sizes == (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 6000)
    with torch.no_grad():
        log_w = finite.log_joint() - finite.table.log_softmax(1)
    spread = (finite.table.softmax(1) * (log_w - finite.bound(1)[:, None]).square()).sum(1).sqrt()
    for s, k in enumerate(found.sizes[:3]):
        allowed = 4.5 * spread / (6000 // k) ** 0.5  # the mean of k weights varies less than one
        assert ((found.curve[s] - finite.bound(k)).abs() < allowed).all()
    assert (found.curve[0] < found.curve[2]).all()
    torch.testing.assert_close(found.curve[-1], found.log_p)


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(1, 130), st.integers(0, 5))
def test_each_point_of_the_curve_is_a_mean_over_disjoint_groups(samples: int, seed: int) -> None:
    w = np.random.default_rng(seed).normal(size=(samples, 2)) * 3
    found = Estimates.of(torch.from_numpy(w))
    assert found.sizes[-1] == samples
    assert found.sizes[0] == 1
    for k, row in zip(found.sizes, found.curve, strict=True):
        groups = [np.log(np.exp(w[g * k : (g + 1) * k]).mean(0)) for g in range(samples // k)]
        np.testing.assert_allclose(row, np.mean(groups, 0), rtol=1e-9, atol=1e-12)


# --- how it is computed ----------------------------------------------------------------------------------------------


def test_no_more_latents_are_decoded_at_once_than_asked_whatever_the_samples() -> None:
    vae, x, told = model(), linear.data(4), list[tuple[int, int]]()
    vae.likelihood.net = probe = linear.Probe(vae.likelihood.net)
    metrics.importance_sampling(vae, x, samples=1000, rows=64, progress=lambda *state: told.append(state))
    looked = probe.rows[0]  # at whether p(x|z) is a likelihood
    assert (looked, max(probe.rows), sum(probe.rows) - looked) == (1, 64, 4 * 1000)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_an_image_does_not_depend_on_its_neighbours_and_nothing_else_is_changed() -> None:
    x, vae = linear.data(6), model(shift=0.5).train()
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    whole = metrics.importance_sampling(vae, x, samples=50)
    assert torch.equal(torch.rand(3), want)
    some = metrics.importance_sampling(vae, x[:2], samples=50)
    for name in ("log_p", "error", "jackknife", "effective"):
        assert torch.equal(getattr(some, name), getattr(whole, name)[:2])
    assert torch.equal(some.curve, whole.curve[:, :2])
    assert vae.training
    assert all(p.grad is None for p in vae.parameters())


def test_a_summary_is_json_and_says_none_where_nothing_is_known() -> None:
    x = linear.data(5)
    many = metrics.importance_sampling(model(shift=0.3), x, samples=200)
    found = many.summary()
    assert found["log_likelihood"] == pytest.approx(float(many.log_p.mean()))
    assert found["standard_error"] == pytest.approx(float(many.log_p.std() / 5**0.5))
    assert found["monte_carlo_error"] == pytest.approx(float((many.error**2).sum().sqrt() / 5))
    assert 0 < found["monte_carlo_error"] < found["standard_error"]
    assert found["doubtful"] == 0
    one = metrics.importance_sampling(model(shift=0.3), x[:1], samples=1).summary()
    for name in ("standard_error", "monte_carlo_error", "jackknife", "jackknife_error", "k_hat", "doubtful"):
        assert one[name] is None
    for summary in (found, one):
        json.dumps(summary, allow_nan=False)


def test_that_an_error_over_few_images_is_hardly_known_is_said_with_how_little() -> None:
    """The deviation of the standard error of n normal values, over its mean, by 4,000 draws of each n."""
    for n in (2, 5, 19):
        draws = torch.randn(4000, n, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
        errors = draws.std(1) / n**0.5
        off = float(errors.std() / errors.mean())
        (note,) = weights.few_images(n)
        told = re.search(r"over (\d+) images: .* by about (\d+) %", note)
        assert told is not None
        assert int(told[1]) == n
        assert off == pytest.approx(int(told[2]) / 100, rel=0.15)
    assert weights.few_images(20) == weights.few_images(1) == []


# --- the whole split -------------------------------------------------------------------------------------------------


def test_the_elbo_of_each_image_is_what_the_evaluation_averages() -> None:
    x, vae = linear.data(30), model(shift=0.4).train()
    blocks = [(part, None) for part in x.split(12)]
    each = metrics.elbos(vae, blocks, samples=3, seed=8)
    found = metrics.evaluate(vae, Elbo(), blocks, step=0, samples=3, seed=8)
    assert float(each.mean()) == pytest.approx(found["elbo"], rel=1e-12)
    assert each.shape == (30,)
    assert vae.training


def test_the_elbo_of_all_images_tells_the_mean_of_a_split_from_few_of_them() -> None:
    """2,000 splits of 300 images of which 60 are examined: 95 % of the intervals hold the mean of the images' law.

    92.5 to 97 % are allowed, about 5 binomial errors; the mean lies within 4 of its own (false alarm 6e-5).
    """
    generator = np.random.default_rng(11)
    held, errors, plain, off = 0, [], [], []
    for _ in range(2000):
        log_p = generator.normal(-90, 20, 300)
        elbo = log_p - generator.gamma(4, 1, 300) + generator.normal(0, 1, 300)
        value, error = metrics.mean_of_split(torch.from_numpy(elbo), torch.from_numpy(log_p[:60]))
        assert error is not None
        held += abs(value + 90) <= 1.96 * error
        off.append(value - log_p.mean())
        errors.append(error)
        plain.append(log_p[:60].std(ddof=1) / 60**0.5)
    assert 0.925 < held / 2000 < 0.97
    assert abs(np.mean(off)) < 4 * np.std(off) / 2000**0.5
    assert np.mean(errors) < 0.5 * np.mean(plain)


def test_how_much_images_vary_is_told_by_all_of_them() -> None:
    """The first five of 3,000 are nearly alike: the error is that of 3,000 images as different as their elbo is."""
    elbo = torch.cat([torch.tensor([-100.0, -100.5, -101.0, -99.5, -100.2]), -100 + 50 * torch.randn(2995)])
    _, error = metrics.mean_of_split(elbo, elbo[:5] + 3)
    assert error == pytest.approx(float(elbo.std() / 3000**0.5), rel=1e-6)


def test_an_elbo_that_tells_nothing_costs_nothing() -> None:
    """Of noise alone the slope is about 0, and the error that of the images examined, but for what b is guessed by."""
    generator, log_p = torch.Generator().manual_seed(2), torch.randn(200, generator=torch.Generator().manual_seed(1))
    elbo = -100 + 30 * torch.randn(1000, generator=generator)
    value, error = metrics.mean_of_split(elbo, log_p)
    assert value == pytest.approx(float(log_p.mean()), abs=0.02)
    assert error == pytest.approx(float(log_p.std() / 200**0.5), rel=0.02)


def test_a_split_that_is_examined_whole_has_its_plain_mean_and_error() -> None:
    elbo, log_p = -100 - torch.arange(9.0), -90 - torch.arange(9.0).square()
    value, error = metrics.mean_of_split(elbo, log_p)
    assert (value, error) == pytest.approx((float(log_p.mean()), float(log_p.std() / 3)), rel=1e-6)
    assert metrics.mean_of_split(elbo, log_p[:2]) == (
        pytest.approx(float((log_p - elbo)[:2].mean() + elbo.mean())),
        None,
    )
    for wrong in (log_p[:0], log_p.repeat(2)):
        with pytest.raises(UsageError, match="were examined of a split of 9"):
            metrics.mean_of_split(elbo, wrong)


# --- what is refused -------------------------------------------------------------------------------------------------


class Faulty(nn.Module):
    """A decoder that gives NaN for the latents of bright images."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: Tensor) -> Tensor:
        y: Tensor = self.net(z)
        return y if float(z.mean()) < 50 else y * math.nan


def test_a_model_that_gives_nan_is_refused_and_the_image_named() -> None:
    vae, x = model().train(), linear.data(4)
    vae.likelihood.net = Faulty(vae.likelihood.net)
    w, b = linear.loadings()
    x[2] = b + 100 * w.sum(1)
    for estimate in (metrics.importance_sampling, metrics.log_likelihood):
        with pytest.raises(UsageError, match="NaN for image 2"):
            estimate(vae, x, samples=30)
    assert vae.training


def test_an_image_of_no_probability_is_refused_and_named() -> None:
    log_w = torch.zeros(30, 3).double()
    log_w[:, 1] = -math.inf
    with pytest.raises(UsageError, match="of image 11 is estimated as -inf"):
        Estimates.of(log_w, first=10)
    log_w[0, 1] = 0.0  # one latent of thirty explains it
    assert Estimates.of(log_w).effective[1] == 1


def pixels(kind: type[likelihood.Likelihood]) -> VAE:
    net = nets.MLP((2,), (4,))
    return VAE(posterior.Gaussian(nets.MLP((4,)), 2), prior.Standard(2), kind(net))


def test_a_cross_entropy_on_grey_pixels_is_no_likelihood_and_a_density_of_the_interval_is() -> None:
    x = torch.tensor([[0.0, 1.0, 1.0, 0.0], [0.0, 0.5, 1.0, 0.0]])
    for estimate in (metrics.importance_sampling, metrics.log_likelihood):
        with pytest.raises(UsageError, match=r"Image 1 has values .* cross-entropy and not a likelihood"):
            estimate(pixels(likelihood.Bernoulli), x, samples=3)
    assert metrics.score(pixels(likelihood.Bernoulli), x, "importance", samples=3).isfinite().all()  # it ranks them
    assert len(metrics.importance_sampling(pixels(likelihood.Bernoulli), x[:1], samples=3).log_p) == 1
    assert len(metrics.importance_sampling(pixels(likelihood.ContinuousBernoulli), x, samples=3).log_p) == 2


def test_a_point_mass_and_no_samples_are_refused() -> None:
    exact, x = linear.model(exact=True), linear.data(2)
    auto = VAE(posterior.Dirac(linear.Identity(), 2, features=linear.D), exact.prior, exact.likelihood).double()
    for measure in (metrics.importance_sampling, lambda m, x: metrics.elbos(m, [(x, None)])):
        with pytest.raises(UsageError, match="point mass"):
            measure(auto, x)
    for wrong in ({"samples": 0}, {"rows": 0}):
        with pytest.raises(UsageError, match="at least 1"):
            metrics.importance_sampling(exact, x, **wrong)


def test_of_no_image_nothing_is_estimated() -> None:
    exact, x = linear.model(exact=True), linear.data(2)[:0]
    for estimate in (
        metrics.importance_sampling,
        metrics.log_likelihood,
        metrics.inference_gap,
        metrics.annealed_importance_sampling,
    ):
        with pytest.raises(UsageError, match="There is no image"):
            estimate(exact, x)
    with pytest.raises(UsageError, match="images is 0"):
        metrics.bidirectional(exact, 0)


def test_estimates_of_images_stand_side_by_side() -> None:
    log_w = torch.randn(60, 5, generator=torch.Generator().manual_seed(1)).double()
    whole = Estimates.of(log_w)
    joined = Estimates.joined([Estimates.of(log_w[:, :2]), Estimates.of(log_w[:, 2:])])
    for name, value in vars(whole).items():
        assert (
            torch.equal(getattr(joined, name), value) if isinstance(value, Tensor) else getattr(joined, name) == value
        )
