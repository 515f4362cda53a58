"""Training from the studio's page: the form, the processes it starts, and that nothing harms them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

import lowerbound
from lowerbound import begin, spec
from lowerbound.errors import LowerboundError
from lowerbound.studio import planning
from lowerbound.studio.planning import Form, Planner
from lowerbound.studio.processes import MOST, Trainings
from studiopage import id_of, shelf, visitor

SMALL = ["model.posterior.net.kind=mlp", "model.likelihood.net.kind=mlp", "train.batch=64"]
LONG = [*SMALL, "train.epochs=2000"]  # minutes: it is stopped before


def until(found: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait for something to be there."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError("it did not come")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    with visitor(tmp_path / "runs") as client:
        yield client
        trainings = Trainings(tmp_path / "runs")
        for one in trainings.all():
            if trainings.alive(one):
                os.kill(one.pid, signal.SIGKILL)
                until(lambda one=one: not trainings.alive(one))


def plan(client: TestClient, **form: Any) -> dict[str, Any]:
    answered = client.post("/api/plan", json={"form": {"data": "digits", **form}})
    assert answered.status_code == 200, answered.text
    found: dict[str, Any] = answered.json()
    return found


def start(client: TestClient, **form: Any) -> dict[str, Any]:
    answered = client.post("/api/trainings", json={"form": {"data": "digits", **form}})
    assert answered.status_code == 200, answered.text
    found: dict[str, Any] = answered.json()
    return found


def state(client: TestClient, id: str) -> str:
    return str(client.get(f"/api/trainings/{id}").json()["state"])


# the form


def test_the_parts_are_those_of_the_registries(client: TestClient) -> None:
    found = client.get("/api/parts").json()
    assert {name: list(kinds) for name, kinds in found["registries"].items()} == {
        name: list(kinds) for name, kinds in spec.REGISTRIES.items()
    }
    lr = next(f for f in found["registries"]["train"]["plan"]["fields"] if f["name"] == "lr")
    assert (lr["default"], lr["schema"], lr["node"]) == (0.006, {"exclusiveMinimum": 0, "type": "number"}, None)
    assert "folder" not in [one["name"] for one in found["data"]]
    assert all(one["help"] for one in found["data"])


def test_a_plan_is_the_command_lines_spec(client: TestClient) -> None:
    form = {"recipe": "beta-vae", "beta": 2.5, "latents": 3, "epochs": 0.5, "seed": 7, "set": ["train.lr=0.001"]}
    found = plan(client, **form)
    node, source = begin.open_data("digits")
    expected, _ = begin.plan_spec(
        node, source, recipe="beta-vae", beta=2.5, latents=3, epochs=0.5, seed=7, assignments=["train.lr=0.001"]
    )
    assert found["spec"] == json.loads(json.dumps(expected))
    assert found["command"].endswith(
        "train digits --recipe beta-vae --beta 2.5 --latents 3 --epochs 0.5 --seed 7 "
        f"--out {found['command'].split('--out ')[1].split(' ')[0]} --set train.lr=0.001"
    )
    job = begin.plan_job(expected, source, "cpu")
    assert found["steps"] == job.total
    assert found["parameters"] == sum(p.numel() for p in job.state.model.parameters())
    assert found["data"]["images"] == {part: len(getattr(source, part)) for part in ("train", "validation", "test")}


@pytest.mark.parametrize(
    ("recipe", "others", "kept"),
    [(None, [], False), ("beta-vae", [], False), ("rae-l2", [], True), (None, ["fit.kind=mixture"], True)],
)
def test_a_fit_that_there_is_none_of_is_not_taken_away(recipe: str | None, others: list[str], kept: bool) -> None:
    form = Form(recipe=recipe, set=[*others, "fit=null", "train.lr=0.01"])
    words = form.arguments(None)
    assert ("fit=null" in words) == kept
    assert words[-2:] == ["--set", "train.lr=0.01"]


@pytest.mark.parametrize(
    ("form", "field", "words"),
    [
        ({"data": "digit"}, "data", "digits"),
        ({"data": "--help"}, "data", "reads as an option"),
        ({"data": "no/such/folder"}, "data", "no file or folder"),
        ({"data": "a" * 4000}, "data", "no data set, folder or file"),
        ({"data": "a\nb"}, None, "cannot be typed"),
        ({"beta": -1.0}, "beta", "greater than or equal to 0"),
        ({"recipe": "iwae", "beta": 2.0}, "beta", "no β"),
        ({"latents": 0}, "latents", "at least 1"),
        ({"epochs": -1.0}, "train.epochs", "greater than 0"),
        ({"set": ["train.lr=-1"]}, "train.lr", "greater than 0"),
        ({"set": ["model.prior.kind=mixtures"]}, "model.prior", "did you mean 'mixture'"),
        ({"set": ['objective.terms.kl.weight={"kind":"geco"}']}, "objective.terms.kl.weight.distortion", "missing"),
        ({"set": ["--out=/x"]}, None, "path=value"),
        ({"set": [f"train.lr={'[' * 1900}"]}, None, "nested"),
        ({"set": ["train.epochs=1e308"]}, None, "cannot be built"),
        ({"range": "0..4"}, "range", "above 0"),
        ({"range": "--x"}, "range", "no range"),
        ({"range": "0.1..4", "beta": 1.0}, "beta", "a sweep"),
        ({"name": "../x"}, "name", "letters"),
        ({"name": "-x"}, "name", "letters"),
        ({"set": ["model.posterior.net.kind=mlp", "model.posterior.net.hidden=[100000, 100000]"]}, None, "too large"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(
    client: TestClient, form: dict[str, Any], field: str | None, words: str
) -> None:
    found = plan(client, **form)["problem"]
    assert words in found["words"]
    assert found["field"] == field
    refused = client.post("/api/trainings", json={"form": {"data": "digits", **form}})
    assert refused.status_code == 400
    assert refused.json()["error"] == found["words"]


def test_a_folder_of_half_the_disk_is_not_read(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(4):
        (tmp_path / "deep" / str(i)).mkdir(parents=True)
        (tmp_path / "deep" / str(i) / "file").touch()
    monkeypatch.setattr(planning, "FILES", 3)
    found = plan(client, data=str(tmp_path / "deep"))["problem"]
    assert (found["field"], "than are read for this page" in found["words"]) == ("data", True)


def test_a_sweep_is_planned_with_all_its_values(client: TestClient) -> None:
    found = plan(client, range="0.1..20", points=5, seeds=2)
    assert found["runs"] == 10
    assert re.search(r"sweep digits --beta 0\.1\.\.20 --points 5 --seeds 2 ", found["command"])


KINDS = [
    (registry, path, kind)
    for registry, path in (
        ("posterior", "model.posterior"), ("prior", "model.prior"), ("likelihood", "model.likelihood"),
        ("encoder", "model.posterior.net"), ("decoder", "model.likelihood.net"),
    )
    for kind in spec.REGISTRIES[registry]
]  # fmt: skip
KINDS += [("term", f"objective.terms.{kind}", kind) for kind in spec.REGISTRIES["term"]]
KINDS += [("weight", "objective.terms.kl.weight", kind) for kind in spec.REGISTRIES["weight"]]


def drawn(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Draw what the form's input for such a field lets a person enter, the wrong among it."""
    if "anyOf" in schema:
        return st.one_of([drawn(one) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from([*schema["enum"], "none of them"])
    simple: dict[Any, st.SearchStrategy[Any]] = {
        "boolean": st.booleans(),
        "null": st.none(),
        "integer": st.integers(-1, 4),
        "number": st.floats(-0.5, 1.5),
        "array": st.lists(st.integers(0, 3), max_size=3),
    }
    return simple.get(schema.get("type"), st.sampled_from(["", "x", "optimal"]))


@pytest.fixture(scope="module")
def planner() -> Planner:
    return Planner()


@pytest.mark.parametrize(("registry", "path", "kind"), KINDS)
@settings(max_examples=4, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_every_choice_of_the_form_is_a_spec_or_words(
    registry: str, path: str, kind: str, planner: Planner, data: st.DataObject
) -> None:
    """What the planner gives is a whole spec, which check() accepts as it is; all else is a LowerboundError."""
    node: dict[str, Any] = {"kind": kind}
    for field in spec.describe(registry, kind):
        if field.node is None and (field.required or data.draw(st.booleans())):
            node[field.name] = data.draw(drawn(field.schema))
    form = Form(data="digits", set=[*SMALL[: 0 if "net" in path else 2], f"{path}={json.dumps(node)}"])
    found = planned(planner, form)
    if isinstance(found, LowerboundError):
        assert len(str(found)) > 20
        return
    assert spec.check(found) == found
    for key in path.split("."):
        found = found[key]
    assert {name: found[name] for name in node} == json.loads(json.dumps(node))


def planned(planner: Planner, form: Form) -> dict[str, Any] | LowerboundError:
    """The spec of a form, or what is said of it; any other exception is a failure."""
    try:
        found: dict[str, Any] = planner.plan(form)["spec"]
    except LowerboundError as error:
        return error
    return found


@pytest.mark.parametrize(("registry", "path", "kind"), KINDS)
def test_each_kind_alone_is_a_spec_or_asks_for_what_it_needs(
    registry: str, path: str, kind: str, planner: Planner
) -> None:
    needed = [f for f in spec.describe(registry, kind) if f.required and f.node is None]
    form = Form(data="digits", set=[f'{path}={{"kind": "{kind}"}}'])
    found = planned(planner, form)
    if needed:
        assert re.search(f"{needed[0].name} is missing", str(found))
    else:
        assert isinstance(found, dict) or re.search(r"density|8-bit|players|posterior|needs", str(found)), found


# the processes


def test_a_training_is_started_watched_stopped_and_gone_on_with(client: TestClient, tmp_path: Path) -> None:
    one = start(client, set=LONG, name="long")
    assert one["state"] in ("starting", "training")
    run = until(lambda: client.get(f"/api/trainings/{one['id']}").json()["runs"])[0]
    assert run == one["id"] == id_of(client, "long")
    opened = lowerbound.load(tmp_path / "runs" / "long")
    until(lambda: opened.trained_by() == one["pid"])
    assert client.post("/api/trainings", json={"form": {"data": "digits", "name": "long"}}).status_code == 400
    until(lambda: opened.history)
    assert client.post(f"/api/runs/{run}/resume").status_code == 409
    assert client.post(f"/api/runs/{run}/stop").json() == {"state": "stopping"}
    until(lambda: state(client, one["id"]) == "stopped")
    assert opened.trained_by() is None
    assert "everything is saved" in client.get(f"/api/trainings/{one['id']}").json()["last"]
    assert client.post(f"/api/runs/{run}/stop").status_code == 409
    until(lambda: not Path(f"/proc/{one['pid']}").exists() if sys.platform == "linux" else True)  # no zombie
    again = client.post(f"/api/runs/{run}/resume").json()
    assert again["command"].split()[1] == "resume"
    until(lambda: opened.trained_by() == again["pid"])
    assert client.post(f"/api/trainings/{one['id']}/stop").json() == {"state": "stopping"}
    until(lambda: state(client, one["id"]) == "stopped")


def test_a_training_that_fails_before_its_run_is_there_is_still_told(client: TestClient, tmp_path: Path) -> None:
    place = tmp_path / "images.npy"
    np.save(place, np.zeros((99, 4, 4), np.uint8))
    one = start(client, data=str(place), set=["train.batch=8"], name="gone")
    place.unlink()
    until(lambda: state(client, one["id"]) in ("failed", "training", "finished"))
    with visitor(tmp_path / "runs") as later:  # another studio, of the same folder
        found = later.get("/api/trainings").json()["trainings"][0]
        assert found["state"] == "failed"
        assert "There is no file or folder" in found["last"]
        assert client.post(f"/api/trainings/{one['id']}/resume").status_code == 409
        assert client.post(f"/api/trainings/{one['id']}/stop").status_code == 409


def test_no_more_than_a_few_at_once(client: TestClient, tmp_path: Path) -> None:
    for i in range(MOST):
        start(client, set=LONG, name=f"run-{i}")
    refused = client.post("/api/trainings", json={"form": {"data": "digits", "name": "more"}})
    assert (refused.status_code, "trainings are at work" in refused.json()["error"]) == (400, True)
    assert not (tmp_path / "runs" / "more").exists()


RECORD = b'{"id": "x", "name": "one", "command": "", "pid": %d, "when": ""}'


@pytest.mark.parametrize("broken", [b"", b"{}", b"[1]", b'{"pid": "x"}', b"\xff", RECORD % -1, RECORD % 0])
def test_a_damaged_record_is_passed_over(client: TestClient, tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "runs" / ".studio").mkdir(parents=True)
    (tmp_path / "runs" / ".studio" / "0123456789ab.json").write_bytes(broken)
    assert client.get("/api/trainings").json() == {"trainings": []}
    assert client.get("/api/trainings/0123456789ab").status_code == 404


class Server:
    """The real studio, as a process."""

    def __init__(self, folder: Path, tmp: Path) -> None:
        self.out = tmp / "studio.txt"
        with open(self.out, "wb") as out:
            words = [sys.executable, "-m", "lowerbound", "studio", folder, "--no-browser"]
            self.process = subprocess.Popen(
                words,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "COLUMNS": "200"},
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell lets its jobs ignore it
            )
        link = until(lambda: re.search(r"http://\S+token=\S+", self.out.read_text()))[0]
        self.client = httpx.Client(base_url=link.split("/?")[0], headers={"X-Lowerbound": "studio"}, timeout=60)
        until(lambda: self._let_in(link))

    def _let_in(self, link: str) -> bool:
        try:
            return self.client.get(link, follow_redirects=True).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """Kill the server and all that is in its session, as when its terminal goes."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self.client.close()


def test_the_servers_end_does_not_harm_a_training(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    server = Server(folder, tmp_path)
    try:
        form = {"data": "digits", "epochs": 6.0, "set": SMALL}
        one = server.client.post("/api/trainings", json={"form": form}).json()
        path = folder / one["name"]
        until(lambda: (path / "checkpoints").exists())
        assert not (path / "metrics.json").exists()
    finally:
        server.kill()
    with visitor(folder) as later:  # another studio, of the same folder
        found = later.get(f"/api/trainings/{one['id']}").json()
        assert found["pid"] == one["pid"]
        assert found["state"] in ("training", "finished")
        until(lambda: state(later, one["id"]) == "finished")
        (line,) = later.get("/api/runs").json()["runs"]
        assert (line["id"], line["state"]) == (one["id"], "finished")
    assert lowerbound.load(path).history[-1]["epoch"] == pytest.approx(6, abs=0.1)


def test_ctrl_c_ends_the_server_in_words_while_a_page_watches(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = Server(shelf(tmp_path_factory, mine="moons"), tmp_path)
    try:
        (line,) = server.client.get("/api/runs").json()["runs"]
        with server.client.stream("GET", f"/api/runs/{line['id']}/stream", params={"since": "0-0,0-0,0-0"}) as told:
            chunks = told.iter_lines()
            while next(chunks) != "event: rows":
                pass
            assert next(chunks).startswith("data: ")
            assert next(chunks) == ""
            before = server.out.read_text()
            server.process.send_signal(signal.SIGINT)
            assert list(chunks) == []  # its end, and no connection that broke
        assert server.process.wait(30) == 130
        assert server.out.read_text().removeprefix(before).strip() == "lowerbound: stopped."
    finally:
        if server.process.poll() is None:
            server.kill()
        server.client.close()
