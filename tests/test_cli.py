"""Every verb from end to end on real data: what it writes can be opened, and the numbers it says are the run's."""

import hashlib
import html
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lowerbound
from commandline import ENV, call, metrics, picture, rows, run
from lowerbound.data import SOURCES
from lowerbound.recipes import RECIPES
from lowerbound.spec import REGISTRIES
from lowerbound.verbs.conclusion import collapse
from lowerbound.words import number

ESCAPE = "\x1b"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A short training with two latents on digits."""
    path = tmp_path_factory.mktemp("trained") / "digits"
    assert run("train", "digits", "--latents", "2", "--epochs", "4", "--out", path)[::2] == (0, "")
    yield path
    shutil.rmtree(path)


# ---- train


def test_two_latents_have_their_plane(digits: Path) -> None:
    assert min(picture(digits / "figures" / "manifold.png")) > 100


def test_report_again(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = digits / "report.html"
    page.unlink()
    assert call("report", digits) == 0
    assert capsys.readouterr().out == f"Report: {page}\n"
    assert 10_000 < page.stat().st_size < 5e6


# one of each kind, from the words to the report; that every recipe trains and resumes stands in test_recipes.py
@pytest.mark.parametrize("name", ["vae", "annealed-vae", "sigma-vae", "geco", "iwae", "factor-vae", "ae"])
def test_a_recipe_trains(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--recipe", name, "--epochs", "0.5", "--set", "train.batch=64", "--set", "train.log=1")
    assert call("train", "digits", *words, "--out", tmp_path / "run") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert f"Recipe: {name}" in out
    history = [row for row in rows(tmp_path / "run") if row["split"] == "train"]
    assert [row["step"] for row in history] == list(range(1, 12))
    assert all(np.isfinite(row["loss"]) for row in history)
    found = metrics(tmp_path / "run")["test"]
    assert ("elbo" in found) is (name != "ae")
    assert np.isfinite(found["distortion"] if name == "ae" else found["elbo"])


def test_codes_without_a_spread_are_not_said_to_collapse_to_the_prior(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A point has no KL by which it would be the prior. A penalty of 100 makes codes narrow; the decoder reads them."""
    path = tmp_path / "run"
    words = ("--recipe", "rae-l2", "--beta", "100", "--epochs", "20", "--set", "fit=null")
    assert call("train", "digits", *words, "--out", path) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Latents:"))
    assert line == "Latents: 16 of 16 in use."
    made = lowerbound.load(path)
    x = made.source.test.images()
    with torch.inference_mode():
        codes, images = made.model.encode(x), made.model.reconstruct(x)
    assert float(codes.var(0).max()) < 0.01  # narrow beside N(0, I)
    assert float(images.var(0).mean()) > 0.1 * float(x.var(0).mean())
    assert "weight of −log p(z)" in (path / "report.html").read_text(encoding="utf-8")
    flat = {"latents": 3, "active": 2, "collapsed": [1], "constant": [], "kl_by_dim": None}
    assert collapse(flat, 1000) == "Latents: 2 of 3 in use; hardly varying over the inputs: z1."


def test_a_high_beta_collapses_latents_and_says_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "digits", "--beta", "20", "--epochs", "20", "--out", tmp_path / "run") == 0
    out = capsys.readouterr().out
    test = metrics(tmp_path / "run")["test"]
    collapsed = test["collapsed"]
    assert len(collapsed) >= 8
    assert len(collapsed) + test["active"] == test["latents"] == 16
    listing = ", ".join(f"z{i}" for i in collapsed)
    assert f"Latents: {test['active']} of 16 in use; collapsed to the prior: {listing}." in out
    assert call("train", "digits", "--beta", "20", "--epochs", "3", "--out", tmp_path / "short") == 0
    assert "but after 33 steps the model has hardly begun" in capsys.readouterr().out
    kl = np.array(test["kl_by_dim"])
    assert kl[collapsed].max() < 0.1
    page = re.sub(r"<[^>]*>", " ", (tmp_path / "run" / "report.html").read_text())
    assert re.search(rf"\b{len(collapsed)}\b[^.]{{0,80}}collapsed|collapsed[^.]{{0,80}}\b{len(collapsed)}\b", page)


