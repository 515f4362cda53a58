"""The ledger: what stands beside the figures, which number β is in other conventions, and when bits are refused."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Independent, Normal
from torch.nn import functional as F

import lowerbound
from lowerbound import begin, evaluation, likelihood, metrics, nets, posterior, prior
from lowerbound.dist import Levels
from lowerbound.errors import UsageError
from lowerbound.evaluation import Section, Settings, Subject
from lowerbound.objective import KL, Distortion, Elbo
from lowerbound.vae import VAE
from lowerbound.words import number

D, L, B, N = 6, 3, 8, 1000
FAST = ("train.epochs=3", "train.batch=64", "train.log=5")


# β in the conventions of others


def small(px: type, **arguments: Any) -> VAE:
    parts = (
        posterior.Gaussian(nets.MLP((D,), None, (7,)), L),
        prior.Standard(L),
        px(nets.MLP((L,), (D,), (7,)), **arguments),
    )
    return VAE(*parts).double()


def theirs(name: str, weight: float, reconstruction: Tensor, kl: Tensor) -> Tensor:
    """Each loss as a code of that convention has it, of the errors (B, D) and the KLs (B, L)."""
    per_batch = kl.sum(1).mean()
    return {
        "sums": lambda: (reconstruction.sum() + weight * kl.sum()) / B,
        "squares": lambda: reconstruction.sum(1).mean() + weight * per_batch,
        "half-squares": lambda: 0.5 * reconstruction.sum(1).mean() + weight * per_batch,
        "pixel-mean": lambda: reconstruction.mean() + weight * per_batch,
        "pixel-latent-mean": lambda: reconstruction.mean() + weight * kl.mean(),
        "pixel-mean-batch-sum": lambda: reconstruction.mean() + weight * kl.sum(),
        "batch-sum": lambda: reconstruction.sum() + weight * per_batch,
        "kld-weight": lambda: reconstruction.mean() + weight * (B / N) * per_batch,
        "beta-norm": lambda: reconstruction.mean() + weight * kl.mean(),
    }[name]()


def gradient(loss: Tensor, model: VAE) -> Tensor:
    grads = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])
    return torch.cat([g.flatten() for g in grads])


@pytest.mark.parametrize("sigma", [None, 1.0, 0.3])
@pytest.mark.parametrize("beta", [0.5, 4.0])
def test_a_step_by_another_convention_has_the_same_direction(sigma: float | None, beta: float) -> None:
    """The other losses are written by hand with torch's own errors, on one draw of z, in float64."""
    model = small(likelihood.Bernoulli) if sigma is None else small(likelihood.Gaussian, sigma=sigma)
    x = torch.rand(B, D, dtype=torch.float64)
    torch.manual_seed(1)
    trace = model(x)
    ours = gradient(
        Elbo({"distortion": Distortion(), "kl": KL(weight=beta)}).reduce(model, trace).losses["model"], model
    )
    found = metrics.conventions(beta, dimensions=D, latents=L, batch=B, images=N, sigma=sigma)
    for each in found:
        torch.manual_seed(1)
        trace = model(x)
        q, mean = trace.latents[0].q.base_dist, trace.px.mean[0]
        kl = 0.5 * (q.loc**2 + q.scale**2 - 1) - q.scale.log()
        squares = F.mse_loss(mean, x, reduction="none")
        error = F.binary_cross_entropy(mean, x, reduction="none") if sigma is None else squares
        if each.name in ("sums", "beta-norm") and sigma is not None:  # these have -log p(x|z) itself
            error = squares / (2 * sigma**2)
        other = gradient(theirs(each.name, each.beta, error, kl), model)
        scale = float((ours @ other) / (ours @ ours))
        torch.testing.assert_close(other, scale * ours, rtol=1e-9, atol=1e-12 * scale)
    assert {each.name for each in found} >= {"pixel-mean", "pixel-latent-mean", "batch-sum", "kld-weight", "beta-norm"}
    assert ("squares" in {each.name for each in found}) == (sigma is not None)


def test_another_weight_than_the_converted_one_has_another_direction() -> None:
    """The test above can fail: at twice the weight the gradients are not parallel."""
    model, x = small(likelihood.Bernoulli), torch.rand(B, D, dtype=torch.float64)
    trace = model(x)
    weights = list(model.posterior.parameters())
    losses = [-trace.log_px.mean() + w * trace.kl.mean() for w in (4.0, 8.0)]
    ours, other = (torch.autograd.grad(loss, weights, retain_graph=True) for loss in losses)
    a, b = (torch.cat([g.flatten() for g in grads]) for grads in (ours, other))
    assert float(a @ b / (a.norm() * b.norm())) < 1 - 1e-6


