"""The aggregate posterior: the parts of the rate against quadrature, enumeration and closed forms; latents in use."""

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import integrate
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, StudentT, Uniform

import linear
import lowerbound
from bare import Bare
from lowerbound import figures, likelihood, metrics, nets, oracle, posterior, prior
from lowerbound.dist import Dirac, Mixture
from lowerbound.errors import UsageError
from lowerbound.evaluation import Section, Settings, Subject, aggregate
from lowerbound.metrics import Aggregate, Decomposition, Estimate, mixture
from lowerbound.vae import VAE, Latent, Model, Trace

PARTS = ("mutual_information", "kl_q_p", "total_correlation", "dimension_wise_kl")


def normal(mu: Tensor, sigma: Tensor) -> Independent:
    return Independent(Normal(mu, sigma, validate_args=False), 1, validate_args=False)


def standard(latents: int) -> Independent:
    return normal(torch.zeros(latents).double(), torch.ones(latents).double())


def few(n: int = 3, latents: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    mu, u = (torch.randn(n, latents, generator=g, dtype=torch.float64) for _ in range(2))
    return 1.3 * mu, (0.4 * u).exp() * 0.6


def close(found: Estimate | None, want: float, more: float = 0.0) -> bool:
    """Within 4.5 standard errors: false alarm 7e-6."""
    assert found is not None
    return abs(found.value - want) <= 4.5 * found.standard_error + more


def bell(z: NDArray[Any], mu: NDArray[Any], sigma: NDArray[Any]) -> NDArray[Any]:
    return np.exp(-0.5 * ((z - mu) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))


def by_quadrature(mu: Tensor, sigma: Tensor) -> dict[str, float]:
    """The parts for two latents under N(0, I), on a grid, in NumPy."""
    m, s, t = mu.numpy(), sigma.numpy(), np.linspace(-9, 9, 721)
    each = [bell(t[None], m[:, j, None], s[:, j, None]) for j in (0, 1)]
    q = np.mean([np.outer(a, b) for a, b in zip(*each, strict=True)], 0)
    q0, q1, p = each[0].mean(0), each[1].mean(0), bell(t, np.zeros(1), np.ones(1))

    def kl(a: NDArray[Any], b: NDArray[Any]) -> float:
        values = np.where(a > 0, a * np.log(np.maximum(a, 1e-300) / np.maximum(b, 1e-300)), 0.0)
        for _ in range(a.ndim):
            values = integrate.simpson(values, x=t)
        return float(values)

    apart = [np.outer(a, b) for a, b in zip(*each, strict=True)]
    return {
        "mutual_information": float(np.mean([kl(a, q) for a in apart])),
        "kl_q_p": kl(q, np.outer(p, p)),
        "total_correlation": kl(q, np.outer(q0, q1)),
        "dimension_wise_kl": kl(q0, p) + kl(q1, p),
    }


# the parts of the rate


def test_the_parts_of_few_images_are_those_of_quadrature() -> None:
    mu, sigma = few()
    found = metrics.decompose(Aggregate((normal(mu, sigma),), standard(2)), draws=20_000)
    want = by_quadrature(mu, sigma)
    for name in PARTS:
        assert close(getattr(found, name), want[name]), name
        assert 0 < getattr(found, name).standard_error < 0.02
    exact = 0.5 * (sigma**2 + mu**2 - 1 - 2 * sigma.log()).numpy()
    assert found.exact_rate == pytest.approx(exact.sum(1).mean(), rel=1e-12)
    np.testing.assert_allclose(found.kl_by_dim, exact.mean(0), rtol=1e-12)
    assert want["mutual_information"] + want["kl_q_p"] == pytest.approx(found.exact_rate, abs=1e-8)
    assert found.refused == {}


def test_every_part_adds_up_to_the_rate() -> None:
    """The sums are those of the same draws, and that of the closed form within 4.5 standard errors."""
    q = Aggregate((normal(*few(40, 5)), normal(*few(7, 5, seed=1))), standard(5))
    found = metrics.decompose(q)
    mi, kl, tc, dim = (getattr(found, name).value for name in PARTS)
    assert mi + kl == pytest.approx(found.rate.value, abs=1e-10)
    assert mi + tc + dim == pytest.approx(found.rate.value, abs=1e-10)
    assert found.marginal_kl is not None
    assert sum(found.marginal_kl) == pytest.approx(dim, abs=1e-10)
    assert found.exact_rate is not None
    assert close(found.rate, found.exact_rate)


def test_the_standard_error_covers_the_truth_as_often_as_it_says() -> None:
    """Of 200 intervals of 1.96 errors about 95 % hold the truth: 178 to 199 of them, false alarm 3e-4 for each part."""
    mu, sigma = few()
    sigma = 2 * sigma  # nearer to log 3, few draws decide the mutual information, and its error is not known so well
    q, want = Aggregate((normal(mu, sigma),), standard(2)), by_quadrature(mu, sigma)
    runs = [metrics.decompose(q, draws=150, seed=seed) for seed in range(200)]
    for name in PARTS:
        parts = [getattr(run, name) for run in runs]
        assert 178 <= sum(abs(part.value - want[name]) <= 1.96 * part.standard_error for part in parts) <= 199, name


def test_a_linear_encoder_of_gaussian_data_has_the_closed_forms() -> None:
    """q(z) is nearly N(0, C), C = AAᵀ + diag s²: its error for 4,000 images is of the order 1/N, 0.01 at most here."""
    g = torch.Generator().manual_seed(1)
    a = torch.tensor([[0.9, 0.4, 0.0], [0.7, -0.5, 0.3], [0.1, 0.2, 0.4]], dtype=torch.float64)
    mu = torch.randn(4000, 3, generator=g, dtype=torch.float64) @ a.T
    s = torch.tensor([0.5, 0.7, 0.9], dtype=torch.float64)
    found = metrics.decompose(Aggregate((normal(mu, s.expand(4000, 3)),), standard(3)), draws=4000)
    c = (a @ a.T + s.diag() ** 2).numpy()
    logdet, marginal = np.linalg.slogdet(c)[1], np.diag(c)
    want = {
        "mutual_information": 0.5 * (logdet - 2 * np.log(s.numpy()).sum()),
        "kl_q_p": 0.5 * (np.trace(c) - 3 - logdet),
        "total_correlation": 0.5 * (np.log(marginal).sum() - logdet),
        "dimension_wise_kl": 0.5 * (marginal - 1 - np.log(marginal)).sum(),
    }
    for name in PARTS:
        assert close(getattr(found, name), want[name], more=0.01), name
    assert want["total_correlation"] > 0.05


def test_of_few_images_mutual_information_is_too_small_and_the_kl_too_large_by_as_much() -> None:
    """Over 60 draws of 6 images: further from the closed forms than 4 errors, and both by the same."""
    g, s = torch.Generator().manual_seed(2), 0.4
    sets = 0.9 * torch.randn(60, 6, 1, generator=g, dtype=torch.float64)
    mixtures = [Aggregate((normal(m, torch.full_like(m, s)),), standard(1)) for m in sets]
    runs = [metrics.decompose(q, draws=300, seed=i) for i, q in enumerate(mixtures)]
    c = 0.9**2 + s**2
    mi, kl = 0.5 * math.log(c / s**2), 0.5 * (c - 1 - math.log(c))
    found = np.array([[run.mutual_information.value - mi, run.kl_q_p.value - kl] for run in runs])
    error = found.std(0) / len(runs) ** 0.5
    assert found.mean(0)[0] < -4 * error[0]
    assert found.mean(0)[1] > 2 * error[1]
    rate = np.array([run.exact_rate for run in runs]) - mi - kl
    assert abs(found.sum(1).mean() - rate.mean()) < 4 * (found.sum(1) - rate).std() / len(runs) ** 0.5
    assert all(run.mutual_information.value < math.log(6) + 1e-12 for run in runs)


def test_discrete_latents_are_enumerated() -> None:
    """A table of 16 images and 3 states: every sum is finite; total correlation is refused."""
    known = oracle.Finite.draw(states=3, pixels=4, seed=0)
    found = metrics.decompose(metrics.aggregate_posterior(known.vae(), [(known.images(), None)]), draws=20_000)
    q = torch.softmax(known.table, 1).numpy()
    p, mean = torch.softmax(known.prior, 0).numpy(), q.mean(0)
    assert close(found.mutual_information, float((q * np.log(q / mean)).sum(1).mean()))
    assert close(found.kl_q_p, float((mean * np.log(mean / p)).sum()))
    assert set(found.refused) == {"total_correlation", "dimension_wise_kl"}
    assert found.total_correlation is None


@pytest.mark.parametrize("seed", range(3))
def test_densities_of_the_mixture_are_those_of_numpy(seed: int) -> None:
    mu, sigma = few(30, 4, seed)
    q = Aggregate((normal(mu[:11], sigma[:11]), normal(mu[None, 11:], sigma[None, 11:])), standard(4))
    drawn = q.draw(50, seed)
    z = drawn.z.numpy()
    apart = bell(z[:, None], mu.numpy(), sigma.numpy())
    joint, each = q.scores(drawn)
    np.testing.assert_allclose(joint, np.log(apart.prod(2).mean(1)), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(q.log_prob(drawn.z), joint, rtol=1e-12, atol=1e-12)
    assert each is not None
    np.testing.assert_allclose(each, np.log(apart.mean(1)), rtol=1e-10, atol=1e-10)
    near = np.abs(np.log(apart.prod(2)) - drawn.log_q.numpy()[:, None]).min(1)
    assert near.max() < 1e-10  # the density of a draw is that of one of the components


def test_draws_are_of_the_mixture() -> None:
    """Of two components far apart each is drawn half the time: 5,000 ± 4.5 · 50 of 10,000, false alarm 7e-6."""
    q = Aggregate((normal(torch.tensor([[-50.0]]), torch.ones(1, 1)), normal(torch.tensor([[50.0]]), torch.ones(1, 1))),
                  standard(1))  # fmt: skip
    z = q.draw(10_000).z
    assert abs(int((z > 0).sum()) - 5000) < 225
    assert abs(float(z.abs().std()) - 1) < 0.05
    assert len(set(z.flatten().tolist())) > 9900


def test_the_narrower_the_posteriors_the_more_codes_tell_up_to_log_n() -> None:
    mu, _ = few(50, 3)
    runs = [metrics.decompose(Aggregate((normal(mu, torch.full_like(mu, s)),), standard(3))) for s in (3, 1, 0.3, 1e-4)]
    told = [run.mutual_information.value for run in runs]
    assert told == sorted(told)
    assert told[0] < 0.5
    assert told[-1] == pytest.approx(math.log(50), abs=1e-6)


def test_neither_blocks_nor_chunks_change_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = linear.model(exact=True), linear.data(1200)
    blocks = [[(part, None) for part in x.split(size)] for size in (1200, 500, 77)]
    found = [metrics.decompose(metrics.aggregate_posterior(model, cut), draws=60) for cut in blocks]
    assert found[0] == found[1] == found[2]
    monkeypatch.setattr(mixture, "HELD", 1)
    again = metrics.decompose(metrics.aggregate_posterior(model, blocks[0]), draws=60)
    for name in PARTS:
        assert getattr(again, name).value == pytest.approx(getattr(found[0], name).value, rel=1e-11)


def test_memory_does_not_grow_with_draws_times_images(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    log_prob = Normal.log_prob

    def spy(self: Normal, value: Tensor) -> Tensor:
        found: Tensor = log_prob(self, value)
        sizes.append(found.numel())
        return found

    monkeypatch.setattr(Normal, "log_prob", spy)
    parts = tuple(normal(*few(500, 4, seed)) for seed in range(4))
    done: list[tuple[int, int]] = []
    metrics.decompose(Aggregate(parts, standard(4)), draws=300, progress=lambda *some: done.append(some))
    assert max(sizes) <= mixture.HELD < 300 * 2000 * 4
    assert done[-1] == (300, 300)
    assert done == sorted(done)


def test_the_first_images_are_taken_in_whole_parts() -> None:
    q = Aggregate(tuple(normal(*few(n)) for n in (500, 500, 200)), standard(2))
    assert [len(q.first(n)) for n in (1, 500, 501, 1000, 1001, 5000)] == [500, 500, 1000, 1000, 1200, 1200]


def test_a_latent_that_no_image_uses_adds_nothing() -> None:
    mu, sigma = few(20, 2)
    wide = torch.cat([mu, torch.zeros(20, 1).double()], 1), torch.cat([sigma, torch.ones(20, 1).double()], 1)
    found = metrics.decompose(Aggregate((normal(*wide),), standard(3)))
    assert found.marginal_kl is not None
    assert found.kl_by_dim is not None
    assert (found.kl_by_dim[2], found.marginal_kl[2]) == pytest.approx((0.0, 0.0), abs=1e-12)


# what has no closed form, and what is refused


def test_under_a_prior_that_does_not_factorise_the_rest_is_given() -> None:
    mu, sigma = few(30)
    q = normal(mu, sigma)
    p = Mixture(normal(torch.tensor([[-1.0, 0], [1, 0]]).double(), torch.ones(2, 2).double()), torch.zeros(2).double())
    found, plain = (metrics.decompose(Aggregate((q,), some)) for some in (p, standard(2)))
    assert found.mutual_information == plain.mutual_information
    assert found.total_correlation == plain.total_correlation
    assert found.dimension_wise_kl is found.exact_rate is found.kl_by_dim is None
    assert "Mixture" in found.refused["dimension_wise_kl"]
    z = q.sample((4000,)).double()
    want = float((q.log_prob(z) - p.log_prob(z)).mean())
    assert close(found.rate, want, more=0.05)


def test_a_full_covariance_has_mutual_information_and_no_total_correlation() -> None:
    """The same Gaussians as the diagonal family has, written with a matrix."""
    mu, sigma = few(30)
    full = MultivariateNormal(mu, scale_tril=torch.diag_embed(sigma), validate_args=False)
    found = metrics.decompose(Aggregate((full,), standard(2)), draws=4000)
    want = metrics.decompose(Aggregate((normal(mu, sigma),), standard(2)), draws=4000, seed=1)
    error = found.mutual_information.standard_error + want.mutual_information.standard_error
    assert abs(found.mutual_information.value - want.mutual_information.value) < 4.5 * error
    assert found.total_correlation is found.dimension_wise_kl is found.kl_by_dim is None
    assert "MultivariateNormal" in found.refused["total_correlation"]
    assert found.exact_rate == pytest.approx(want.exact_rate, rel=1e-10)


def test_without_a_closed_kl_the_one_of_each_latent_is_that_of_the_draws() -> None:
    mu, b = few(10)
    student = StudentT(9.0, mu, b)
    found = metrics.decompose(Aggregate((Independent(student, 1),), standard(2)), draws=20_000)
    z = student.sample((20_000,))
    want = (student.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).mean((0, 1))
    assert found.exact_rate is None
    np.testing.assert_allclose(found.kl_by_dim, want, atol=0.1)
    assert found.kl_by_dim is not None
    assert sum(found.kl_by_dim) == pytest.approx(found.rate.value, abs=1e-10)


def test_flows_have_mutual_information() -> None:
    torch.manual_seed(0)
    model = VAE(
        posterior.IAF(nets.MLP((3,), None, (8,)), 2), prior.Standard(2), likelihood.Gaussian(nets.MLP((2,), (3,)))
    )
    q = metrics.aggregate_posterior(model, [(torch.randn(40, 3), None)])
    found = metrics.decompose(q, draws=50)
    assert found.draws == 50
    assert set(found.refused) == {"total_correlation", "dimension_wise_kl"}
    z = q.draw(50).z
    want = torch.stack([model.posterior(torch.randn(1, 3)).log_prob(z[:1])])  # scored one by one, as a plain flow is
    assert want.isfinite().all()
    with torch.no_grad():
        loops = torch.stack([q.parts[0].log_prob(one.expand(40, 2)).logsumexp(0) - math.log(40) for one in z])
    np.testing.assert_allclose(q.log_prob(z), loops, rtol=1e-4, atol=1e-4)


REFUSED: dict[str, tuple[Distribution, Distribution, dict[str, Any], str]] = {
    "point mass": (Dirac(torch.zeros(3, 2)), standard(2), {}, "point mass.*infinite"),
    "one image": (normal(*few(1)), standard(2), {}, "two or more"),
    "not a number": (normal(few()[0] * math.nan, few()[1]), standard(2), {}, "not all finite.*NaN"),
    "infinite": (
        normal(*few()),
        Independent(Uniform(torch.zeros(2).double(), torch.ones(2).double(), validate_args=False), 1, False),
        {},
        "probability 0",
    ),
    "one draw": (normal(*few()), standard(2), {"draws": 1}, "at least 2"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_meaning_is_refused_in_words(case: str) -> None:
    q, p, more, words = REFUSED[case]
    with pytest.raises(UsageError, match=words):
        metrics.decompose(Aggregate((q,), p), **more)


# models


class Own(Bare):
    """A model without parts, of the closed forms of `linear`: its densities have more batch axes than a VAE's."""

    def __init__(self, groups: int = 1, conditional: bool = False, event: tuple[int, ...] = (2,)) -> None:
        super().__init__()
        self.vae, self.groups, self.conditional, self.event = linear.model(exact=True), groups, conditional, event

    def forward(self, x: Tensor, c: Tensor | None = None, *, samples: int = 1) -> Trace:
        q = self.vae.posterior(x)
        mean = (q.mean if self.conditional else torch.zeros_like(q.mean))[None].unflatten(-1, self.event)
        n = len(self.event)
        q = Independent(Normal(q.mean[None].unflatten(-1, self.event), q.stddev[None].unflatten(-1, self.event)), n)
        latent = Latent(q.rsample(torch.Size([samples]))[:, 0], q, Independent(Normal(mean, 1.0), n))
        return Trace(x, (latent,) * self.groups, self.vae.likelihood(torch.zeros(1, len(x), 2).double()))


def test_a_model_of_ones_own_has_the_figures_of_the_same_vae() -> None:
    x = linear.data(60)
    own, vae = (metrics.aggregate_posterior(m, [(x, None)]) for m in (Own(), linear.model(exact=True)))
    assert len(own) == len(vae) == 60
    a, b = (metrics.decompose(q, draws=100) for q in (own, vae))
    for name in (*PARTS, "rate"):
        assert getattr(a, name).value == pytest.approx(getattr(b, name).value, rel=1e-12)
    assert a.exact_rate == pytest.approx(b.exact_rate, rel=1e-12)
    assert a.kl_by_dim == pytest.approx(b.kl_by_dim, rel=1e-12)
    assert torch.equal(own.one_each(), vae.one_each())


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Own(groups=2), "2 groups"),
        (Own(conditional=True), "another one for each image"),
        (Own(event=(1, 2)), "over vectors"),
    ],
    ids=["groups", "conditional prior", "no vectors"],
)
def test_models_that_have_no_aggregate_posterior_are_told_why(model: Model, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        metrics.aggregate_posterior(model, [(linear.data(30), None)])


def test_no_images_are_refused() -> None:
    with pytest.raises(UsageError, match="no image"):
        metrics.aggregate_posterior(linear.model(exact=True), [])


def test_the_model_is_left_as_it_was_and_so_is_the_random_state() -> None:
    dropping = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5))
    model = VAE(
        posterior.Gaussian(dropping, 2, features=8), prior.Standard(2), likelihood.Gaussian(nn.Linear(2, 3), sigma=1.0)
    ).train()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    found = [metrics.aggregate_posterior(model, [(torch.ones(5, 3), None)]) for _ in range(2)]
    runs = [metrics.decompose(q, draws=10) for q in found]
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert dropping[1].training
    assert runs[0] == runs[1]  # dropout would have made two models of it
    assert all(p.grad is None for p in model.parameters())


# latents in use


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e5])
def test_whether_a_point_mass_uses_a_latent_does_not_depend_on_the_size_of_its_codes(scale: float) -> None:
    codes = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.3, 0.02, 0.0])
    unit = metrics.unit_variance(scale * codes, density=False)
    assert metrics.active_units(scale * codes, unit=unit).tolist() == [True, True, False, False]
    assert metrics.usage(scale * codes, None, unit)["active"] == 2


