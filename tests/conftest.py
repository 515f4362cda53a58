"""Shapes are checked in every test: the import hook reads the annotations of each function of the package."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded: processes of tests share the cores
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # one core for each worker, and for what it starts

import pytest
import torch

import typecheck

if TYPE_CHECKING:
    from starlette.testclient import TestClient

typecheck.install()

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", min(2, os.cpu_count() or 1))))


@pytest.fixture(autouse=True)
def _quiet_generators() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)  # both are the whole process's: `lowerbound.tune` sets them
    torch.set_flush_denormal(False)


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator["TestClient"]:
    """A browser at the studio of a module's own folder of runs."""
    from studiopage import visitor  # here, since most tests need no studio

    with visitor(folder) as client:
        yield client
