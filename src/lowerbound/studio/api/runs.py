"""The runs of the folder."""

from typing import Any

from lowerbound.errors import LowerboundError
from lowerbound.run import Run
from lowerbound.studio.limits import Id
from lowerbound.studio.route import get
from lowerbound.studio.shelf import Shelved
from lowerbound.studio.state import Studio


@get("/api/alive")
def alive(studio: Studio) -> dict[str, Any]:
    """Say that the studio is there."""
    return {"folder": str(studio.shelf.folder)}


@get("/api/runs")
def listed(studio: Studio) -> dict[str, Any]:
    """List the runs of the folder, each in a line."""
    return {"folder": str(studio.shelf.folder), "runs": [line(shelved) for shelved in studio.shelf.runs()]}


@get("/api/runs/{run}")
def one(studio: Studio, run: Id) -> dict[str, Any]:
    """Tell what is known of a run without loading its model."""
    return line(studio.shelf.find(run))


def line(shelved: Shelved) -> dict[str, Any]:
    """Tell a run's name and state; of one that cannot be read, why."""
    known = {"id": shelved.id, "name": shelved.name, "path": str(shelved.path)}
    try:
        run = Run.open(shelved.path)
        return {**known, "data": run.data["name"], "state": "finished" if run.finished else "stopped"}
    except LowerboundError as error:
        return {**known, "state": "damaged", "error": str(error)}
