"""Sets of runs that differ in β, and the run that a tour begins with: chosen from the runs' small files."""

import json
from dataclasses import asdict
from typing import Any

from lowerbound import recipes
from lowerbound import spec as specs
from lowerbound.comparison.cautions import hardly_begun
from lowerbound.errors import LowerboundError
from lowerbound.report import BEGUN
from lowerbound.run import Run
from lowerbound.studio.lines import number, reading
from lowerbound.studio.planning import Form
from lowerbound.studio.shelf import Shelf, Shelved

Pair = tuple[Shelved, dict[str, Any]]  # a run, and its line
BETAS, EPOCHS = "0.1..20", 1.0  # of a set that is yet to be trained
IN_PYTHON = f"import lowerbound; lowerbound.sweep(x, beta={BETAS!r}, epochs={EPOCHS:g})  # x: the data given in Python"


def betas(shelf: Shelf, chosen: Shelved) -> dict[str, Any]:
    """Give the finished runs that differ from one in β only; where there are none another such set of the same data.

    A set may have several seeds. Where there is none at all, ``alike`` is false: its runs differ in more than β.
    """
    mine = shelf.line(chosen)
    there = [(one, shelf.line(one)) for one in shelf.runs()]
    comparable = [(one, line) for one, line in there if _comparable(line, mine)]
    sets = _sets(comparable, chosen)
    found = sets[0] if sets else comparable
    rows = sorted((_row(*pair) for pair in found), key=lambda row: (row["beta"], row["id"] != chosen.id))
    kept = [row for i, row in enumerate(rows) if i == 0 or row["beta"] != rows[i - 1]["beta"]]
    with reading(chosen.path / "spec.json"):
        form = _form(chosen)
    firsts = [chosen if chosen in [one for one, _ in some] else some[0][0] for some in sets]
    named = [{"id": first.id, "name": _name(some)} for first, some in zip(firsts, sets, strict=True)]
    return {
        "runs": kept, "alike": bool(sets), "note": _hardly_begun(kept), "sets": named,
        "form": None if form is None else asdict(form),
        "command": IN_PYTHON if form is None else form.command(None),
    }  # fmt: skip


def _sets(some: list[Pair], chosen: Shelved) -> list[list[Pair]]:
    """Part runs into those that differ in β only, several each: the set of the chosen one first, then the largest."""
    parted: dict[str | None, list[Pair]] = {}
    for one, line in some:
        parted.setdefault(_without_beta(one), []).append((one, line))
    parted.pop(None, None)
    found = [pairs for pairs in parted.values() if _several(pairs)]
    return sorted(found, key=lambda pairs: (chosen not in [one for one, _ in pairs], -len(pairs)))


def _name(some: list[Pair]) -> str:
    """Say in words which set it is."""
    first, line = some[0]
    inside = {one.group for one, _ in some}
    name = first.group if inside == {first.group} and first.group else f"{first.name} and others"
    return f"{name}: {len(some)} runs of {line['latents']} latents and {line['step']:,} steps"


def _several(some: list[Pair]) -> bool:
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
        if isinstance(node[last], dict) and "end" in node[last]:  # a schedule ends at β: the rest is compared
            node, last = node[last], "end"
        node[last] = None
    return json.dumps({name: value for name, value in spec.items() if name != "seed"}, sort_keys=True)


def _row(shelved: Shelved, line: dict[str, Any]) -> dict[str, Any]:
    with reading(shelved.path / "metrics.json"):
        known = Run(shelved.path, {}).metrics.get(line["split"] or "", {})
        shown = ("id", "name", "beta", "rate", "elbo", "latents", "active", "split")
        begun = line["step"] >= BEGUN
        return {**{name: line[name] for name in shown}, "begun": begun, "distortion": number(known.get("distortion"))}


def _hardly_begun(rows: list[dict[str, Any]]) -> str | None:
    """Say of how many runs the figures tell little, as a comparison says it."""
    few = sum(not row["begun"] for row in rows)
    return hardly_begun(f"{few} of these {len(rows)} runs") if few else None


def _form(shelved: Shelved) -> Form | None:
    """Ask for a sweep of the data of a run, read as the run reads them; None where they were given in Python."""
    data = Run.open(shelved.path).spec["data"]
    if data == specs.OWN:
        return None
    place = {name: data[name] for name in ("kind", "path") if name in data}
    usual = specs.complete("data", place, "data")
    others = [f"data.{name}={json.dumps(v, ensure_ascii=False)}" for name, v in data.items() if v != usual[name]]
    return Form(data=str(data.get("path", data["kind"])), range=BETAS, epochs=EPOCHS, set=others)


def teacher(shelf: Shelf) -> str | None:
    """Choose the run that a tour begins with, one that shows how it is meant to be; None where there is none.

    A model that uses its latents first, then one that was trained for itself and not as one of a sweep, for long, and
    lately.
    """
    some = [(one, line) for one in shelf.runs() if _teaches(line := shelf.line(one))]

    def rank(pair: Pair) -> tuple[bool, bool, int, str]:
        one, line = pair
        return bool(line["active"]), one.group is None, line["step"], line["when"]

    return max(some, key=rank)[0].id if some else None


def _teaches(line: dict[str, Any]) -> bool:
    return line["state"] == "finished" and len(line["shape"]) == 3 and line["gaussian"]
