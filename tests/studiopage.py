"""A studio for the tests: runs that are trained once, its application behind its guard, and a browser's part of it."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from starlette.testclient import TestClient

import lowerbound
from lowerbound.studio.app import application
from lowerbound.studio.guard import Guard
from lowerbound.studio.state import Studio

PORT = 8765
WRITES = {"X-Lowerbound": "studio"}
RUNS: dict[str, dict[str, Any]] = {
    "weak": {"data": "digits", "beta": 0.1, "latents": 3},
    "strong": {"data": "digits", "beta": 4.0, "latents": 3},
    "plane": {"data": "digits", "latents": 2},
    "moons": {"data": "moons", "latents": 1},
}


def trained(factory: pytest.TempPathFactory, name: str, out: Path) -> Path:
    """A copy of one of RUNS, which is trained once for all workers of the tests."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    kept = base / "trained" / name
    kept.parent.mkdir(exist_ok=True)
    with FileLock(f"{kept}.lock"):
        if not kept.exists():
            made = kept.with_name(f"{name}-{os.getpid()}")
            lowerbound.fit(**RUNS[name], epochs=1, out=made, progress=False)
            made.rename(kept)
    return Path(shutil.copytree(kept, out))


def shelf(factory: pytest.TempPathFactory, folder: str = "runs", **named: str) -> Path:
    """A new folder with copies of some of RUNS, each under a name of its own."""
    place = factory.mktemp(folder)
    for name, kept in named.items():
        trained(factory, kept, place / name)
    return place


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
