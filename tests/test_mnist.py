"""The command line on real MNIST, as a user goes through it: one training, then every verb in a process of its own."""

import csv
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import lowerbound
from commandline import call, metrics, picture, rows, run, tree
from lowerbound.recipes import RECIPES
from lowerbound.words import number

WORDS = ("train", "--epochs", "0.35", "--set", "train.batch=64")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The lecture's training cut to 300 steps of 64, nothing else changed: the run, and what was printed."""
    path = tmp_path_factory.mktemp("trained") / "mnist"
    code, out, err = run(*WORDS, "--out", path)
    assert (code, err) == (0, "")
    yield path, out
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def mnist(trained: tuple[Path, str]) -> Path:
    return trained[0]


def said(*words: str | Path) -> str:
    """Run the command line in a process of its own; it must end well, and gives what it printed."""
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    return out


# ---- the training


def test_training_says_what_it_found_chose_and_reached(trained: tuple[Path, str]) -> None:
    path, out = trained
    assert "Data: mnist, images of 1×28×28: 55,000 train, 5,000 validation, 10,000 test." in out
    assert "Recipe: vae" in out
    assert "Training: 300 steps of 64 (0.35 epochs)" in out
    assert f"Run: {path}" in out
    assert f"lowerbound resume {path} goes on" in out
    assert re.search(r"step 300/300  elbo −\d+\.\d  distortion \d+\.\d  rate \d+\.\d", out)
    assert f"Report: {path / 'report.html'}" in out
    test = metrics(path)["test"]
    said = (
        f"Test: elbo {number(test['elbo'])} ± {test['standard_error']['elbo']:.2f}, distortion {test['distortion']:.2f}"
    )
    assert said in out
    assert f"Latents: {test['active']} of 16 in use" in out
    assert "cross-entropy on grey pixels, which is not a likelihood" in out
    assert "\x1b" not in out
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
        "checkpoints", "frames", "frames.jsonl", "figures", "report.html", "README.md",
    }  # fmt: skip
    assert not [path for path in mnist.rglob(".*") if path.name != ".lock"]
    for path in mnist.glob("*.json"):
        assert json.loads(path.read_bytes()), path
    figures = {path.stem for path in (mnist / "figures").glob("*.png")}
    assert figures == {"curves", "samples", "reconstructions", "codes", "traversal", "interpolation"}
    assert all(min(picture(path)) > 100 for path in (mnist / "figures").glob("*.png"))


def test_the_command_is_recorded_as_it_can_be_given_again(mnist: Path) -> None:
    command = json.loads((mnist / "env.json").read_bytes())["command"]
    assert shlex.split(command) == ["lowerbound", *WORDS, "--out", str(mnist)]


def test_the_report_is_one_file_that_needs_no_network(mnist: Path) -> None:
    page = (mnist / "report.html").read_text()
    assert len(page) < 5e6
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert f"{metrics(mnist)['test']['elbo']:.2f}".lstrip("-") in page


# ---- evaluate


def test_evaluate_gives_the_figures_of_the_training_to_the_last_digit(mnist: Path) -> None:
    found, test = json.loads(said("evaluate", mnist, "--measure", "ledger", "--json")), metrics(mnist)["test"]
    assert found["elbo"] < 0
    both = found.keys() & test.keys()
    assert both >= {"elbo", "distortion", "rate", "loss", "kl_by_dim", "standard_error", "images"}
    assert {name: found[name] for name in both} == {name: test[name] for name in both}


def test_evaluate_in_words(mnist: Path) -> None:
    """The whole of it: a cross-entropy has no log p(x), and its codes and samples are measured all the same."""
    test, text = metrics(mnist)["test"], said("evaluate", mnist)
    assert f"{mnist}, test split, from the best weights (step 300)\n\nLedger\n" in text
    assert re.search(rf"^ *elbo +{number(test['elbo'])} ± {test['standard_error']['elbo']:.2f} nats *$", text, re.M)
    assert "10,000 images of 1×28×28" in text
    for title in ("Ledger", "The aggregate posterior", "Samples", "What was found"):
        assert f"\n{title}" in text
    assert "No likelihood: Image 0 has values outside the support of p(x|z)" in text


