"""The studio's view of a trained model."""

import asyncio
import base64
import io
import json
import shlex
import shutil
import socket
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

import lowerbound
from lowerbound import cli, explore, gallery
from lowerbound.metrics.aggregate import FLOOR
from lowerbound.studio.app import application
from lowerbound.studio.command import bound
from lowerbound.studio.state import Studio
from studiopage import id_of, shelf, visitor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shelf(tmp_path_factory, "my runs", digits="weak", moons="moons")


@pytest.fixture(scope="module")
def run(folder: Path) -> lowerbound.Run:
    return lowerbound.load(folder / "digits")


def asked(client: TestClient, name: str, what: str, status: int = 200, **body: Any) -> dict[str, Any]:
    """What a POST of the run gives, when it is ready."""
    address = f"/api/runs/{id_of(client, name)}/{what}"
    found = client.post(address, json=body)
    while found.json().get("ready") is False:
        found = client.post(address, json=body)
    assert found.status_code == status, found.text
    return dict(found.json())


def told(client: TestClient, name: str) -> dict[str, Any]:
    """What is told of the run's model."""
    return dict(client.get(f"/api/runs/{id_of(client, name)}/model").json())


def test_a_draw_from_the_likelihood_is_that_of_its_seed(client: TestClient, run: lowerbound.Run) -> None:
    z = [[0.3, -0.2, 0.7], [0.0, 1.0, 0.0]]
    found = [cells(asked(client, "digits", "decode", z=z, seed=seed)) for seed in (3, 3, 4)]
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()
    drawn = explore.decode(run.model, torch.tensor(z), seed=3)
    assert (found[0] == drawn.squeeze(1).mul(255).round().byte().numpy()).all()
    means = explore.decode(run.model, torch.tensor([z[0]] * 400), seed=0).mean(0)
    expected = explore.decode(run.model, torch.tensor(z[0]))
    assert (means - expected).abs().max() < 5 * 0.5 / 400**0.5  # of 400 Bernoulli draws
    line = asked(client, "digits", "decode", z=z[:1], seed=3)["command"]
    given: dict[str, Any] = {}
    exec(line, given)
    assert torch.equal(given["x"].cpu(), drawn[:1])


def cells(sheet: dict[str, Any]) -> np.ndarray:
    """The images of a sheet, cut as it says."""
    whole = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet["sheet"].split(",")[1]))))
    h, w, columns = sheet["height"], sheet["width"], sheet["columns"]
    lines = whole.reshape(-1, h, columns, w).swapaxes(1, 2).reshape(-1, h, w)
    return lines[: sheet["count"]]


def as_bytes(x: torch.Tensor) -> np.ndarray:
    return (x[:, 0] * 255).round().byte().numpy()


def test_latents_decode_to_a_sheet(client: TestClient, run: lowerbound.Run) -> None:
    latents = run.spec["latents"]
    z = [[0.0] * latents, [1.0] * latents]
    found = asked(client, "digits", "decode", z=z)
    assert found["count"] == 2
    np.testing.assert_array_equal(cells(found), as_bytes(explore.decode(run.model, torch.tensor(z))))
    assert f"{latents} latents" in asked(client, "digits", "decode", 400, z=[[0.0]])["error"]


def test_the_sliders_come_sorted_and_reach_as_far_as_the_codes(client: TestClient, run: lowerbound.Run) -> None:
    found = told(client, "digits")
    kl = [latent["kl"] for latent in found["latents"]]
    assert kl == sorted(run.metrics["test"]["kl_by_dim"], reverse=True)
    known = run.metrics["test"]
    assert {one["latent"] for one in found["latents"] if one["collapsed"]} == {*known["collapsed"], *known["constant"]}
    codes, _ = explore.embed(run.model, run.source.blocks("test"))
    for one in found["latents"]:
        inside = (codes[:, one["latent"]] >= one["low"]) & (codes[:, one["latent"]] <= one["high"])
        assert one["low"] < 0 < one["high"]
        assert inside.float().mean() > 0.98
    assert found["centre"] == [0.0] * run.spec["latents"]
    assert {(one["low"], one["high"]) for one in found["latents"]} == {(-one["high"], one["high"])}
    assert not found["point"]
    assert found["apart"] is None


def test_an_autoencoder_has_no_kl_and_its_prior_is_none_that_it_was_trained_towards(tmp_path: Path) -> None:
    lowerbound.fit("digits", recipe="ae", latents=2, epochs=0.5, out=tmp_path / "ae", progress=False)
    with visitor(tmp_path) as client:
        found = told(client, "ae")
        assert found["point"]
        assert "never trained towards its prior" in found["apart"]
        assert found["centre"] is None
        assert {one["kl"] for one in found["latents"]} == {None}
        assert client.get(f"/api/runs/{id_of(client, 'ae')}/easel").json()["point"]


