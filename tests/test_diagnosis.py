"""The diagnosis: each illness is found in a model that was made to have it, and none in a healthy one.

Data of the healthy model are what its own kind draws: two Gaussian latents, a linear map, noise. An illness is trained
into a model where that is quick, and else put into the healthy one by hand. Pictures and page are left out, since
drawing them takes longer than these trainings.
"""

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import lowerbound
from lowerbound import checkpoint, data, evaluation, gallery
from lowerbound.errors import UsageError
from lowerbound.evaluation import Section, Settings, Subject, aggregate, diagnosis, ledger, likelihood
from lowerbound.evaluation.diagnosis import Diagnosis, Finding, prior, training
from lowerbound.evaluation.diagnosis import likelihoods as px
from lowerbound.run import Run

D, L = 6, 2
FAST = ("train.batch=32", "train.log=25", "train.lr=0.01", "train.precision=float32", "train.validate=150")


def net(width: int) -> tuple[str, str]:
    node = json.dumps({"kind": "mlp", "hidden": [width]})
    return f"model.posterior.net={node}", f"model.likelihood.net={node}"


def points(n: int = 700, noise: float = 0.2) -> Tensor:
    g = torch.Generator().manual_seed(0)
    w = 1.5 * torch.linalg.qr(torch.randn(D, L, generator=g))[0]
    return torch.randn(n, L, generator=g) @ w.T + noise * torch.randn(n, D, generator=g)


Trained = Callable[..., Run]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    def train(x: Any, *sets: str, width: int = 16, **options: Any) -> Run:
        out = tmp_path_factory.mktemp("diagnosis") / "run"
        return lowerbound.fit(x, out=out, progress=False, set=(*FAST, *net(width), *sets), **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "write", lambda run: run.path)
        yield train


@pytest.fixture(scope="module")
def healthy(trained: Trained) -> Run:
    return trained(data.tensor(points(), validation=100, test=200), "train.epochs=40")


@pytest.fixture(scope="module")
def strange(trained: Trained) -> Run:
    """σ fixed at five times the data's deviation, a warm-up that is not over, and one outlier that is trained on."""
    x = points()
    held = data.tensor(x, validation=100, test=200)
    x[held.train.rows[0]] *= 30
    weight = '{"kind": "sigmoid", "end": 1.0, "middle": 0.9, "width": 0.1}'
    more = ("model.likelihood.sigma=5.0", f"objective.terms.kl.weight={weight}", "train.epochs=20", "train.log=10")
    return trained(data.tensor(x, validation=100, test=200), *more)


@pytest.fixture(scope="module")
def loose(trained: Trained) -> Run:
    """Grey digits under a Bernoulli, and β as from a code that averages over pixels."""
    more = ("data.test=0.3", "data.validation=0.4", "train.epochs=20")
    return trained("digits", *more, latents=3, beta=0.0005)


def sick(run: Run, change: Callable[[Any], None]) -> Run:
    """Give the run with a model that was changed by hand; what is in its folder stays."""
    again = Run(run.path, copy.deepcopy(run.spec), given=run.given)
    again.__dict__.update(model=copy.deepcopy(run.model), source=run.source)
    with torch.no_grad():
        change(again.model)
    return again


def unfinished(run: Run, folder: Path, *, step: int | None = None) -> Run:
    """Give a copy of a run as it was before it ended, with its newest checkpoint or that of a step."""
    again = Run.open(shutil.copytree(run.path, folder / "run"), given=run.source)
    again.unfinish()
    for path in checkpoint.listed(again.checkpoints):
        if step is not None and int(path.name) != step:
            shutil.rmtree(path)
    return again


def examined(run: Run, *names: str, split: str = "test") -> tuple[Diagnosis, dict[str, Finding]]:
    """Take the ledger and the measures of these names, and diagnose; what is found must be JSON."""
    subject = Subject(run, split, Settings(images=30, importance=300))
    for name, measure in (("ledger", ledger), ("aggregate", aggregate), ("likelihood", likelihood)):
        if name in ("ledger", *names):
            subject.found[name] = measure.measure(subject)
    found = diagnosis.diagnose(subject)
    json.dumps([vars(finding) for finding in found.findings], allow_nan=False)
    for finding in found.findings:
        assert finding.name in diagnosis.ILLNESSES
        assert all(text and text[-1] in ".)" for text in (finding.says, finding.evidence, finding.advice))
    return found, {finding.name: finding for finding in found.findings}


# the healthy one, and what cannot be looked for


def test_a_healthy_model_has_no_finding_and_everything_was_looked_for(healthy: Run) -> None:
    found, _ = examined(healthy, "aggregate", "likelihood")
    assert found == Diagnosis([], [])


