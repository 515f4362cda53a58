"""A training that was stopped, by whatever means and however often, ends as the one that never was: byte for byte."""

import io
import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from subprocess import Popen
from typing import Any

import numpy as np
import pytest

from commandline import at, begin, call, ended, interrupt, killed, rows, saved, tree

# 1,017 images to train on, and 600 to validate on so that a validation takes long enough to be caught at it
DIGITS = ("train", "digits", "--validation", "600", "--epochs", "3", "--set", "train.batch=64")
DIGITS += ("--set", "train.save=6", "--set", "train.log=3")
BASE = (*DIGITS, "--set", "train.validate=12")
TOTAL = 47
PARTS = ("checkpoints", "frames", "figures")


def finished(process: "Popen[str]") -> str:
    code, out, err = ended(process)
    assert (code, err) == (0, "")
    return out


def here(*words: str | Path) -> str:
    """Run the command line in this process, which is another one than was killed; it must end well."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = call(*words)
    assert (code, err.getvalue()) == (0, "")
    return out.getvalue()


def metrics(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "metrics.json").read_bytes())
    assert found.pop("seconds")["training"] > 0
    return found


def drawn(path: Path) -> bytes:
    out = path.parent / f"{path.name}.npy"
    assert call("sample", path, "-n", "70", "--out", out) == 0
    assert np.load(out).shape[0] == 70
    return out.read_bytes()


def assert_same(path: Path, golden: Path) -> None:
    """Weights, checkpoints, history, frames, figures, metrics and samples are those of a run that was never stopped."""
    mine, theirs = ({part: tree(p / part) for part in PARTS} for p in (path, golden))
    for part in PARTS:
        assert mine[part].keys() == theirs[part].keys() != set(), part
        assert [name for name in mine[part] if mine[part][name] != theirs[part][name]] == []
    for name in ("weights.safetensors", "history.jsonl", "frames.jsonl", "spec.json", "data.json"):
        assert (path / name).read_bytes() == (golden / name).read_bytes(), name
    timings = [
        [json.loads(line)["step"] for line in (p / "timing.jsonl").read_text().splitlines()] for p in (path, golden)
    ]
    assert timings[0] == timings[1]
    assert metrics(path) == metrics(golden)
    assert drawn(path) == drawn(golden)
    assert not [p for p in path.rglob(".*") if p.name != ".lock"]


class Moments:
    """When to stop a run: seen from outside, in what it has written since it was begun or resumed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first = max(saved(path), default=-1)

    def made(self) -> bool:
        return (self.path / "spec.json").exists()

    def new_checkpoint(self) -> bool:
        return max(saved(self.path), default=0) > max(self.first, 0)

    def between_checkpoints(self) -> bool:
        newest, history = max(saved(self.path), default=0), rows(self.path)
        return newest > self.first and bool(history) and history[-1]["step"] % 6 == 3 and history[-1]["step"] > newest

    def saving(self) -> bool:
        return self.new_checkpoint() and any((self.path / "checkpoints").glob(".tmp-*"))

    def validating(self) -> bool:
        history = rows(self.path)
        return bool(history) and history[-1]["step"] % 12 == 0 and history[-1]["split"] == "train"

    def finishing(self) -> bool:
        return (self.path / "metrics.json").exists()


@pytest.fixture
def beside() -> Iterator[Callable[..., "Popen[str]"]]:
    """Start a process that works beside the test, and does not outlive it."""
    started: list[Popen[str]] = []

    def start(*words: str | Path) -> "Popen[str]":
        started.append(begin(*words))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Path]]:
    """The run that is never stopped; it works beside the first test, which waits for it when it needs it."""
    path = tmp_path_factory.mktemp("golden") / "run"
    process = begin(*BASE, "--out", path)
    done: list[str] = []

    def wait() -> Path:
        if not done:
            done.append(finished(process))
            assert rows(path)[-1]["step"] == TOTAL
        return path

    yield wait
    process.kill()
    process.communicate()


