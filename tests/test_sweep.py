"""A sweep: what is asked for is trained, its curve is that of the runs, and a stop changes no figure."""

import json
import os
import re
import shutil
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.collections import PathCollection

import lowerbound
from commandline import call, metrics, picture, rows, tree
from lowerbound import comparison, figures, progress, seeds
from lowerbound.comparison import page
from lowerbound.comparison.axis import axis
from lowerbound.errors import DataError, DivergedError, UsageError
from lowerbound.job import Job
from lowerbound.train import Record
from lowerbound.words import with_error
from test_report import Reader

USAGE, DIVERGED, STOPPED = 2, 4, 75
FAST = ("--epochs", "1", "--set", "train.batch=16", "--set", "train.log=1", "--validation", "10", "--device", "cpu")
BETAS = ("0.1", "4")
Captured = pytest.CaptureFixture[str]


def images(path: Path) -> Path:
    """White stripes on black: 90 images of 8x8."""
    x = np.zeros((90, 8, 8), np.uint8)
    for i, row in enumerate(np.random.default_rng(0).integers(0, 7, 90)):
        x[i, row : row + 2] = 255
    np.save(path, x)
    return path


def points(path: Path, seed: int = 0) -> Path:
    np.save(path, np.random.default_rng(seed).normal(size=(100, 3)).astype(np.float32))
    return path


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished sweep over two β on images."""
    base = tmp_path_factory.mktemp("swept")
    words = ("--beta", ",".join(BETAS), "--latents", "3", *FAST)
    assert call("sweep", images(base / "x.npy"), *words, "--out", base / "betas") == 0
    yield base / "betas"
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sweep over the learning rate, on vectors, from two seeds: one rate diverges, one run is stopped and gone on."""
    base = tmp_path_factory.mktemp("seeded")
    folder = base / "rates"
    words = ("--over", "train.lr=0.001,1e30", "--seeds", "2", "--seed", "3", *FAST, "--out", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, "shown", interrupted)
        assert call("sweep", points(base / "x.npy"), *words) == STOPPED
    assert [row["step"] for row in rows(folder / WHOLE[1])] == [1, 2]
    assert sorted(p.name for p in folder.iterdir()) == sorted(["sweep.json", *WHOLE, LOST[0]])
    first = (folder / WHOLE[0] / "metrics.json").stat().st_mtime_ns
    assert call("resume", folder) == DIVERGED
    assert (folder / WHOLE[0] / "metrics.json").stat().st_mtime_ns == first  # only what is left is trained
    yield folder
    shutil.rmtree(base)


WHOLE = ("train.lr-0.001-seed-3", "train.lr-0.001-seed-4")
LOST = ("train.lr-1e+30-seed-3", "train.lr-1e+30-seed-4")
shown = progress.shown


def interrupted(records: Iterable[Record], job: Job, after: int = 0) -> Iterator[Record]:
    """Pass records on, and send a real SIGINT at the second step of the run after the first that diverges."""
    for record in shown(records, job, after):
        if job.run.path.name == WHOLE[1] and record.step == 2:
            os.kill(os.getpid(), signal.SIGINT)
        yield record


# ---- what is asked for


@pytest.mark.parametrize(
    ("beta", "over", "count", "found"),
    [
        ("0.1..20", None, 3, (0.1, 1.41, 20.0)),
        ("1 .. 4", None, 3, (1.0, 2.0, 4.0)),
        ("4,0,1", None, 8, (0.0, 1.0, 4.0)),
        ([4, 1.5], None, 8, (1.5, 4.0)),
        (None, "latents=2..32", 5, (2, 4, 8, 16, 32)),
        (None, "latents=2..4", 8, (2, 3, 4)),
        (None, "train.lr=0.01,0.001", 8, (0.001, 0.01)),
        (None, "model.prior.kind=standard,mixture", 8, ("standard", "mixture")),
        (None, "model.posterior.net.channels=[8],[8,16]", 8, ([8], [8, 16])),
        ("2", "latents=2,3", 8, (2, 3)),
    ],
)
def test_ranges_and_lists_are_read(beta: Any, over: str | None, count: int, found: tuple[Any, ...]) -> None:
    assert axis(beta, over, count).values == found


def test_a_range_is_cut_into_equal_ratios() -> None:
    """To the three digits that the values are rounded to."""
    values = np.array(axis("0.1..20", points=8).values)
    assert values == pytest.approx(np.geomspace(0.1, 20, 8), rel=5e-3)