# ---- pictures and numbers


PICTURES = [
    ("sample", ("-n", "9")),
    ("reconstruct", ("-n", "6")),
    ("traverse", ("--latents", "4")),
    ("interpolate", ("--kind", "linear")),
    ("interpolate", ("--kind", "spherical", "--start", "3", "--end", "4")),
]


@pytest.mark.parametrize(("verb", "words"), PICTURES, ids=lambda value: value if isinstance(value, str) else "")
def test_each_picture(verb: str, words: tuple[str, ...], mnist: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / f"{verb}.png"
    assert said(verb, mnist, *words, "--out", out) == f"{out}  (best weights (step 300))\n"
    assert min(picture(out)) > 50


def test_samples_as_numbers_of_a_process(mnist: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npy"
    assert said("sample", mnist, "-n", "20", "--out", out) == f"{out}\n"
    x = np.load(out)
    assert (x.shape, x.dtype) == ((20, 1, 28, 28), np.float32)
    assert np.array_equal(x, lowerbound.load(mnist).model.sample(20, seed=0).numpy())


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


def test_codes_as_npz_and_csv_agree(mnist: Path) -> None:
    files = [mnist / f"codes-test{end}" for end in (".npz", ".csv", ".png")]
    assert said("embed", mnist).split() == [str(file) for file in files]
    assert min(picture(files[2])) > 400
    with np.load(files[0]) as stored:
        codes, labels, numbers, plane = (stored[name] for name in ("codes", "labels", "rows", "plane"))
    with files[1].open() as text:
        head, *table = csv.reader(text)
    for file in files:
        file.unlink()
    assert codes.shape == (10_000, 16)
    assert head == ["row", "label", *(f"z{j}" for j in range(16)), "plane_x", "plane_y"]
    numbers_of = np.array([row[2:] for row in table], float).astype(np.float32)
    assert np.array_equal(numbers_of, np.concatenate([codes, plane], axis=1))
    assert [int(row[0]) for row in table] == numbers.tolist()
    assert [int(row[1]) for row in table] == labels.tolist()
    assert np.array_equal(labels, lowerbound.load(mnist).source.test.targets())
    # they are the codes of these digits: those of one kind lie closer than those of all
    spread = np.mean([codes[labels == digit].var(axis=0).sum() for digit in range(10)])
    assert spread < 0.8 * codes.var(axis=0).sum()


# ---- what there is, and a run that is finished


def test_list(mnist: Path) -> None:
    text = said("list")
    assert [name for name in RECIPES if name not in text] == []
    assert "mnist" in said("list", "data")


def test_report_and_resume_make_the_same_report_again(mnist: Path) -> None:
    before, page = tree(mnist), mnist / "report.html"
    page.unlink()
    assert said("report", mnist) == f"Report: {page}\n"
    assert page.stat().st_size == pytest.approx(len(before["report.html"]), rel=0.01)  # the seconds are another's
    assert {**tree(mnist), "report.html": b""} == {**before, "report.html": b""}
    page.unlink()
    (mnist / "weights.safetensors").unlink()
    text = said("resume", mnist)
    assert f"Going on with {mnist} at step 300 of 300." in text
    assert f"Report: {page}" in text
    after = tree(mnist)
    assert after.keys() == before.keys()
    timed = {"metrics.json", "report.html"}
    assert [name for name in before if before[name] != after[name] and name not in timed] == []
    assert {**metrics(mnist), "seconds": None} == {**json.loads(before["metrics.json"]), "seconds": None}
    assert page.stat().st_size == pytest.approx(len(before["report.html"]), rel=0.01)
