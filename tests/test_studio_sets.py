"""Which runs are a set that differs in β alone, and which run a tour begins with."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lowerbound
from studiopage import id_of, trained, visitor


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    for name in ("weak", "strong"):
        trained(tmp_path_factory, name, tmp_path / "runs" / name)
    return tmp_path / "runs"


def changed(path: Path, name: str, change: Callable[[Any], object]) -> None:
    known = json.loads((path / name).read_text())
    change(known)
    (path / name).write_text(json.dumps(known))


def longer(path: Path) -> None:
    changed(path, "spec.json", lambda spec: spec["train"].update(epochs=4.0))


def asked(folder: Path, run: str) -> dict[str, Any]:
    with visitor(folder) as client:
        found = client.get(f"/api/runs/{id_of(client, run)}/betas")
        assert found.status_code == 200, found.text
        return dict(found.json())


def test_runs_that_differ_in_more_than_beta_are_no_set(folder: Path) -> None:
    longer(folder / "weak")
    found = asked(folder, "weak")
    assert (found["alike"], found["sets"]) == (False, [])
    assert [run["name"] for run in found["runs"]] == ["weak", "strong"]


def test_a_seed_makes_no_other_set(folder: Path) -> None:
    changed(folder / "weak", "spec.json", lambda spec: spec.update(seed=9))
    found = asked(folder, "weak")
    assert found["alike"]
    assert [run["name"] for run in found["runs"]] == ["weak", "strong"]
    (only,) = found["sets"]
    assert only["name"] == "strong and others: 2 runs of 3 latents and 11 steps"


def test_the_set_that_is_offered_is_of_the_same_data_read_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / "my data.npz"
    np.savez(file, x=rng.integers(0, 256, (120, 1, 8, 8), np.uint8), kind=rng.integers(0, 3, 120))
    read = ["data.labels=kind", "data.binarise=dynamic", "data.validation=20", "train.batch=20"]
    run = lowerbound.fit(file, epochs=1, set=read, out=tmp_path / "runs" / "mine", progress=False)
    with visitor(tmp_path / "runs") as client:
        found = client.get(f"/api/runs/{id_of(client, 'mine')}/betas").json()
        plan = client.post("/api/plan", json={"form": found["form"]}).json()
    assert plan["spec"]["data"] == run.spec["data"]
    assert plan["runs"] == 8
    assert found["command"].startswith(f"lowerbound sweep '{file}' --beta 0.1..20 --points 8 --epochs 1 --set")
    sets = [word for word in shlex.split(found["command"]) if word.startswith("data.")]
    assert sorted(sets) == ['data.binarise="dynamic"', 'data.labels="kind"', "data.validation=20"]


def test_of_data_given_in_python_a_line_of_python_is_offered(tmp_path: Path) -> None:
    x = torch.rand(120, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    lowerbound.fit(x, epochs=1, set=["train.batch=20"], out=tmp_path / "runs" / "mine", progress=False)
    found = asked(tmp_path / "runs", "mine")
    assert found["form"] is None
    made: dict[str, Any] = {"x": x[:, :, :4, :4]}
    line = found["command"].replace("'0.1..20'", "[0.1, 4]")
    exec(line.replace("epochs=1", f"epochs=0.5, set=['train.batch=20'], out={str(tmp_path / 's')!r}"), made)
    assert len(list((tmp_path / "s").glob("beta-*"))) == 2


def test_of_several_sets_each_is_offered_and_none_is_mixed(folder: Path) -> None:
    for name in ("weak", "strong"):
        shutil.copytree(folder / name, folder / "sweep" / name)
        longer(folder / "sweep" / name)
    (folder / "sweep" / "sweep.json").write_text("{}")
    shutil.copytree(folder / "weak", folder / "alone")
    changed(folder / "alone", "spec.json", lambda spec: spec["train"].update(epochs=7.0))
    for run, members in (("^weak", {"weak", "strong"}), ("sweep/weak", {"sweep/weak", "sweep/strong"})):
        found = asked(folder, run)
        assert {run["name"] for run in found["runs"]} == members
        assert len(found["sets"]) == 2
        for one in found["sets"]:
            with visitor(folder) as client:
                there = client.get(f"/api/runs/{one['id']}/betas").json()
            assert there["sets"][0]["name"] == one["name"]
    alone = asked(folder, "alone")
    assert alone["alike"]
    assert "alone" not in {run["name"] for run in alone["runs"]}


def first(folder: Path) -> str:
    with visitor(folder) as client:
        run = client.get("/api/tour").json()["run"]
        return str(client.get(f"/api/runs/{run}").json()["name"])


def test_the_tour_begins_with_a_good_run(folder: Path) -> None:
    for name in ("strong", "weak"):
        changed(folder / name, "metrics.json", lambda found: found["test"].update(active=2))
    shutil.copytree(folder / "strong", folder / "sweep" / "strong")
    (folder / "sweep" / "sweep.json").write_text("{}")
    with open(folder / "sweep" / "strong" / "history.jsonl", "a") as file:
        file.write('{"split": "train", "step": 999}\n')
    for name, when in (("weak", "2024-01-02T00:00:00+0000"), ("strong", "2024-01-01T00:00:00+0000")):
        changed(folder / name, "env.json", lambda env, when=when: env.update(started=when))
    assert first(folder) == "weak"  # the newer one of equal length, and none of a sweep
    with open(folder / "strong" / "history.jsonl", "a") as file:
        file.write('{"split": "train", "step": 500}\n')
    assert first(folder) == "strong"  # the longer one
    for name in ("strong", "weak"):
        changed(folder / name, "metrics.json", lambda found: found["test"].update(active=0))
    assert first(folder) == "sweep/strong"  # before all that have collapsed
    (folder / "sweep" / "strong" / "metrics.json").unlink()
    assert first(folder) == "strong"
