"""A group of runs from several seeds: one data set, one spread, and nothing that is half taken for finished."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commandline import call, tree
from lowerbound import seeds
from lowerbound.data import Source

USAGE, DATA, STORAGE = 2, 3, 5
FAST = ("--epochs", "1", "--set", "train.batch=16", "--set", "train.log=2")
Captured = pytest.CaptureFixture[str]


def points(path: Path, seed: int = 0) -> Path:
    np.save(path, np.random.default_rng(seed).normal(size=(100, 3)).astype(np.float32))
    return path


@pytest.fixture(scope="module")
def _group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    base = tmp_path_factory.mktemp("group")
    words = ("--seeds", "2", "--set", "seed=7", "--device", "cpu")
    assert call("train", points(base / "x.npy"), *FAST, *words, "--out", base / "runs") == 0
    yield base / "runs"
    shutil.rmtree(base)


@pytest.fixture
def group(_group: Path, tmp_path: Path) -> Path:
    """A finished group of the seeds 7 and 8, with data of its own."""
    folder = tmp_path / "runs"
    shutil.copytree(_group, folder)
    shutil.copy(_group.parent / "x.npy", tmp_path / "x.npy")
    for path in (folder / "seeds.json", *folder.glob("seed-*/spec.json")):
        path.write_text(path.read_text().replace(str(_group.parent), str(tmp_path)))
    return folder


def content(group: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((group / "seeds.json").read_bytes())
    return found


def test_the_first_seed_is_the_specs(group: Path) -> None:
    assert content(group)["seeds"] == [7, 8]
    specs = [json.loads((group / f"seed-{seed}" / "spec.json").read_bytes())["seed"] for seed in (7, 8)]
    assert specs == [7, 8]
    assert len(list(group.glob("seed-*"))) == 2


def test_a_seed_begun_later_is_not_trained_on_other_data(group: Path, capsys: Captured) -> None:
    shutil.rmtree(group / "seed-8")
    before = tree(group)
    points(group.parent / "x.npy", seed=1)
    assert call("resume", group) == DATA
    assert f"The data of {group} are not those it was begun with" in capsys.readouterr().err
    assert tree(group) == before
    points(group.parent / "x.npy")
    assert call("resume", group) == 0
    assert (group / "seed-8" / "report.html").exists()


@pytest.mark.parametrize(
    "change", ["{}", "[]", "null", "{", '{"spec": {}, "name": "vae", "seeds": [0]}', "seeds", "name"]
)
def test_a_damaged_seeds_json_is_said(change: str, group: Path, capsys: Captured) -> None:
    text = change
    if change in ("seeds", "name"):
        text = json.dumps({**content(group), change: ["7"]})
    (group / "seeds.json").write_text(text)
    before = tree(group)
    assert call("resume", group) == STORAGE
    err = capsys.readouterr().err
    assert f"{group / 'seeds.json'} is damaged: " in err
    assert f"lowerbound resume {group}/seed-N" in err
    assert tree(group) == before


def test_a_seed_whose_report_is_missing_is_finished_again(group: Path) -> None:
    pages = [group / f"seed-{seed}" / "report.html" for seed in (7, 8)]
    kept = pages[0].stat().st_mtime_ns
    pages[1].unlink()
    assert call("resume", group) == 0
    assert pages[1].stat().st_size > 10_000
    assert pages[0].stat().st_mtime_ns == kept


@pytest.mark.parametrize(("validation", "split"), [("20", "validation"), ("0", None)])
def test_a_group_without_a_test_split(validation: str, split: str | None, tmp_path: Path, capsys: Captured) -> None:
    words = ("--seeds", "2", "--validation", validation, "--set", "data.test=0", "--out", tmp_path / "runs")
    assert call("train", points(tmp_path / "x.npy"), *FAST, *words) == 0
    out, err = capsys.readouterr()
    assert err == ""
    if split:
        assert "Over 2 seeds, on the validation split" in out
        assert content(tmp_path / "runs")["spread"]["split"] == split
    else:
        assert "No image was held out, so nothing was measured" in out


def test_a_resumed_group_keeps_the_devices(group: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def prepare(spec: Any, source: Source, *, device: str, **_: Any) -> None:
        asked.append(("prepare", device))

    def reopen(path: Path, *, device: str | None) -> None:
        asked.append(("reopen", device))

    monkeypatch.setattr(seeds, "prepare", prepare)
    monkeypatch.setattr(seeds, "reopen", reopen)
    (group / "seed-7" / "metrics.json").unlink()
    shutil.rmtree(group / "seed-8")
    source = seeds.source_of(group)
    for device in (None, "mps"):
        list(seeds.jobs(group, source, device=device, env={}))
    # without one: the run's own (None), and for a run begun anew that of the group, which was asked for
    assert asked == [("reopen", None), ("prepare", "cpu"), ("reopen", "mps"), ("prepare", "mps")]
