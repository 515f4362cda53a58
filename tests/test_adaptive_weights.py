"""Weights that move by what they observe: the papers' recursions, training only, and a state resumed exactly."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import linear
from commandline import tree
from lowerbound import begin, data, gallery, metrics, spec
from lowerbound.data import Source
from lowerbound.errors import UsageError
from lowerbound.objective import KL, Distortion, Elbo, Importance, Lagging
from lowerbound.objective.weight import GECO, Constant, ControlVAE, Linear, Weight

OBSERVED = [120.0, 95.0, 90.0, 70.0, 60.0, 60.0, 85.0, 20.0, 3.0, 80.0]


def course(weight: Weight, observed: list[float]) -> list[float]:
    return [float(weight(t, torch.tensor(value))) for t, value in enumerate(observed)]


def paper_geco(observed: list[float], target: float, speed: float, decay: float) -> list[float]:
    """Algorithm 1 of Rezende and Viola: the multiplier of a step is from before it."""
    weights, average = [1.0], 0.0
    for t, value in enumerate(observed):
        c = value - target
        average = c if t == 0 else decay * average + (1 - decay) * c
        weights.append(weights[-1] * np.exp(speed * average))
    return weights[:-1]


def paper_control(observed: list[float], target: float, kp: float, ki: float, least: float, most: float) -> list[float]:
    """Algorithm 1 of Shao et al., with I held within the bounds of β."""
    weights, integral = [], 0.0
    for value in observed:
        e = target - value
        integral = min(max(integral - ki * e, 0.0), most - least)
        weights.append(min(max(kp / (1 + math.exp(e)) + integral + least, least), most))
    return weights


def test_geco_is_the_papers_recursion() -> None:
    want = paper_geco(OBSERVED, 75.0, 0.003, 0.8)
    assert course(GECO(75.0, speed=0.003, decay=0.8), OBSERVED) == pytest.approx(want, rel=1e-5)
    assert max(want) > 1.2


@pytest.mark.parametrize("bounds", [(0.0, 100.0), (0.0, 0.2), (0.5, 0.8)])
def test_control_is_the_papers_recursion_with_its_clipping(bounds: tuple[float, float]) -> None:
    want = paper_control(OBSERVED, 75.0, 0.01, 0.005, *bounds)
    found = course(ControlVAE(75.0, kp=0.01, ki=0.005, least=bounds[0], most=bounds[1]), OBSERVED)
    assert found == pytest.approx(want, rel=1e-4, abs=1e-6)
    assert len(set(want)) > 3
    assert all(bounds[0] <= value <= bounds[1] + 1e-7 for value in found)


def test_control_leaves_a_bound_as_soon_as_the_error_turns() -> None:
    """However long it stood there, the integral has not run on."""
    beta = ControlVAE(20.0, ki=0.001, most=0.5)
    assert course(beta, [500.0] * 100)[-1] == 0.5
    assert course(beta, [10.0] * 5)[-1] < 0.5
    assert course(beta, [0.0] * 1000)[-1] < 1e-6
    assert course(beta, [60.0] * 5)[-1] > 0.1


def test_geco_stays_within_its_limit_and_comes_back() -> None:
    lam = GECO(0.0, speed=1.0, decay=0.0, limit=8.0)
    assert course(lam, [50.0] * 5)[-1] == pytest.approx(8.0, rel=1e-5)
    assert course(lam, [-0.5] * 3)[-1] == pytest.approx(8.0 * math.exp(-1.0), rel=1e-5)


WEIGHTS: dict[str, Any] = {"geco": lambda: GECO(75.0, speed=0.01), "control": lambda: ControlVAE(75.0, ki=0.01)}
KINDS = pytest.mark.parametrize("kind", WEIGHTS)


@KINDS
def test_it_moves_in_training_only_and_by_finite_numbers_only(kind: str) -> None:
    weight = WEIGHTS[kind]()
    course(weight, OBSERVED)
    state = {name: value.clone() for name, value in weight.state_dict().items()}
    shown = [float(weight(0)), *course(weight.eval(), OBSERVED)]
    assert len(set(shown)) == 1
    course(weight.train(), [math.nan, math.inf, -math.inf])
    assert all(torch.equal(state[name], value) for name, value in weight.state_dict().items())
    first = weight(0)
    kept = first.clone()
    course(weight, OBSERVED[::-1])
    assert torch.equal(first, kept)  # what was given is not the buffer
    assert not torch.equal(weight(0), kept)


@KINDS
def test_its_state_is_saved_and_goes_on_bit_for_bit(kind: str) -> None:
    whole, first, second = (WEIGHTS[kind]() for _ in range(3))
    want = course(whole, OBSERVED)
    got = course(first, OBSERVED[:4])
    second.load_state_dict(first.state_dict())
    assert got + course(second, OBSERVED[4:]) == want


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_they_weigh_what_they_observe_and_log_it(dtype: torch.dtype) -> None:
    model, x = linear.model(False).to(dtype), linear.data().to(dtype)
    objective = Elbo({"distortion": Distortion(GECO(1.0, speed=0.01)), "kl": KL(ControlVAE(0.1, ki=0.05))})
    for t in range(3):
        loss = objective(model, x, step=t)
    terms = loss.terms
    assert terms["lambda"] > 1
    assert terms["beta"] > 0.05
    want = terms["lambda"] * terms["distortion"] + terms["beta"] * terms["rate"]
    torch.testing.assert_close(loss.losses["model"].detach().to(dtype), want, rtol=1e-5, atol=0)
    assert not any(value.requires_grad for value in terms.values())
    assert {value.dtype for value in terms.values()} >= {dtype}


def test_losses_under_a_weight_that_adapts_cannot_be_compared() -> None:
    assert Elbo().comparable
    assert Elbo({"kl": KL(Linear(total=10))}).comparable
    adapting = Elbo({"distortion": Distortion(GECO(80.0)), "kl": KL()})
    assert not adapting.comparable
    assert not Lagging(adapting, total=5).comparable
    assert Importance().comparable


@pytest.mark.parametrize("make", [lambda: GECO(math.nan), lambda: GECO(1.0, limit=0.5), lambda: GECO(1.0, decay=1.0)])
def test_arguments_of_geco_without_a_meaning_are_refused(make: Any) -> None:
    with pytest.raises(UsageError, match="distortion is"):
        make()


@pytest.mark.parametrize(
    "arguments", [{"rate": -1.0}, {"rate": 1.0, "ki": 0.0}, {"rate": 1.0, "least": 5.0, "most": 1.0}]
)
def test_arguments_of_control_without_a_meaning_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=r"(rate|ki) is"):
        ControlVAE(**arguments)


@given(st.integers(1, 5000), st.floats(0, 1), st.floats(0, 1000))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_a_warm_up_of_any_length_reaches_its_end_and_one_of_none_is_there(total: int, until: float, end: float) -> None:
    """Defect 13 of the peers: one stopped at w / (w + 1), and one of no length never left 0."""
    schedule = Linear(total=total, end=end, until=until)
    assert schedule(math.ceil(until * total)) == pytest.approx(end, rel=1e-12)
    assert Linear(total=total, end=end, until=0.0)(0) == end
    assert not schedule.adaptive


def test_an_evaluation_is_at_the_weight_that_training_came_to() -> None:
    model, x = linear.model(False), linear.data()
    objective = Elbo({"distortion": Distortion(GECO(1.0, speed=0.01)), "kl": KL()})
    for t in range(5):
        objective(model, x, step=t)
    state = {name: value.clone() for name, value in objective.state_dict().items()}
    found = metrics.evaluate(model, objective, [(x[:7], None), (x[7:], None)], step=5)
    assert found["loss"] == pytest.approx(found["lambda"] * found["distortion"] + found["rate"], rel=1e-6)
    assert found["lambda"] > 1
    assert all(torch.equal(state[name], value) for name, value in objective.state_dict().items())


# in a training, with everything around it


FAST = ("train.batch=16", "train.log=3", "train.epochs=3", "train.validate=6")
FAST += ('model.posterior.net={"kind": "mlp", "hidden": [16]}', 'model.likelihood.net={"kind": "mlp", "hidden": [16]}')
OBJECTIVES = {
    "geco and control": (
        'objective.terms.distortion.weight={"kind": "geco", "distortion": 30.0, "speed": 0.01}',
        'objective.terms.kl.weight={"kind": "control", "rate": 4.0, "ki": 0.01}',
    ),
    "lagging": (
        'objective={"kind": "lagging", "inner": 4, "until": 0.7, "objective": {"kind": "elbo", "terms": '
        '{"distortion": {"kind": "distortion"}, "kl": {"kind": "kl", "weight": {"kind": "control", "rate": 4.0}}}}}',
    ),
    "piwae": ('objective={"kind": "importance", "samples": 2, "groups": 2, "partial": true, "gradient": "dreg"}',),
    "wake-sleep": ('objective={"kind": "wake-sleep", "samples": 3, "sleep": 0.5}',),
}


def source() -> Source:
    x = torch.rand(120, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return data.tensor(x, validation=20, test=0)


def trained(path: Path, words: tuple[str, ...], stop: int | None) -> list[dict[str, Any]]:
    """Train to the end, by way of a checkpoint at ``stop`` from which it is resumed; give the rows of the history."""
    given = source()
    done, name = begin.plan_spec({"kind": "own"}, given, latents=2, assignments=[*FAST, *words])
    job = begin.prepare(done, given, name=name, out=path)
    if stop is not None:
        steps = job.steps()
        for record in steps:
            if record.step == stop:
                break
        steps.close()
        job = begin.reopen(path, given=given)
        assert job.state.step == stop
    for _ in job.steps():
        pass
    return [json.loads(line) for line in (path / "history.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("words", OBJECTIVES.values(), ids=OBJECTIVES)
def test_stopped_and_resumed_is_never_stopped_byte_for_byte(tmp_path: Path, words: tuple[str, ...]) -> None:
    rows = trained(tmp_path / "whole", words, None)
    assert trained(tmp_path / "broken", words, 8) == rows
    whole, broken = (tree(tmp_path / which / "checkpoints") for which in ("whole", "broken"))
    last = [name for name in whole if "000000018" in name]
    assert len(last) >= 4
    assert [name for name in last if whole[name] != broken[name]] == []


def test_a_training_under_geco_ends_with_its_last_weights_and_says_what_lambda_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "write", lambda run: None)  # the report takes seconds
    words = (*FAST, *OBJECTIVES["geco and control"])
    given = source()
    done, name = begin.plan_spec({"kind": "own"}, given, latents=2, assignments=words)
    job = begin.prepare(done, given, name=name, out=tmp_path / "r")
    for _ in job.steps():
        pass
    metrics_ = job.finish().metrics
    assert metrics_["weights"]["which"] == "last"
    objective = job.state.objective
    assert isinstance(objective, Elbo)
    assert metrics_["validation"]["lambda"] == pytest.approx(float(objective.terms["distortion"].weight(0)))
    assert metrics_["beta"]["asked"] == metrics_["beta"]["reached"] == float(objective.terms["kl"].weight(0))
    rows = [json.loads(line) for line in (tmp_path / "r" / "history.jsonl").read_text().splitlines()]
    assert rows[-1]["split"] == "validation"
    lambdas = [row["lambda"] for row in rows if row["split"] == "train"]
    assert lambdas == sorted(lambdas)  # values of their steps: the distortion is above 30 throughout
    assert len(set(lambdas)) == len(lambdas)
    done, name = begin.plan_spec({"kind": "own"}, given, latents=2, assignments=[*words, "train.patience=2"])
    with pytest.raises(UsageError, match="set patience to null"):
        begin.prepare(done, given, name=name, out=tmp_path / "s")


def test_a_number_is_a_constant_and_a_spec_names_the_weights() -> None:
    node = {"kind": "distortion", "weight": {"kind": "geco", "distortion": 80.0}}
    term = spec.construct("term", spec.complete("term", node, "term"), {})
    assert isinstance(term.weight, GECO)
    assert isinstance(Distortion(2.0).weight, Constant)
    with pytest.raises(UsageError, match=r"weight\.rate is missing"):
        spec.complete("term", {"kind": "kl", "weight": {"kind": "control"}}, "term")