def test_codes_that_vary_by_rounding_only_are_not_in_use() -> None:
    codes = torch.full((100, 3), 1.7) + 1e-7 * torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    assert not metrics.active_units(codes, unit=metrics.unit_variance(codes, density=False)).any()
    flat = torch.zeros(100, 3)
    assert not metrics.active_units(flat, unit=metrics.unit_variance(flat, density=False)).any()


def test_a_latent_is_large_by_the_prior() -> None:
    """A latent stretched with its prior is in use as before; a prior without a variance counts as 1."""
    codes = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.9, 0.9, 0.05])
    stretch = torch.tensor([1.0, 1e-3, 1e-3])
    p = normal(torch.zeros(3), stretch)
    assert metrics.active_units(codes * stretch, unit=metrics.unit_variance(codes, p)).tolist() == [True, True, False]
    assert metrics.active_units(codes * stretch).tolist() == [True, False, False]
    assert metrics.unit_variance(codes, prior.MAF(3, hidden=(4,))()).tolist() == [1.0] * 3
    assert metrics.unit_variance(codes).tolist() == [1.0] * 3
    two = Mixture(normal(torch.tensor([[-2.0] * 3, [2.0] * 3]), torch.ones(2, 3)), torch.zeros(2))
    assert metrics.unit_variance(codes, two).tolist() == pytest.approx([5.0] * 3)