def test_killed_again_and_again(tmp_path: Path, golden: Callable[[], Path]) -> None:
    path = tmp_path / "run"
    killed(begin(*BASE, "--out", path), Moments(path).made)
    assert rows(path) == []
    killed(begin("resume", path), Moments(path).new_checkpoint)  # begun anew, where there was no checkpoint yet
    caught = False
    while not caught:  # a validation is short: where the kill came too late, the next one is tried
        killed(begin("resume", path), Moments(path).validating)
        caught = Moments(path).validating()
    assert rows(path)[-1]["step"] > max(saved(path))  # the validation's row and checkpoint never came
    for moment in ("between_checkpoints", "saving"):
        before = max(saved(path))
        killed(begin("resume", path), getattr(Moments(path), moment))
        assert before <= max(saved(path)) < TOTAL, moment
    killed(begin("resume", path), Moments(path).finishing)
    assert "Report:" in here("resume", path)
    assert_same(path, golden())


def test_asked_to_stop(tmp_path: Path, golden: Callable[[], Path]) -> None:
    path = tmp_path / "run"
    words: tuple[str | Path, ...] = (*BASE, "--out", path)
    for number in (signal.SIGTERM, signal.SIGINT):
        code, _, err = interrupt(begin(*words), Moments(path).between_checkpoints, number)
        assert code == 75
        step = max(saved(path))  # none is lost: it is saved between two steps, wherever that is
        stopped = f"Stopped at step {step} of {TOTAL}; everything is saved."
        assert err == f"lowerbound: {stopped} Go on with: lowerbound resume {path}\n"
        assert rows(path)[-1]["step"] in range(step - 2, step + 1)
        words = ("resume", path)
    assert f"Going on with {path} at step {step} of {TOTAL}." in here(*words)
    assert_same(path, golden())


def test_under_another_number_of_threads(tmp_path: Path, golden: Callable[[], Path]) -> None:
    path = tmp_path / "run"
    killed(begin(*BASE, "--out", path), Moments(path).between_checkpoints)
    text = finished(begin("resume", path, env={"OMP_NUM_THREADS": "2"}))
    assert "Threads: 1, as the run was trained with, not 2: it goes on bit for bit.\n" in text
    assert_same(path, golden())


