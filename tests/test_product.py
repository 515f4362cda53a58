"""The product of the axes: a combination trains and evaluates, or is refused in words for a listed reason."""

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
import torch

from lowerbound import compose, rng, spec
from lowerbound.train import Plan, start, step

AXES = ("posterior", "prior", "likelihood", "goal")
OBJECTIVES = list(spec.REGISTRIES["objective"])
TERMS = list(spec.REGISTRIES["term"])
KINDS: dict[str, list[str]] = {
    "posterior": list(spec.REGISTRIES["posterior"]),
    "prior": list(spec.REGISTRIES["prior"]),
    "likelihood": list(spec.REGISTRIES["likelihood"]),
    "goal": [*OBJECTIVES, *(f"term {kind}" for kind in TERMS)],
}
Choice = Mapping[str, str]
PARTS = 4  # of the covering array, so that several processes share it

WEIGHS = {"importance", "renyi", "wake-sleep"}
JOINT = {"full-gaussian", "planar", "householder", "iaf", "spline", "dirac"}  # do not factorise into coordinates
MEANLESS = {"planar", "householder", "iaf", "spline"}  # their mean has no closed form
# who is refused, and in which words: nothing else may be, and none of these may train
REASONS: dict[str, tuple[str, Callable[[Choice], bool]]] = {
    "a point has no density to weigh samples by": (
        "point mass",
        lambda c: c["posterior"] == "dirac" and c["goal"] in WEIGHS,
    ),
    "a point has no density to be a prior's": (
        "VampPrior",
        lambda c: c["posterior"] == "dirac" and c["prior"] == "vamp",
    ),
    "batch norm would read pseudo-inputs": (
        "VampPrior.*batch norm",
        lambda c: c["posterior"] == "bn-gaussian" and c["prior"] == "vamp",
    ),
    "batch norm couples the samples that are weighed": (
        "have batch norm, and",
        lambda c: c["posterior"] == "bn-gaussian" and c["goal"] in WEIGHS,
    ),
    "the decomposition is one into coordinates": (
        "without a density of each single coordinate",
        lambda c: c["posterior"] in JOINT and c["goal"] == "term decomposed",
    ),
    "q(z|x) of a batch is not that of the image": (
        "decomposed KL.*batch norm",
        lambda c: c["posterior"] == "bn-gaussian" and c["goal"] == "term decomposed",
    ),
    "DIP reads the means": (
        "no closed form",
        lambda c: c["posterior"] in MEANLESS and c["goal"] == "term dip",
    ),
}


def composed(choice: Choice) -> spec.Spec:
    """The small spec of a choice: a goal is an objective, or a term in the elbo."""
    goal = choice.get("goal", "elbo")
    parts = {axis: kind for axis, kind in choice.items() if axis != "goal"}
    return compose.small(**parts, **({"term": goal.split()[1]} if goal.startswith("term ") else {"objective": goal}))


def expected(choice: Choice) -> list[tuple[str, str]]:
    whole = {"posterior": "gaussian", "prior": "standard", "likelihood": "bernoulli", "goal": "elbo", **choice}
    return [(name, words) for name, (words, refused) in REASONS.items() if refused(whole)]


def wrong(choices: Iterator[Choice]) -> tuple[list[str], Counter[str]]:
    """Try each choice; name those that trained though they are listed, or were refused though they are not."""
    found, counts, images = [], Counter[str](), compose.source()
    for choice in choices:
        words, reasons = compose.attempt(composed(choice), images), expected(choice)
        hits = [name for name, pattern in reasons if words is not None and re.search(pattern, words)]
        counts.update([hits[0] if hits else "trained"])
        if (words is None and reasons) or (words is not None and not hits):
            found.append(f"{dict(choice)}: {'it trained' if words is None else words}")
    return found, counts


def covering(axes: Mapping[str, Sequence[str]], strength: int) -> list[dict[str, str]]:
    """Give rows in which any kinds of so many axes stand together at least once: of some, the row with most new."""
    names = itertools.combinations(axes, strength)
    wanted = [
        tuple(zip(some, kinds, strict=True)) for some in names for kinds in itertools.product(*map(axes.get, some))
    ]
    left, draw, rows = set(wanted), random.Random(0), []
    for together in wanted:
        if together in left:
            some = [{axis: draw.choice(list(kinds)) for axis, kinds in axes.items()} | dict(together) for _ in range(9)]
            best = max(some, key=lambda row: len(covered(row, strength) & left))
            left -= covered(best, strength)
            rows.append(best)
    assert not left
    return rows


def covered(row: Mapping[str, str], strength: int) -> set[tuple[tuple[str, str], ...]]:
    return set(itertools.combinations(row.items(), strength))


def judged(rows: Sequence[Choice], what: str, capsys: pytest.CaptureFixture[str]) -> tuple[list[str], int]:
    """Try all rows, print what trained and why others were refused; gives what was wrong, and how many were tried."""
    found, counts = wrong(iter(rows))
    with capsys.disabled():
        told = ", ".join(f"{n} × {name}" for name, n in counts.most_common())
        print(f"\n{what}: {told}")
    return found, counts.total()


@pytest.mark.parametrize("posterior", KINDS["posterior"])
def test_a_posterior_with_every_prior_and_objective(posterior: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"posterior": posterior, "prior": p, "goal": g} for p in KINDS["prior"] for g in OBJECTIVES]
    assert judged(rows, f"{posterior} with every prior and objective", capsys) == ([], len(rows))


@pytest.mark.parametrize("likelihood", KINDS["likelihood"])
def test_a_likelihood_with_every_posterior(likelihood: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"posterior": posterior, "likelihood": likelihood} for posterior in KINDS["posterior"]]
    assert judged(rows, f"{likelihood} with every posterior", capsys) == ([], len(rows))


