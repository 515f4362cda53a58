"""The studio's view of a trained model."""

from pathlib import Path

import pytest
from studiopage import id_of, visitor

import lowerbound


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    lowerbound.fit("digits", epochs=1, out=folder / "digits", progress=False)
    return folder


def test_latents_decode_to_a_sheet(folder: Path) -> None:
    with visitor(folder) as client:
        run = id_of(client, "digits")
        latents = len(client.get(f"/api/runs/{run}/model").json()["latents"])
        found = client.post(f"/api/runs/{run}/decode", json={"z": [[0.0] * latents, [1.0] * latents]})
        assert found.status_code == 200
        assert found.json()["count"] == 2
        assert client.post(f"/api/runs/{run}/decode", json={"z": [[0.0]]}).status_code == 400
