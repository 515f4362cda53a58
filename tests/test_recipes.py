"""Every recipe: it is what its paper says, trains with finite numbers, and goes on as if it had not stopped."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from lowerbound import begin, cli, compose, metrics, progress, recipes, seeds, spec
from lowerbound.data import Source
from lowerbound.errors import UsageError
from lowerbound.evaluation import command
from lowerbound.job import Job
from lowerbound.train import train
from lowerbound.verbs.conclusion import conclude_group

SHAPE, STEPS, HALF, BATCH = (1, 8, 8), 20, 8, 8
SMALL_NETS = (
    'model.posterior.net={"kind": "mlp", "hidden": [8]}',
    'model.likelihood.net={"kind": "mlp", "hidden": [8]}',
)


@pytest.fixture(scope="module")
def source() -> Source:
    """Scikit-learn's handwritten digits: real, 8 x 8 and grey."""
    return begin.open_data("digits")[1]


def small(name: str, source: Source, *sets: str) -> dict[str, Any]:
    """A recipe's spec with small networks: large whole numbers of its parts become a few."""
    done, found = begin.plan_spec({"kind": "digits"}, source, recipe=name, assignments=[*SMALL_NETS, *sets])
    assert found == name
    done = shrunk(done)
    done["latents"] = 4
    done["train"] |= {"batch": BATCH, "epochs": STEPS * BATCH / len(source.train), "log": 4, "precision": "float32"}
    return spec.check(done)


def shrunk(node: Any, name: str = "") -> Any:
    """Make the sizes of parts small, but not what they ask for."""
    if isinstance(node, dict):
        return {key: value if key in ("data", "train") else shrunk(value, key) for key, value in node.items()}
    if name in ("hidden", "channels") and isinstance(node, list):
        return [8 for _ in node[:2]]
    return 8 if name in ("components", "projections") and isinstance(node, int) and node > 8 else node


def losses(job: Job, until: int) -> Iterator[dict[str, float]]:
    seed = job.run.spec["seed"] if job.run.spec else 0
    for record in train(job.state, job.source, steps=until, batch=job.plan.batch, seed=seed):
        yield {name: float(value) for name, value in record.loss.terms.items()}


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_recipe_trains_with_finite_numbers_and_resumes(name: str, source: Source, tmp_path: Path) -> None:
    """20 steps without a stop, and 8 steps, a checkpoint, and 12 more: the weights are the same to the last bit."""
    done = small(name, source)
    whole, first = begin.plan_job(done, source, "cpu"), begin.plan_job(done, source, "cpu")
    rows = list(losses(whole, STEPS))
    assert len(rows) == STEPS
    assert all(torch.isfinite(torch.tensor(value)) for row in rows for value in row.values())
    assert all({"distortion", "loss"} <= row.keys() for row in rows)
    density = whole.state.model.posterior.density  # type: ignore[union-attr]
    assert {("elbo" in row, "rate" in row) for row in rows} == {(density, density)}
    list(losses(first, HALF))
    first.run.path = tmp_path
    first.run.checkpoints.mkdir()
    first.save()
    again = begin.plan_job(done, source, "cpu")
    again.restore(tmp_path / "checkpoints" / f"{HALF:09d}")
    assert list(losses(again, STEPS)) == rows[HALF:]
    for part in ("model", "objective"):
        states = [getattr(job.state, part).state_dict() for job in (whole, again)]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", ["aae", "iwae", "rae-l2"])
