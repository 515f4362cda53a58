"""The runs of the folder: the table, what is known of one, and several beside one another."""

import shlex
from pathlib import Path
from typing import Any

from lowerbound import comparison
from lowerbound.comparison.page import said
from lowerbound.errors import StorageError
from lowerbound.metrics import headline
from lowerbound.process import program
from lowerbound.run import GROUPS, Run
from lowerbound.studio.limits import Id, Ids
from lowerbound.studio.lines import number, reading, told
from lowerbound.studio.route import MissingError, get
from lowerbound.studio.shelf import Shelved, opaque
from lowerbound.studio.state import Studio


@get("/api/alive")
def alive(studio: Studio) -> dict[str, Any]:
    """Say that the studio is there."""
    return {"folder": str(studio.shelf.folder)}


@get("/api/runs")
def listed(studio: Studio) -> dict[str, Any]:
    """List the runs of the folder, each in a line, and the folders of seeds and sweeps among them."""
    lines = studio.shelf.lines()
    groups = dict.fromkeys(Path(line["path"]).parent for line in lines if line["group"] is not None)
    first = shlex.quote(str(studio.shelf.folder / "first"))
    return {
        "folder": str(studio.shelf.folder),
        "command": f"{program()} train --out {first}",
        "runs": lines,
        "groups": [_group(studio, folder) for folder in groups],
    }


def _group(studio: Studio, folder: Path) -> dict[str, Any]:
    kind = "sweep" if (folder / GROUPS[1]).is_file() else "seeds"
    report = (folder / "report.html").is_file()
    waiting = studio.shelf.waiting(folder)
    return {"id": opaque(folder.name), "name": folder.name, "kind": kind, "report": report, "waiting": waiting}


@get("/api/runs/{run}")
def summary(studio: Studio, run: Id) -> dict[str, Any]:
    """Tell what is known of a run without loading its model: its line, and the figures of each split."""
    shelved = studio.shelf.find(run)
    line = studio.shelf.line(shelved)
    if line["state"] == "damaged":
        return line
    found = Run(shelved.path, {})
    report = (shelved.path / "report.html").is_file()
    with reading(shelved.path / "metrics.json"):
        measured = found.metrics if found.finished else {}
        splits = {split: _figures(measured[split]) for split in ("test", "validation") if split in measured}
        return {**line, "splits": splits, "report": report}


def _figures(row: dict[str, Any]) -> dict[str, Any]:
    """Give the figures of a split that come first, each with its standard error over the images, and in words."""
    known = {name: (number(row[name]), number(row["standard_error"].get(name))) for name in headline(row)}
    found = {name: [*pair, told(*pair)] for name, pair in known.items()}
    return {**found, "active": [number(row.get("active")), None, None], "images": [number(row["images"]), None, None]}


@get("/api/compare")
def compared(studio: Studio, runs: Ids) -> dict[str, Any]:
    """Put runs beside one another: what ``lowerbound compare`` says of them, and what the page draws of it."""
    chosen = _chosen(studio, runs)
    ids = {str(one.path): one.id for one in chosen}
    with reading(studio.shelf.folder):
        found = comparison.compare(*ids)
        heads, lines = found.table()
        rows = [
            {"name": row.name, "runs": [{"id": ids[str(r.path)], "seed": r.spec["seed"]} for r in row.runs]}
            for row in found.rows
        ]
        return {
            "rows": rows,
            "heads": heads,
            "lines": lines,
            "common": found.common(),
            "meaning": found.meaning,
            "bars": found.bars,
            "warnings": found.warnings,
            "differences": {key: [said(value) for value in values] for key, values in found.differences.items()},
            "points": [
                {"name": p.label, "rate": p.rate, "distortion": p.distortion, "elbo": p.elbo} for p in found.points()
            ],
            "command": f"{program()} compare {' '.join(map(shlex.quote, ids))}",
        }


def _chosen(studio: Studio, runs: str) -> list[Shelved]:
    """Find runs by their opaque names, each once; raises MissingError, or why one of them cannot be read."""
    there = {one.id: one for one in studio.shelf.runs()}
    ids = list(dict.fromkeys(runs.split(",")))
    if gone := [id for id in ids if id not in there]:
        raise MissingError(f"Of the runs {len(gone)} cannot be found in this folder: moved or deleted since.")
    for id in ids:
        if "error" in (line := studio.shelf.line(there[id])):
            raise StorageError(f"{there[id].name} cannot be compared. {line['error']}")
    return [there[id] for id in ids]
