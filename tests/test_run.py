"""Runs in Python: what is loaded is what was trained; own networks and own models; which weights a figure is from."""

import fcntl
import json
import os
import re
import shlex
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import lowerbound
from lowerbound import data, likelihood, metrics, nets, objective, posterior, prior, spec
from lowerbound.errors import DataError, StorageError, UsageError
from lowerbound.process import program
from lowerbound.words import number

FAST = ("train.epochs=2", "train.batch=32", "train.log=5")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> lowerbound.Run:
    out = tmp_path_factory.mktemp("run") / "digits"
    return lowerbound.fit("digits", recipe="beta-vae", beta=2, latents=3, out=out, set=FAST)


def test_the_loaded_model_has_the_recorded_elbo(run: lowerbound.Run) -> None:
    again = lowerbound.load(run.path)
    assert again.metrics == run.metrics
    found = lowerbound.evaluate(again, "test")
    for name in ("elbo", "distortion", "rate", "loss", "images"):
        assert found[name] == run.metrics["test"][name]
    for name, value in run.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])
    assert not again.model.training


def test_the_directory_is_the_designs(run: lowerbound.Run) -> None:
    names = {p.name for p in run.path.iterdir()} - {".lock"}
    assert names == {
        "spec.json", "env.json", "data.json", "history.jsonl", "timing.jsonl", "metrics.json", "weights.safetensors",
        "checkpoints", "frames", "frames.jsonl", "figures", "report.html", "README.md",
    }  # fmt: skip
    assert run.spec["objective"]["terms"]["kl"]["weight"] == 2
    assert {"python", "torch", "numpy", "lowerbound"} <= set(run.env["versions"])
    card = (run.path / "README.md").read_text()
    assert number(run.metrics["test"]["elbo"]) in card
    assert "not a likelihood" in card


def test_history_has_both_splits_and_no_times(run: lowerbound.Run) -> None:
    rows = run.history
    assert {row["split"] for row in rows} == {"train", "validation"}
    assert not any("second" in key for row in rows for key in row)
    for row in rows:
        assert row["elbo"] == pytest.approx(-(row["distortion"] + row["rate"]), abs=1e-4)
        assert row["loss"] == pytest.approx(row["distortion"] + 2 * row["rate"], rel=1e-5)
    assert rows[-1]["step"] == max(row["step"] for row in rows)
    assert [r["seconds"] for r in run.timing if r["seconds"] < 0] == []


def test_verbs_give_values_and_figures(run: lowerbound.Run) -> None:
    from matplotlib.figure import Figure

    for verb in (
        lowerbound.sample,
        lowerbound.reconstruct,
        lowerbound.traverse,
        lowerbound.interpolate,
        lowerbound.codes,
    ):
        assert isinstance(verb(run), Figure)
    codes, labels = lowerbound.embed(run)
    assert labels is not None
    assert codes.shape == (len(run.source.test), 3) == (len(labels), 3)
    torch.testing.assert_close(codes[:7], run.model.encode(run.source.test.images(0, 7)).detach())
    shown = run._repr_html_()
    assert "<svg" in shown
    assert number(run.metrics["test"]["elbo"]) in shown


def test_the_lectures_verbs_on_the_trained_model(run: lowerbound.Run) -> None:
    x = run.source.test.images(0, 5)
    with torch.no_grad():
        assert run.model.decode(torch.randn(64, 3)).aminmax().max <= 1
        torch.testing.assert_close(run.model.reconstruct(x), run.model.decode(run.model.encode(x)))
        assert run.model.sample(6).shape == (6, 1, 8, 8)
    assert isinstance(run.model.posterior(x), torch.distributions.Distribution)
    assert isinstance(run.model.prior(), torch.distributions.Distribution)
    assert isinstance(run.model.likelihood(torch.randn(2, 3)), torch.distributions.Distribution)


def test_the_best_weights_are_those_of_the_best_validation(tmp_path: Path) -> None:
    """Told that an earlier validation was the best, the run takes that checkpoint's weights, and says so."""
    from lowerbound import checkpoint
    from lowerbound.begin import open_data, plan_spec, prepare

    node, source = open_data("digits")
    done, name = plan_spec(node, source, latents=2, assignments=[*FAST, "train.epochs=3"])
    job = prepare(done, source, name=name, out=tmp_path / "r")
    for _ in job.steps():
        pass
    rows = [row for row in job.run.history if row["split"] == "validation"]
    assert job.tally.best == min(row["loss"] for row in rows)
    earlier = rows[-2]
    assert earlier["loss"] != rows[-1]["loss"]
    job.tally.best, job.tally.best_step = earlier["loss"], earlier["step"]
    run = job.finish()
    assert run.metrics["weights"]["which"] == "best"
    assert run.metrics["weights"]["step"] == earlier["step"]
    assert run.metrics["validation"]["loss"] == earlier["loss"]
    assert f"step {earlier['step']:,}" in run.weights_note
    saved, _ = checkpoint.load(run.path / "checkpoints" / f"{earlier['step']:09d}")
    assert all(torch.equal(saved["weights"][k], v) for k, v in run.model.state_dict().items())


