"""Runs beside one another: their own figures, a spread over seeds, and no number that looks like another's."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from matplotlib.colors import to_hex

import lowerbound
from commandline import call, metrics, picture, tree
from lowerbound import figures
from lowerbound.comparison import page, table
from lowerbound.comparison.cautions import cautions
from lowerbound.errors import StorageError, UsageError
from lowerbound.figures import style
from lowerbound.run import Run
from lowerbound.words import with_error
from test_report import HOSTILE, Reader
from test_sweep import FAST, points

USAGE = 2
Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    base = tmp_path_factory.mktemp("compared")
    assert call("train", points(base / "x.npy"), *FAST, "--seeds", "2", "--out", base / "group") == 0
    words = ("--measure", "likelihood", "--importance", "20", "--images", "5")
    assert call("evaluate", base / "group" / "seed-0", *words) == 0
    yield base
    shutil.rmtree(base)


@pytest.fixture
def group(_trained: Path, tmp_path: Path) -> Path:
    """A group of two seeds; log p(x) of the first was estimated."""
    folder = tmp_path / "group"
    shutil.copytree(_trained / "group", folder, ignore=shutil.ignore_patterns("checkpoints", "figures"))
    return folder


@pytest.fixture
def other(group: Path) -> Callable[..., Path]:
    """Make a copy of the first run whose files say something else: a run as another training would have left it."""

    def make(name: str, **changes: Callable[[dict[str, Any]], object]) -> Path:
        path = group.parent / name
        shutil.copytree(group / "seed-0", path)
        for file, change in changes.items():
            known = json.loads((path / f"{file}.json").read_bytes())
            change(known)
            (path / f"{file}.json").write_text(json.dumps(known))
        return path

    return make


def said(capsys: Captured, *words: str | Path) -> str:
    """What ``lowerbound compare`` prints, on one line."""
    assert call("compare", *words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return " ".join(out.split())


def found(capsys: Captured, *words: str | Path) -> dict[str, Any]:
    assert call("compare", *words, "--json") == 0
    known: dict[str, Any] = json.loads(capsys.readouterr().out)
    return known


# ---- the table


def test_seeds_are_one_row_with_their_spread(group: Path, capsys: Captured) -> None:
    """Mean and standard deviation by NumPy from the runs' own figures, in JSON and in the table."""
    runs = [group / "seed-0", group / "seed-1"]
    known = found(capsys, group)
    (row,) = known["rows"]
    assert (row["name"], row["seeds"], row["runs"]) == ("group", [0, 1], [str(run) for run in runs])
    assert known["split"] == "test"
    text = said(capsys, *runs)
    assert "± is the standard deviation over the seeds" in text
    for name in ("elbo", "distortion", "rate"):
        each = np.array([metrics(run)["test"][name] for run in runs])
        figure = row["figures"][name]
        assert figure["each"] == list(each)
        assert figure["mean"] == pytest.approx(each.mean(), rel=1e-12)
        assert figure["deviation"] == pytest.approx(each.std(ddof=1), rel=1e-12)
        assert figure["standard_errors"] == [metrics(run)["test"]["standard_error"][name] for run in runs]
        assert with_error(each.mean(), each.std(ddof=1)) in text
    assert "log_p" not in row["figures"]  # of one seed only it was estimated


@pytest.mark.parametrize("density", [True, False])
def test_that_a_cross_entropy_is_scored_is_said(other: Callable[..., Path], density: bool) -> None:
    runs = [other(name, metrics=lambda known: known["likelihood"].update(density=density)) for name in ("one", "two")]
    said = lowerbound.compare(*runs).meaning
    assert ("is a cross-entropy, and no bound of log p(x)." in said) is not density


@pytest.mark.parametrize("step", [10, 5000])
def test_how_far_a_training_came_is_read_from_the_end_of_its_history(other: Callable[..., Path], step: int) -> None:
    """A history may have a million rows, and no other of them is read for it."""
    run = other("one")
    last = json.dumps({"split": "train", "step": step})
    (run / "history.jsonl").write_text(f"{'no row at all' * 10_000}\n" * 5 + last + "\n")
    compared = lowerbound.compare(run)
    assert ("Hardly begun" in compared.meaning) == (step < 200)
    (run / "metrics.json").rename(run / "metrics.gone")
    assert f"after {step:,} steps" in cautions([], [Run.open(run)], "test")[0]
    (run / "history.jsonl").write_text("{}\n")
    with pytest.raises(StorageError, match=r"history\.jsonl is damaged"):
        cautions([], [Run.open(run)], "test")