def test_seeds_and_their_spread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "runs"
    assert call("train", "digits", "--seeds", "2", "--seed", "5", "--epochs", "0.5", "--out", folder) == 0
    before, _, out = capsys.readouterr().out.partition("Over 2 seeds")
    runs = [metrics(folder / f"seed-{seed}")["test"] for seed in (5, 6)]
    for seed, test in zip((5, 6), runs, strict=True):
        assert f"Test: elbo {number(test['elbo'])} ± " in before
        assert re.search(rf"^ +{seed} +{number(test['elbo'])} +{test['distortion']:.2f} ", before, re.M)
    for name in ("elbo", "distortion", "rate"):
        each = [run[name] for run in runs]
        assert each[0] != each[1]
        said = re.search(rf"  {name} (−?\d+\.\d+) ± (\d+\.\d+) nats", out)
        assert said is not None
        assert float(said[1].replace("−", "-")) == pytest.approx(statistics.mean(each), abs=0.005)
        assert float(said[2]) == pytest.approx(statistics.stdev(each), abs=0.005, rel=0)
        assert len(said[2].lstrip("0.")) >= 2 or statistics.stdev(each) >= 0.01  # two digits of a small error
    spread = json.loads((folder / "seeds.json").read_bytes())["spread"]
    assert spread["elbo"]["each"] == [run["elbo"] for run in runs]


# ---- any data


def test_fashion_mnist_or_how_to_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = call("train", "fashion-mnist", "--epochs", "0.006", "--validation", "500", "--out", tmp_path / "run")
    out, err = capsys.readouterr()
    if code:
        assert code == 3
        assert "apt install dataset-fashion-mnist" in err
        assert not (tmp_path / "run").exists()
        return
    assert "Data: fashion-mnist, images of 1×28×28: 59,500 train, 500 validation, 10,000 test." in out
    assert "Trouser" in json.loads((tmp_path / "run" / "data.json").read_bytes())["classes"]