def test_what_was_not_measured_is_named_and_not_said_to_be_well(healthy: Run) -> None:
    found, _ = examined(healthy)
    names = [text.split(":")[0] for text in found.unlooked]
    assert names == ["log p(x) of too few effective samples", "prior that does not match the codes"]
    alone = diagnosis.diagnose(Subject(healthy, "test"))  # the figures of the training serve where there is no ledger
    assert alone == found
    train = [text.split(":")[0] for text in examined(healthy, split="train")[0].unlooked]
    assert "overfitting" in train


def test_a_model_that_has_hardly_begun_is_told_so_and_nothing_else(trained: Trained) -> None:
    run = trained(data.tensor(points(), validation=100, test=200), "train.epochs=1", "train.log=2")
    found = diagnosis.diagnose(Subject(run, "test"))
    assert [finding.name for finding in found.findings] == ["hardly begun"]
    assert "10 steps" not in found.findings[0].evidence
    assert "12 steps" in found.findings[0].evidence
    effective, others = found.unlooked
    assert effective == "log p(x) of too few effective samples: likelihood was not measured, or has no meaning here."
    for name in list(diagnosis.ILLNESSES)[diagnosis.EARLY :]:
        assert name in others
    assert others.endswith("the model has hardly begun, with 12 steps; 200 are the least.")


def test_a_short_training_hides_nothing_that_holds_already(strange: Run, tmp_path: Path) -> None:
    """The gradient exploded in the first steps; that all latents have collapsed is not said after 150 of 250."""
    run = unfinished(strange, tmp_path, step=150)
    run.cut(150)
    found, by_name = examined(run, "likelihood")
    assert "exploding gradients" in by_name
    assert by_name["training that has not ended"].values == {"step": 150, "steps": 250}
    assert not {*list(diagnosis.ILLNESSES)[diagnosis.EARLY :], "hardly begun"} & {*by_name}
    (words,) = found.unlooked
    assert words.startswith("collapsed latents, ")
    assert words.endswith("the model has hardly begun, with 150 steps; 200 are the least.")


def test_values_that_are_not_finite(healthy: Run) -> None:
    def broken(model: Any) -> None:
        model.posterior.mu.bias[1] = float("nan")

    finding = training.unfinite(Subject(sick(healthy, broken), "test"))
    assert finding is not None
    assert finding.evidence == "Not finite are the weights posterior.mu.bias and the codes of 200 of 200 inputs."
    assert training.unfinite(Subject(healthy, "test")) is None


def test_a_run_that_is_not_finished_says_what_it_has_no_record_of(healthy: Run, tmp_path: Path) -> None:
    run = unfinished(healthy, tmp_path)
    found, by_name = examined(run, "aggregate", "likelihood")
    assert list(by_name) == ["training that has not ended"]
    finding = by_name["training that has not ended"]
    step = int(checkpoint.listed(run.checkpoints)[0].name)
    assert finding.values == {"step": step, "steps": 500}
    assert finding.advice == f"lowerbound resume {run.path} goes on with it."
    assert found.unlooked == [
        "warm-up that never ended: the training has not ended.",
        "target that was not reached: the training has not ended.",
    ]


# latents


def test_a_collapse_is_graded(trained: Trained, healthy: Run, strange: Run) -> None:
    _, found = examined(strange)
    assert "None of the 2 latents tells anything" in found["collapsed latents"].says
    assert "rate near zero" not in found  # it is the same, said twice

    def spare(model: Any) -> None:
        model.posterior.mu.weight[1] = 0
        model.posterior.mu.bias[1] = 0
        model.posterior.logvar.weight[1] = 0
        model.posterior.logvar.bias[1] = 0

    _, found = examined(sick(healthy, spare))
    assert found["collapsed latents"].says == "1 of 2 latents has collapsed to the prior."
    assert found["collapsed latents"].values["collapsed"] == [1]
    assert "--latents 1" in found["collapsed latents"].advice


def test_one_spare_latent_of_five_is_no_illness(trained: Trained, healthy: Run) -> None:
    subject = Subject(healthy, "test")
    codes = torch.randn(50, 5)
    codes[:, 0] = 0
    subject.__dict__["codes"] = (codes, None)
    kl = [0.001, 1.0, 1.0, 1.0, 1.0]
    subject.found["ledger"] = evaluation.Section("", {"kl_by_dim": kl, "rate": 4.0, "elbo": -1.0})
    assert diagnosis.latents.collapsed(subject) is None
    subject.found["ledger"] = evaluation.Section("", {"kl_by_dim": [0.001] * 3 + [1.0] * 2, "rate": 2.0, "elbo": -1.0})
    finding = diagnosis.latents.collapsed(subject)
    assert finding is not None
    assert finding.says == "Most latents, 3 of 5, have collapsed to the prior."


