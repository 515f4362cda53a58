"""Schemathesis tries every route by its description: whatever comes in, the studio answers in words and never fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from starlette.testclient import TestClient

from lowerbound.studio.api import ROUTES
from lowerbound.studio.app import application
from lowerbound.studio.guard import Guard
from lowerbound.studio.openapi import document
from lowerbound.studio.state import Studio
from studiopage import PORT, RUNS, WRITES, id_of, trained

# what starts a process is tried in test_studio_train.py, and a stream has no end
OPERATIONS = [
    (route.method, route.path)
    for route in ROUTES
    if route.gives != "text/event-stream" and (route.method == "GET" or not route.call.__module__.endswith(".train"))
]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Guard]]:
    """A studio with a run of images and a description that names it, so that requests get past the first checks."""
    folder: Path = tmp_path_factory.mktemp("runs")
    trained(tmp_path_factory, "weak", folder / "digits")
    guard = Guard(application(Studio(folder)), PORT)
    with TestClient(guard, base_url=f"http://127.0.0.1:{PORT}", headers=WRITES) as client:
        client.cookies.set(guard.cookie, guard.session)
        run = id_of(client, "digits")
    described = document(ROUTES)
    for path in described["paths"].values():
        for operation in path.values():
            for parameter in operation["parameters"]:
                if parameter["name"] == "run":
                    parameter["schema"] = {"enum": [run]}
            _of_length(operation, RUNS["weak"]["latents"])
    schema = schemathesis.openapi.from_dict(described)
    schema.app = guard
    schema.config.update(base_url=f"http://127.0.0.1:{PORT}")
    return schema, guard


def _of_length(node: Any, latents: int) -> None:
    """Let every code in a description be as long as the model's are: others are refused before they reach it."""
    if isinstance(node, dict):
        if node.get("maxItems") == 4096:
            node.update(minItems=latents, maxItems=latents)
        for inner in node.values():
            _of_length(inner, latents)


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=lambda part: part)
def test_no_request_makes_a_route_fail(studio: tuple[Any, Guard], method: str, path: str) -> None:
    schema, guard = studio
    statuses = []

    @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(case=schema[path][method].as_strategy())
    def tried(case: Any) -> None:
        found = case.call(headers=WRITES, cookies={guard.cookie: guard.session})
        statuses.append(found.status_code)
        assert found.status_code < 500, found.text
        if found.status_code >= 400:
            assert found.json()["error"]

    tried()
    assert statuses
