"""A studio for the tests: its application behind its guard, and a browser's part of the conversation."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from lowerbound.studio.app import application
from lowerbound.studio.guard import Guard
from lowerbound.studio.state import Studio

PORT = 8765
WRITES = {"X-Lowerbound": "studio"}


@contextmanager
def visitor(folder: Path) -> Iterator[TestClient]:
    """A browser that was let in to the studio of a folder."""
    guard = Guard(application(Studio(folder)), PORT, "token")
    with TestClient(guard, base_url=f"http://127.0.0.1:{PORT}", follow_redirects=True) as client:
        assert client.get("/", params={"token": "token"}).status_code == 200
        client.headers |= WRITES
        yield client


def id_of(client: TestClient, name: str) -> str:
    """The opaque name of a run."""
    found: dict[str, Any] = client.get("/api/runs").json()
    return next(run["id"] for run in found["runs"] if re.search(name, run["name"]))