# the section


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, lowerbound.Run]:
    out, common = tmp_path_factory.mktemp("runs"), ("data.n=300", "train.epochs=3", "train.batch=32")
    few = ("data.validation=12", "data.test=1")
    one = lowerbound.fit("moons", latents=3, out=out / "vae", progress=False, set=(*common, *few))
    two = lowerbound.fit("moons", recipe="rae-gp", latents=2, out=out / "point", progress=False, set=common)
    return {"vae": one, "point": two}


def section(run: lowerbound.Run, split: str = "test", **more: Any) -> Section:
    return aggregate.measure(Subject(run, split, Settings(**more)))


def test_the_section_says_what_it_has_found(runs: dict[str, lowerbound.Run]) -> None:
    told: list[tuple[str, int, int]] = []
    found = section(runs["vae"], "train", progress=lambda *some: told.append(some))
    v = found.values
    assert json.loads(json.dumps(v, allow_nan=False)) == v
    assert (v["latents"], v["images"], v["mixture"], v["draws"]) == (3, 287, 287, 2000)
    assert told[-1] == ("aggregate posterior", 2000, 2000)
    assert v["refused"] == {}
    for name in (*PARTS, "rate"):
        assert set(v[name]) == {"value", "standard_error"}
    parts = [v[name]["value"] for name in ("mutual_information", "total_correlation", "dimension_wise_kl")]
    assert sum(parts) == pytest.approx(v["rate"]["value"], abs=1e-6)
    assert v["exact_rate"] == pytest.approx(lowerbound.evaluate(runs["vae"], "train")["rate"], rel=1e-5)
    assert 0 <= v["active_units"] <= 3
    assert v["active_by_kl"] == sum(nats >= 0.05 for nats in v["kl_by_dim"])
    assert v["two_sample"]["statistic"] == v["two_sample"]["accuracy"]
    assert v["two_sample"]["n"] == 287
    assert [picture.name for picture in found.pictures] == ["rate", "kl", "marginals", "holes"]
    text = " ".join([*found.notes, *(row for pair in found.rows for row in pair)])
    for words in ("287 examples", "too small on average", "±", "chance is 50 %", "in closed form"):
        assert words in text