def photographs(folder: Path, count: int, size: tuple[int, int] = (64, 48), shapes: bool = False) -> None:
    """Smooth gradients, with a disc of another colour where shapes are asked for."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    across, down = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    for i in range(count):
        a, b, c = random.random((3, 3))
        pixels = np.clip(a * across[..., None] + b * down[..., None] + c, 0, 1)
        if shapes:
            pixels[(across - a[0]) ** 2 + (down - b[0]) ** 2 < 0.04] = c
        Image.fromarray((pixels * 255).astype(np.uint8)).save(folder / f"{i:03d}.{'png' if i % 2 else 'jpg'}")


def test_a_folder_of_photographs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photographs(tmp_path / "photos", 60)
    path = tmp_path / "run"
    words = ("--size", "32x24", "--epochs", "2", "--set", "train.batch=8")
    assert call("train", tmp_path / "photos", *words, "--out", path) == 0
    out = capsys.readouterr().out
    assert "Data: photos, images of 3×24×32: 48 train, 6 validation, 6 test." in out
    assert call("sample", path, "-n", "3", "--out", tmp_path / "x.npy") == 0
    x = np.load(tmp_path / "x.npy")
    assert x.shape == (3, 3, 24, 32)
    assert x.min() >= 0
    assert x.max() <= 1
    width, height = picture(path / "figures" / "samples.png")
    assert min(width, height) > 100


def test_an_array(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.random.default_rng(0).random((200, 9, 11), np.float32)
    np.save(tmp_path / "grey values.npy", x)
    path = tmp_path / "run"
    words = ("train", tmp_path / "grey values.npy", "--epochs", "1", "--set", "train.batch=16", "--out", path)
    assert call(*words) == 0
    assert "Data: grey values, images of 1×9×11: 160 train, 20 validation, 20 test." in capsys.readouterr().out
    command = json.loads((path / "env.json").read_bytes())["command"]
    assert shlex.split(command) == ["lowerbound", *map(str, words)]  # it can be given again, spaces or not
    assert f"Trained by `{command}`" in (path / "README.md").read_text()
    assert call("embed", path, "--out", tmp_path / "codes") == 0
    with np.load(tmp_path / "codes.npz") as codes:
        assert codes["codes"].shape == (20, 16)
        assert "labels" not in codes


def test_photographs_with_nothing_said_but_where_they_are(tmp_path: Path) -> None:
    """120 small colour photographs and an array train under the defaults, in a real process."""
    photographs(tmp_path / "photos", 120, (32, 24), shapes=True)
    code, out, err = run("train", tmp_path / "photos", "--out", tmp_path / "run")
    assert (code, err) == (0, "")
    assert "Data: photos, images of 3×24×32: 96 train, 12 validation, 12 test." in out
    assert np.isfinite(metrics(tmp_path / "run")["test"]["elbo"])
    assert min(picture(tmp_path / "run" / "figures" / "reconstructions.png")) > 100
    x = np.random.default_rng(0).random((120, 12, 12), np.float32)
    np.save(tmp_path / "x.npy", x)
    code, out, err = run("train", tmp_path / "x.npy", "--out", tmp_path / "array")
    assert (code, err) == (0, "")
    assert "Data: x, images of 1×12×12: 96 train, 12 validation, 12 test." in out
    assert min(picture(tmp_path / "array" / "figures" / "samples.png")) > 100


def test_points_in_the_plane(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run"
    assert call("train", "moons", "--epochs", "1", "--out", path) == 0
    assert "vectors of 2" in capsys.readouterr().out
    assert call("sample", path, "-n", "7", "--out", tmp_path / "x.npy") == 0
    assert np.load(tmp_path / "x.npy").shape == (7, 2)
    assert min(picture(path / "figures" / "samples.png")) > 100
    assert call("traverse", path) == 2
    assert "these data are vectors" in capsys.readouterr().err


# ---- evaluate


def test_evaluate_in_words(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("evaluate", digits, "--split", "validation", "--samples", "3", "--measure", "ledger") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{digits}, validation split, from the best weights (step ")
    assert re.search(r"^ *elbo +−\d+\.\d+ ± 0\.\d+ nats *$", text, re.M)
    assert re.search(r"cross-entropy on grey pixels, which is not a likelihood", text)


def test_evaluate_measures_diagnoses_and_shows_it_on_the_page(
    digits: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What has no meaning for the run is refused in words; the page and evaluation.json have all of it."""
    path = tmp_path / "run"
    shutil.copytree(digits, path)
    assert call("evaluate", path, "--images", "3", "--importance", "40") == 0
    text = capsys.readouterr().out
    kept = json.loads((path / "evaluation.json").read_bytes())["splits"]["test"]
    assert set(kept["sections"]) == {"ledger", "likelihood", "aggregate", "samples", "disentanglement"}
    assert "cross-entropy and not a likelihood" in kept["sections"]["likelihood"]["refused"]
    assert "No likelihood: " in text
    assert "The aggregate posterior" in text
    names = [finding["name"] for finding in kept["findings"]]
    assert names == ["hardly begun", "likelihood that does not fit the data"]
    page = (path / "report.html").read_text()
    for section in kept["sections"].values():
        assert html.escape(section.get("title", section.get("refused"))) in page
        for drawn in section.get("pictures", ()):
            assert min(picture(path / "figures" / drawn["file"])) > 100
    for finding in kept["findings"]:
        assert html.escape(finding["says"]) in page
    assert call("evaluate", path, "--measure", "likelihood") == 2
    assert capsys.readouterr().err.startswith("lowerbound: likelihood: ")
    assert call("evaluate", path, "--measure", "zzz") == 2
    assert "There is no measure 'zzz'; known are:" in capsys.readouterr().err


