"""Watching a training: its history thinned and as it grows, its frames, and the stream that the page follows."""

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from lowerbound import begin, course, data
from lowerbound.data import Source
from lowerbound.frames import moments
from lowerbound.job import Job
from lowerbound.studio.api import watch
from studiopage import id_of, visitor

FAST = ("train.batch=16", "train.log=2", "train.epochs=6", "train.validate=10")
NET = 'model.posterior.net={"kind": "mlp", "hidden": [16]}'
TOTAL = 30


def source(*shape: int) -> Source:
    x = torch.rand(100, *shape, generator=torch.Generator().manual_seed(0))
    return data.tensor(x, validation=20, test=0)


def made(out: Path, *assignments: str, given: Source | None = None, recipe: str | None = None) -> Job:
    """A small training that is ready to begin, of 80 images."""
    given = source(1, 6, 6) if given is None else given
    done, name = begin.plan_spec(
        {"kind": "own"}, given, recipe=recipe, latents=3, assignments=[*FAST, NET, *assignments]
    )
    return begin.prepare(done, given, name=name, out=out)


def trained(job: Job, until: int = TOTAL) -> Path:
    steps = job.steps()
    for record in steps:
        if record.step == until:
            break
    steps.close()
    return job.run.path


def rows(path: Path, name: str = "frames.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    trained(made(folder / "images"))
    return folder


# the frames


@pytest.mark.parametrize(("total", "count"), [(1, 40), (5, 40), (300, 40), (1716, 40), (10_000, 7), (3, 1)])
def test_frames_come_ever_later_and_at_both_ends(total: int, count: int) -> None:
    found = moments(total, count)
    assert found == sorted(set(found))
    assert found[-1] == total
    assert len(found) <= count + 1
    assert len(found) <= max(9, total / 25 + 1)
    if count > 1:
        assert found[0] == 0
    gaps = np.diff(found)
    assert (gaps[1:] >= gaps[:-1] * 0.5 - 1).all()  # hardly ever closer again


def test_a_frame_is_the_images_their_reconstructions_and_samples(tmp_path: Path) -> None:
    job = made(tmp_path / "run")
    path = trained(job)
    model, x = job.judged.eval(), job.source.validation.images(0, 16)
    shown = np.asarray(Image.open(path / "frames" / f"{TOTAL:09d}.png"), float) / 255
    with torch.inference_mode():
        expected = [x, model.reconstruct(x), model.sample(16, seed=0)]
    for line, images in enumerate(expected):
        cells = shown[line * 6 : line * 6 + 6].reshape(6, 16, 6).swapaxes(0, 1)
        np.testing.assert_allclose(cells, images[:, 0].numpy(), atol=0.5001 / 255)
    last = rows(path)[-1]
    assert (last["step"], last["shown"], last["images"]) == (TOTAL, 16, 20)
    assert sum(last["kl_by_dim"]) == pytest.approx(last["rate"], rel=1e-5)
    assert last["elbo"] == pytest.approx(-last["distortion"] - last["rate"])


def test_a_training_is_the_same_with_frames_and_without(tmp_path: Path) -> None:
    options = ("train.ema=0.9", "train.frames=0")
    with_, without = trained(made(tmp_path / "a", options[0])), trained(made(tmp_path / "b", *options))
    assert not (without / "frames").exists()
    assert not (without / "frames.jsonl").exists()
    assert len(rows(with_)) == len(list((with_ / "frames").iterdir())) == len(moments(TOTAL, 40))
    for name in (
        "history.jsonl",
        f"checkpoints/{TOTAL:09d}/weights.safetensors",
        f"checkpoints/{TOTAL:09d}/state.json",
    ):
        assert (with_ / name).read_bytes() == (without / name).read_bytes(), name


def test_frames_after_the_checkpoint_are_made_again(tmp_path: Path) -> None:
    whole, path = trained(made(tmp_path / "whole")), trained(made(tmp_path / "run"), until=20)
    given = source(1, 6, 6)
    later = path / "frames" / "000000029.png"
    later.write_bytes(b"half a picture")  # of a process that was killed
    with open(path / "frames.jsonl", "a") as file:
        file.write('{"step": 29, "shown": 16}\n{"st')
    trained(begin.reopen(path, given=given))
    for one in (path / "frames", whole / "frames"):
        assert later.name not in {picture.name for picture in one.iterdir()}
    assert (path / "frames.jsonl").read_bytes() == (whole / "frames.jsonl").read_bytes()
    for picture in (whole / "frames").iterdir():
        assert picture.read_bytes() == (path / "frames" / picture.name).read_bytes()


def test_vectors_and_points_have_what_there_is(tmp_path: Path) -> None:
    vectors = trained(made(tmp_path / "vectors", given=source(5)))
    assert not (vectors / "frames").exists()
    assert {len(row["kl_by_dim"]) for row in rows(vectors)} == {3}
    points = trained(made(tmp_path / "points", recipe="ae"))
    assert {"kl_by_dim", "elbo"} & set(rows(points)[-1]) == set()
    assert rows(points)[-1]["shown"] == 16


# the history


def written(path: Path, count: int) -> list[dict[str, Any]]:
    """A history of so many steps with a validation each 100: what is written, row by row."""
    found: list[dict[str, Any]] = []
    for step in range(1, count + 1):
        found.append({"split": "train", "step": step, "elbo": -100.0 - step % 7, "lr": 0.001})
        if step % 100 == 0:
            found.append({"split": "validation", "step": step, "elbo": -90.5, "kl_by_dim": [0.25, 1.5]})
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return found


def test_a_long_history_is_thinned_to_rows_of_it(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    whole = written(path, 40_000)
    wanted = [100, 20_000, 40_000]
    found = course.thinned(path, 200, wanted)
    steps = [row["step"] for row in found.rows]
    assert all(row in whole for row in found.rows)
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (1, 40_000)
    assert max(np.diff(steps)) < 3 * 40_000 / 200
    assert 200 <= len(steps) <= 210
    assert {row["step"] for row in found.rows if row["split"] == "validation"} >= set(wanted)
    assert found.count == pytest.approx(len(whole), rel=0.05)


@pytest.mark.parametrize(("low", "high"), [(1, 50), (99, 101), (20_000, 20_300), (39_990, 50_000), (50_000, 60_000)])
def test_a_part_of_a_long_history_is_read_whole(tmp_path: Path, low: int, high: int) -> None:
    path = tmp_path / "history.jsonl"
    whole = written(path, 40_000)
    found = course.thinned(path, 1000, low=low, high=high)
    assert found.rows == [row for row in whole if low <= row["step"] <= high]
    assert found.count == len(found.rows)


@pytest.mark.parametrize("points", [10, 5000])
def test_what_is_damaged_is_passed_over(tmp_path: Path, points: int) -> None:
    path = tmp_path / "history.jsonl"
    whole = written(path, 2000)
    lines = path.read_bytes().split(b"\n")[:-1]
    bad = [
        b"",
        b"{",
        b"[1]",
        b'{"step": -1}',
        b'{"step": true}',
        b'{"step": 1e3}',
        b"\xff\x00",
        b"[" * 5000,
        b"x" * 70_000,
    ]
    spoiled = [line for i, good in enumerate(lines) for line in (good, bad[i % len(bad)])]
    path.write_bytes(b"\n".join(spoiled) + b'\n{"split": "train", "step": 2001, "elbo"')
    found = course.thinned(path, points, [1900])
    assert all(row in whole for row in found.rows)
    assert found.rows[-1]["step"] == 2000
    assert any(row["step"] == 1900 and row["split"] == "validation" for row in found.rows)
    if points == 5000:
        assert len(found.rows) >= 10


def test_a_row_is_numbers_and_nothing_else() -> None:
    line = b'{"step": 1, "elbo": 1e999, "rate": "<b>", "kl_by_dim": [1, null, "x"], "split": "mine", "a": [1], "lr": 1}'
    assert course.read(line) == {"step": 1, "elbo": None, "kl_by_dim": [1.0, None, None], "lr": 1.0}


def test_nothing_is_no_row(tmp_path: Path) -> None:
    assert course.thinned(tmp_path / "none", 10) == course.Course([], 0)
    empty = tmp_path / "history.jsonl"
    empty.write_bytes(b"")
    assert course.thinned(empty, 10).rows == []
    empty.write_bytes(b'{"step": 1')
    assert course.thinned(empty, 10).rows == []


def test_what_is_added_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    found = course.added(path, course.NOWHERE)
    assert (found.rows, found.again) == ([], False)
    path.write_bytes(b'{"step": 1}\n{"st')
    found = course.added(path, found.mark)
    assert [row["step"] for row in found.rows] == [1]
    with open(path, "ab") as file:
        file.write(b'ep": 2}\n{"step": 3}\n')
    found = course.added(path, found.mark)
    assert [row["step"] for row in found.rows] == [2, 3]
    assert course.added(path, found.mark).rows == []
    assert course.thinned(path, 10).mark == found.mark
    (tmp_path / "new").write_bytes(b'{"step": 1}\n')
    os.replace(tmp_path / "new", path)  # as a resumed run cuts it back
    assert course.added(path, found.mark).again
    path.unlink()
    assert course.added(path, found.mark).again


# the routes


def test_the_history_of_a_run(client: TestClient, folder: Path) -> None:
    found = client.get(f"/api/runs/{id_of(client, 'images')}/history").json()
    whole = rows(folder / "images", "history.jsonl")
    assert found["count"] == len(whole) == TOTAL / 2 + TOTAL / 10
    for row, written_ in zip(found["rows"], whole, strict=True):
        assert row == {name: value for name, value in written_.items() if name != "standard_error"}
    assert [row["step"] for row in found["frames"]] == moments(TOTAL, 40)
    assert found["plan"] == {"batch": 16, "total": TOTAL, "epoch": 5.0}
    seconds = [row["seconds"] for row in rows(folder / "images", "timing.jsonl")]
    assert found["elapsed"][-1] == [TOTAL, pytest.approx(sum(seconds), abs=1e-3)]


def test_a_part_of_a_long_history_has_the_rows_between(tmp_path: Path, folder: Path) -> None:
    """What the page asks for where one zooms in to a curve."""
    shutil.copytree(folder / "images", tmp_path / "long")
    whole = written(tmp_path / "long" / "history.jsonl", 40_000)
    with visitor(tmp_path) as client:
        address = f"/api/runs/{id_of(client, 'long')}/history"
        all_, part = (client.get(address, params=asked).json() for asked in ({}, {"low": 20_000, "high": 20_300}))
        assert client.get(address, params={"low": -1}).status_code == 400
    assert len(all_["rows"]) < 1300 < all_["count"]
    assert part["rows"] == [row for row in whole if 20_000 <= row["step"] <= 20_300]
    assert part["count"] == len(part["rows"])


def test_a_frame_of_a_run(client: TestClient, folder: Path) -> None:
    run = id_of(client, "images")
    answer = client.get(f"/api/runs/{run}/frame", params={"step": TOTAL})
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (16 * 6, 3 * 6)
    assert client.get(f"/api/runs/{run}/frame", params={"step": 7}).status_code == 404
    assert client.get(f"/api/runs/{run}/frame", params={"step": "../1"}).status_code == 400


def test_a_history_that_was_cut_is_told(client: TestClient) -> None:
    run = id_of(client, "images")
    answer = client.get(f"/api/runs/{run}/stream", params={"since": "1-1,1-1,1-1"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("event: again\ndata: {}\n\n")
    for since in ("", "1-1", "1-1,1-1,x", "1-1,1-1,1-1,1-1"):
        assert client.get(f"/api/runs/{run}/stream", params={"since": since}).status_code == 400


def test_new_rows_and_the_end_are_told_within_a_second(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.mkdir()
    history = path / "history.jsonl"
    history.write_bytes(b'{"split": "train", "step": 1}\n')
    mark = course.thinned(history).mark

    async def follow() -> list[str]:
        stream = watch.events(path, f"{mark},{course.NOWHERE},{course.NOWHERE}", log=1)
        told = [await anext(stream)]
        with anyio.fail_after(1):
            with open(history, "ab") as file:
                file.write(b'{"split": "train", "step": 2, "elbo": NaN}\n')
            told.append(await anext(stream))
        with anyio.fail_after(3):
            (path / "metrics.json").write_text("{}")
            told.append(await anext(stream))
        await stream.aclose()
        return told

    _, new, end = anyio.run(follow)
    assert new.startswith("event: rows\ndata: ")
    content = json.loads(new.split("data: ")[1])
    assert content["rows"] == [{"split": "train", "step": 2, "elbo": None}]
    assert content["since"] == f"{course.thinned(history).mark},0-0,0-0"
    assert end == "event: state\ndata: {}\n\n"


def test_the_seconds_of_new_rows_go_on_from_those_before(tmp_path: Path) -> None:
    """Three rows are old to the page when it begins to follow; the others are written while it does."""
    timing = tmp_path / "timing.jsonl"
    lines = [b'{"step": %d, "seconds": %.1f}\n' % (10 * i, i) for i in range(1, 7)]
    timing.write_bytes(b"".join(lines[:3]))
    mark = course.thinned(timing).mark

    async def follow() -> list[tuple[int, float]]:
        stream = watch.events(tmp_path, f"{course.NOWHERE},{mark},{course.NOWHERE}", log=10)
        await anext(stream)
        told = []
        for written in (lines[3], b"".join(lines[4:])):
            with open(timing, "ab") as file:
                file.write(written)
            told += json.loads((await anext(stream)).split("data: ")[1])["elapsed"]
        await stream.aclose()
        return told

    assert anyio.run(follow) == [[40, 10.0], [50, 15.0], [60, 21.0]]
