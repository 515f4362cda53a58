"""The runs of the folder: the table, what is known of one, and several beside one another."""

from typing import Any

from lowerbound.metrics import headline
from lowerbound.run import GROUPS, Run
from lowerbound.studio.limits import Id
from lowerbound.studio.lines import number, reading
from lowerbound.studio.route import get
from lowerbound.studio.shelf import Shelved, opaque
from lowerbound.studio.state import Studio


@get("/api/alive")
def alive(studio: Studio) -> dict[str, Any]:
    """Say that the studio is there."""
    return {"folder": str(studio.shelf.folder)}


@get("/api/runs")
def listed(studio: Studio) -> dict[str, Any]:
    """List the runs of the folder, each in a line, and the folders of seeds and sweeps among them."""
    there = studio.shelf.runs()
    studio.lines.keep(there)
    groups = {one.path.parent: one for one in there if one.group is not None}
    return {
        "folder": str(studio.shelf.folder),
        "runs": [studio.lines.of(one) for one in there],
        "groups": [_group(one) for one in groups.values()],
    }


def _group(member: Shelved) -> dict[str, Any]:
    folder = member.path.parent
    kind = "sweep" if (folder / GROUPS[1]).is_file() else "seeds"
    report = (folder / "report.html").is_file()
    return {"id": opaque(folder.name), "name": folder.name, "kind": kind, "report": report}


@get("/api/runs/{run}")
def summary(studio: Studio, run: Id) -> dict[str, Any]:
    """Tell what is known of a run without loading its model: its line, and the figures of each split."""
    shelved = studio.shelf.find(run)
    line = studio.lines.of(shelved)
    if line["state"] == "damaged":
        return line
    found = Run(shelved.path, {})
    report = (shelved.path / "report.html").is_file()
    with reading(shelved.path / "metrics.json"):
        measured = found.metrics if found.finished else {}
        splits = {split: _figures(measured[split]) for split in ("test", "validation") if split in measured}
        return {**line, "note": found.weights_note, "splits": splits, "report": report}


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    """Give the figures of a split that come first, each with its standard error over the images."""
    found = {name: [number(row[name]), number(row["standard_error"].get(name))] for name in headline(row)}
    return {**found, "active": [number(row.get("active")), None], "images": [number(row["images"]), None]}