def test_under_another_torch(tmp_path: Path, golden: Callable[[], Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run"
    shutil.copytree(golden(), path)
    env = json.loads((path / "env.json").read_bytes())
    env["versions"]["torch"] = "2.0.0"
    (path / "env.json").write_text(json.dumps(env))
    assert call("resume", path) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "bit" in line]
    assert line.startswith(f"{path} was trained with torch 2.0.0 and goes on with {version('torch')}")
    assert line.endswith("not bit for bit.")


def test_a_second_process_is_refused_and_touches_nothing(
    tmp_path: Path, golden: Callable[[], Path], beside: Callable[..., "Popen[str]"]
) -> None:
    path = tmp_path / "run"
    process = beside(*BASE, "--out", path)
    at(process, Moments(path).between_checkpoints)
    process.send_signal(signal.SIGSTOP)
    before = tree(path)
    others = [beside("resume", path), beside("resume", path, "--at", "0")]
    for code, _, err in map(ended, others):
        assert code == 5
        assert f"{path} is being trained by another process" in err
    assert tree(path) == before
    process.send_signal(signal.SIGCONT)
    finished(process)
    assert_same(path, golden())


def test_a_finished_run_is_finished_again(
    tmp_path: Path, golden: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    shutil.copytree(golden(), path)  # a run can be moved, too
    (path / "weights.safetensors").write_bytes(b"")
    (path / "report.html").unlink()
    assert call("resume", path) == 0
    assert capsys.readouterr().err == ""
    assert (path / "report.html").stat().st_size > 10_000
    assert_same(path, golden())


OPTIONS = {
    "average, clip and dynamic": ("--binarise", "dynamic", "--set", "train.ema=0.9", "--set", "train.clip=1"),
    "dequantised": ("--set", "data.dequantise=true", "--set", "model.likelihood.kind=gaussian"),
    "sigma, schedule, bfloat16 and adamw": (
        *("--recipe", "sigma-vae", "--set", 'objective.terms.kl.weight={"kind": "cyclic", "end": 2}'),
        *("--set", "train.precision=bfloat16", "--set", "train.optimiser=adamw", "--set", "train.weight_decay=0.1"),
    ),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_whatever_a_training_carries_is_saved(tmp_path: Path, options: tuple[str, ...]) -> None:
    words = (*DIGITS, *options)
    path, whole = tmp_path / "run", tmp_path / "golden"
    killed(begin(*words, "--out", path), Moments(path).between_checkpoints)
    here("resume", path)
    here(*words, "--out", whole)
    assert_same(path, whole)


def test_patience_goes_on_counting(tmp_path: Path) -> None:
    patience = ("train.patience=2", "train.validate=3", "train.lr=0.03", "train.schedule=constant", "train.clip=1")
    words = (*DIGITS, *(word for setting in patience for word in ("--set", setting)))
    path, whole = tmp_path / "run", tmp_path / "golden"

    def one_was_worse() -> bool:
        newest = path / "checkpoints" / f"{max(saved(path), default=0):09d}" / "state.json"
        return newest.exists() and json.loads(newest.read_bytes())["worse"] == 1

    killed(begin(*words, "--out", path), one_was_worse)
    assert "Stopped early at step" in here("resume", path)
    assert "Stopped early at step" in here(*words, "--out", whole)
    assert rows(whole)[-1]["step"] < TOTAL
    assert metrics(whole)["weights"]["step"] < rows(whole)[-1]["step"]
    assert_same(path, whole)


def test_mnist(tmp_path: Path) -> None:
    words = ("train", "--epochs", "0.035", "--validation", "500", "--set", "train.batch=64")
    words += ("--set", "train.save=8", "--set", "train.log=3")
    path, whole = tmp_path / "run", tmp_path / "golden"
    killed(begin(*words, "--out", path), lambda: rows(path) and rows(path)[-1]["step"] > max(saved(path)) > 0)
    here("resume", path)
    here(*words, "--out", whole)
    assert rows(whole)[-1]["step"] == 32
    assert_same(path, whole)


def test_several_seeds_stopped_in_the_first(tmp_path: Path, golden: Callable[[], Path]) -> None:
    path = tmp_path / "runs"
    first = path / "seed-0"
    words = (*BASE, "--seeds", "2", "--out", path)
    code, _, err = interrupt(begin(*words), Moments(first).between_checkpoints, signal.SIGTERM)
    assert code == 75
    assert err.endswith(f"Go on with: lowerbound resume {path}\n")
    assert not (path / "seed-1").exists()
    text = here("resume", path)
    assert_same(first, golden())
    other = metrics(path / "seed-1")["test"]["elbo"]
    each = [metrics(golden())["test"]["elbo"], other]
    assert json.loads((path / "seeds.json").read_bytes())["spread"]["elbo"]["each"] == each
    said = re.search(r"elbo (−\d+\.\d\d+) ± ", text.split("Over 2 seeds")[1])
    assert said is not None
    assert abs(float(said[1].replace("−", "-")) - sum(each) / 2) <= 0.005
    before = tree(path)
    assert call("resume", path) == 0  # nothing is left to do
    after = tree(path)
    assert {name: data for name, data in after.items() if data != before[name]} == {}


def test_a_seed_that_was_stopped_while_its_folder_was_made(tmp_path: Path, golden: Callable[[], Path]) -> None:
    path = tmp_path / "runs"
    path.mkdir()
    spec = json.loads((golden() / "spec.json").read_bytes())
    (path / "seeds.json").write_text(json.dumps({"spec": spec, "name": "vae", "seeds": [0]}))
    (path / "seed-0").mkdir()
    (path / "seed-0" / "env.json").write_text("{")
    assert call("resume", path) == 0
    assert_same(path / "seed-0", golden())