@pytest.mark.parametrize("what", ["decode", "traverse", "nearest"])
def test_a_line_of_python_does_the_same(client: TestClient, run: lowerbound.Run, what: str) -> None:
    z = [0.25, -1.0, 1.5]
    body = {"z": [z]} if what == "decode" else {"z": z}
    found = asked(client, "digits", what, **body, **({"latent": 1, "low": -2, "high": 2} if what == "traverse" else {}))
    line: dict[str, Any] = {}
    exec(found["command"], line)
    if what == "nearest":
        assert line["rows"][0].tolist() == found["rows"]
        np.testing.assert_allclose(line["distances"][0], found["distances"], atol=1e-4)
    else:
        np.testing.assert_array_equal(cells(found), as_bytes(line["x"]))


def test_a_run_that_is_not_finished_is_sorted_by_its_newest_validation(tmp_path: Path, run: lowerbound.Run) -> None:
    path = Path(shutil.copytree(run.path, tmp_path / "stopped"))
    for name in ("metrics.json", "weights.safetensors"):
        (path / name).unlink()
    kl = [row for row in run.history if row["split"] == "validation"][-1]["kl_by_dim"]
    with visitor(tmp_path) as client:
        found = told(client, "stopped")
        assert [one["kl"] for one in found["latents"]] == sorted(kl, reverse=True)
        assert [one["collapsed"] for one in found["latents"]] == [nats < FLOOR for nats in sorted(kl, reverse=True)]
        assert "not finished" in found["note"]


def test_a_test_image_can_be_started_from(client: TestClient, run: lowerbound.Run) -> None:
    address = f"/api/runs/{id_of(client, 'digits')}/start"
    found = client.get(address, params={"image": 7}).json()
    x, labels = gallery.shown(run, slice(7, 8))
    np.testing.assert_allclose(found["z"], run.model.encode(x)[0].detach(), atol=1e-4)
    np.testing.assert_array_equal(cells(found), as_bytes(x))
    assert labels is not None
    assert found["label"] == str(int(labels))
    refused = client.get(address, params={"image": 10**6})
    assert refused.status_code == 400
    assert "no image 1000000" in refused.json()["error"]


def test_samples_are_those_of_the_command(client: TestClient, run: lowerbound.Run, tmp_path: Path) -> None:
    found = asked(client, "digits", "sample", number=5, seed=3, temperature=0.7)
    z = torch.tensor(found["z"])
    np.testing.assert_allclose(cells(found), as_bytes(explore.decode(run.model, z)), atol=1)
    program, *words = shlex.split(found["command"])
    assert program.endswith("lowerbound")
    cli.main([*words, "--out", str(tmp_path / "x.npy")])
    np.testing.assert_array_equal(cells(found), as_bytes(torch.from_numpy(np.load(tmp_path / "x.npy"))))


def test_a_traversal_moves_one_latent(client: TestClient, run: lowerbound.Run) -> None:
    z = [0.5] * run.spec["latents"]
    found = asked(client, "digits", "traverse", z=z, latent=2, low=-1, high=1, steps=3)
    assert found["values"] == [-1, 0, 1]
    rows = torch.tensor([[*z[:2], value, *z[3:]] for value in (-1.0, 0.0, 1.0)])
    np.testing.assert_array_equal(cells(found), as_bytes(explore.decode(run.model, rows)))
    assert "no latent 99" in asked(client, "digits", "traverse", 400, z=z, latent=99, low=-1, high=1)["error"]


@pytest.mark.parametrize("kind", ["linear", "spherical"])
def test_a_way_goes_through_its_anchors(client: TestClient, run: lowerbound.Run, kind: str) -> None:
    anchors = torch.eye(run.spec["latents"])[:3].tolist()
    found = asked(client, "digits", "way", anchors=anchors, kind=kind, steps=5)
    assert found["count"] == len(found["z"]) == 9
    assert [found["z"][i] for i in (0, 4, 8)] == anchors
    norm = np.linalg.norm(found["z"][2])
    assert norm == pytest.approx(1 if kind == "spherical" else 0.5**0.5, abs=1e-3)


def test_the_lines_of_a_way_give_its_images(client: TestClient, run: lowerbound.Run) -> None:
    anchors = torch.eye(run.spec["latents"])[:2].tolist()
    found = asked(client, "digits", "way", anchors=anchors, steps=4)
    names: dict[str, Any] = {}
    exec(found["command"], names)
    np.testing.assert_array_equal(cells(found), as_bytes(names["x"]))


def test_a_way_between_test_images_has_a_command(client: TestClient, run: lowerbound.Run, tmp_path: Path) -> None:
    address = f"/api/runs/{id_of(client, 'digits')}/start"
    anchors = [client.get(address, params={"image": row}).json()["z"] for row in (3, 4)]
    command = asked(client, "digits", "way", anchors=anchors, rows=[3, 4], steps=4, kind="linear")["command"]
    _, *words = shlex.split(command)
    cli.main([*words, "--out", str(tmp_path / "way.png")])
    assert (tmp_path / "way.png").exists()
    others = asked(client, "digits", "way", anchors=anchors, rows=[4, 3])["command"]  # of weights that are others now
    assert others.startswith("import lowerbound")
    more = asked(client, "digits", "way", anchors=[*anchors, anchors[0]], rows=[3, 4, 3])["command"]
    assert more.startswith("import lowerbound")