def test_single_runs_have_the_standard_error_of_their_images(
    group: Path, other: Callable[..., Path], capsys: Captured
) -> None:
    """Two rows that differ in a setting, which is the one that is told; log p(x) is that of the whole split."""
    second = other("second", spec=lambda spec: spec["train"].update(lr=0.5))
    known = found(capsys, group / "seed-0", second)
    assert known["differences"] == {"train.lr": [0.006, 0.5]}
    assert known["warnings"] == []
    assert [row["name"] for row in known["rows"]] == ["seed-0", "second"]
    text = said(capsys, group / "seed-0", second)
    test = metrics(second)["test"]
    assert f"−{-test['elbo']:.2f} ({test['standard_error']['elbo']:.2f})" in text
    assert "train.lr: 0.006, 0.5" in text
    evaluation = json.loads((second / "evaluation.json").read_bytes())["splits"]["test"]["sections"]["likelihood"]
    whole = evaluation["values"]["whole_split"]
    for row in known["rows"]:
        assert row["figures"]["log_p"]["mean"] == whole["log_likelihood"]
        assert row["figures"]["log_p"]["standard_errors"] == [whole["standard_error"]]
        assert row["figures"]["log_p"]["deviation"] is None
    assert "log p(x)" in text


def test_the_same_seed_again_is_no_second_seed(group: Path, other: Callable[..., Path], capsys: Captured) -> None:
    """A copy of a run has no spread over seeds with it: it is a row of its own, and so is not taken for one."""
    known = found(capsys, group, other("copy"))
    assert [row["seeds"] for row in known["rows"]] == [[0, 1], [0]]
    assert known["differences"] == {}


def test_rows_are_named_so_that_they_are_told_apart(group: Path, other: Callable[..., Path], capsys: Captured) -> None:
    first = other("a/seed-0", spec=lambda spec: spec["train"].update(lr=0.1))
    second = other("b/seed-0", spec=lambda spec: spec["train"].update(lr=0.2))
    assert [row["name"] for row in found(capsys, first, second)["rows"]] == ["a/seed-0", "b/seed-0"]
    third = other("elsewhere", spec=lambda spec: spec.update(seed=7))
    names = [row["name"] for row in found(capsys, group / "seed-0", third, second)["rows"]]
    assert names == ["group/seed-0 and 1 more", "b/seed-0"]


def test_the_split_is_the_one_that_all_have(group: Path, other: Callable[..., Path], capsys: Captured) -> None:
    second = other("second", metrics=lambda known: known.pop("test"), spec=lambda spec: spec["train"].update(lr=0.5))
    known = found(capsys, group / "seed-0", second)
    assert known["split"] == "validation"
    assert known["rows"][0]["figures"]["elbo"]["mean"] == metrics(group / "seed-0")["validation"]["elbo"]


def test_an_unfinished_run_is_listed_and_left_out_of_means(group: Path, capsys: Captured) -> None:
    (group / "seed-1" / "metrics.json").unlink()
    known = found(capsys, group)
    assert known["unfinished"] == [str(group / "seed-1")]
    assert known["rows"][0]["seeds"] == [0]
    assert known["rows"][0]["figures"]["elbo"]["deviation"] is None
    text = said(capsys, group)
    assert f"{group / 'seed-1'} is not finished (after 5 steps), and left out: lowerbound resume" in text


# ---- what does not compare


def grey(known: dict[str, Any]) -> None:
    known["likelihood"] = {"name": "Bernoulli", "density": False, "note": "a cross-entropy"}


def discrete(known: dict[str, Any]) -> None:
    known["likelihood"] = {"name": "Categorical", "density": True, "note": ""}
    known["test"]["bits_per_dimension"] = 3.0


def laplace(known: dict[str, Any]) -> None:
    known["likelihood"]["name"] = "Laplace"


def of_a_point(known: dict[str, Any]) -> None:
    known["test"].pop("elbo")
    known["test"].pop("rate")