@pytest.mark.parametrize("part", range(PARTS))
def test_any_three_of_the_axes_together(part: int, capsys: pytest.CaptureFixture[str]) -> None:
    every = covering(KINDS, 3)
    rows, whole = every[part::PARTS], len(list(itertools.product(*KINDS.values())))
    what = f"a quarter of {len(every):,} of {whole:,} that hold any three"
    assert judged(rows, what, capsys) == ([], len(rows))


def test_each_reason_is_met() -> None:
    """Each listed reason refuses something, and the words are UsageErrors: `attempt` lets nothing else pass."""
    whole = [dict(zip(AXES, kinds, strict=True)) for kinds in itertools.product(*KINDS.values())]
    for name, (words, refused) in REASONS.items():
        choice = next(c for c in whole if refused(c) and [r for r, *_ in expected(c)] == [name])
        told = compose.attempt(composed(choice))
        assert told is not None, name
        assert re.search(words, told), told
        assert len(told) > 60, told  # a sentence that says why, not a word


@pytest.mark.parametrize("posterior", KINDS["posterior"])
def test_every_parameter_learns_under_every_prior(posterior: str) -> None:
    """A gradient that is not None, and not zero over eight batches, in each parameter of model and objective."""
    for prior in KINDS["prior"]:
        choice = {"posterior": posterior, "prior": prior}
        if not expected(choice):
            assert idle(composed(choice)) == [], prior


@pytest.mark.parametrize("goal", KINDS["goal"])
def test_every_parameter_learns_under_every_goal(goal: str) -> None:
    for prior in ("standard", "scaled", "mixture"):
        choice = {"goal": goal, "prior": prior}
        if not expected(choice):
            small = composed(choice)
            if goal == "term free-bits":  # a rate that is free has no gradient
                small["objective"]["terms"]["free-bits"]["nats"] = 0.0
            assert idle(small) == [], prior


@pytest.mark.parametrize("likelihood", KINDS["likelihood"])
def test_every_parameter_learns_under_every_likelihood(likelihood: str) -> None:
    assert idle(composed({"likelihood": likelihood})) == []


def idle(small: spec.Spec, batches: int = 8) -> list[str]:
    """Name the trainable parameters that had no gradient in any of some batches."""
    images = compose.source()
    plan: Plan = spec.construct("train", small["train"], {})
    model = spec.build_model(small, images.shape, images.unit)
    objective = spec.build_objective(small, batches, len(images.train))
    state = start(model, objective, plan, len(images.train))
    named = [*model.named_parameters(), *objective.named_parameters("objective")]
    most = {name: 0.0 for name, _ in named}
    for t in range(batches):
        x, _ = images.batch(t * compose.BATCH, compose.BATCH, seed=0)
        with rng.noise(0, "step", t):
            step(state, x)
        for name, p in named:
            if p.grad is not None:
                most[name] = max(most[name], float(p.grad.abs().max()))
    return [name for name, value in most.items() if value == 0]


@pytest.mark.parametrize("weight", [kind for kind in spec.REGISTRIES["weight"] if kind != "constant"])
@pytest.mark.parametrize("term", ["distortion", "kl", "mmd", "tc-critic"])
def test_every_weight_weighs_every_kind_of_term(weight: str, term: str) -> None:
    asks = {"geco": {"distortion": 5.0}, "control": {"rate": 2.0}}.get(weight, {})
    small = composed({"goal": "term kl"} if term == "distortion" else {"goal": f"term {term}"})
    node = compose.node("weight", weight, **asks)
    small["objective"]["terms"].setdefault(term, {"kind": term})["weight"] = node
    assert compose.attempt(spec.check(small)) is None


@pytest.mark.parametrize("registry", ["encoder", "decoder"])
def test_every_network_serves_every_posterior_and_likelihood(registry: str) -> None:
    for kind in spec.REGISTRIES[registry]:
        part = "posterior" if registry == "encoder" else "likelihood"
        for family in KINDS[part]:
            assert compose.attempt(compose.small(**{part: family, registry: kind})) is None, (kind, family)


def test_lagging_holds_every_objective() -> None:
    for goal in OBJECTIVES:
        if goal == "lagging":
            continue
        small = composed({"goal": "lagging"})
        inner = compose.node("objective", goal, objective={"kind": "elbo"})
        small["objective"]["objective"] = inner
        assert compose.attempt(spec.check(small)) is None, goal


@pytest.mark.parametrize("prior", ["scaled", "mixture", "vamp", "maf", "nsf"])
@pytest.mark.parametrize("term", TERMS)
def test_a_learned_prior_that_nothing_reads_is_refused(prior: str, term: str) -> None:
    """Without a KL: terms of the prior's density train it, and those of its draws where these have a gradient."""
    small = compose.small(prior=prior, term=term)
    if term != "kl":
        del small["objective"]["terms"]["kl"]
    words = compose.attempt(small)
    draws = term in ("mmd", "sliced") and prior not in ("mixture", "vamp")
    if draws or term in ("kl", "free-bits", "capacity", "decomposed"):
        assert words is None
    else:
        assert "it would stay as it was drawn" in (words or "")


def test_what_diverges_is_no_refusal() -> None:
    """A learning rate beyond all measure is an error of its own, and is never counted as a refusal."""
    from lowerbound.errors import DivergedError

    small = compose.small(likelihood="gaussian")
    small["train"] |= {"lr": 1e30, "warmup": 0.0}
    torch.manual_seed(0)
    with pytest.raises(DivergedError):
        compose.attempt(small)