@pytest.mark.parametrize(("pixels", "sigma"), [(64 * 64 * 3, 1.0), (784, None)])
def test_known_conversions_of_published_codes(pixels: int, sigma: float | None) -> None:
    """kld_weight 0.00025 beside an MSE of 3x64x64 is β = 1.54 of σ = 1; a BCE mean with a KL of weight 1 is β = 784."""
    found = metrics.conventions(1.0, dimensions=pixels, latents=16, batch=64, images=60_000, sigma=sigma)
    factor = {each.name: each.factor for each in found}["pixel-mean"]
    expected = 1.536 if sigma else 784
    assert (0.00025 if sigma else 1) / factor == pytest.approx(expected)


@pytest.mark.parametrize("wrong", [{"beta": -1.0}, {"beta": math.nan}, {"batch": 0}, {"sigma": 0.0}])
def test_conventions_of_what_is_no_weight_are_refused(wrong: dict[str, float]) -> None:
    arguments: dict[str, Any] = {"beta": 1.0, "dimensions": 4, "latents": 2, "batch": 8, "images": 10} | wrong
    with pytest.raises(UsageError, match=next(iter(wrong))):
        metrics.conventions(arguments.pop("beta"), **arguments)


# bits per dimension


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.integers(2, 256), st.floats(0.01, 100))
def test_dequantised_data_have_the_same_bits_whatever_their_unit(levels: int, unit: float) -> None:
    """A uniform density over all levels is log2(levels) bits a pixel, whether pixels lie in [0, 1] or in [0, unit]."""
    pixels = torch.distributions.Uniform(torch.zeros(3), torch.full((3,), unit))
    px, x = Independent(pixels, 1), torch.full((3,), 0.5 * unit)
    bits = metrics.bits_per_dimension(-float(px.log_prob(x)), px, width=unit / levels)
    assert bits == pytest.approx(math.log2(levels), abs=1e-4)


def test_bits_of_dequantised_bytes_are_those_of_the_levels_they_were() -> None:
    """The density that is flat over each level: its integral over a level is the level's probability (Theis 2016)."""
    logits = torch.randn(1, 4, 256)
    levels = Levels(logits[0])
    k = torch.tensor([0.0, 17.0, 130.0, 255.0])
    exact = metrics.bits_per_dimension(-float(levels.log_prob(k / 255).sum()), Independent(levels, 1))
    # density of x = (k + u) / 256: the level's probability times 256
    nats = -float((levels.log_prob(k / 255) + math.log(256)).sum())
    px = Independent(Normal(torch.zeros(4), 1.0), 1)  # of which only the support and the size are read
    assert metrics.bits_per_dimension(nats, px, width=1 / 256) == pytest.approx(exact, rel=1e-6)


def test_bits_are_refused_where_they_have_no_meaning() -> None:
    density, levels = Independent(Normal(torch.zeros(4), 1.0), 1), Independent(Levels(torch.zeros(4, 256)), 1)
    with pytest.raises(UsageError, match="a density, which depends on the unit"):
        metrics.bits_per_dimension(1.0, density)
    with pytest.raises(UsageError, match="width is 0"):
        metrics.bits_per_dimension(1.0, density, width=0.0)
    with pytest.raises(UsageError, match="dequantised"):
        metrics.bits_per_dimension(1.0, levels, width=1 / 256)


# the section