def test_each_point_has_a_folder_of_its_own() -> None:
    """Values that are no names of files, and that would be the same name, are told apart."""
    spec: dict[str, Any] = {}
    group = seeds.Group(Path(), "vae", [0], [spec] * 3, over="a.b", values=("x/../y", "x/..\\y", [1, 2]))
    assert list(group.runs) == ["a.b-x_.._y-0", "a.b-x_.._y-1", "a.b-_1_2_"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "A sweep needs what it shall vary: --beta 0.1..20"),
        (("--beta", "20..0.1"), "the first end must be the lower one"),
        (("--beta", "1..1"), "the first end must be the lower one"),
        (("--beta", "0..4"), "both ends must be above 0"),
        (("--beta=-1..4",), "both ends must be above 0"),
        (("--beta=-1,4",), "'-1' is no weight of the rate"),
        (("--beta", "a..4"), "both ends must be numbers"),
        (("--beta", "1..inf"), "both ends must be numbers"),
        (("--beta", "1,b"), "'b' is no weight of the rate"),
        (("--beta", "1,NaN"), "is not finite"),
        (("--beta", "1,"), "a value is missing"),
        (("--beta", "4"), "has one value, 4: a sweep needs at least two"),
        (("--beta", "4,4.0"), "4 is there twice"),
        (("--beta", "1..4", "--points", "1"), "--points is 1: a sweep needs at least two"),
        (("--beta", "1..1.001", "--points", "8"), "too narrow for 8 points"),
        (("--beta", "1..4", "--seeds", "0"), "--seeds is 0: at least 1"),
        (("--over", "latents"), "write it as path=values"),
        (("--over", "seed=1,2"), "the seeds of a sweep are those of --seeds"),
        (("--over", "data.validation=5,6"), "the runs of a sweep share their data"),
        (("--over", "beta=1,2"), "β is varied with --beta"),
        (("--over", "latents=2,3", "--beta", "1..4"), "beside --over it is one number"),
        (("--over", "latents=0,1"), "At latents = 0: latents is 0"),
        (("--over", "train.lrr=1,2"), "At train.lrr = 1: train.lrr: "),
        (("--over", "train.batch=8,5000"), "At train.batch = 5000: train.batch is 5000, but there are only"),
        (("--beta", "1,2", "--recipe", "rae-l2", "--over", "latents=1,2"), "beside --over it is one number"),
        (("--beta", "1,2", "--recipe", "iwae"), "At beta = 1: This recipe has no β"),
        (("--beta", "1,2", "--device", "nonsense"), "The device 'nonsense' is not there"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_there_is_a_folder(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: Captured
) -> None:
    before = tree(points(tmp_path / "x.npy").parent)
    assert call("sweep", tmp_path / "x.npy", *FAST, *words, "--out", tmp_path / "out") == USAGE
    assert said in capsys.readouterr().err
    assert tree(tmp_path) == before


def test_a_folder_that_exists_is_not_touched(swept: Path, capsys: Captured) -> None:
    before = tree(swept)
    assert call("sweep", swept.parent / "x.npy", "--beta", "1,2", *FAST, "--out", swept) == USAGE
    assert f"go on with it, lowerbound resume {swept}, or give another --out" in capsys.readouterr().err
    assert tree(swept) == before


def test_a_sweep_is_no_run(swept: Path, capsys: Captured) -> None:
    assert call("sample", swept) == USAGE
    assert f"{swept} holds several runs: give one of them ({swept / 'beta-0.1'}, " in capsys.readouterr().err
    with pytest.raises(UsageError, match="is no sweep"):
        comparison.go_on(swept / "beta-1")


# ---- what was trained


def test_each_run_has_its_value_and_nothing_else_differs(swept: Path) -> None:
    specs = [json.loads((swept / f"beta-{beta}" / "spec.json").read_bytes()) for beta in BETAS]
    weights = [spec["objective"]["terms"]["kl"].pop("weight") for spec in specs]
    assert weights == [0.1, 4.0]
    assert specs[0] == specs[1]
    assert [metrics(swept / f"beta-{beta}")["beta"]["reached"] for beta in BETAS] == weights


def test_the_curve_has_the_numbers_of_the_runs(swept: Path) -> None:
    found = comparison.compare(*(swept / f"beta-{beta}" for beta in BETAS)).points()
    drawn = figures.rate_distortion(found).axes[0]
    places = [tuple(dots.get_offsets()[0]) for dots in drawn.collections if isinstance(dots, PathCollection)]
    for beta, point, place in zip(BETAS, found, places, strict=True):
        test = metrics(swept / f"beta-{beta}")["test"]
        for name in ("rate", "distortion", "elbo"):
            assert getattr(point, name) == (test[name], test["standard_error"][name])
        assert place == (test["rate"], test["distortion"])


def test_what_was_said_at_the_end_is_said_again(swept: Path, capsys: Captured) -> None:
    written = (swept / "report.html").read_bytes()
    assert call("report", swept) == 0
    out = capsys.readouterr().out
    test = {beta: metrics(swept / f"beta-{beta}")["test"] for beta in BETAS}
    assert "With fewer than 200 steps no point is trained, and which is best cannot be told." in out
    assert re.search(rf"β = 4 +−{-test['4']['elbo']:.2f} \({test['4']['standard_error']['elbo']:.2f}\)", out)
    assert (swept / "report.html").read_bytes() == written


def test_pictures_are_written(swept: Path, seeded: Path) -> None:
    for name in ("rate-distortion", "elbo", "curves", "samples"):
        assert min(picture(swept / "figures" / f"{name}.png")) > 100
    assert {file.stem for file in (seeded / "figures").iterdir()} == {"rate-distortion", "elbo", "curves"}


def test_rows_of_the_samples_are_the_runs_own(swept: Path) -> None:
    """The picture's rows of images are what each model samples under the same seed."""
    drawn = np.asarray(page.samples(seeds_compared(swept)).axes[0].get_images()[0].get_array())
    scale = (len(drawn) - 2) // 2 // 8  # two rows of 8 pixels, a gap of 2
    for i, beta in enumerate(BETAS):
        with torch.inference_mode():
            first = lowerbound.load(swept / f"beta-{beta}").model.sample(1, seed=0)[0, 0].numpy()
        top = i * (8 * scale + 2)
        corner = drawn[top : top + 8 * scale : scale, : 8 * scale : scale, 0].astype(float)
        assert np.abs(corner - 255 * first).max() <= 1


def seeds_compared(folder: Path) -> comparison.Comparison:
    from lowerbound.comparison.table import of_group

    return of_group(seeds.opened(folder))


def test_spread_is_over_the_seeds(seeded: Path) -> None:
    """Mean and standard deviation by NumPy from the runs' own figures."""
    found = seeds_compared(seeded)
    (row,) = found.rows
    assert (row.name, row.value) == ("lr = 0.001", 0.001)
    assert [run.path for run in row.runs] == [seeded / name for name in WHOLE]
    for name in ("elbo", "distortion", "rate"):
        each = np.array([metrics(seeded / run)["test"][name] for run in WHOLE])
        assert row.spread(name) == pytest.approx((each.mean(), each.std(ddof=1)), rel=1e-12)
        assert each[0] != each[1]
    assert "± is the standard deviation over the seeds" in found.meaning
    assert "brackets" not in found.meaning
    assert "Hardly begun, with fewer than 200 steps: lr = 0.001; " in found.meaning
    assert "lr = 0.001" in repr(found)


# ---- the page


def links(path: Path) -> list[str]:
    return [str(found["href"]) for tag, found in Reader(path.read_text("utf-8")).elements if tag == "a"]


def test_points_and_table_lead_to_the_reports(swept: Path, seeded: Path) -> None:
    """Points in each of two drawings, then the lines of the table; of two seeds a point leads to the first."""
    for folder, names in ((swept, [f"beta-{beta}" for beta in BETAS] * 3), (seeded, [WHOLE[0], WHOLE[0], *WHOLE])):
        found = links(folder / "report.html")
        assert found == [f"{name}/report.html" for name in names]
        assert all((folder / link).is_file() for link in found)


def test_a_point_says_what_it_is_without_a_script(swept: Path) -> None:
    text = (swept / "report.html").read_text("utf-8")
    for beta in BETAS:
        test = metrics(swept / f"beta-{beta}")["test"]
        told = f"β = {beta}: elbo {with_error(test['elbo'], test['standard_error']['elbo'])}, distortion "
        anchors = re.findall(rf'<a href="beta-{beta}/report.html" aria-label="([^"]*)"><title>([^<]*)</title>', text)
        assert len(anchors) == 2
        assert all(label == title and label.startswith(told) for label, title in anchors)
        rate = with_error(test["rate"], test["standard_error"]["rate"])
        assert all(f"rate {rate} nats" in label for label, _ in anchors)
    drawings = re.findall(r"<svg [^>]*>", text)
    assert ['role="group"' in drawing for drawing in drawings] == [True, True, False]  # links in an img are hidden
    assert "target=" not in text


def test_the_page_refers_to_nothing_outside_its_folder(swept: Path) -> None:
    text = (swept / "report.html").read_text("utf-8")
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "").replace("http-equiv", "")
    assert "default-src 'none'" in text
    for tag, found in Reader(text).elements:
        assert tag not in {"link", "iframe", "object", "base", "form"}
        assert (found.get("src") or "data:image/").startswith("data:image/")
        assert not any(name.startswith("on") for name in found)
        if tag != "a":
            assert (found.get("href") or "#").startswith("#")
    assert not re.search(r"url\((?!#)", text)
    named = set(re.findall(r"var\((--[\w-]+)", text))
    dark = text[text.index("prefers-color-scheme: dark") :]
    assert all(f"{name}:" in dark for name in named if name.startswith("--chart"))


