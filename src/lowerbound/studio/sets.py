"""Sets of runs that differ in β, and the run that a tour begins with: chosen from the runs' small files."""

import json
import shlex
from typing import Any

from lowerbound import recipes
from lowerbound.errors import LowerboundError
from lowerbound.run import Run, program
from lowerbound.spec import Spec
from lowerbound.studio.lines import Lines, reading
from lowerbound.studio.shelf import Shelf, Shelved

GAUSSIAN = ("gaussian", "bn-gaussian")  # posteriors whose z is μ + σ ⊙ ε, by their kind in a spec


def is_gaussian(spec: Spec) -> bool:
    """Whether a spec's posterior is a diagonal Gaussian."""
    return spec["model"].get("posterior", {}).get("kind") in GAUSSIAN


def betas(shelf: Shelf, lines: Lines, chosen: Shelved) -> dict[str, Any]:
    """Give the finished runs that differ from one in β only, or where there are none those of the same data."""
    mine = lines.of(chosen)
    alike = [one for one in shelf.runs() if _comparable(lines.of(one), mine)]
    same = _without_beta(chosen)
    strict = [one for one in alike if one.id == chosen.id or _without_beta(one) == same]
    several = lambda some: len({lines.of(one)["beta"] for one in some}) > 1  # noqa: E731
    found = strict if several(strict) else alike if several(alike) else strict
    rows = sorted((_row(lines, one) for one in found), key=lambda row: (row["beta"], row["id"] != chosen.id))
    kept = [row for i, row in enumerate(rows) if i == 0 or row["beta"] != rows[i - 1]["beta"]]
    return {"runs": kept, "alike": found is strict, "command": _command(chosen)}


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


def _row(lines: Lines, shelved: Shelved) -> dict[str, Any]:
    line = lines.of(shelved)
    with reading(shelved.path / "metrics.json"):
        known = Run(shelved.path, {}).metrics.get(line["split"] or "", {})
        return {
            **{name: line[name] for name in ("id", "name", "beta", "rate", "elbo", "latents", "active", "split")},
            "distortion": known.get("distortion"),
        }


def _command(shelved: Shelved) -> str:
    data = Run.open(shelved.path).spec["data"]
    return f"{program()} sweep {shlex.quote(str(data.get('path', data['kind'])))} --beta 0.1..20 --epochs 1"


def teacher(shelf: Shelf, lines: Lines) -> str | None:
    """Choose the run that a tour begins with; None where there is none."""
    some = [one for one in shelf.runs() if _teaches(lines.of(one)) and _gaussian(one)]
    shared = {id(one): sum(_comparable(lines.of(other), lines.of(one)) for other in some) for one in some}
    # β near 1 first, in a set; then what has more runs of the same data beside it
    some.sort(key=lambda one: (shared[id(one)] < 2, abs((lines.of(one)["beta"] or 0) - 1), -(lines.of(one)["elbo"] or 0)))
    return some[0].id if some else None


def _teaches(line: dict[str, Any]) -> bool:
    return line["state"] == "finished" and len(line["shape"]) == 3 and not line.get("own")


def _gaussian(shelved: Shelved) -> bool:
    try:
        return is_gaussian(Run.open(shelved.path).spec)
    except LowerboundError:
        return False