def test_a_recipe_comes_to_its_report(
    name: str, source: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What has no elbo shows none anywhere; what has a tighter bound shows it."""
    job = begin.prepare(small(name, source), source, name=name, out=tmp_path / "run", device="cpu")
    with job.run.lock():
        lines = [progress.line(record, job, 1.0, 0) for record in job.steps()]
        run = job.finish()
    command.evaluate(cli.Evaluate(str(run.path), measure=("ledger",)))
    told = re.findall(r"^ *(elbo|distortion|loss) +[-−\d]", capsys.readouterr().out, re.M)
    lines.append(" ".join(told))
    found, page = run.metrics["test"], (run.path / "report.html").read_text()
    card = (run.path / "README.md").read_text()
    rows = run.history
    assert {row["split"] for row in rows} == {"train", "validation"}
    pointlike = name != "iwae"
    for there in (found, *rows):
        assert ("elbo" in there, "rate" in there) == (not pointlike, not pointlike)
    assert all(("elbo" in line) is not pointlike and "distortion" in line for line in lines)
    assert all(("loss" in line) is pointlike for line in lines)
    assert ("There is no elbo here" in page) is pointlike
    assert ("| elbo |" in card) is not pointlike
    assert "| distortion |" in card
    assert ("| bound |" in card) is (name == "iwae")
    assert ("test bound" in page) is (name == "iwae")
    if pointlike:
        assert found["kl_by_dim"] is None
        assert "elbo</span>" not in page
    if name == "aae":
        assert all("adversary_loss" in row for row in rows)
        assert "adversary_loss" in page


def test_seeds_without_an_elbo_are_told_by_their_distortion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"distortion": 80.0 + i, "loss": 81.0 + i, "active": 3, "kl_by_dim": None} for i in range(3)]
    spread = {"seeds": [0, 1, 2], "split": "test", **seeds.over_seeds(rows)}
    monkeypatch.setattr(seeds, "spread", lambda folder: spread)
    conclude_group(seeds.Group(Path("runs/ae"), "ae", [0, 1, 2], [{}]))
    out = capsys.readouterr().out
    assert "distortion 81.00 ± 1.00 nats" in out
    assert "loss 82.00 ± 1.00 nats" in out
    assert "elbo" not in out
    assert "rate" not in out


def test_every_objective_became_better_on_mnist() -> None:
    """By the benchmark's result file: the loss falls wherever the losses of two steps can be compared."""
    found = json.loads((Path(__file__).parent.parent / "benchmarks" / "results" / "recipes.json").read_text())
    assert [row["recipe"] for row in found["rows"]] == list(recipes.RECIPES)
    for row in found["rows"]:
        first, last = row["loss of the first steps"], row["loss of the last steps"]
        assert last < first or not row["comparable"], row["recipe"]
        assert row["validation"]["distortion"] < 550, row["recipe"]  # what the first steps have


def test_every_published_recipe_is_there() -> None:
    asked = (
        "control-vae geco beta-tcvae factor-vae dip-vae-i dip-vae-ii info-vae wae-mmd swae iwae miwae ciwae piwae dreg "
        "stl rws vr vamp iaf full-covariance ae rae-l2 rae-gp aae two-stage bn-vae lagging"
    )
    assert set(asked.split()) <= set(recipes.RECIPES)


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_a_recipe_says_what_it_is_where_it_is_from_and_what_to_expect(name: str) -> None:
    recipe = recipes.recipe(name)
    assert json.loads(json.dumps(recipe.sets)) == recipe.sets
    assert re.search(r"\b(19|20)\d\d\b", recipe.citation)
    assert recipe.about
    assert recipe.expect.endswith(".")


def objective(name: str, source: Source) -> Any:
    done, _ = begin.plan_spec({"kind": "digits"}, source, recipe=name)
    return spec.build_objective(done, 1000, 50), done


def test_the_recipes_are_what_their_papers_say(source: Source) -> None:
    """The numbers that make a recipe the paper's model, read off the objects that are built."""
    terms = {name: objective(name, source)[0] for name in recipes.RECIPES}
    assert (terms["iwae"].samples, terms["iwae"].groups, terms["iwae"].mix) == (5, 1, 0.0)
    assert (terms["miwae"].samples, terms["miwae"].groups, terms["miwae"].partial) == (8, 2, False)
    assert (terms["piwae"].samples, terms["piwae"].groups, terms["piwae"].partial) == (8, 2, True)
    assert terms["ciwae"].mix == 0.05
    assert (terms["dreg"].gradient, terms["stl"].gradient, terms["vae"].gradient) == ("dreg", "stl", "total")
    assert terms["vr"].alpha == 0.5
    assert set(terms["beta-tcvae"].terms) == {"distortion", "decomposed"}
    assert (terms["beta-tcvae"].terms["decomposed"].tc.end, terms["beta-tcvae"].terms["decomposed"].images) == (6.0, 50)
    assert [terms[f"dip-vae-{v}"].terms["dip"].variant for v in ("i", "ii")] == ["i", "ii"]
    assert set(terms["ae"].terms) == {"distortion"}
    assert set(terms["wae-mmd"].terms) == {"distortion", "mmd"}
    assert set(terms["factor-vae"].terms) == {"distortion", "kl", "tc-critic"}
    assert (terms["geco"].comparable, terms["control-vae"].comparable, terms["vae"].comparable) == (False, False, True)
    vamp = objective("vamp", source)[1]
    assert vamp["latents"] == 40
    assert vamp["model"]["posterior"]["net"]["hidden"] == [300, 300]


@pytest.mark.parametrize(
    ("name", "path"),
    [("beta-tcvae", ("objective", "terms", "decomposed", "tc")),
     ("lagging", ("objective", "objective", "terms", "kl", "weight")),
     ("info-vae", ("objective", "terms", "kl", "weight"))],
)  # fmt: skip
def test_beta_reaches_the_recipes_that_have_one(name: str, path: tuple[str, ...], source: Source) -> None:
    done, _ = begin.plan_spec({"kind": "digits"}, source, recipe=name, beta=3.0)
    node: Any = done
    for key in path:
        node = node[key]
    assert node == 3.0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("iwae", r"no β.*beta-vae\.$"),
        ("ae", r"no β.*beta-vae\.$"),
        ("control-vae", r"moved by 'control'.*rate=20"),
        ("wae-mmd", r"no β.*--set: objective\.terms\.mmd\.weight\.$"),
    ],
)
def test_beta_is_refused_in_words_where_there_is_none(name: str, words: str, source: Source) -> None:
    with pytest.raises(UsageError, match=words):
        begin.plan_spec({"kind": "digits"}, source, recipe=name, beta=3.0)


