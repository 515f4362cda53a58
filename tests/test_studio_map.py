"""The studio's map of the codes."""

import base64
import math
import re
import subprocess
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient
from torch.distributions import MultivariateNormal

import lowerbound
from lowerbound import explore, planes
from lowerbound.figures.style import CLASSES
from lowerbound.studio import atlas
from lowerbound.studio.atlas import Atlas
from lowerbound.studio.slow import Slow, Steps
from studiopage import id_of, shelf, visitor

STATIC = Path(str(files("lowerbound.studio") / "static"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shelf(tmp_path_factory, digits="weak", moons="moons")


@pytest.fixture(scope="module")
def run(folder: Path) -> lowerbound.Run:
    return lowerbound.load(folder / "digits")


@pytest.fixture(scope="module")
def codes(run: lowerbound.Run) -> tuple[torch.Tensor, torch.Tensor | None]:
    return explore.embed(run.model, run.source.blocks("test"))


def ready(client: TestClient, path: str, **query: Any) -> dict[str, Any]:
    for _ in range(1000):
        found: dict[str, Any] = client.get(path, params=query).json()
        if found.get("ready", True):
            return found
    raise AssertionError("it does not come to an end")


def test_the_points_are_the_codes_in_the_plane(
    client: TestClient, codes: tuple[torch.Tensor, torch.Tensor | None]
) -> None:
    z, labels = codes
    assert labels is not None
    at = f"/api/runs/{id_of(client, 'digits')}/map"
    for name, places in (("z2.z0", z[:, [2, 0]]), ("pca", explore.pca(z)[0])):
        meta = ready(client, at, plane=name)
        raw = client.get(f"{at}/points", params={"plane": name}).content
        n = meta["count"]
        assert n == len(z) == meta["splits"]["test"]
        assert np.allclose(np.frombuffer(raw, "<f4", 2 * n).reshape(n, 2), places, atol=1e-5)
        assert np.frombuffer(raw, "<i4", n, 8 * n).tolist() == labels.tolist()
        left, right, low, high = meta["bounds"]
        inside = (places[:, 0] > left) & (places[:, 0] < right) & (places[:, 1] > low) & (places[:, 1] < high)
        assert bool(inside.all())
        assert {one["name"]: one["count"] for one in meta["classes"]} == {
            str(k): int((labels == k).sum()) for k in labels.unique().tolist()
        }


def test_the_two_latents_with_the_highest_kl_are_shown_first(client: TestClient, run: lowerbound.Run) -> None:
    kl = run.metrics["test"]["kl_by_dim"]
    first, second = sorted(range(3), key=lambda i: -kl[i])[:2]
    assert ready(client, f"/api/runs/{id_of(client, 'digits')}/map")["plane"] == f"z{first}.z{second}"


def test_what_is_below_a_place_is_decoded_and_the_nearest_code_named(
    client: TestClient, run: lowerbound.Run, codes: tuple[torch.Tensor, torch.Tensor | None]
) -> None:
    z, labels = codes
    at = f"/api/runs/{id_of(client, 'digits')}/map"
    base = [0.3, -0.2, 0.7]
    found = client.post(f"{at}/below", json={"plane": "z2.z0", "x": 1.0, "y": -1.5, "base": base}).json()
    assert found["z"] == pytest.approx([-1.5, -0.2, 1.0])
    row = int((z[:, [2, 0]] - torch.tensor([1.0, -1.5])).square().sum(1).argmin())
    assert labels is not None
    assert (found["row"], found["label"]) == (row, str(int(labels[row])))
    assert found["place"] == pytest.approx(z[row, [2, 0]].tolist(), abs=1e-4)
    decoded = client.post(f"/api/runs/{id_of(client, 'digits')}/decode", json={"z": [found["z"]]}).json()
    assert decoded["sheet"] == found["sheet"]
    # of PCA the way back is in the plane through the mean code
    found = client.post(f"{at}/below", json={"plane": "pca", "x": 0.5, "y": 0.25}).json()
    plane = planes.pca(z)
    assert found["z"] == pytest.approx(plane.back(torch.tensor([0.5, 0.25])).tolist(), abs=1e-3)
    assert client.post(f"{at}/project", json={"plane": "pca", "z": [found["z"]]}).json()["xy"][0] == pytest.approx(
        [0.5, 0.25], abs=1e-3
    )


def test_the_prior_under_the_points_is_the_exact_one(
    client: TestClient, codes: tuple[torch.Tensor, torch.Tensor | None]
) -> None:
    at = f"/api/runs/{id_of(client, 'digits')}/map/density"
    found = ready(client, at, plane="pca", of="prior")
    assert found["words"] == "the prior's density, exact"
    plane = planes.pca(codes[0])
    left, right, low, high = found["bounds"]
    w, h = found["width"], found["height"]
    cells = np.frombuffer(base64.b64decode(found["cells"]), np.uint8).reshape(h, w) / 255 * found["maximum"]
    x = torch.tensor([left + (right - left) * (i + 0.5) / w for i in (10, w // 2, w - 30)]).double()
    y = torch.tensor([low + (high - low) * (i + 0.5) / h for i in (20, h // 2, h - 40)]).double()
    normal = MultivariateNormal(-plane.directions @ plane.mean, torch.eye(2).double())
    wanted = normal.log_prob(torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)).exp()
    seen = cells[[20, h // 2, h - 40]][:, [10, w // 2, w - 30]]
    assert np.abs(seen - wanted.numpy()).max() <= 0.51 / 255 * found["maximum"]
    assert found["maximum"] == pytest.approx(1 / (2 * math.pi), rel=0.01)


def test_holes_say_how_much_of_the_prior_lies_in_them(client: TestClient) -> None:
    at = f"/api/runs/{id_of(client, 'digits')}/map/density"
    found = {of: ready(client, at, plane="z0.z1", of=of) for of in ("prior", "codes", "holes")}
    assert 0 < found["holes"]["mass"] < 1
    assert found["holes"]["maximum"] <= found["prior"]["maximum"]
    assert re.search(
        r"180 draws of q\(z\|x\), one each, smoothed by a Gaussian of [\d.]+ × [\d.]+", found["codes"]["words"]
    )


def test_a_posterior_is_an_ellipse_in_the_plane(client: TestClient) -> None:
    at = f"/api/runs/{id_of(client, 'digits')}/map/project"
    asked = {"plane": "z1.z2", "z": [[9.0, 1.0, 2.0]], "sigma": [[5.0, 0.25, 0.5]]}
    found = client.post(at, json=asked).json()
    assert found["xy"] == [[1.0, 2.0]]
    a, b, angle = found["ellipse"][0]
    assert (a, b, abs(angle)) == pytest.approx((0.5, 0.25, math.pi / 2), abs=1e-4)
    assert client.post(at, json=asked | {"sigma": [[1.0, 1.0, 1.0]] * 2}).status_code == 400


def test_one_latent_and_vectors_have_a_map_as_well(client: TestClient) -> None:
    at = f"/api/runs/{id_of(client, 'moons')}/map"
    meta = ready(client, at, plane="pca")  # there is one plane only
    assert (meta["plane"], meta["line"], meta["axes"]) == ("z0.z0", True, ["z0", ""])
    xy = np.frombuffer(client.get(f"{at}/points", params={"plane": "z0.z0"}).content, "<f4", 2 * meta["count"])
    low, high = meta["bounds"][2:]
    assert low < xy[1::2].min() < xy[1::2].max() < high
    found = client.post(f"{at}/below", json={"plane": "z0.z0", "x": 0.5, "y": 0.1}).json()
    assert found["z"] == [0.5]
    assert "sheet" not in found
    assert len(found["numbers"][0]) == 2
    assert 0 <= ready(client, f"{at}/density", plane="z0.z0", of="holes")["mass"] < 1


def test_other_splits_and_what_is_not_there(client: TestClient) -> None:
    at = f"/api/runs/{id_of(client, 'digits')}/map"
    meta = ready(client, at, split="train")
    assert meta["count"] == meta["splits"]["train"] > meta["splits"]["test"]
    for query in ({"plane": "z0.z7"}, {"plane": "z1.z1"}, {"plane": "../x"}, {"split": "all"}, {"colour": "size"}):
        found = client.get(at, params=query)
        assert found.status_code == 400
        assert found.json()["error"]
    assert client.post(f"{at}/below", json={"plane": "pca", "x": 0, "y": 0, "base": [1.0]}).status_code == 400
    if find_spec("umap") is None:
        refused = client.get(at, params={"plane": "umap"})
        assert refused.status_code == 400
        assert "pip install 'lowerbound[umap]'" in refused.json()["error"]


def test_long_work_goes_on_in_short_turns_and_fails_as_often_as_it_is_asked() -> None:
    def steps() -> Steps[str]:
        for i in range(3):
            yield i + 1, 3
        return "all"

    work = Slow("counting", steps())
    turns = 0
    while not work.go(0):
        turns += 1
        assert work.progress == {"ready": False, "words": "counting", "done": turns, "of": 3}
    assert (turns, work.result) == (3, "all")

    def failing() -> Steps[str]:
        yield 1, 2
        raise lowerbound.errors.UsageError("no")

    broken = Slow("failing", failing())
    for _ in range(2):
        with pytest.raises(lowerbound.errors.UsageError, match="no"):
            broken.result  # noqa: B018


def test_the_studio_s_end_does_not_wait_for_a_layout() -> None:
    code = "import time; from lowerbound.studio.slow import beside; beside(time.sleep, 600)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_of_many_planes_the_newest_are_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atlas, "SHEETS", 2)
    found = Atlas(lowerbound.load(folder / "digits"), "test")
    first = found.places("z0.z1")
    found.places("z1.z2")
    assert found.places("z0.z1") is first
    found.places("z0.z2")
    found.places("pca")
    again = found.places("z0.z1")
    assert again is not first
    assert torch.equal(again, first)


def test_large_labels_colour_their_points(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.tile([7, 40_000, 2_000_000], 40)
    np.savez(tmp_path / "large.npz", x=rng.random((120, 4), np.float32), labels=labels)
    lowerbound.fit(tmp_path / "large.npz", epochs=1, out=tmp_path / "runs" / "large", progress=False)
    with visitor(tmp_path / "runs") as client:
        at = f"/api/runs/{id_of(client, 'large')}/map"
        meta = ready(client, at, plane="z0.z1", split="train")
        raw = client.get(f"{at}/points", params={"plane": "z0.z1", "split": "train"}).content
    values, counts = np.unique(np.frombuffer(raw, "<i4", meta["count"], 8 * meta["count"]), return_counts=True)
    assert [(one["value"], one["count"]) for one in meta["classes"]] == list(zip(values, counts, strict=True))
    assert values.tolist() == [7, 40_000, 2_000_000]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def test_the_classes_have_the_colours_of_the_figures_and_are_seen_in_the_dark() -> None:
    light, dark = (STATIC / "lib" / "map.css").read_text().split("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--class-(\d): (#\w{6})", light))
    assert [found[str(i)] for i in range(10)] == list(CLASSES)
    card = re.findall(r"--card: (#\w{6})", (STATIC / "style.css").read_text())[1]
    for colour in (found | dict(re.findall(r"--class-(\d): (#\w{6})", dark))).values():
        assert (luminance(colour) + 0.05) / (luminance(card) + 0.05) > 3  # WCAG's least contrast of what is no text