def measured(run: lowerbound.Run, split: str = "test", **options: Any) -> Section:
    return evaluation.ledger.measure(Subject(run, split, Settings(**options)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> lowerbound.Run:
    out = tmp_path_factory.mktemp("ledger") / "run"
    weight = '{"kind": "sigmoid", "end": 2.0, "middle": 0.9, "width": 0.1}'
    more = ("data.binarise=dynamic", f"objective.terms.kl.weight={weight}")
    return lowerbound.fit("digits", latents=L, out=out, progress=False, set=(*FAST, *more))


def test_the_ledger_has_the_figures_of_the_training_and_says_what_they_are_of(run: lowerbound.Run) -> None:
    section, test = measured(run), run.metrics["test"]
    values = json.loads(json.dumps(section.values, allow_nan=False))
    for name in ("elbo", "distortion", "rate", "loss", "standard_error", "kl_by_dim", "images", "bits_per_dimension"):
        assert values[name] == test[name]
    assert values["data"] == {"name": "digits", "shape": [1, 8, 8], "noun": "images"}
    assert (values["split"], values["binarise"], values["likelihood"]["density"]) == ("test", "dynamic", True)
    assert "bits_refused" not in values
    rows = dict(section.rows)
    assert rows["data"] == "digits, test: 180 images of 1×8×8"
    assert rows["likelihood"] == "Bernoulli: normalised, a probability"
    assert rows["elbo"].startswith(f"{number(test['elbo'])} ± ")
    assert rows["elbo"].endswith(" nats")
    bits = float(rows["−elbo"].split(" ")[0])
    assert bits == pytest.approx(-test["elbo"] / 64 / math.log(2), abs=1e-4)
    error = float(rows["−elbo"].split(" ")[2])
    assert error == pytest.approx(test["standard_error"]["elbo"] / 64 / math.log(2), rel=0.01)


def test_beta_asked_and_reached_stand_beside_each_other(run: lowerbound.Run) -> None:
    section = measured(run)
    beta = section.values["schedules"]["beta"]
    assert beta == run.metrics["beta"]
    assert beta["asked"] == 2
    assert 1 < beta["reached"] < 1.6
    assert dict(section.rows)["β"].startswith(f"2 asked for, {beta['reached']:.4g} reached")
    assert section.values["beta"] == run.metrics["test"]["beta"]  # the term's own, at the end of its schedule
    pixels = {each["name"]: each["beta"] for each in section.values["conventions"]}["pixel-mean"]
    assert pixels == pytest.approx(beta["reached"] / 64)
    (elsewhere,) = (words for name, words in section.rows if name == "β elsewhere")
    assert elsewhere.startswith(f"{pixels:.4g} beside mean −log p(x|z) over pixels")
    assert elsewhere.endswith(f"--json has {len(section.values['conventions']) - 2} more")


@pytest.mark.parametrize("measure", ["ledger", "likelihood", "aggregate", "samples"])
def test_the_training_images_of_a_dynamic_run_are_measured_as_bits(run: lowerbound.Run, measure: str) -> None:
    """The encoder has never seen the grey ones."""
    given: list[torch.Tensor] = []
    hook = run.model.posterior.register_forward_pre_hook(lambda _, args: given.append(args[0].unique()))
    evaluation.MEASURES[measure](Subject(run, "train", Settings(images=20, importance=30)))
    hook.remove()
    assert given
    assert set(torch.cat(given).tolist()) == {0.0, 1.0}


def test_the_training_images_of_a_dynamic_run_have_a_likelihood(run: lowerbound.Run) -> None:
    """Bits that were drawn by another seed have nearly the same elbo."""
    section = measured(run, "train")
    values = section.values
    assert values["likelihood"] == run.metrics["likelihood"]
    assert values["bits_per_dimension"] > 0
    assert dict(section.rows)["binarisation"] == "dynamic: drawn anew each time in training, once in evaluation"
    blocks = [run.source.batch(0, len(run.source.train), seed=9)]
    once = lowerbound.metrics.evaluate(run.model, begin.objective(run), blocks, step=9)
    error = values["standard_error"]["elbo"]
    assert once["elbo"] == pytest.approx(values["elbo"], abs=4 * error)


def test_a_run_without_an_elbo_or_a_density_is_told_why_it_has_no_bits(tmp_path: Path) -> None:
    """An autoencoder with a prior fitted to dense codes: its loss lies below its distortion, and why is said."""
    run = lowerbound.fit("digits", recipe="rae-gp", latents=L, out=tmp_path / "r", progress=False, set=FAST)
    section = measured(run)
    assert "no rate, no elbo" in section.values["bits_refused"]
    assert section.values["conventions"] == []
    assert section.values["prior"] == "mixture"
    assert any("The loss is under the prior that was fitted" in note for note in section.notes)
    assert "elbo" not in dict(section.rows)
    json.dumps(section.values, allow_nan=False)


def test_a_loss_below_the_distortion_is_explained() -> None:
    notes = metrics.fitted_note({"distortion": 40.0, "loss": 39.0}, "mixture")
    assert len(notes) == 2
    assert "−log p(z) is then negative" in notes[1]
    assert len(metrics.fitted_note({"distortion": 40.0, "loss": 41.0, "elbo": -41.0}, "mixture")) == 1


def test_an_unfinished_run_and_a_density_of_vectors(tmp_path: Path) -> None:
    """Without metrics.json likelihood, σ and schedules are those of the newest checkpoint."""
    points = {"out": tmp_path / "r", "progress": False}
    run = lowerbound.fit("moons", set=("data.n=300", "train.epochs=2", "train.batch=32"), **points)
    whole = measured(run).values
    assert "which depends on the unit" in whole["bits_refused"]
    assert "8-bit" not in whole["bits_refused"]
    assert {each["name"] for each in whole["conventions"]} >= {"squares", "half-squares"}  # one σ is known
    run.unfinish()
    values = measured(lowerbound.load(run.path)).values
    assert values["schedules"] == {name: whole["schedules"][name] for name in ("beta", "lambda", "capacity")}
    assert [each["name"] for each in values["conventions"]] == [each["name"] for each in whole["conventions"]]
    assert values["likelihood"] == whole["likelihood"]
    assert values["unfinished"] == {"step": begin.total(run), "steps": begin.total(run)}
    assert whole["unfinished"] is None


def test_a_model_that_gives_nan_has_no_figures(run: lowerbound.Run) -> None:
    """One weight of the encoder is not a number: neither the ledger nor the count of latents in use says anything."""
    broken = lowerbound.load(run.path)
    with torch.no_grad():
        next(broken.model.parameters()).fill_(math.nan)
    with pytest.raises(UsageError, match=r"Of the test split elbo is nan.*the model gives NaN"):
        measured(broken)
    with pytest.raises(UsageError, match="codes are not all finite"):
        evaluation.aggregate.measure(Subject(broken, "test"))