@pytest.mark.parametrize("objective", ["importance", "renyi", "wake-sleep"])
@pytest.mark.parametrize("over", [{"norm": "batch"}, {"dropout": 0.1}])
def test_batch_norm_and_dropout_are_refused_where_samples_are_weighed(objective: str, over: dict[str, Any]) -> None:
    words = "batch norm" if "norm" in over else "dropout"
    for part in ("encoder", "decoder"):
        composed = compose.small(objective=objective, **{part: {"kind": "mlp", "hidden": [4], **over}})
        assert re.search(f"have {words}, and", compose.attempt(composed) or "")
        assert compose.attempt(compose.small(**{part: {"kind": "mlp", "hidden": [4], **over}})) is None
    steady = compose.small(objective=objective, encoder={"kind": "mlp", "hidden": [4], "norm": "layer"})
    assert compose.attempt(steady) is None


def test_batch_norm_and_dropout_are_fine_in_evaluation() -> None:
    """A model that was trained by the elbo with both is measured by importance sampling like any other."""
    net = {"kind": "mlp", "hidden": [4], "norm": "batch", "dropout": 0.1}
    model = spec.build_model(compose.small(encoder=net, decoder=net), compose.SHAPE, True)
    x = torch.rand(6, *compose.SHAPE).round()
    for _ in range(3):
        model(x)
    whole = metrics.log_likelihood(model, x, samples=10)
    torch.testing.assert_close(metrics.log_likelihood(model, x[:1], samples=10), whole[:1], rtol=1e-5, atol=1e-4)