def test_the_section_of_a_point_mass_has_latents_in_use_and_the_test_and_says_why_no_more(
    runs: dict[str, lowerbound.Run],
) -> None:
    found = section(runs["point"])
    v = found.values
    assert all(v[name] is None and "point mass" in v["refused"][name] for name in PARTS)
    assert v["active_by_kl"] is v["rate"] is None
    assert v["active_units"] in (1, 2)
    assert 0 <= v["two_sample"]["p"] <= 1
    assert [picture.name for picture in found.pictures] == ["marginals", "holes"]
    assert any("of the largest latent's" in row for _, row in found.rows)
    assert any("point mass" in note for note in found.notes)


def test_a_split_of_one_is_refused_and_one_of_few_has_no_test(runs: dict[str, lowerbound.Run]) -> None:
    with pytest.raises(UsageError, match="test split has one"):
        section(runs["vae"])
    found = section(runs["vae"], "validation")
    assert found.values["two_sample"] is None
    assert "12 points" in found.values["refused"]["two_sample"]
    assert [picture.name for picture in found.pictures] == ["rate", "kl", "marginals"]
    assert found.values["mutual_information"]["value"] < math.log(12)


# the pictures


def test_the_parts_of_the_rate_stand_one_after_the_other() -> None:
    fig = figures.rate_parts([("a", 4.0, 0.1), ("b", -0.001, 0.01), ("c", 2.0, 0.1)], limit=4.5)
    bars = [(round(bar.get_x(), 3), round(bar.get_width(), 3)) for bar in fig.axes[0].patches]
    assert bars == [(0.0, 4.0), (4.0, -0.001), (3.999, 2.0), (0.0, 5.999)]
    with pytest.raises(UsageError, match="no part"):
        figures.rate_parts([])