# ---- stopped and gone on with


def test_a_stop_in_the_middle_changes_no_figure(seeded: Path, tmp_path: Path) -> None:
    """The run that was stopped is byte for byte the one that ``lowerbound train`` makes without a stop."""
    ours, twin = seeded / WHOLE[1], tmp_path / "twin"
    words = ("--set", "train.lr=0.001", "--seed", "4", *FAST, "--out", twin)
    assert call("train", seeded.parent / "x.npy", *words) == 0
    for name in ("history.jsonl", "spec.json", "weights.safetensors"):
        assert (ours / name).read_bytes() == (twin / name).read_bytes()
    assert {**metrics(ours), "seconds": None} == {**metrics(twin), "seconds": None}


def test_time_left_is_that_of_all_runs(swept: Path, tmp_path: Path) -> None:
    """The steps of runs that come later and are not finished."""
    group, source = seeds.opened(swept), seeds.source_of(swept)
    assert group.steps_after("beta-0.1", source) == 0  # the other is finished
    total = max(row["step"] for row in rows(swept / "beta-4"))
    begun = seeds.Group(**{**vars(group), "folder": tmp_path, "seeds": [0, 1]})
    assert [begun.steps_after(name, source) for name in begun.runs] == [3 * total, 2 * total, total, 0]