@pytest.mark.parametrize(("back", "frames"), [(False, 5), (True, 8)])
def test_a_way_is_saved_as_an_animation(client: TestClient, back: bool, frames: int) -> None:
    latents = len(told(client, "digits")["latents"])
    body = {"anchors": [[-1.0] * latents, [1.0] * latents], "steps": 5, "pace": 5, "back": back, "kind": "linear"}
    found = client.post(f"/api/runs/{id_of(client, 'digits')}/way.gif", json=body)
    film = Image.open(io.BytesIO(found.content))
    assert found.headers["content-type"] == "image/gif"
    assert (film.n_frames, film.info["duration"], film.info["loop"]) == (frames, 200, 0)  # type: ignore[attr-defined]
    assert film.size == (224, 224)


def test_the_nearest_image_to_a_code_is_its_own(client: TestClient, run: lowerbound.Run) -> None:
    codes, labels = explore.embed(run.model, run.source.blocks("test"))
    found = asked(client, "digits", "nearest", z=codes[11].tolist(), number=4)
    assert found["rows"][0] == 11
    assert found["distances"][0] == 0
    assert found["distances"] == sorted(found["distances"])
    assert labels is not None
    assert found["labels"] == [str(int(labels[i])) for i in found["rows"]]
    np.testing.assert_array_equal(cells(found)[:1], as_bytes(gallery.shown(run, slice(11, 12))[0]))


def test_what_nobody_waits_for_any_more_is_not_worked_on(folder: Path, run: lowerbound.Run) -> None:
    studio = Studio(folder)
    id = next(one.id for one in studio.shelf.runs() if one.name == "digits")
    path, body = f"/api/runs/{id}/decode", json.dumps({"z": [[0.0] * run.spec["latents"]]}).encode()
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}

    async def asked(app: Any, gone: bool) -> int:
        given = [{"type": "http.request", "body": body}] + [{"type": "http.disconnect"}] * gone
        statuses = []

        async def receive() -> Any:
            if given:
                return given.pop(0)
            await anyio.sleep_forever()

        async def send(message: Any) -> None:
            statuses.append(message.get("status"))

        await app(scope, receive, send)
        return int(statuses[0])

    async def both() -> list[int]:
        app = application(studio)
        return [await asked(app, gone) for gone in (False, True, False)]

    assert anyio.run(both) == [200, 499, 200]


def test_the_run_that_is_open_may_go(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder / "digits", tmp_path / "digits")
    with visitor(tmp_path) as client:
        z = [told(client, "digits")["centre"]]
        address = f"/api/runs/{id_of(client, 'digits')}/decode"
        assert client.post(address, json={"z": z}).status_code == 200
        shutil.rmtree(tmp_path / "digits")
        assert client.post(address, json={"z": z}).status_code == 404


def test_vectors_are_told_in_numbers(client: TestClient) -> None:
    assert told(client, "moons")["picture"] is False
    found = asked(client, "moons", "decode", z=[[0.0], [1.0]])
    assert np.shape(found["numbers"]) == (2, 2)
    assert np.shape(asked(client, "moons", "sample", number=9)["numbers"]) == (9, 2)
    assert np.shape(asked(client, "moons", "nearest", z=[0.0], number=3)["numbers"]) == (3, 2)
    way = asked(client, "moons", "way", anchors=[[0.0], [1.0]], rows=[0, 1], steps=3)
    assert way["command"].startswith("import lowerbound")  # lowerbound interpolate shows images
    assert "no picture" in asked(client, "moons", "way.gif", 400, anchors=[[0.0], [1.0]])["error"]


def test_a_model_whose_data_are_gone_and_more_pixels_than_an_answer_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowerbound.fit(torch.rand(20, 1, 4, 6), epochs=1, latents=2, out=tmp_path / "mine", progress=False)
    with visitor(tmp_path) as client:
        found = told(client, "mine")
        assert "given in Python" in found["missing"]
        assert found["rows"] == 0
        z = found["centre"]
        assert asked(client, "mine", "decode", z=[z])["width"] == 6
        assert "given in Python" in asked(client, "mine", "nearest", 400, z=z)["error"]
        assert asked(client, "mine", "way", anchors=[z, [1.0, 1.0]], steps=3)["count"] == 3
        monkeypatch.setattr("lowerbound.studio.api.explore.SHEET", 100)
        refused = asked(client, "mine", "way", 400, anchors=[z, [1.0, 1.0]], steps=5)
        assert "too many at once: 4 can be shown" in refused["error"]


def test_answers_are_not_held_back_for_40_ms() -> None:
    """Nagle's algorithm waits for the acknowledgement of an answer's head before its body is sent."""

    async def nodelay(place: socket.socket) -> int:
        kept: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def came(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            kept.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(came, sock=place):
            _, writer = await asyncio.open_connection(*place.getsockname())
            found = await kept
            writer.close()
            await writer.wait_closed()
            return found

    with bound(None) as place:
        assert asyncio.run(nodelay(place)) == 1