def test_a_run_that_is_not_finished_is_measured_and_shown_until_its_weights_are_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run"
    options = ("--latents", "2", "--epochs", "3", "--set", "train.save=4", "--set", "train.batch=64")
    warm = ("--set", 'objective.terms.kl.weight={"kind": "linear", "until": 1.0}')
    assert run("train", "digits", *options, *warm, "--out", path)[0] == 0
    steps = metrics(path)["weights"]["step"]
    for name in ("metrics.json", "weights.safetensors", "report.html", "README.md"):
        (path / name).unlink()
    newest, earlier = sorted((path / "checkpoints").iterdir(), reverse=True)[:2]
    assert int(newest.name) == steps
    newest.rename(tmp_path / newest.name)  # as if it had been stopped before
    at = int(earlier.name)
    assert call("evaluate", path, "--images", "3", "--importance", "40") == 0
    text = " ".join(capsys.readouterr().out.split())
    said = f"This training has not ended: all figures are those of step {at:,} of {steps:,}."
    assert f"β 1 asked for, {(at - 1) / steps:.4g} reached by step {at} of {steps}" in text
    assert said in text
    assert f"resume {path} goes on with it." in text
    kept = json.loads((path / "evaluation.json").read_bytes())
    assert kept["step"] == at
    assert kept["weights"] == hashlib.sha256((earlier / "weights.safetensors").read_bytes()).hexdigest()
    assert call("report", path) == 0
    page = (path / "report.html").read_text()
    assert said in page
    assert f"{kept['splits']['test']['sections']['ledger']['values']['elbo']:.2f}".replace("-", "−") in page
    assert not (path / "README.md").exists()
    (tmp_path / newest.name).rename(newest)
    assert call("report", path) == 0
    page = (path / "report.html").read_text()
    assert "Evaluated on the test split" not in page
    assert "This training has not ended" in page
    assert f"its newest checkpoint, step {steps}" in page


# ---- pictures and numbers


PICTURES = [
    ("sample", "samples", ()),
    ("sample", "samples", ("-n", "5", "--temperature", "0.7", "--seed", "3", "--noise")),
    ("reconstruct", "reconstructions", ("-n", "5")),
    ("traverse", "traversal", ("--latents", "3", "--reach", "2")),
    ("traverse", "traversal", ("--image", "3")),
    ("interpolate", "interpolation", ()),
    ("interpolate", "interpolation", ("--kind", "linear", "--start", "3", "--end", "4")),
    ("interpolate", "interpolation", ("--kind", "spherical", "--start", "3", "--end", "4", "--steps", "5")),
    ("interpolate", "interpolation", ("--kind", "both", "--start", "3", "--end", "4")),
]