def fewer(known: dict[str, Any]) -> None:
    known["splits"]["test"]["sections"]["likelihood"]["values"]["samples"] = 5


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("data", {"sha256": "f" * 64}, r"of different data, and no number of theirs compares: x, 3, SHA-256 \w{8}…"),
        ("data", {"name": "y"}, r"of different data, .*: x, 3.* \(seed-0\); y, 3.* \(second\)"),
        ("data", {"binarise": "static"}, r"binarised otherwise, .* none \(seed-0\); static \(second\)"),
        ("data", {"images": {"train": 80, "validation": 10, "test": 9}}, "test splits are not the same images: 10 for"),
        ("data", {"images": {"train": 70, "validation": 10, "test": 10}}, "trained on different numbers of examples"),
        ("metrics", grey, "not the same kind of number, .*: a density: Gaussian .*; a cross-entropy, which is no like"),
        ("metrics", discrete, "not the same kind of number, .*: a density: Gaussian .*; the probability of discrete"),
        ("metrics", laplace, r"Elbos compare, each being a bound .* tells how much noise"),
        ("metrics", of_a_point, r"has no rate and no elbo: second\."),
        ("evaluation", fewer, "fewer samples it is lower: 20 samples of each of 5 images .*; 5 samples of each of 5"),
    ],
)
def test_numbers_that_do_not_compare_are_said(
    file: str, change: Any, words: str, group: Path, other: Callable[..., Path], capsys: Captured
) -> None:
    """Of two runs that differ in this one thing, and in a setting."""
    changes = {file: change if callable(change) else lambda known: known.update(change)}
    second = other("second", **{"spec": lambda spec: spec["train"].update(lr=0.5), **changes})
    known = found(capsys, group / "seed-0", second)
    warnings = known["warnings"]
    assert len(warnings) == 1
    assert known["comparable"] is not ("do not compare" in warnings[0] or "not the same" in warnings[0]
                                       or "no number" in warnings[0])  # fmt: skip
    compared = lowerbound.compare(group / "seed-0", second)
    assert len(compared.points()) == (0 if not known["comparable"] else 1 if change is of_a_point else 2)
    assert re.search(words, warnings[0]), warnings[0]
    assert warnings[0] in said(capsys, group / "seed-0", second)


def test_data_that_were_scaled_otherwise_are_said(group: Path, other: Callable[..., Path], capsys: Captured) -> None:
    second = other("second", spec=lambda spec: spec["data"].update(scale=255))
    assert "prepared otherwise" in found(capsys, group / "seed-0", second)["warnings"][0]


# ---- wrong input


def test_wrong_input_is_refused_in_words(group: Path, other: Callable[..., Path], capsys: Captured) -> None:
    def refused(*words: str | Path) -> str:
        before = tree(group.parent)
        assert call("compare", *words) == USAGE
        assert tree(group.parent) == before
        return capsys.readouterr().err

    run = group / "seed-0"
    assert "There is no run to compare" in refused()
    assert f"{group}/../group/seed-0 is there twice" in refused(run, f"{group}/../group/seed-0")
    assert f"{run} is there twice" in refused(group, run)
    assert f"{group.parent} is not a run: it has no spec.json" in refused(run, group.parent)
    assert "a page is written as .html, the curves as .png" in refused(run, "--out", group / "page.pdf")
    assert "is a folder: give the name of a file" in refused(run, "--out", group)
    nothing = other("nothing", metrics=lambda known: [known.pop(split) for split in ("test", "validation")])
    assert f"no test images has {nothing}." in refused(run, nothing)
    for path in group.glob("seed-*/metrics.json"):
        path.unlink()
    assert f"None of the runs is finished: {run}, {group / 'seed-1'}." in refused(group)
    for path in group.glob("seed-*"):
        shutil.rmtree(path)
    assert f"{group} holds no run yet: go on with lowerbound resume {group}" in refused(group)


# ---- pictures and the page


def test_without_out_nothing_is_written(group: Path, capsys: Captured) -> None:
    before = tree(group)
    said(capsys, group)
    assert tree(group) == before


def test_a_page_in_another_folder_leads_to_the_reports(
    group: Path, other: Callable[..., Path], capsys: Captured
) -> None:
    """Through names that are neither HTML nor a link as they are, and which stay text."""
    name = f"{HOSTILE.replace('/', '')} #1 100%"
    second = other(name, env=lambda known: known.update(recipe=HOSTILE))
    out = group.parent / "pages" / "a b" / "all.html"
    said(capsys, group, second, "--out", out)
    read = Reader(out.read_text("utf-8"))
    anchors = [str(known["href"]) for tag, known in read.elements if tag == "a"]
    targets = [(out.parent / unquote(link)).resolve() for link in anchors]
    assert targets[2:] == [group / "seed-0" / "report.html", group / "seed-1" / "report.html", second / "report.html"]
    assert sorted(targets[:2]) == sorted([group / "seed-0" / "report.html", second / "report.html"])  # the points
    assert all(target.is_file() for target in targets)
    assert not any(tag == "img" or any(name.startswith("on") for name in known) for tag, known in read.elements)
    assert read.text.count(HOSTILE) >= 1
    assert "onerror=alert(1)>\"'&" in read.text
    assert [tag for tag, _ in read.elements if tag == "script"] == ["script"]