def test_a_worse_validation_is_counted_and_a_better_one_forgets_it() -> None:
    from lowerbound.job import Tally

    tally, seen = Tally(), []
    for step, loss in enumerate([5.0, 4.0, 4.5, 4.0, 3.0]):
        tally.judge(loss, step)
        seen.append((tally.best, tally.best_step, tally.worse))
    assert seen == [(5.0, 0, 0), (4.0, 1, 0), (4.0, 1, 1), (4.0, 1, 2), (3.0, 4, 0)]


def test_without_validation_the_last_weights_are_taken_and_said(tmp_path: Path) -> None:
    run = lowerbound.fit("digits", latents=2, out=tmp_path / "r", set=[*FAST, "data.validation=0"])
    assert run.metrics["weights"]["which"] == "last"
    assert "validation" not in run.metrics
    assert "last weights" in run.weights_note


def test_the_moving_average_is_what_is_judged_and_kept(tmp_path: Path) -> None:
    run = lowerbound.fit("digits", latents=2, out=tmp_path / "r", set=[*FAST, "train.ema=0.9"])
    assert run.metrics["weights"]["ema"] is True
    assert "moving average" in run.weights_note
    from lowerbound import checkpoint

    tensors, _ = checkpoint.load(run.path / "checkpoints" / f"{run.metrics['weights']['step']:09d}")
    name = "posterior.mu.weight"
    assert torch.equal(run.model.state_dict()[name], tensors["ema"][f"module.{name}"])
    assert not torch.equal(run.model.state_dict()[name], tensors["weights"][name])


def test_early_stopping_stops_when_the_validation_does_not_become_better(tmp_path: Path) -> None:
    run = lowerbound.fit(
        "digits", latents=2, out=tmp_path / "r",
        set=["train.epochs=40", "train.batch=32", "train.lr=0.3", "train.schedule=constant", "train.clip=1",
             "train.patience=2"],
    )  # fmt: skip
    losses = [row["loss"] for row in run.history if row["split"] == "validation"]
    assert len(losses) < 40
    assert min(losses) == losses[-3]
    with pytest.raises(UsageError, match="patience needs a validation"):
        lowerbound.fit("digits", out=tmp_path / "s", set=["train.patience=2", "data.validation=0"])
    assert not (tmp_path / "s").exists()


def test_a_schedules_end_is_reported(tmp_path: Path) -> None:
    node = '{"kind": "linear", "end": 3.0, "until": 0.5}'
    run = lowerbound.fit("digits", latents=2, out=tmp_path / "r", set=[*FAST, f"objective.terms.kl.weight={node}"])
    assert run.metrics["beta"] == {"asked": 3.0, "reached": 3.0}
    betas = [row["beta"] for row in run.history if row["split"] == "train"]
    assert betas[0] < 1 < betas[-1] == 3.0
    assert all(row["beta"] == 3.0 for row in run.history if row["split"] == "validation")


class Encoder(nn.Module):
    def __init__(self, shape: tuple[int, ...], width: int = 11) -> None:
        super().__init__()
        self.features = width
        self.layer = nn.Linear(shape[1] * shape[2], width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(x.flatten(1)))


@pytest.fixture
def registered() -> Iterator[str]:
    spec.register("encoder", "own-encoder")(Encoder)
    yield "own-encoder"
    spec.REGISTRIES["encoder"].pop("own-encoder", None)


def test_an_own_network_by_name_trains_saves_and_loads(tmp_path: Path, registered: str) -> None:
    sets = [*FAST, f"model.posterior.net.kind={registered}", "model.posterior.net.width=13"]
    run = lowerbound.fit("digits", latents=2, out=tmp_path / "r", set=sets)
    again = lowerbound.load(run.path)
    assert isinstance(again.model.posterior.net, Encoder)
    assert again.model.posterior.net.features == 13
    assert lowerbound.evaluate(again)["elbo"] == run.metrics["test"]["elbo"]
    del spec.REGISTRIES["encoder"][registered]
    with pytest.raises(UsageError, match=r"no encoder 'own-encoder'.*register"):
        lowerbound.load(run.path)


