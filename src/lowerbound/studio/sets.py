"""Sets of runs that differ in β, and the run that a tour begins with: chosen from the runs' small files."""

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

from lowerbound import recipes
from lowerbound.errors import LowerboundError
from lowerbound.run import Run
from lowerbound.spec import Spec
from lowerbound.studio.lines import number, reading
from lowerbound.studio.planning import Form
from lowerbound.studio.shelf import Shelf, Shelved

GAUSSIAN = ("gaussian", "bn-gaussian")  # posteriors whose z is μ + σ ⊙ ε, by their kind in a spec


def is_gaussian(spec: Spec) -> bool:
    """Whether a spec's posterior is a diagonal Gaussian."""
    return spec["model"].get("posterior", {}).get("kind") in GAUSSIAN


def betas(shelf: Shelf, chosen: Shelved) -> dict[str, Any]:
    """Give the finished runs that differ from one in β only, or where there are none those of the same data."""
    mine = shelf.line(chosen)
    there = [(one, shelf.line(one)) for one in shelf.runs()]
    alike = [(one, line) for one, line in there if _comparable(line, mine)]
    same = _without_beta(chosen)
    strict = [(one, line) for one, line in alike if _without_beta(one) == same]
    found = alike if _several(alike) and not _several(strict) else strict
    rows = sorted((_row(*pair) for pair in found), key=lambda row: (row["beta"], row["id"] != chosen.id))
    kept = [row for i, row in enumerate(rows) if i == 0 or row["beta"] != rows[i - 1]["beta"]]
    with reading(chosen.path / "spec.json"):
        form = Form(data=_data(chosen), range="0.1..20", epochs=1.0)
    return {"runs": kept, "alike": found is strict, "form": asdict(form), "command": form.command(None)}


def _several(some: list[tuple[Shelved, dict[str, Any]]]) -> bool:
    return len({line["beta"] for _, line in some}) > 1


def _comparable(line: dict[str, Any], mine: dict[str, Any]) -> bool:
    same = all(line.get(name) == mine.get(name) for name in ("data", "shape"))
    return same and line["state"] == "finished" and line.get("beta") is not None and not line.get("own")


def _without_beta(shelved: Shelved) -> str | None:
    """Give a run's spec without its β, as text that can be compared."""
    try:
        spec = json.loads(json.dumps(Run.open(shelved.path).spec))
    except LowerboundError:
        return None
    found = recipes.beta_of(spec["objective"])
    if found is not None:
        *path, last = found[0]
        node = spec
        for name in path:
            node = node[name]
        node[last] = None
    return json.dumps({name: value for name, value in spec.items() if name != "seed"}, sort_keys=True)


def _row(shelved: Shelved, line: dict[str, Any]) -> dict[str, Any]:
    with reading(shelved.path / "metrics.json"):
        known = Run(shelved.path, {}).metrics.get(line["split"] or "", {})
        shown = ("id", "name", "beta", "rate", "elbo", "latents", "active", "split")
        return {**{name: line[name] for name in shown}, "distortion": number(known.get("distortion"))}


def _data(shelved: Shelved) -> str:
    data = Run.open(shelved.path).spec["data"]
    return str(data.get("path", data["kind"]))


def teacher(shelf: Shelf) -> str | None:
    """Choose the run that a tour begins with; None where there is none."""
    some = [(one, line) for one in shelf.runs() if _teaches(line := shelf.line(one)) and _gaussian(one)]
    alike = Counter(_without_beta(one) for one, _ in some)

    def rank(pair: tuple[Shelved, dict[str, Any]]) -> tuple[bool, float, float]:  # in a set, β near 1, the highest elbo
        one, line = pair
        return alike[_without_beta(one)] < 2, abs((line["beta"] or 0) - 1), -(line["elbo"] or 0)

    return min(some, key=rank)[0].id if some else None


def _teaches(line: dict[str, Any]) -> bool:
    return line["state"] == "finished" and len(line["shape"]) == 3 and not line.get("own")


def _gaussian(shelved: Shelved) -> bool:
    try:
        return is_gaussian(Run.open(shelved.path).spec)
    except LowerboundError:
        return False