def test_a_latent_that_costs_rate_and_is_the_same_for_every_input(healthy: Run) -> None:
    def flat(model: Any) -> None:
        model.posterior.mu.weight[0] = 0
        model.posterior.mu.bias[0] = 2

    _, found = examined(sick(healthy, flat))
    assert found["constant latents"].values["constant"] == [0]
    assert found["constant latents"].values["nats"] > 2
    assert "collapsed latents" not in found


def test_a_rate_near_zero(healthy: Run) -> None:
    def faint(model: Any) -> None:
        for part in (model.posterior.logvar.weight, model.posterior.logvar.bias):
            part.zero_()
        model.posterior.mu.weight.mul_(0.6)

    _, found = examined(sick(healthy, faint))
    assert 0 < found["rate near zero"].values["rate"] < 0.69
    assert "collapsed latents" not in found


# weights


def test_a_warm_up_that_never_ended(strange: Run) -> None:
    _, found = examined(strange)
    finding = found["warm-up that never ended"]
    assert finding.values["asked"] == 1
    assert 0.6 < finding.values["reached"] < 0.8
    assert f"β = {finding.values.get('chosen', finding.values['reached']):.4g}" in finding.says


def test_weights_from_before_the_end_of_a_warm_up_are_named(healthy: Run, tmp_path: Path) -> None:
    path = shutil.copytree(healthy.path, tmp_path / "run")
    run = Run.open(path, given=healthy.source)
    run.write_json("metrics.json", run.metrics | {"beta": {"asked": 1.0, "reached": 1.0, "chosen": 0.25}})
    finding = diagnosis.weights.warmup(Subject(run, "test"))
    assert finding is not None
    assert finding.says == "The weights are from before β was 1: it was 0.25."


def test_beta_beside_a_sigma_that_is_not_the_error(strange: Run, healthy: Run) -> None:
    """Beside a fixed σ and an error e, β acts as β (σ / e)²: the error is measured here on many draws."""
    _, found = examined(strange)
    finding = found["β that is not what it seems"]
    x, beta = strange.source.test.images(), finding.values["beta"]
    with torch.no_grad():
        means = strange.model(x, samples=100).px.mean
    expected = beta * 25 / float((x - means).square().mean())
    assert expected > 4 * beta
    assert finding.values["acts_as"] == pytest.approx(expected, rel=0.05)  # the ledger draws once for each
    assert f"acts as β = {finding.values['acts_as']:.3g}" in finding.says


def test_beta_of_a_code_that_averages_over_pixels(loose: Run) -> None:
    _, found = examined(loose)
    finding = found["β that is not what it seems"]
    assert "0.0005 is what β = 0.032 is here" in finding.evidence
    assert "--beta 0.032" in finding.advice


def test_terms_that_weigh_the_rate_together(healthy: Run, tmp_path: Path) -> None:
    run = sick(healthy, lambda model: None)
    run.spec["objective"]["terms"]["more"] = {"kind": "kl", "weight": 7.0}
    finding = diagnosis.weights.seeming(Subject(run, "test"))
    assert finding is not None
    assert finding.values["acts_as"] == pytest.approx(8.0)
    run.spec["objective"]["terms"].pop("more")
    assert diagnosis.weights.seeming(Subject(run, "test")) is None


def test_a_rate_that_was_asked_for_and_not_reached(healthy: Run) -> None:
    run = sick(healthy, lambda model: None)
    for rate, ill in ((30.0, True), (3.9, False)):
        run.spec["objective"]["terms"]["kl"]["weight"] = {"kind": "control", "rate": rate}
        finding = diagnosis.weights.target(Subject(run, "test"))
        assert (finding is not None) == ill
    run.spec["objective"]["terms"]["kl"]["weight"] = 1.0
    run.spec["objective"]["terms"]["distortion"]["weight"] = {"kind": "geco", "distortion": 5.0}
    finding = diagnosis.weights.target(Subject(run, "test"))
    assert finding is not None
    assert finding.values["of"] == "distortion"


# likelihoods


def test_grey_pixels_under_a_bernoulli(loose: Run) -> None:
    _, found = examined(loose)
    assert "cross-entropy" in found["likelihood that does not fit the data"].says


def test_binary_pixels_under_a_density(trained: Trained) -> None:
    more = ("data.binarise=threshold", "model.likelihood.kind=continuous-bernoulli", "train.epochs=1")
    run = trained("digits", *more, latents=2)
    finding = px.unfit(Subject(run, "test"))
    assert finding is not None
    assert "the data are binary" in finding.says


