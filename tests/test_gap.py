"""The inference gap and its two parts, against closed forms; and what the sections of log p(x) and the gap say."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

import linear
import lowerbound
from bare import Bare
from lowerbound import likelihood, metrics, nets, oracle, posterior, prior
from lowerbound.errors import UsageError
from lowerbound.evaluation import Section, Settings, Subject, gap
from lowerbound.evaluation import likelihood as section
from lowerbound.metrics import Gap
from lowerbound.run import Run
from lowerbound.vae import VAE

# two latents whose posterior is correlated, so that no diagonal q is exact
KNOWN = oracle.Linear(
    torch.tensor([[1.5, 0.9], [0.3, 1.2], [-0.5, 0.8], [0.0, 0.4]]).double(), torch.ones(4).double(), 0.7
)
X = KNOWN.draw(12, seed=1)


def encoder(shift: float = 0.0, stretch: float = 1.0) -> VAE:
    """The best diagonal q of every image, whose precisions are the posterior's own, or one beside it."""
    vae, cov = KNOWN.vae(exact=True), KNOWN.posterior(X)[1]
    with torch.no_grad():
        variance = 1 / torch.linalg.inv(cov).diagonal()
        vae.posterior.logvar.bias.copy_(variance.log() + 2 * math.log(stretch))
        vae.posterior.mu.bias += shift * variance.sqrt()
    return vae


def divergence(vae: VAE) -> Tensor:
    """KL(q(z|x) ‖ p(z|x)) of the encoder's q, by torch's multivariate normal."""
    mu, cov = KNOWN.posterior(X)
    with torch.no_grad():
        q = vae.posterior(X)
    return kl_divergence(MultivariateNormal(q.mean, torch.diag_embed(q.variance)), MultivariateNormal(mu, cov))


def close(found: Tensor, want: Tensor, error: Tensor, slack: float = 2e-3) -> bool:
    """Within 4.5 standard errors (false alarm 8e-5 for 12 images), and what Adam leaves."""
    return bool(((found - want).abs() < 4.5 * error + slack).all())


def test_the_exact_posterior_has_no_gap_at_all() -> None:
    x, told = linear.data(6), list[tuple[int, int]]()
    found = metrics.inference_gap(
        linear.model(exact=True), x, samples=300, steps=30, progress=lambda *state: told.append(state)
    )
    assert found.approximation.abs().max() < 1e-3
    assert found.amortisation.abs().max() < 1e-3
    torch.testing.assert_close(found.elbo, linear.log_p(x), rtol=0, atol=1e-10)
    assert (told[0][1], told[-1]) == (6, (6, 6))
    assert told == sorted(told)


def test_of_the_best_diagonal_posterior_the_whole_gap_is_the_familys() -> None:
    vae = encoder()
    found = metrics.inference_gap(vae, X, samples=4000, steps=60)
    assert divergence(vae).min() > 0.08
    assert close(found.approximation, divergence(vae), found.approximation_error)
    assert close(found.amortisation, torch.zeros(12).double(), found.amortisation_error)
    assert close(found.estimates.log_p, KNOWN.log_p(X), found.estimates.error, slack=0)


def test_of_an_encoder_beside_it_the_rest_is_the_encoders() -> None:
    best, vae = encoder(), encoder(shift=0.8, stretch=1.4)
    found = metrics.inference_gap(vae, X, samples=4000, steps=150)
    want = divergence(vae) - divergence(best)
    assert want.min() > 0.3
    assert close(found.amortisation, want, found.amortisation_error)
    assert close(found.approximation, divergence(best), found.approximation_error)
    torch.testing.assert_close(found.approximation + found.amortisation, found.estimates.log_p - found.elbo)


def test_what_the_optimisation_makes_worse_is_not_taken() -> None:
    """One step of Adam goes a tenth away in each parameter, whatever the gradient is: the encoder's q was better."""
    vae = linear.model(exact=True)
    x = linear.data(10)
    with torch.no_grad():
        moved = metrics.refined(vae, x, steps=1) - vae.posterior.params(x)
    assert moved.abs().min() > 0.09
    found = metrics.inference_gap(vae, x, samples=50, steps=1)
    assert found.amortisation.abs().max() == 0
    torch.testing.assert_close(found.best, linear.log_p(x), rtol=0, atol=1e-10)


def test_the_errors_of_both_parts_hold_what_they_say() -> None:
    """Of normal log w with the variance ½ the gap is ¼ in closed form; 95 % of 1,000 trials, ± 4 binomial errors."""
    g = torch.Generator().manual_seed(4)
    best = -3 + 0.5**0.5 * torch.randn(500, 1000, generator=g, dtype=torch.float64)
    first = best - 1 - 0.5 * torch.randn(500, 1000, generator=g, dtype=torch.float64)
    found = Gap.of(best, first)
    for value, error, exact in (
        (found.approximation, found.approximation_error, 0.25),
        (found.amortisation, found.amortisation_error, 1.0),
    ):
        held = ((value - exact).abs() < 1.96 * error).double().mean()
        assert float(held) == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 1000) ** 0.5)


def test_memory_is_bounded_and_nothing_of_the_model_is_changed() -> None:
    vae = encoder(shift=0.5).train()
    vae.likelihood.net = probe = linear.Probe(vae.likelihood.net)
    weights = [p.clone() for p in vae.parameters()]
    torch.manual_seed(3)
    want = torch.rand(2)
    torch.manual_seed(3)
    found = metrics.inference_gap(vae, X, samples=200, steps=5, draws=16, rows=80)  # five images at a time
    assert torch.equal(torch.rand(2), want)
    assert max(probe.rows) <= 80
    assert sum(probe.rows) == 1 + 12 * (5 * 16 + 2 * 500 + 2 * 200)
    assert vae.training
    assert all(p.grad is None and torch.equal(p, w) for p, w in zip(vae.parameters(), weights, strict=True))
    assert found.elbo.shape == (12,)
    again = metrics.inference_gap(vae, X, samples=200, steps=5, draws=16, rows=80)
    assert torch.equal(found.best, again.best)