def own_model() -> lowerbound.VAE:
    torch.manual_seed(7)
    return lowerbound.VAE(
        posterior.Gaussian(net=Encoder((1, 8, 8)), latents=2),
        prior.Standard(2),
        likelihood.Bernoulli(net=nets.MLP((2,), (1, 8, 8), hidden=(16,))),
    )


def test_an_own_module_as_net_trains_saves_and_loads(tmp_path: Path) -> None:
    run = lowerbound.fit("digits", model=own_model(), beta=2, out=tmp_path / "r", set=FAST)
    assert run.spec["latents"] == 2  # the model's, not the default for images
    assert run.env["recipe"] == "own"
    page = (run.path / "report.html").read_text() + (run.path / "README.md").read_text()
    assert not [name for name in ("Higgins", "Kingma", "beta-vae") if name in page]
    assert run.metrics["test"]["elbo"] > -50
    again = lowerbound.load(run.path, model=own_model())
    assert lowerbound.evaluate(again)["elbo"] == run.metrics["test"]["elbo"]
    with pytest.raises(UsageError, match=r"pass it, lowerbound\.load\(path, model=model\)"):
        lowerbound.load(run.path)


def test_an_own_model_that_cannot_be_trained_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"weights are torch\.float64.*pass model\.float\(\)"):
        lowerbound.fit("digits", model=own_model().double(), out=tmp_path / "r", set=FAST)
    with pytest.raises(UsageError, match="latents is 5, but the model has 2"):
        lowerbound.fit("digits", model=own_model(), latents=5, out=tmp_path / "r", set=FAST)
    assert not (tmp_path / "r").exists()


def test_the_command_is_recorded(run: lowerbound.Run) -> None:
    assert run.env["command"] == "python: lowerbound.fit"
    assert "Trained by `python: lowerbound.fit` from seed 0." in (run.path / "README.md").read_text()


def test_a_model_that_does_not_fit_the_weights_is_said(tmp_path: Path, run: lowerbound.Run) -> None:
    changed = json.loads((run.path / "spec.json").read_text())
    changed["latents"] = 5
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    (copy / "spec.json").write_text(json.dumps(changed))
    with pytest.raises(StorageError, match="do not fit"):
        _ = lowerbound.load(copy).model


def test_a_tensor_in_memory_is_data_too(tmp_path: Path) -> None:
    x = torch.rand(200, 3, 9, 7)
    run = lowerbound.fit(x, latents=2, out=tmp_path / "r", set=["train.epochs=1", "train.batch=32"])
    assert run.model.sample(2).shape == (2, 3, 9, 7)
    with pytest.raises(UsageError, match=r"tensor given in Python.*load\(path, source=x\).*resume\(path, source=x\)"):
        _ = lowerbound.load(run.path).source
    for source in (x, x.numpy(), data.tensor(x)):
        again = lowerbound.load(run.path, source=source)
        assert lowerbound.evaluate(again)["elbo"] == run.metrics["test"]["elbo"]
    assert lowerbound.resume(run.path, source=x).metrics["weights"] == run.metrics["weights"]
    for other in (x + 1e-3 * (x < 0.5), x[:199], data.tensor(x, validation=7), data.tensor(x, binarise="threshold")):
        with pytest.raises(DataError, match=r"not those it was trained on.*Pass the same ones"):
            _ = lowerbound.load(run.path, source=other).source
        with pytest.raises(DataError, match="not those it was trained on"):
            lowerbound.resume(run.path, source=other)


def test_lists_of_numbers_are_data_and_others_are_refused_in_words(tmp_path: Path) -> None:
    rows = torch.randn(100, 2).tolist()
    run = lowerbound.fit(rows, out=tmp_path / "r", set=["train.epochs=1", "train.batch=16"])
    assert run.data["images"] == {"train": 80, "validation": 10, "test": 10}
    refused: list[tuple[object, str]] = [
        ([[1, 2], [3, 4]], "leave none to train on"),
        ([[1, 2], [3]], "A list was given as data, and it is no array of numbers"),
        (None, "holds object"),
        ({"x": 1}, "holds object"),
    ]
    for thing, says in refused:
        with pytest.raises((UsageError, DataError), match=says):
            lowerbound.fit(thing, out=tmp_path / "s")
    with pytest.raises(UsageError, match=r"data\.validation=0.*lowerbound\.data\.tensor"):
        lowerbound.fit(rows, out=tmp_path / "s", set=["data.validation=0"])
    assert not (tmp_path / "s").exists()