def test_a_variance_that_collapsed(trained: Trained, healthy: Run) -> None:
    """One pixel of six has its own σ at its floor; then one σ for all is below a hundredth of the data's deviation."""

    def floor(model: Any) -> None:
        model.likelihood.log_sigma[0] = -9

    def tiny(model: Any) -> None:
        model.likelihood.log_sigma.fill_(-6)

    run = trained(data.tensor(points(), validation=100, test=200), "model.likelihood.sigma=pixel", "train.epochs=1")
    assert px.variance(Subject(run, "test")) is None
    finding = px.variance(Subject(sick(run, floor), "test"))
    assert finding is not None
    assert finding.values["share"] == pytest.approx(1 / D)
    assert "17% of the pixels" in finding.says
    _, found = examined(sick(healthy, tiny))
    assert "all but vanished" in found["variance collapse"].says


# the training


def test_overfitting(trained: Trained) -> None:
    g = torch.Generator().manual_seed(1)
    source = data.tensor(torch.randn(384, D, generator=g), validation=0, test=360)
    more = ("model.likelihood.sigma=0.3", "train.epochs=220", "train.batch=24")
    run = trained(source, *more, width=64, latents=4)
    finding = examined(run)[1]["overfitting"]
    assert finding.values["gap"] > 4 * finding.values["standard_error"]
    assert finding.values["gap"] > training.EFFECT * finding.values["deviation"]


def test_exploding_gradients_and_clipped_ones(strange: Run) -> None:
    _, found = examined(strange)
    assert found["exploding gradients"].values["times"] > training.EXPLODED
    clipped = sick(strange, lambda model: None)
    clipped.spec["train"]["clip"] = 1.0
    assert training.exploding(Subject(clipped, "test")) is None


# the prior


def test_a_prior_that_does_not_match_the_codes_and_what_another_would_gain(
    loose: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gain that is promised is the one that ``resume --fit`` brings, on the same held-out codes."""
    monkeypatch.setitem(prior.FITS, "flow", {"steps": 60, "lr": 0.01})
    _, found = examined(loose, "aggregate")
    finding = found["prior that does not match the codes"]
    gains = finding.values["priors"]
    assert set(gains) == {"mixture", "flow"}
    best = gains[finding.values["best"]]
    assert best["gain"] == max(each["gain"] for each in gains.values()) > 4 * best["standard_error"]
    assert f"--fit {finding.values['best']}" in finding.advice
    assert "reconstructions" not in finding.says  # nothing is said of samples that were not measured
    before = loose.metrics["test"]["elbo"]
    again = lowerbound.resume(loose.path, fit="mixture", progress=False)
    gained = again.metrics["fit"]["test"]["fitted"]["log_p"] - again.metrics["fit"]["test"]["trained"]["log_p"]
    assert gained == pytest.approx(gains["mixture"]["gain"], abs=1e-3)
    assert again.metrics["test"]["elbo"] - before == pytest.approx(gained, abs=5 * gains["mixture"]["standard_error"])


def test_a_prior_that_was_not_tried_is_named(healthy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(healthy, "test")
    subject.found["aggregate"] = Section("", {"two_sample": {"p": 1e-9}})
    rate = healthy.metrics["test"]["rate"]
    gain = {"gain": 0.1 * rate, "standard_error": 0.001, "log_p": 0.0, "log_p_before": 0.0}
    monkeypatch.setattr(prior, "others", lambda *_: {"mixture": (None, gain)})
    with pytest.raises(UsageError, match=r"a mixture \(.* nats\) gains little: .*Therefore a flow was not fitted"):
        prior.mismatch(subject)
    monkeypatch.setattr(prior, "others", lambda *_: {kind: (None, gain) for kind in prior.FITS})
    assert prior.mismatch(subject) is None
    gain["gain"] = 1.01 * prior.GAIN * rate
    assert prior.mismatch(subject) is not None


@pytest.mark.parametrize(("samples", "says"), [(9.0, "samples are worse than"), (2.0, "samples are no worse than")])
def test_samples_are_called_worse_where_their_distance_is(healthy: Run, samples: float, says: str) -> None:
    """A prior may miss the codes, and its samples be as near to the data as reconstructions are."""
    subject = Subject(healthy, "test")
    values = {"samples": {"frechet": {"value": samples}}, "reconstructions": {"frechet": {"value": 3.0}}}
    subject.found["samples"] = Section("Samples", values)
    assert says in prior._pictures(subject)


# log p(x)


def test_an_estimate_of_log_p_that_few_samples_decide(healthy: Run) -> None:
    def narrow(model: Any) -> None:
        model.posterior.logvar.bias.sub_(14)

    _, found = examined(sick(healthy, narrow), "likelihood")
    finding = found["log p(x) of too few effective samples"]
    assert finding.values["effective_median"] < 30
    assert finding.values["doubtful"] > 25
    assert "--measure annealed" in finding.advice