def test_curves_are_written_as_a_picture(group: Path, capsys: Captured) -> None:
    out = group.parent / "curves.png"
    assert said(capsys, group, "--out", out).endswith(str(out))
    assert min(picture(out)) > 300


def test_curves_stay_apart_and_the_legend_outside() -> None:
    """Of thirteen runs no two have colour and line in common, seeds have those of their run; nothing is covered."""
    rows = [{"split": "train", "step": i, "epoch": i, "elbo": -9.0 / i, "rate": 1.0, "distortion": 8.0 / i}
            for i in (1, 2, 3)]  # fmt: skip
    drawn = figures.overlay({f"a long name of run {i}": [rows, rows] for i in range(13)})
    drawn.canvas.draw()
    for axes in drawn.axes:
        kinds = [(line.get_color(), line.get_linestyle()) for line in axes.lines]
        assert len(set(kinds)) == 13
        assert kinds[::2] == kinds[1::2]
    (legend,) = drawn.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"a long name of run {i}" for i in range(13)]
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= drawn.bbox.width
    assert all(box.y1 < axes.get_window_extent().y0 for axes in drawn.axes)


def test_labels_of_points_cover_no_other() -> None:
    """Of points in one place one has its label; those that have room have theirs."""
    places = [(0.1, 90.0), (0.1001, 90.0), (0.11, 90.0), (20.0, 60.0), (40.0, 50.0)]
    some = [figures.Point(f"β = {i}", (r, 0.1), (d, 0.1), (-r - d, 0.1)) for i, (r, d) in enumerate(places)]
    drawn = figures.rate_distortion(some)
    drawn.canvas.draw()
    texts = [text for text in drawn.axes[0].texts if text.get_text().startswith("β")]
    assert [text.get_text() for text in texts] == ["β = 0", "β = 3", "β = 4"]
    boxes = [text.get_window_extent() for text in texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(box.x1 <= drawn.bbox.width for box in boxes)


def test_no_point_is_best_that_has_hardly_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    def best(*begun: bool) -> tuple[str, list[bool]]:
        some = [
            figures.Point(f"β = {i}", (9.0 - i, None), (80.0, None), (i - 89.0, None), begun=few)
            for i, few in enumerate(begun)
        ]
        monkeypatch.setattr(table.Comparison, "points", lambda self: some)
        marks = [dot for dot in figures.rate_distortion(some).axes[0].collections if len(dot.get_offsets()) == 1]
        orange = [to_hex(dot.get_facecolor()[0]) == style.SECOND for dot in marks]
        return table.summary(table.Comparison([], [], "test", {}, [], True, "beta")), orange

    said, orange = best(False, False, True)
    assert said.startswith("Of 3 points the test elbo is best at β = 1: −88.00 nats. From β = 0 to β = 2")
    assert orange == [False, True, False]
    said, orange = best(True, True, True)
    assert "With fewer than 200 steps no point is trained" in said
    assert not any(orange)


def test_lines_of_equal_elbo_are_such() -> None:
    some = [figures.Point(f"{r}", (r, None), (d, None), (-r - d, None)) for r, d in ((1.0, 90.0), (30.0, 55.0))]
    lines = [line for line in figures.rate_distortion(some).axes[0].lines if line.get_zorder() == 1]
    sums = [np.asarray(line.get_xdata()) + np.asarray(line.get_ydata()) for line in lines]
    assert len(sums) > 3
    assert all(np.ptp(each) < 1e-9 for each in sums)
    assert np.diff([each[0] for each in sums]) == pytest.approx(np.full(len(sums) - 1, sums[1][0] - sums[0][0]))


# ---- in Python


def test_in_python_runs_are_compared_too(group: Path, other: Callable[..., Path]) -> None:
    second = other("second", spec=lambda spec: spec["train"].update(lr=0.5))
    known = lowerbound.compare(lowerbound.load(group / "seed-0"), second)
    assert [row.name for row in known.rows] == ["seed-0", "second"]
    assert re.search(r"run +elbo +distortion", repr(known))
    assert [name for name in page.pictures(known)] == ["curves", "rate-distortion"]
    with pytest.raises(UsageError, match="There is no run"):
        lowerbound.compare()