def test_data_are_not_replaced_by_an_assignment(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"lowerbound\.fit\(data\) in Python"):
        lowerbound.fit("digits", out=tmp_path / "r", set=['data={"kind": "moons"}'])
    assert not (tmp_path / "r").exists()


def test_a_resumed_run_warns_where_it_is_not_bit_for_bit(tmp_path: Path, run: lowerbound.Run) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    env = run.env
    env["threads"] = 77
    (copy / "env.json").write_text(json.dumps(env))
    threads = torch.get_num_threads()
    with pytest.warns(UserWarning, match=rf"77 threads and goes on with {threads}, so not bit for bit"):
        lowerbound.resume(copy)
    assert torch.get_num_threads() == threads
    env = {**run.env, "versions": {**env["versions"], "torch": "2.0.0"}}
    (copy / "env.json").write_text(json.dumps(env))
    with pytest.warns(UserWarning, match=r"torch 2\.0\.0 and goes on with .* not bit for bit"):
        lowerbound.resume(copy)


def test_the_objectives_number_of_latents_is_the_default(tmp_path: Path) -> None:
    run = lowerbound.fit("digits", latents=2, out=tmp_path / "r", set=[*FAST, "objective.samples=3"])
    found = {samples: lowerbound.evaluate(run, samples=samples)["elbo"] for samples in (None, 1, 3)}
    assert found[None] == found[3] == run.metrics["test"]["elbo"] != found[1]


def test_so_many_latents_are_drawn_as_are_asked_for(run: lowerbound.Run) -> None:
    """By the model, K times for each image; and the error of the draw falls as 1/√K: 64 latents in place of 4, 1/4."""
    drawn = []
    hook = run.model.register_forward_hook(lambda _m, _x, trace: drawn.append(trace.latents[0].z.shape[:2]))
    lowerbound.evaluate(run, samples=5)
    hook.remove()
    assert {k for k, _ in drawn} == {5}
    assert sum(b for _, b in drawn) == len(run.source.test)
    goal = objective.Elbo()
    few, many = (
        torch.tensor(
            [
                metrics.evaluate(run.model, goal, run.source.blocks("test"), step=0, samples=k, seed=seed)["elbo"]
                for seed in range(40)
            ],
            dtype=torch.float64,
        )
        for k in (4, 64)
    )
    # of 40 draws each, the ratio of two deviations has a standard error of 16 %
    assert float(few.std() / many.std()) == pytest.approx(4, rel=0.5)
    assert float((few.mean() - many.mean()).abs()) < 4 * float(few.std() / 40**0.5)


def test_labels_in_a_second_file_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    np.save("x.npy", rng.random((100, 4), dtype=np.float32))
    np.save("lab.npy", rng.integers(0, 3, 100))
    run = lowerbound.fit("x.npy", out=tmp_path / "r", set=["data.labels=lab.npy", "train.epochs=1", "train.batch=16"])
    monkeypatch.chdir(tmp_path)
    assert run.spec["data"]["labels"] == str(tmp_path / "a" / "lab.npy")
    labels = lowerbound.embed(lowerbound.load(run.path))[1]
    assert labels is not None
    assert labels.tolist() == np.load("a/lab.npy")[run.source.test.rows].tolist()
    np.save("a/lab.npy", rng.integers(0, 3, 100))
    with pytest.raises(DataError, match="not those it was trained on"):
        _ = lowerbound.load(run.path).source


def test_an_interrupted_run_can_be_looked_at(tmp_path: Path) -> None:
    from lowerbound.begin import open_data, plan_spec, prepare

    node, source = open_data("digits")
    done, name = plan_spec(node, source, latents=2, assignments=FAST)
    job = prepare(done, source, name=name, out=tmp_path / "r")
    steps = job.steps()
    for _ in range(7):
        next(steps)
    steps.close()
    run = lowerbound.load(tmp_path / "r")
    assert run.model.sample(1).shape == (1, 1, 8, 8)
    assert "not finished" in run._repr_html_()
    with pytest.raises(StorageError, match="lowerbound resume"):
        _ = run.metrics
    assert lowerbound.resume(tmp_path / "r").metrics["weights"]["which"] == "best"


def test_data_that_changed_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "x.npy"
    np.save(path, rng.random((200, 6), dtype=np.float32))
    run = lowerbound.fit(path, out=tmp_path / "r", set=["train.epochs=1", "train.batch=32"])
    assert lowerbound.load(run.path).source.shape == (6,)
    np.save(path, rng.random((200, 6), dtype=np.float32))
    with pytest.raises(DataError, match="not those it was trained on"):
        _ = lowerbound.load(run.path).source


