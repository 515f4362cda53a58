"""Every verb from end to end on real data: what it writes can be opened, and the numbers it says are the run's."""

import csv
import json
import os
import pty
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lowerbound
from commandline import ENV, begin, call, ended, rows
from lowerbound.data import SOURCES
from lowerbound.recipes import RECIPES
from lowerbound.spec import REGISTRIES

ESCAPE = "\x1b"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Path, str]]]:
    """A short training on MNIST and one with two latents on digits, side by side: the run, and what was printed."""
    base = tmp_path_factory.mktemp("trained")
    words = {
        "mnist": ("train", "--epochs", "0.2", "--validation", "1000"),
        "digits": ("train", "digits", "--latents", "2", "--epochs", "4"),
    }
    processes = {name: begin(*more, "--out", base / name) for name, more in words.items()}
    done = {}
    for name, process in processes.items():
        code, out, err = ended(process)
        assert (code, err) == (0, "")
        done[name] = (base / name, out)
    yield done
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def mnist(trained: dict[str, tuple[Path, str]]) -> Path:
    return trained["mnist"][0]


@pytest.fixture(scope="module")
def digits(trained: dict[str, tuple[Path, str]]) -> Path:
    return trained["digits"][0]


def metrics(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "metrics.json").read_bytes())
    return found