def test_pictures(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = []
    for i, (verb, _, words) in enumerate(PICTURES):
        out = tmp_path / "new" / "folder" / f"{i}.png"
        assert call(verb, digits, *words, "--out", out) == 0
        assert capsys.readouterr().out.startswith(f"{out}  (best weights (step ")
        assert min(picture(out)) > 50
        made.append(out.read_bytes())
    assert len(set(made)) == len(made)  # each shows what it was asked for


@pytest.mark.parametrize(("verb", "name"), {verb: name for verb, name, _ in PICTURES}.items())
def test_pictures_stand_in_the_run_by_default(
    verb: str, name: str, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = digits / "figures" / f"{name}.png"
    before = path.read_bytes()
    path.unlink()
    assert call(verb, digits) == 0
    assert capsys.readouterr().out.startswith(f"{path}  (")
    assert path.read_bytes() == before  # the same one as at the end of the training


# ---- list, version, and how it is started


@pytest.mark.parametrize("what", ["recipes", "data", "parts"])
def test_lists(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("list", what) == 0
    out = capsys.readouterr().out
    kinds = {
        "recipes": list(RECIPES),
        "data": list(SOURCES),
        "parts": [
            f"{registry} {kind}:" for registry in REGISTRIES if registry != "data" for kind in REGISTRIES[registry]
        ],
    }
    missing = [kind for kind in kinds[what] if kind not in out]
    assert missing == []
    if what == "recipes":
        assert call("list") == 0
        assert capsys.readouterr().out == out


@pytest.mark.parametrize(
    "command", [[str(Path(sys.executable).with_name("lowerbound"))], [sys.executable, "-m", "lowerbound"]]
)
def test_it_can_be_started_in_two_ways_and_knows_its_version(command: list[str]) -> None:
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, env=ENV)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"lowerbound {version('lowerbound')}\n", "")


def test_python_opens_what_the_command_line_made(digits: Path) -> None:
    run = lowerbound.load(digits)
    assert run.metrics["test"]["latents"] == run.spec["latents"] == 2
    assert run.model.sample(2).shape == (2, 1, 8, 8)
    assert run.history == rows(digits)


# ---- a terminal


def test_a_terminal_has_a_live_line_and_ctrl_c_saves(tmp_path: Path) -> None:
    path, (screen, side) = tmp_path / "run", pty.openpty()
    words = ("train", "digits", "--epochs", "40", "--out", str(path))
    process = subprocess.Popen(
        [sys.executable, "-m", "lowerbound", *words],
        env={**ENV, "TERM": "xterm", "COLUMNS": "160"}, stdin=side, stdout=side, stderr=side, start_new_session=True,
    )  # fmt: skip
    os.close(side)
    text, asked = "", False
    try:
        while select.select([screen], [], [], 60)[0]:
            try:
                text += os.read(screen, 65536).decode(errors="replace")
            except OSError:  # the other side is closed
                break
            if not asked and len(set(re.findall(r"step (\d+)/", text))) >= 3:
                process.send_signal(signal.SIGINT)  # what Ctrl-C is
                asked = True
        assert process.wait(60) == 75
    finally:
        process.kill()
        os.close(screen)
    live, _, message = text.rpartition("lowerbound: Stopped at step")
    assert f"{ESCAPE}[2K" in live  # the line is drawn over itself
    assert "images/s" in live
    assert ESCAPE not in message  # nothing is drawn over what is said last
    assert f"lowerbound resume {path}" in message


# ---- what is said before and after


def test_the_help_shows_real_defaults_only(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("train", "resume", "evaluate", "sample", "traverse", "interpolate"):
        assert call(verb, "--help") == 0
        out = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert "None" not in out
        assert "[DATA]" in out or verb != "train"


def test_why_few_images_are_trained_otherwise_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photographs(tmp_path / "photos", 40, (12, 10))
    assert call("train", tmp_path / "photos", "--set", "train.epochs=1", "--out", tmp_path / "a") == 0
    assert "are few" not in capsys.readouterr().out  # the epochs were not chosen
    x = np.random.default_rng(0).random((40, 3), np.float32)
    np.save(tmp_path / "x.npy", x)
    assert call("train", tmp_path / "x.npy", "--out", tmp_path / "b") == 0
    out = capsys.readouterr().out
    assert "32 examples are few: with a batch of 128 and 40 epochs a model would hardly have begun" in out
    assert re.search(r"Test: elbo .* nats over 4 examples, ", out)
    assert "32 examples of 3" in (tmp_path / "b" / "README.md").read_text()


def test_a_schedule_that_falls_short_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    until = "objective.terms.capacity.capacity.until=1"
    words = ("--recipe", "annealed-vae", "--epochs", "1", "--set", until, "--out", tmp_path / "run")
    assert call("train", "digits", *words) == 0
    reached = metrics(tmp_path / "run")["capacity"]["reached"]
    assert f"The schedule of the capacity C ended at {reached:.3g}, not at the 25 asked for." in capsys.readouterr().out


@pytest.mark.parametrize("ours", [True, False])
def test_matplotlib_has_a_folder_that_takes_files(ours: bool, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    closed = str(tmp_path / "file" / "below")
    cache = str(tmp_path / "cache") if ours else closed
    env = {"HOME": closed, "XDG_CONFIG_HOME": closed, "XDG_CACHE_HOME": closed, "LOWERBOUND_CACHE": cache}
    words = ("train", "moons", "--epochs", "0.1", "--out", tmp_path / "run")
    assert run(*words, env=env)[::2] == (0, "")  # it says nothing of folders
    assert list((tmp_path / "cache").glob("matplotlib/*.json")) != [] or not ours
