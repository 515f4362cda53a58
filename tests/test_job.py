"""A run from its first step to its report: what is written of it is what happened."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import lowerbound
from lowerbound import begin, data, gallery, job, likelihood, metrics, nets, posterior, prior
from lowerbound.data import Source
from lowerbound.errors import DivergedError
from lowerbound.job import Job, Tally, likelihood_note
from lowerbound.objective import Loss
from lowerbound.train import Record
from lowerbound.vae import VAE

FAST = ("train.batch=16", "train.log=2", 'model.posterior.net={"kind": "mlp", "hidden": [16]}')


def source(n: int = 120, **splits: Any) -> Source:
    x = torch.rand(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return data.tensor(x, labels=torch.arange(n) % 3, **splits)


def made(out: Path, *assignments: str, recipe: str | None = None, given: Source | None = None) -> Job:
    given = source(validation=20, test=20) if given is None else given
    done, name = begin.plan_spec({"kind": "own"}, given, recipe=recipe, latents=2, assignments=[*FAST, *assignments])
    return begin.prepare(done, given, name=name, out=out)


def finished(some: Job) -> lowerbound.Run:
    for _ in some.steps():
        pass
    return some.finish()


SCHEDULE = 'objective.terms.kl.weight={"kind": "linear", "end": 4.0, "until": 1.0}'


def test_beta_reached_is_that_of_the_last_step_taken(tmp_path: Path) -> None:
    """Stopped by patience after half the training, the schedule has reached half of what was asked."""
    some = made(tmp_path / "r", SCHEDULE, "train.epochs=4", "train.patience=1", "train.validate=5")
    for record in some.steps():
        if record.step == 5:
            some.tally.best = -math.inf  # no later validation is better
    stopped = some.state.step
    assert stopped == 10 < some.total == 20
    beta = some.finish().metrics["beta"]
    assert beta == {"asked": 4.0, "reached": 4.0 * 9 / 20, "chosen": 4.0 * 4 / 20}
    page = (tmp_path / "r" / "report.html").read_text()
    assert "β reached 1.8 of the 4 that was asked for." in page
    assert "The weights shown here are from a step at which it was 0.8." in page


def test_a_constant_has_reached_what_was_asked(tmp_path: Path) -> None:
    run = finished(made(tmp_path / "r", "objective.terms.kl.weight=2", "train.epochs=1"))
    assert run.metrics["beta"] == {"asked": 2.0, "reached": 2.0}
    assert run.metrics["capacity"] is None


def test_the_capacity_is_recorded_as_beta_is(tmp_path: Path) -> None:
    setting = 'objective.terms.capacity.capacity={"kind": "linear", "end": 8.0, "until": 1.0}'
    some = made(tmp_path / "r", setting, "train.epochs=2", recipe="annealed-vae")
    run = finished(some)
    assert run.metrics["beta"] is None
    assert run.metrics["capacity"]["asked"] == 8.0
    assert run.metrics["capacity"]["reached"] == pytest.approx(8.0 * (some.total - 1) / some.total)
    assert "C reached 7.2 of the 8 that was asked for" in (run.path / "report.html").read_text()


@pytest.mark.parametrize("splits", [{"validation": 0, "test": 1}, {"validation": 1, "test": 0}])
@pytest.mark.parametrize("latents", [1, 2, 5])
def test_a_split_of_one_image_is_evaluated_and_reported(tmp_path: Path, splits: dict[str, int], latents: int) -> None:
    given = source(60, **splits)
    done, name = begin.plan_spec({"kind": "own"}, given, latents=latents, assignments=[*FAST, "train.epochs=1"])
    run = finished(begin.prepare(done, given, name=name, out=tmp_path / "r"))
    split = max(splits, key=lambda name: splits[name])
    assert run.metrics[split]["active"] is None
    assert run.metrics[split]["collapsed"] == []
    assert "cannot be told from one of the images" in (run.path / "report.html").read_text()


def test_a_loss_that_is_not_finite_is_never_the_best() -> None:
    tally, seen = Tally(), []
    for step, loss in enumerate([math.nan, math.inf, 5.0, math.nan, 4.0]):
        tally.judge(loss, step)
        seen.append((tally.best, tally.best_step))
    assert seen == [(None, None), (None, None), (5.0, 2), (5.0, 2), (4.0, 4)]


def test_a_row_has_the_mean_of_a_term_the_last_value_of_a_schedule_and_the_largest_gradient() -> None:
    tally = Tally()
    for step, value in enumerate([1.0, 2.0, 6.0], 1):
        terms = {name: torch.tensor(value) for name in ("rate", "beta", "tc", "tc_weight")}
        tally.add(Record(step, Loss({}, terms), 0.1, torch.tensor(value)))
    gradient = {"gradient": 3.0, "gradient_max": 6.0}
    assert tally.take() == {"rate": 3.0, "beta": 6.0, "tc": 3.0, "tc_weight": 6.0, **gradient}
    tally.add(Record(4, Loss({}, {}), 0.1, torch.tensor(0.5)))
    assert tally.take()["gradient_max"] == 0.5


def test_a_validation_that_is_not_finite_stops_the_training_and_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = made(tmp_path / "r", "train.epochs=3", "train.validate=4")
    evaluate: Callable[..., dict[str, Any]] = metrics.evaluate

    def broken(*args: Any, **options: Any) -> dict[str, Any]:
        found = evaluate(*args, **options)
        return found if some.state.step < 8 else {**found, "loss": math.nan, "distortion": math.inf}

    monkeypatch.setattr(job.metrics, "evaluate", broken)
    with pytest.raises(DivergedError, match="Step 8: the loss and the distortion of the validation images"):
        for _ in some.steps():
            pass
    assert some.run.read_json("diverged.json")["step"] == 8
    assert "Step 8" in some.run.read_json("diverged.json")["error"]
    assert sorted(int(p.name) for p in some.run.checkpoints.iterdir()) == [0, 4]
    assert some.tally.best_step == 4
    assert all(math.isfinite(row["loss"]) for row in some.run.history)


def model(shape: tuple[int, ...] = (1, 8, 8)) -> VAE:
    return VAE(
        posterior.Gaussian(nets.MLP(shape), 2), prior.Standard(2), likelihood.Bernoulli(nets.MLP((2,), shape))
    ).eval()


@pytest.mark.parametrize("where", [0, 700, 1199])
def test_one_grey_pixel_anywhere_in_what_is_evaluated_makes_it_no_likelihood(where: int) -> None:
    x = (torch.rand(1500, 1, 8, 8) > 0.5).float()
    given = data.tensor(x, validation=600, test=600)
    assert likelihood_note(model(), given)["density"] is True
    rows = torch.cat([given.test.rows, given.validation.rows])
    x[rows[where], 0, 3, 3] = 0.5
    grey = data.tensor(x, validation=600, test=600)
    assert likelihood_note(model(), grey)["density"] is False


def test_the_commands_name_the_split_there_is(tmp_path: Path) -> None:
    run = finished(made(tmp_path / "r", "train.epochs=1", given=source(20, validation=0, test=0)))
    path = str(run.path)
    assert [c for _, c in gallery.commands(run)] == [
        f"lowerbound sample {path} -n 100",
        f"import lowerbound; run = lowerbound.load({path!r}, source=x); run.model.sample(64)",
    ]  # the command line cannot have what was given in Python
    spec = {**run.spec, "data": {"kind": "digits"}}
    run.__dict__["spec"] = spec
    found = dict(gallery.commands(run))
    assert found["the codes of the train images, as .npz and .csv"] == f"lowerbound embed {path} --split train"
    assert found["move one latent at a time, from train image 3"] == f"lowerbound traverse {path} --image 3"
    assert not any("test" in what for what in found)
    for size, images in ((1, ["--image 0"]), (3, ["--image 2", "--start 0 --end 1"]), (9, ["3", "--start 3 --end 4"])):
        run.write_json("data.json", {**run.data, "images": {"train": 50, "validation": 0, "test": size}})
        text = "\n".join(command for _, command in gallery.commands(run))
        assert all(image in text for image in images)
        assert ("interpolate" in text) is (size > 1)
        assert "--split" not in text


def test_images_of_one_class_are_paired_with_others(tmp_path: Path) -> None:
    given = data.tensor(torch.rand(60, 1, 8, 8), labels=torch.full((60,), 7), validation=0, test=20)
    run = finished(made(tmp_path / "r", "train.epochs=1", given=given))
    pairs = gallery.default_pairs(run)
    assert pairs == [(0, 1), (2, 3), (4, 5), (6, 7)]


def test_sigma_of_evaluation_is_that_of_a_short_training(tmp_path: Path) -> None:
    """Three steps of batch 16 and σ² is already near the error of the images, and resumes from the checkpoint."""
    some = made(tmp_path / "r", "train.batch=48", "train.epochs=2", recipe="sigma-vae")
    run = finished(some)
    assert some.total == 3
    x = some.source.train.images()
    with torch.no_grad():
        error = float((x - run.model.reconstruct(x)).square().mean())
    assert float(run.model.likelihood.variance) == pytest.approx(error, rel=0.2)
    assert run.metrics["sigma"] == {"value": float(run.model.likelihood.variance.sqrt()), "kind": "optimal"}
    assert run.metrics["test"]["distortion"] == pytest.approx(32 * (math.log(2 * math.pi * error) + 1), rel=0.3, abs=5)
    tensors = lowerbound.load(run.path, source=some.source).model.state_dict()
    assert torch.equal(tensors["likelihood.variance"], run.model.state_dict()["likelihood.variance"])
    assert int(tensors["likelihood.scored"]) == 3
    assert json.loads((run.path / "metrics.json").read_text())["weights"]["step"] == 3


@pytest.mark.parametrize(("setting", "kind", "value"), [("learned", "learned", None), ("0.5", "fixed", 0.5)])
def test_sigma_is_recorded_with_how_it_came(tmp_path: Path, setting: str, kind: str, value: float | None) -> None:
    words = ("train.epochs=1", "model.likelihood.kind=gaussian", f"model.likelihood.sigma={setting}")
    run = finished(made(tmp_path / "r", *words))
    assert run.metrics["sigma"] == {
        "value": value or float(run.model.likelihood.log_sigma.detach().exp()),
        "kind": kind,
    }
    assert "σ of p(x|z)" in (run.path / "report.html").read_text()
    assert finished(made(tmp_path / "s", "train.epochs=1")).metrics["sigma"] is None


def test_pictures_say_how_they_were_made(tmp_path: Path) -> None:
    run = finished(made(tmp_path / "r", "train.epochs=1"))
    title = gallery.sample(run, 1, temperature=0.5, noise=True).axes[0].get_title(loc="left")
    assert title == "1 new image from the prior at temperature 0.5, drawn from p(x|z)"
    assert gallery.sample(run, 2).axes[0].get_title(loc="left") == "2 new images from the prior"
    walk = gallery.traverse(run, image=3).axes[0]
    assert walk.get_title(loc="left").startswith("From test image, row 3 (")
    assert len(walk.patches) == 2
    assert len(gallery.traverse(run).axes[0].patches) == 0


def test_vectors_are_not_called_images(tmp_path: Path) -> None:
    given = data.tensor(torch.rand(120, 3), validation=20, test=20)
    run = finished(made(tmp_path / "r", "train.epochs=1", given=given))
    page = (run.path / "report.html").read_text()
    shown = page.split("<main>")[1].split("<h2>Everything else")[0]
    assert "image" not in re.sub(r"<svg.*?</svg>|<img[^>]*>|<[^>]*>", "", shown, flags=re.S)
    run.__dict__["spec"] = {**run.spec, "data": {"kind": "moons"}}
    assert not any("image" in what for what, _ in gallery.commands(run))