def test_a_flow_of_a_posterior_is_optimised_by_what_the_encoder_gives_it() -> None:
    torch.manual_seed(1)
    flow = posterior.Planar(nets.MLP((4,)), 2, transforms=2)
    vae = VAE(flow, prior.Standard(2), likelihood.Gaussian(nets.MLP((2,), (4,))))
    found = metrics.inference_gap(vae, torch.rand(3, 4), samples=200, steps=40)
    assert (found.amortisation > -4 * found.amortisation_error).all()
    assert found.amortisation.max() > 0.1
    assert (found.approximation >= 0).all()


def test_a_summary_of_one_sample_is_json() -> None:
    found = metrics.inference_gap(encoder(), X[:1], samples=1, steps=1).summary()
    json.dumps(found, allow_nan=False)
    assert found["approximation"] == {"mean": 0.0, "standard_error": None, "monte_carlo_error": None}
    assert found["doubtful"] is None


def test_what_has_no_posterior_of_its_own_is_refused() -> None:
    exact = linear.model(exact=True)
    auto = VAE(posterior.Dirac(linear.Identity(), 2, features=linear.D), exact.prior, exact.likelihood).double()
    finite = oracle.Finite.draw(states=3, pixels=2, seed=5)
    grey = VAE(posterior.Gaussian(nets.MLP((4,)), 2), prior.Standard(2), likelihood.Bernoulli(nets.MLP((2,), (4,))))
    for model, x, words in (
        (Bare(), X, "Bare has no posterior"),
        (auto, linear.data(2), "point mass"),
        (finite.vae(), finite.images(), "no reparameterised sample"),
        (grey, torch.full((2, 4), 0.5), "cross-entropy and not a likelihood"),
    ):
        with pytest.raises(UsageError, match=words):
            metrics.inference_gap(model, x)
    for name in ("samples", "steps", "draws", "rows"):
        with pytest.raises(UsageError, match=f"{name} (is )?0"):
            metrics.inference_gap(exact, linear.data(1), **{name: 0})
    broken = encoder()
    broken.likelihood.net.bias.data[0] = math.nan
    with pytest.raises(UsageError, match="image 0 is estimated as nan"):
        metrics.inference_gap(broken, X, samples=10, steps=2)


# --- the sections ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    x = (torch.rand(300, 12, generator=torch.Generator().manual_seed(0)) < torch.linspace(0.1, 0.9, 12)).float()
    out: Path = tmp_path_factory.mktemp("gap") / "run"
    source = lowerbound.data.tensor(x, validation=0, test=60)
    sets = ["model.posterior.net.hidden=[16]", "model.likelihood.net.hidden=[16]", "train.batch=50", "train.epochs=1"]
    sets.append("model.likelihood.kind=bernoulli")
    return lowerbound.fit(source, "vae", latents=2, out=out, set=sets, progress=False)


def words(found: Section) -> str:
    return " ".join([*(f"{what} {figure}" for what, figure in found.rows), *found.notes])


def test_the_section_of_log_p_says_its_errors_and_what_it_does_not_know(run: Run) -> None:
    told = list[tuple[str, int, int]]()
    settings = Settings(images=20, importance=60, progress=lambda *state: told.append(state))
    found = section.measure(Subject(run, "test", settings))
    json.dumps(found.values, allow_nan=False)
    exact = metrics.log_likelihood(run.model, run.source.test.images(0, 20), samples=60)
    assert found.values["log_likelihood"] == pytest.approx(float(exact.mean()), rel=1e-6)
    assert found.values["bits_per_dimension"] == pytest.approx(-float(exact.mean()) / 12 / math.log(2), rel=1e-6)
    assert found.values["whole_split"]["images"] == 60
    for phrase in ("60 samples of each of the first 20 of 60 images", "nats over samples", "lower estimate", "carried"):
        assert phrase in words(found)
    assert [p.name for p in found.pictures] == ["curve", "tail"]
    assert told[-1] == ("log p(x)", 20, 20)
    few = section.measure(Subject(run, "test", Settings(images=100, importance=1)))
    assert few.values["whole_split"] is None
    assert few.values["monte_carlo_error"] is None
    assert "cannot be fitted" in words(few)
    assert few.pictures == []
    with pytest.raises(UsageError, match="has no validation images"):
        section.measure(Subject(run, "validation"))


def test_the_section_of_log_p_warns_of_a_heavy_tail(run: Run) -> None:
    subject = Subject(run, "test", Settings(images=10, importance=100))
    before = run.model.posterior.logvar.bias.data.clone()
    try:
        run.model.posterior.logvar.bias.data -= 4
        assert "Do not trust the estimate of " in words(section.measure(subject))
    finally:
        run.model.posterior.logvar.bias.data = before
    assert "Do not trust" not in words(section.measure(Subject(run, "test", Settings(images=10, importance=2000))))


def test_the_section_of_the_gap_names_both_parts_and_that_they_are_estimates(run: Run) -> None:
    found = gap.measure(Subject(run, "test", Settings(images=5, importance=50)))
    json.dumps(found.values, allow_nan=False)
    parts = [found.values[name]["mean"] for name in ("approximation", "amortisation", "gap")]
    assert parts[0] + parts[1] == pytest.approx(parts[2], abs=1e-9)
    for phrase in ("posterior's family", "of the encoder", "local optimum", "the first 5 of 60 images"):
        assert phrase in words(found)
    assert [p.name for p in found.pictures] == ["parts"]