def picture(path: Path) -> tuple[int, int]:
    """Open a picture, decode it whole, and give its size; it must show something."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.std() > 1
    return pixels.shape[1], pixels.shape[0]


# ---- train


def test_training_says_what_it_found_chose_and_reached(trained: dict[str, tuple[Path, str]]) -> None:
    path, out = trained["mnist"]
    assert "Data: mnist, images of 1×28×28: 59,000 train, 1,000 validation, 10,000 test." in out
    assert "Recipe: vae" in out
    assert "Training: 184 steps of 64 (0.2 epochs)" in out
    assert f"Run: {path}" in out
    assert f"lowerbound resume {path} goes on" in out
    assert re.search(r"step 184/184  elbo -\d+\.\d  distortion \d+\.\d  rate \d+\.\d", out)
    assert f"Report: {path / 'report.html'}" in out
    test = metrics(path)["test"]
    said = f"Test: elbo {test['elbo']:.2f} ± {test['standard_error']['elbo']:.2f}, distortion {test['distortion']:.2f}"
    assert said in out
    assert f"Latents: {test['active']} of 16 in use" in out
    assert "cross-entropy on grey pixels, which is not a likelihood" in out
    assert ESCAPE not in out
    assert "\r" not in out


def test_it_learned_something(mnist: Path) -> None:
    test = metrics(mnist)["test"]
    assert test["elbo"] == pytest.approx(-(test["distortion"] + test["rate"]), rel=1e-6)
    x = lowerbound.load(mnist).source.test.images().double().flatten(1)
    mean = x.mean(0).clamp(1e-12, 1 - 1e-12)
    best_single_image = float((x * mean.log() + (1 - x) * (1 - mean).log()).sum(1).mean())
    assert test["elbo"] > best_single_image + 5
    assert test["rate"] > 2
    assert test["images"] == 10_000
    curve = [row["elbo"] for row in rows(mnist) if row["split"] == "train"]
    assert curve[-1] > curve[0] + 50


def test_what_a_run_holds(mnist: Path) -> None:
    names = {path.name for path in mnist.iterdir()} - {".lock"}
    assert names == {
        "spec.json", "env.json", "data.json", "history.jsonl", "timing.jsonl", "metrics.json", "weights.safetensors",
        "checkpoints", "figures", "report.html", "README.md",
    }  # fmt: skip
    assert not [path for path in mnist.rglob(".*") if path.name != ".lock"]
    for path in mnist.glob("*.json"):
        assert json.loads(path.read_bytes()), path
    figures = {path.stem for path in (mnist / "figures").glob("*.png")}
    assert figures == {"curves", "samples", "reconstructions", "codes", "traversal", "interpolation"}
    assert all(min(picture(path)) > 100 for path in (mnist / "figures").glob("*.png"))


def test_two_latents_have_their_plane(digits: Path) -> None:
    assert min(picture(digits / "figures" / "manifold.png")) > 100


def test_the_report_is_one_file_that_needs_no_network(mnist: Path) -> None:
    page = (mnist / "report.html").read_text()
    assert len(page) < 5e6
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert f"{metrics(mnist)['test']['elbo']:.2f}".lstrip("-") in page


def test_report_again(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = digits / "report.html"
    page.unlink()
    assert call("report", digits) == 0
    assert capsys.readouterr().out == f"Report: {page}\n"
    assert 10_000 < page.stat().st_size < 5e6


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--recipe", name, "--epochs", "0.5", "--set", "train.log=1")
    assert call("train", "digits", *words, "--out", tmp_path / "run") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert f"Recipe: {name}" in out
    history = [row for row in rows(tmp_path / "run") if row["split"] == "train"]
    assert [row["step"] for row in history] == list(range(1, 12))
    assert all(np.isfinite(row["loss"]) for row in history)
    assert np.isfinite(metrics(tmp_path / "run")["test"]["elbo"])


def test_a_high_beta_collapses_latents_and_says_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "digits", "--beta", "20", "--epochs", "3", "--out", tmp_path / "run") == 0
    out = capsys.readouterr().out
    test = metrics(tmp_path / "run")["test"]
    collapsed = test["collapsed"]
    assert len(collapsed) >= 8
    assert len(collapsed) + test["active"] == test["latents"] == 16
    listing = ", ".join(f"z{i}" for i in collapsed)
    assert f"Latents: {test['active']} of 16 in use; collapsed to the prior: {listing}." in out
    kl = np.array(test["kl_by_dim"])
    assert kl[collapsed].max() < 0.1
    page = re.sub(r"<[^>]*>", " ", (tmp_path / "run" / "report.html").read_text())
    assert re.search(rf"\b{len(collapsed)}\b[^.]{{0,80}}collapsed|collapsed[^.]{{0,80}}\b{len(collapsed)}\b", page)


def test_seeds_and_their_spread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "runs"
    assert call("train", "digits", "--seeds", "2", "--seed", "5", "--epochs", "0.5", "--out", folder) == 0
    out = capsys.readouterr().out.split("Over 2 seeds")[1]
    runs = [metrics(folder / f"seed-{seed}")["test"] for seed in (5, 6)]
    for name in ("elbo", "distortion", "rate"):
        each = [run[name] for run in runs]
        assert each[0] != each[1]
        assert f"{name} {statistics.mean(each):.2f} ± {statistics.stdev(each):.2f} nats" in out
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


def photographs(folder: Path, count: int, size: tuple[int, int] = (64, 48)) -> None:
    random = np.random.default_rng(0)
    folder.mkdir(parents=True)
    across, down = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    for i in range(count):
        a, b, c = random.random((3, 3))
        pixels = np.clip(a * across[..., None] + b * down[..., None] + c, 0, 1)
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
    np.save(tmp_path / "grey.npy", x)
    path = tmp_path / "run"
    assert call("train", tmp_path / "grey.npy", "--epochs", "1", "--set", "train.batch=16", "--out", path) == 0
    assert "Data: grey, images of 1×9×11: 160 train, 20 validation, 20 test." in capsys.readouterr().out
    assert call("embed", path, "--out", tmp_path / "codes") == 0
    with np.load(tmp_path / "codes.npz") as codes:
        assert codes["codes"].shape == (20, 16)
        assert "labels" not in codes


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


def test_evaluate_gives_the_figures_of_the_training_to_the_last_digit(mnist: Path) -> None:
    code, out, err = ended(begin("evaluate", mnist, "--json"))
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["elbo"] < 0
    assert found == {name: metrics(mnist)["test"][name] for name in found}


def test_evaluate_in_words(digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("evaluate", digits, "--split", "validation", "--samples", "3") == 0
    text = capsys.readouterr().out
    assert re.match(r"Validation: elbo -\d+\.\d\d ± 0\.\d\d, distortion .* nats over 180 images", text)
    assert "3 latents an image" in text


# ---- pictures and numbers


def drawn(path: Path, out: Path, *words: str) -> np.ndarray:
    assert call("sample", path, *words, "--out", out) == 0
    x: np.ndarray = np.load(out)
    return x


def test_samples_as_numbers(mnist: Path, tmp_path: Path) -> None:
    few, many = (drawn(mnist, tmp_path / f"{n}.npy", "-n", str(n)) for n in (18, 100))
    assert (few.shape, many.shape) == ((18, 1, 28, 28), (100, 1, 28, 28))
    assert few.dtype == np.float32
    assert 0 <= many.min() < 0.1 < 0.4 < many.max() <= 1
    as_bytes = [(x * 255).round().astype(np.uint8) for x in (few, many)]
    assert np.array_equal(as_bytes[0], as_bytes[1][:18])
    other = drawn(mnist, tmp_path / "other.npy", "-n", "18", "--seed", "1")
    assert not np.allclose(few, other, atol=0.1)


def test_temperature_and_noise(mnist: Path, tmp_path: Path) -> None:
    cold = drawn(mnist, tmp_path / "cold.npy", "-n", "4", "--temperature", "0")
    assert np.allclose(cold, cold[:1], atol=1e-6)
    noisy = drawn(mnist, tmp_path / "noisy.npy", "-n", "4", "--noise")
    assert set(np.unique(noisy)) == {0.0, 1.0}
    warm = drawn(mnist, tmp_path / "warm.npy", "-n", "4")
    assert np.abs(noisy - warm).mean() < 0.4  # drawn from p(x|z) of the same z
    assert warm.std(axis=0).max() > 0.1


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


def test_codes_as_npz_and_csv_agree(mnist: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("embed", mnist) == 0
    files = [mnist / "codes-test.npz", mnist / "codes-test.csv"]
    assert capsys.readouterr().out.split() == [str(file) for file in files]
    with np.load(files[0]) as stored:
        codes, labels, numbers = stored["codes"], stored["labels"], stored["rows"]
    with files[1].open() as text:
        head, *table = csv.reader(text)
    for file in files:
        file.unlink()
    assert codes.shape == (10_000, 16)
    assert head == ["row", "label", *(f"z{j}" for j in range(16))]
    assert np.array_equal(np.array([row[2:] for row in table], float).astype(np.float32), codes)
    assert [int(row[0]) for row in table] == numbers.tolist()
    assert [int(row[1]) for row in table] == labels.tolist()
    assert np.array_equal(labels, lowerbound.load(mnist).source.test.targets())
    # they are the codes of these digits: those of one kind lie closer than those of all
    spread = np.mean([codes[labels == digit].var(axis=0).sum() for digit in range(10)])
    assert spread < 0.8 * codes.var(axis=0).sum()


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
