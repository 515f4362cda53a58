"""The runs that are compared: found in folders, and those that differ in the seed only put together in a row."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lowerbound import files, recipes, seeds
from lowerbound.errors import StorageError, UsageError
from lowerbound.report import BEGUN
from lowerbound.run import Run, fingerprint

SEED = re.compile(r"(?:^|-)seed-\d+$")


@final
@dataclass(frozen=True)
class Row:
    """A run, or several that differ in nothing but the seed, and what was measured.

    Arguments:
        name: tells it from the other rows.
        runs: all of them are finished.
        figures: mean, deviation over the seeds (None of one run), each, and the standard error over the images of each,
            under the names of what was measured on the split; log_p too where ``lowerbound evaluate`` estimated it.
        asked: β, or the end of its schedule; None where there is none.
        reached: β as it was at the last step.
        seconds: of training, the mean.
        value: of what a sweep varies.
    """

    name: str
    runs: tuple[Run, ...]
    figures: Mapping[str, Mapping[str, Any]]
    asked: float | None
    reached: float | None
    seconds: float | None
    value: Any = None

    @property
    def first(self) -> Run:
        """The first of the runs: what is the same for all is read from it."""
        return self.runs[0]

    @property
    def hardly_begun(self) -> bool:
        """Whether its training was too short to tell what its figures will come to."""
        return max(map(steps_of, self.runs)) < BEGUN

    def spread(self, name: str) -> tuple[float, float | None] | None:
        """Give a figure and its uncertainty: the deviation over seeds or, of one run, the standard error over images.

        Gives None where it was not measured.
        """
        if (found := self.figures.get(name)) is None:
            return None
        return found["mean"], found["standard_errors"][0] if len(self.runs) == 1 else found["deviation"]

    def json(self) -> dict[str, Any]:
        """Give what JSON takes."""
        known = self.first
        return {
            "name": self.name,
            "runs": [str(run.path) for run in self.runs],
            "seeds": [run.spec["seed"] for run in self.runs],
            "data": known.data["name"],
            "recipe": known.env["recipe"],
            "beta": {"asked": self.asked, "reached": self.reached},
            "latents": known.spec["latents"],
            "parameters": known.metrics["parameters"],
            "seconds": self.seconds,
            "figures": {name: dict(figure) for name, figure in self.figures.items()},
        }


def steps_of(run: Run) -> int:
    """Tell how many steps were trained by the end of the history: all of it may be a million rows.

    Raises StorageError where the end is damaged.
    """
    path = run.path / "history.jsonl"
    try:
        rows = files.tail(path) if path.exists() else []
        return int(json.loads(rows[-1])["step"]) if rows else 0
    except (ValueError, TypeError, KeyError) as error:
        raise StorageError(f"{path} is damaged: {error}.") from None


def found(paths: Iterable[str | Path | Run]) -> list[Run]:
    """Open runs, those of a folder of seeds or of a sweep one by one.

    Raises UsageError where there is none, or one is there twice, or a path is no run.
    """
    runs = [run for path in paths for run in ([path] if isinstance(path, Run) else _below(Path(path)))]
    if not runs:
        raise UsageError("There is no run to compare: give the directories that lowerbound train or sweep printed.")
    places = [run.path.resolve() for run in runs]
    for i, place in enumerate(places):
        if place in places[:i]:
            raise UsageError(f"{runs[i].path} is there twice: each run is compared once. Give it once.")
    return runs


def _below(path: Path) -> list[Run]:
    if not seeds.is_group(path):
        return [Run.open(path)]
    names = [name for name in seeds.opened(path).runs if (path / name / "spec.json").exists()]
    if not names:
        raise UsageError(f"{path} holds no run yet: go on with lowerbound resume {path}")
    return [Run.open(path / name) for name in names]


def split_of(runs: Sequence[Run]) -> str:
    """Choose the split that all finished runs were measured on: test, or else validation; raises UsageError."""
    for split in ("test", "validation"):
        if all(split in run.metrics for run in runs):
            return split
    without = [str(run.path) for run in runs if "test" not in run.metrics]
    raise UsageError(
        "The runs have no split in common that was held out, neither test nor validation: "
        f"no test images has {', '.join(without)}. Leave those out, or train with data.test or --validation above 0."
    )


def rows_of(runs: Sequence[Run], split: str, points: Mapping[Path, tuple[str, Any]] | None = None) -> list[Row]:
    """Put finished runs that differ in nothing but the seed into one row; the same seed again is a row of its own.

    ``points`` are the name and the value of each run of a sweep, by its path.
    """
    together: dict[str, list[Run]] = {}
    for run in runs:
        key, again = _but_for_the_seed(run), 0
        while any(run.spec["seed"] == other.spec["seed"] for other in together.get(f"{key} {again}", [])):
            again += 1
        together.setdefault(f"{key} {again}", []).append(run)
    some = list(together.values())
    if points is not None:
        return [_row(*points[each[0].path], each, split) for each in some]
    names = _names([_place(each) for each in some])
    return [_row(name, None, each, split) for name, each in zip(names, some, strict=True)]


def _but_for_the_seed(run: Run) -> str:
    known = run.data
    rest = {key: value for key, value in run.spec.items() if key != "seed"}
    data = [known["name"], known["shape"], fingerprint(known), run.env["recipe"]]
    return json.dumps([rest, data], sort_keys=True)


def _place(runs: Sequence[Run]) -> tuple[Path, int]:
    """Give the path that runs share but for the seed, and how many have none in common with the first."""
    if len(runs) == 1:
        return runs[0].path, 0
    places = []
    for run in runs:
        stem = SEED.sub("", run.path.name)
        places.append(run.path.parent / stem if stem else run.path.parent)
    return (places[0], 0) if len(set(places)) == 1 else (runs[0].path, len(runs) - 1)


def _names(places: Sequence[tuple[Path, int]]) -> list[str]:
    """Name each path by as many of its last parts as tell all of them apart."""
    parts = [place.resolve().parts for place, _ in places]
    for depth in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(some[-depth:]) for some in parts]
        if len(set(names)) == len(names):
            break
    return [name + (f" and {n} more" if n else "") for name, (_, n) in zip(names, places, strict=True)]


def _row(name: str, value: Any, runs: Sequence[Run], split: str) -> Row:
    every = [run.metrics for run in runs]
    measured = [{**metrics[split], **_log_p(run, split)} for run, metrics in zip(runs, every, strict=True)]
    errors = [each["standard_error"] for each in measured]
    figures = {
        key: {**figure, "standard_errors": [error.get(key) for error in errors]}
        for key, figure in seeds.over_seeds(measured).items()
    }
    weight = recipes.beta_of(runs[0].spec["objective"])
    beta = every[0].get("beta") or {"asked": None, "reached": None}
    seconds = [metrics["seconds"]["training"] for metrics in every if "training" in metrics.get("seconds", {})]
    mean = sum(seconds) / len(seconds) if seconds else None
    asked = beta["asked"] if weight else None
    return Row(name, tuple(runs), figures, asked, beta["reached"], mean, value)


def _log_p(run: Run, split: str) -> dict[str, Any]:
    """Give the mean log p(x) of the split that ``lowerbound evaluate`` estimated, with its standard error."""
    values = likelihood_of(run, split)
    if values is None:
        return {}
    whole = values["whole_split"] or values  # only where all images were examined their mean is that of the split
    errors = {**run.metrics[split]["standard_error"], "log_p": whole["standard_error"]}
    return {"log_p": whole["log_likelihood"], "standard_error": errors}


def likelihood_of(run: Run, split: str) -> dict[str, Any] | None:
    """Give what ``lowerbound evaluate`` found of log p(x); None where it was not asked, or refused."""
    section = run.evaluation.get(split, {}).get("sections", {}).get("likelihood", {})
    values: dict[str, Any] | None = section.get("values")
    return values
