"""The studio's table of runs, their comparison, and what is taken away from them; whatever lies in the folder."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import studiopage
from commandline import call
from lowerbound import comparison, seeds
from lowerbound.card import card
from lowerbound.run import Run
from lowerbound.studio.shelf import Shelf
from lowerbound.words import with_error
from studiopage import id_of, visitor

HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "two\nlines",
    "\"quotes' & `ticks`; $(rm -rf .)",
    "emoji 🙂",
    "n" * 200,
    os.fsdecode(b"not utf-8 \xff\xfe"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    studiopage.trained(tmp_path_factory, "plane", folder / "one")
    studiopage.trained(tmp_path_factory, "strong", folder / "two")
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "runs"))


def lines(client: TestClient) -> dict[str, dict[str, Any]]:
    found = client.get("/api/runs")
    assert found.status_code == 200
    return {run["name"]: run for run in found.json()["runs"]}


def unfinished(path: Path) -> Path:
    for name in ("metrics.json", "weights.safetensors", "report.html"):
        (path / name).unlink()
    return path


def test_a_line_says_what_the_run_s_files_say(folder: Path) -> None:
    with visitor(folder) as client:
        line = lines(client)["two"]
        run = Run.open(folder / "two")
        test = run.metrics["test"]
        assert (line["elbo"], line["elbo_error"]) == (test["elbo"], test["standard_error"]["elbo"])
        assert (line["rate"], line["active"], line["split"]) == (test["rate"], test["active"], "test")
        assert (line["beta"], line["latents"], line["data"], line["recipe"]) == (4, 3, "digits", "beta-vae")
        assert (line["state"], line["when"]) == ("finished", run.env["started"])
        head = client.get(f"/api/runs/{line['id']}").json()
        for name, (value, error, told) in head["splits"]["test"].items():
            assert name in ("active", "images") or told == with_error(value, error)
        assert line["told"] == with_error(test["elbo"], test["standard_error"]["elbo"])
        assert head["splits"]["validation"]["elbo"][0] == run.metrics["validation"]["elbo"]
        assert head["note"] == run.weights_note


def test_a_run_that_trains_shows_how_far_it_is(folder: Path) -> None:
    run = Run.open(unfinished(folder / "one"))
    rows = [{"split": "train", "step": step, "elbo": -step, "rate": 1.0, "beta": 0.5} for step in (2, 4, 6)]
    (folder / "one" / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"half')
    times = [{"step": step, "seconds": seconds} for step, seconds in ((2, 60.0), (4, 3.0), (6, 1.0))]
    (folder / "one" / "timing.jsonl").write_text("".join(json.dumps(row) + "\n" for row in times))
    with visitor(folder) as client:
        assert lines(client)["one"]["state"] == "stopped"
        assert lines(client)["one"]["left"] is None
        with run.lock():
            line = lines(client)["one"]
        assert (line["state"], line["pid"]) == ("training", os.getpid())
        assert (line["step"], line["elbo"], line["reached"], line["total"]) == (6, -6, 0.5, 11)
        assert line["left"] == (11 - 6) * (3.0 + 1.0) / 4  # at the pace of all rows but the first
        assert lines(client)["one"]["state"] == "stopped"


def test_a_training_that_diverged_says_why_until_it_goes_on(folder: Path) -> None:
    run = Run.open(unfinished(folder / "one"))
    with visitor(folder) as client:
        assert lines(client)["one"]["state"] == "stopped"
        run.write_json("diverged.json", {"step": 3, "error": "Step 3: the loss is not finite."})
        line = lines(client)["one"]
        assert (line["state"], line["why"]) == ("diverged", "Step 3: the loss is not finite.")
        with run.lock():
            assert lines(client)["one"]["state"] == "training"
        run.unfinish()
        assert lines(client)["one"]["state"] == "stopped"


def test_a_line_is_read_again_when_one_of_its_files_changes_and_not_before(folder: Path) -> None:
    with visitor(folder) as client:
        before = lines(client)["one"]
        path = folder / "one" / "metrics.json"
        known = json.loads(path.read_text())
        known["test"]["elbo"] = -1.5
        stamp = path.stat()
        path.write_text(json.dumps(known))
        assert lines(client)["one"]["elbo"] == -1.5
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        assert before["elbo"] != -1.5


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="no count of what a process reads")
def test_a_list_of_three_hundred_runs_reads_little_and_again_nothing(folder: Path) -> None:
    (folder / "one" / "history.jsonl").write_bytes(b'{"split": "train", "step": 1, "elbo": -2.0}\n' * 500_000)
    small = [path for path in (folder / "one").iterdir() if path.suffix in (".json", ".jsonl")]
    for i in range(300):
        (folder / f"copy-{i}").mkdir()
        for path in small:
            os.link(path, folder / f"copy-{i}" / path.name)
    with visitor(folder) as client:
        first = _read_by(lambda: lines(client))
        again = _read_by(lambda: lines(client))
        assert len(lines(client)) == 302
    assert first < 300 * 40_000  # bytes, of histories of 22 million each
    assert again < 100_000


def _read_by(work: Callable[[], Any]) -> int:
    before = _bytes_read()
    work()
    return _bytes_read() - before


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_told_as_they_are(folder: Path, name: str) -> None:
    (folder / "one").rename(folder / name)
    with visitor(folder) as client:
        found = lines(client)[name]
        assert found["state"] == "finished"
        assert client.get(f"/api/runs/{found['id']}").json()["name"] == name
        for rest in ("take", "report", "card"):
            assert client.get(f"/api/runs/{found['id']}/{rest}").status_code == 200
        ids = ",".join(run["id"] for run in lines(client).values())
        assert client.get("/api/compare", params={"runs": ids}).status_code == 200


KEYS = ("test", "data", "model", "objective", "train", "shape", "name")
DAMAGE = {
    "empty": b"",
    "truncated": b'{"test": {"elbo": -1',
    "list": b"[1, 2]",
    "number": b"3",
    "null": b"null",
    "no keys": b"{}",
    "wrong types": json.dumps(dict.fromkeys(KEYS, 3)).encode(),
    "strings": json.dumps({"test": {"elbo": "<b>", "standard_error": []}, "name": "x", "shape": "y"}).encode(),
    "deep": b"[" * 200_000,
    "not utf-8": b"\xff\xfe\x00",
    "huge": b" " * ((32 << 20) + 1) + b"{}",
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
@pytest.mark.parametrize("name", ["spec.json", "metrics.json", "data.json", "env.json"])
def test_a_damaged_file_gives_a_line_with_its_reason(folder: Path, name: str, what: str) -> None:
    (folder / "one" / name).write_bytes(DAMAGE[what])
    if (name, what) == ("metrics.json", "no keys"):
        (folder / "one" / "metrics.json").write_bytes(b'{"test": {}}')
    with visitor(folder) as client:
        line = lines(client)["one"]
        assert line["state"] == "damaged", line
        assert len(line["error"]) > 10
        assert lines(client)["two"]["state"] == "finished"
        assert client.get(f"/api/runs/{line['id']}").json()["error"] == line["error"]
        _answers_in_words(client, line["id"])


def _answers_in_words(client: TestClient, id: str) -> None:
    for rest in ("take", "card", "codes.csv", "report", "figures/000000000000"):
        found = client.get(f"/api/runs/{id}/{rest}")
        assert found.status_code in (200, 400, 404, 409), (rest, found.text)
    both = ",".join([id, id_of(client, "two")])
    found = client.get("/api/compare", params={"runs": both})
    assert found.status_code in (400, 409)
    assert found.json()["error"]


ROWS = [b"[]\n", b'"x"\n', b"{}\n", b"half\n", b'{"step": "x"}\n', b'{"step": 1, "elbo": []}\n', b"x" * (17 << 20)]


@pytest.mark.parametrize("name", ["history.jsonl", ".lock", "timing.jsonl", "frames.jsonl", "weights.safetensors"])
def test_a_pipe_where_a_file_should_be_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / "one" / name).unlink(missing_ok=True)
    with visitor(folder) as client:
        id = id_of(client, "one")
        os.mkfifo(folder / "one" / name)
        line = lines(client)["one"]
        assert line["state"] == "damaged"
        assert f"{name} is damaged" in line["error"]
        for what in ("", "/history", "/model", "/take"):
            found = client.get(f"/api/runs/{id}{what}")
            assert (found.status_code, name in found.json()["error"]) == (409, True), what
        assert lines(client)["two"]["state"] == "finished"


def test_what_no_training_writes_is_said_and_not_stumbled_over(folder: Path) -> None:
    known = json.loads((folder / "one" / "data.json").read_text())
    known["images"]["train"] = 0
    (folder / "one" / "data.json").write_text(json.dumps(known))
    spec = json.loads((folder / "two" / "spec.json").read_text())
    spec["data"] = {"kind": "folder", "path": "x" * 5000}
    (folder / "two" / "spec.json").write_text(json.dumps(spec))
    with visitor(folder) as client:
        for name, what in (("one", "history"), ("two", "betas")):
            found = client.get(f"/api/runs/{id_of(client, name)}/{what}")
            assert found.status_code == 409, found.text
            assert "is damaged" in found.json()["error"]


@pytest.mark.parametrize("rows", ROWS, ids=range(len(ROWS)))
def test_a_damaged_history_gives_a_line_with_its_reason(folder: Path, rows: bytes) -> None:
    (folder / "one" / "history.jsonl").write_bytes(rows)
    with visitor(folder) as client:
        line = lines(client)["one"]
        assert line["state"] == "damaged"
        assert "history.jsonl is damaged" in line["error"]
        _answers_in_words(client, line["id"])


def test_files_that_are_folders_or_gone_give_words(folder: Path) -> None:
    (folder / "one" / "data.json").unlink()
    (folder / "two" / "env.json").unlink()
    (folder / "two" / "env.json").mkdir()
    (folder / "no run").mkdir()
    (folder / "dangling").symlink_to("nowhere")
    with visitor(folder) as client:
        found = lines(client)
        assert {name: run["state"] for name, run in found.items()} == {"one": "damaged", "two": "damaged"}
        assert "data.json" in found["one"]["error"]
        assert "env.json" in found["two"]["error"]


def test_a_model_of_one_s_own_has_a_line_with_its_figures(folder: Path) -> None:
    spec = json.loads((folder / "one" / "spec.json").read_text())
    (folder / "one" / "spec.json").write_text(json.dumps({**spec, "model": {"kind": "own"}}))
    with visitor(folder) as client:
        line = lines(client)["one"]
        assert line["state"] == "finished"
        assert "Python" in line["own"]
        assert client.get(f"/api/runs/{line['id']}").json()["splits"]["test"]["elbo"]


def test_the_comparison_is_the_command_line_s(folder: Path) -> None:
    with visitor(folder) as client:
        ids = ",".join(lines(client)[name]["id"] for name in ("one", "two"))
        found = client.get("/api/compare", params={"runs": ids}).json()
    known = comparison.compare(folder / "one", folder / "two")
    assert [found["heads"], found["lines"]] == list(known.table())
    assert (found["meaning"], found["warnings"], found["common"]) == (known.meaning, known.warnings, known.common())
    assert list(found["differences"]) == list(known.differences)
    assert [point["rate"] for point in found["points"]] == [list(point.rate) for point in known.points()]
    assert found["command"] == f"lowerbound compare {folder / 'one'} {folder / 'two'}"


def test_runs_that_cannot_be_compared_are_refused_in_words(folder: Path) -> None:
    unfinished(folder / "one")
    with visitor(folder) as client:
        one = id_of(client, "one")
        found = client.get("/api/compare", params={"runs": one})
        assert found.status_code == 400
        assert "finished" in found.json()["error"]
        assert client.get("/api/compare", params={"runs": f"{one},000000000000"}).status_code == 404
        for wrong in ("", "x", f"{one},", f"{one};{one}", ",".join([one] * 65)):
            assert client.get("/api/compare", params={"runs": wrong}).status_code == 400


def test_the_codes_are_those_that_embed_writes(folder: Path) -> None:
    assert call("embed", folder / "one", "--out", folder / "codes") == 0
    with visitor(folder) as client:
        at = f"/api/runs/{id_of(client, 'one')}/codes"
        while not (how := client.get(at, params={"split": "test"}).json())["ready"]:
            assert 0 < how["done"] <= how["of"] == 180
        found = client.get(f"{at}.csv", params={"split": "test"})
        assert found.status_code == 200
        assert "attachment" in found.headers["content-disposition"]
        assert client.get(f"/api/runs/{id_of(client, 'one')}/codes.csv", params={"split": "all"}).status_code == 400
    both = found.text, (folder / "codes.csv").read_text()
    ours, theirs = (list(csv.DictReader(io.StringIO(text))) for text in both)
    assert len(ours) == 180
    assert [list(row) for row in ours] == [list(row) for row in theirs]
    exact = ("row", "label", "z0", "z1")
    assert [[row[key] for key in exact] for row in ours] == [[row[key] for key in exact] for row in theirs]


def test_what_can_be_taken_away_is_there(folder: Path) -> None:
    (folder / "one" / "figures" / "secret.png").symlink_to(folder / "two" / "spec.json")
    with visitor(folder) as client:
        run = id_of(client, "one")
        found = client.get(f"/api/runs/{run}/take").json()
        assert found["report"] is found["card"] is True
        assert found["splits"] == ["train", "validation", "test"]
        assert any(f"lowerbound embed {folder / 'one'}" == one["text"] for one in found["commands"])
        names = [figure["name"] for figure in found["figures"]]
        assert "samples.png" in names
        assert "secret.png" not in names
        for figure in found["figures"]:
            png = client.get(f"/api/runs/{run}/figures/{figure['id']}")
            assert png.headers["content-type"] == "image/png"
            assert png.content == (folder / "one" / "figures" / figure["name"]).read_bytes()
        assert client.get(f"/api/runs/{run}/card").text == card(Run.open(folder / "one"))


def test_no_folder_of_a_run_leads_out_of_it(folder: Path, tmp_path: Path) -> None:
    with visitor(folder) as client:
        at = f"/api/runs/{id_of(client, 'one')}"
        step = int(max(path.stem for path in (folder / "one" / "frames").glob("*.png")))
        assert client.get(f"{at}/frame", params={"step": step}).status_code == 200
        picture = client.get(f"{at}/take").json()["figures"][0]["id"]
        for name in ("frames", "figures"):
            shutil.move(folder / "one" / name, tmp_path / "elsewhere" / name)
            (folder / "one" / name).symlink_to(tmp_path / "elsewhere" / name)
        assert client.get(f"{at}/frame", params={"step": step}).status_code == 404
        assert client.get(f"{at}/take").json()["figures"] == []
        assert client.get(f"{at}/figures/{picture}").status_code == 404


def test_the_commands_to_take_away_work_as_they_stand(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = folder / "bin" / "lowerbound"
    called.parent.mkdir()
    called.touch()
    monkeypatch.setattr(sys, "argv", [str(called)])
    monkeypatch.setenv("PATH", "/nowhere")
    with visitor(folder) as client:
        found = client.get(f"/api/runs/{id_of(client, 'one')}/take").json()["commands"]
    *typed, python = (one["text"] for one in found)
    assert len(typed) == 6
    for text in typed:
        first, *words = shlex.split(text)
        assert first == str(called)
        assert words[1] == str(folder / "one")
    done: dict[str, Any] = {}
    exec(python, done)
    assert done["run"].model.sample(2).shape == (2, 1, 8, 8)
    assert "<code>lowerbound sample " in (folder / "one" / "report.html").read_text()


def test_a_report_is_a_document_that_can_do_nothing(folder: Path) -> None:
    (folder / "two" / "report.html").write_text("<script>alert(1)</script>")
    with visitor(folder) as client:
        for name in ("one", "two"):
            found = client.get(f"/api/runs/{id_of(client, name)}/report")
            assert found.content == (folder / name / "report.html").read_bytes()
            policy = found.headers["content-security-policy"]
            allowed = dict(part.strip().partition(" ")[::2] for part in policy.split(";"))
            assert allowed["sandbox"] == "allow-scripts"
            assert allowed["default-src"] == "'none'"
            assert re.fullmatch(r"'sha256-[\w+/=]{44}'", allowed["script-src"])
        (folder / "one" / "report.html").unlink()
        assert client.get(f"/api/runs/{id_of(client, 'one')}/report").status_code == 404


def test_the_runs_that_a_sweep_has_not_begun_wait(folder: Path) -> None:
    spec = Run.open(folder / "one").spec
    values = (0.5, 1.0, 2.0)
    (folder / "sweep").mkdir()
    seeds.Group(folder / "sweep", "vae", [0], [spec] * 3, "beta", values).write()
    (folder / "one").rename(folder / "sweep" / "beta-0.5")
    (folder / "sweep" / "beta-1").mkdir()  # begun an instant ago: it has no spec yet
    with visitor(folder) as client:
        (group,) = client.get("/api/runs").json()["groups"]
        assert group["waiting"] == ["beta-1", "beta-2"]
        (folder / "two").rename(folder / "sweep" / "beta-2")
        (group,) = client.get("/api/runs").json()["groups"]
        assert group["waiting"] == ["beta-1"]


@pytest.mark.parametrize("plan", ["[" * 100_000, "[]", '{"seeds": 3, "spec": {}, "name": "vae"}'])
def test_of_a_plan_that_is_damaged_nothing_waits_and_all_others_are_listed(folder: Path, plan: str) -> None:
    (folder / "several").mkdir()
    (folder / "several" / "seeds.json").write_text(plan)
    (folder / "one").rename(folder / "several" / "seed-0")
    with visitor(folder) as client:
        found = client.get("/api/runs").json()
    assert [run["name"] for run in found["runs"]] == ["several/seed-0", "two"]
    assert [group["waiting"] for group in found["groups"]] == [[]]
    assert Shelf(folder).waiting(folder / "gone") == []  # since it was looked at


def test_the_runs_of_a_folder_stand_together_and_its_report_leads_to_theirs(folder: Path) -> None:
    (folder / "sweep").mkdir()
    for name in ("one", "two"):
        (folder / name).rename(folder / "sweep" / name)
    (folder / "sweep" / "sweep.json").write_text("damaged")
    (folder / "sweep" / "report.html").write_text("<a href='one/report.html'>one</a>")
    with visitor(folder) as client:
        found = client.get("/api/runs").json()
        assert [run["name"] for run in found["runs"]] == ["sweep/one", "sweep/two"]
        assert {run["group"] for run in found["runs"]} == {"sweep"}
        (group,) = found["groups"]
        assert (group["name"], group["kind"], group["report"]) == ("sweep", "sweep", True)
        assert group["waiting"] == []  # nobody knows: the plan is damaged
        page = client.get(f"/api/groups/{group['id']}/report")
        assert page.status_code == 200
        assert "allow-scripts" not in page.headers["content-security-policy"]
        assert "script-src" not in page.headers["content-security-policy"]
        led = client.get(f"/api/groups/{group['id']}/one/report.html")
        assert led.content == (folder / "sweep" / "one" / "report.html").read_bytes()
        assert "sandbox allow-scripts" in led.headers["content-security-policy"]
        for wrong in ("three", "..", "%2e%2e"):
            assert client.get(f"/api/groups/{group['id']}/{wrong}/report.html").status_code == 404