def test_a_hole_is_drawn_as_one_and_where_there_are_few_points_nothing_is_said() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = (2 * torch.rand(4000, 2, generator=g) - 1 for _ in range(2))
    a = a[(a[:, 0] < 0) | (a[:, 1] < 0)]
    fig = figures.holes(a, b[: len(a)], ("z0", "z1"))
    share = fig.axes[1].collections[0].get_array()
    n = len(share) // 2
    assert float(share[n + 1 :, n + 1 :].max()) == -1.0  # draws of the prior only
    assert abs(float(share[: n - 1, : n - 1].mean())) < 0.25
    few = figures.holes(a[:10], b[:10], ("z0", "z1")).axes[1].collections[0].get_array()
    assert few.mask.sum() > 20


def test_a_panel_for_each_marginal() -> None:
    fig = figures.marginals(torch.randn(50, 4), torch.randn(50, 4), ["a", "b", "c", "d"])
    assert [ax.get_title(loc="left") for ax in fig.axes if ax.get_visible()] == ["a", "b", "c", "d"]


def test_a_decomposition_is_plain_numbers() -> None:
    found = metrics.decompose(Aggregate((normal(*few()),), standard(2)), draws=5)
    assert isinstance(found, Decomposition)
    assert all(isinstance(value, float) for value in (found.rate.value, found.kl_q_p.standard_error))