def test_a_run_that_diverges_is_left_out_and_the_others_are_trained(seeded: Path, capsys: Captured) -> None:
    assert call("resume", seeded) == DIVERGED
    out, err = capsys.readouterr()
    assert f"2 runs of {seeded} diverged: {', '.join(LOST)}." in err
    assert all(f"{seeded / name} is not finished" in out for name in LOST)
    assert [run.path.name for run in seeds_compared(seeded).unfinished] == list(LOST)


@pytest.mark.parametrize("change", ["{}", "[]", "{", '{"over": "beta"}', "values", "specs"])
def test_a_damaged_plan_is_said(change: str, swept: Path, tmp_path: Path, capsys: Captured) -> None:
    text = (swept / "sweep.json").read_text()
    if change in ("values", "specs"):
        known = json.loads(text)
        text = json.dumps({**known, change: known[change][:1]})
    else:
        text = change
    (tmp_path / "sweep.json").write_text(text)
    assert call("resume", tmp_path) == 5
    assert f"{tmp_path / 'sweep.json'} is damaged: " in capsys.readouterr().err


def test_a_sweep_of_a_tensor_goes_on_with_the_same_one_only(tmp_path: Path) -> None:
    """Both runs diverge at once, and so stay to be gone on with."""
    x = torch.from_numpy(np.load(points(tmp_path / "x.npy")))
    folder = tmp_path / "out"
    settings: dict[str, Any] = {"over": "train.lr=1e29,1e30", "set": ["train.batch=16"], "progress": False}
    with pytest.raises(DivergedError, match=r"All 2 runs of .* diverged"):
        lowerbound.sweep(x, out=folder, **settings)
    with pytest.raises(DivergedError, match=r"All 2 runs of .* diverged"):
        comparison.go_on(folder, source=x, progress=False)
    assert sorted(path.name for path in folder.iterdir()) == ["sweep.json", "train.lr-1e+29", "train.lr-1e+30"]
    with pytest.raises(UsageError, match=r"comparison\.go_on"):
        comparison.go_on(folder, progress=False)
    with pytest.raises(DataError, match="not those it was begun with"):
        comparison.go_on(folder, source=x + 1, progress=False)