def test_samples_carry_no_gradient_and_decoding_does(run: lowerbound.Run) -> None:
    assert run.model.sample(3).numpy().shape == (3, 1, 8, 8)
    assert run.model.sample(3, noise=True).requires_grad is False
    assert run.model.decode(torch.zeros(1, 3)).requires_grad is True


def test_a_finished_run_without_its_weights_takes_no_others(tmp_path: Path, run: lowerbound.Run) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    (copy / "weights.safetensors").unlink()
    with pytest.raises(StorageError, match=r"weights\.safetensors is missing: lowerbound resume"):
        _ = lowerbound.load(copy).model
    assert torch.equal(lowerbound.resume(copy).model.sample(2, seed=0), run.model.sample(2, seed=0))


def test_an_interpolation_names_rows_and_classes(run: lowerbound.Run) -> None:
    figure = lowerbound.interpolate(run, [(0, 1)], kind="linear")
    texts = [text.get_text() for axes in figure.axes for text in [*axes.texts, *axes.get_yticklabels()]]
    _, labels = next(iter(run.source.blocks("test")))
    assert labels is not None
    assert f"row 0 ({int(labels[0])}) → row 1 ({int(labels[1])}), linear" in [
        *texts,
        *(t.get_text() for t in figure.texts),
    ]


def test_the_report_calls_a_cross_entropy_no_bound_and_a_likelihood_one(tmp_path: Path, run: lowerbound.Run) -> None:
    page = (run.path / "report.html").read_text()
    assert "log p(x) ≥ elbo" not in page
    assert "a lower bound of the log-likelihood" not in page
    proper = lowerbound.fit("digits", latents=2, out=tmp_path / "r", set=[*FAST, "data.binarise=static"])
    assert "log p(x) ≥ elbo" in (proper.path / "report.html").read_text()


def test_a_training_in_python_shows_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lowerbound.fit("moons", out=tmp_path / "r", set=["train.epochs=0.1"])
    out = capsys.readouterr().out
    assert re.search(r"^step 1/\d+  elbo .* examples/s", out)
    assert out.endswith("Evaluating, and writing the report …\n")
    lowerbound.resume(tmp_path / "r", progress=False)
    lowerbound.fit("moons", out=tmp_path / "s", set=["train.epochs=0.1"], progress=False)
    assert capsys.readouterr().out == ""


def test_the_program_is_named_as_it_can_be_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "an env" / "lowerbound"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert program() == "lowerbound"  # in Python, no script was called
    monkeypatch.setattr(sys, "argv", [str(script)])
    assert program() == shlex.quote(str(script))
    monkeypatch.chdir(tmp_path)
    assert program() == "'./an env/lowerbound'"
    monkeypatch.setenv("PATH", str(script.parent))
    assert program() == "lowerbound"


def test_it_is_known_who_trains_a_run(tmp_path: Path, run: lowerbound.Run) -> None:
    path = Path(shutil.copytree(run.path, tmp_path / "run"))
    mine, other = lowerbound.load(path), lowerbound.load(path)
    assert other.trained_by() is None
    with mine.lock():
        assert other.trained_by() == os.getpid()
        with pytest.raises(StorageError, match="being trained by another process"), other.lock():
            raise AssertionError("two have the lock")
        assert other.trained_by() == os.getpid()  # who was refused has wiped nothing
    assert other.trained_by() is None
    (path / ".lock").write_text("1")  # left by a process that was killed: nobody holds it
    assert other.trained_by() is None


@pytest.mark.parametrize("written", ["", "0", "-1", "words", "9" * 30])
def test_a_lock_that_names_nobody_gives_no_process_to_signal(tmp_path: Path, run: lowerbound.Run, written: str) -> None:
    path = Path(shutil.copytree(run.path, tmp_path / "run"))
    with lowerbound.load(path).lock():
        (path / ".lock").write_text(written)
        assert lowerbound.load(path).trained_by() is None


def test_a_look_does_not_keep_a_training_out(tmp_path: Path, run: lowerbound.Run) -> None:
    path = Path(shutil.copytree(run.path, tmp_path / "run"))
    (path / ".lock").touch()
    with open(path / ".lock") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        threading.Timer(0.1, fcntl.flock, (look, fcntl.LOCK_UN)).start()
        with lowerbound.load(path).lock():
            assert lowerbound.load(path).trained_by() == os.getpid()
