"""Several runs of one training in a folder: from several seeds, and in a sweep with several values of one setting."""

import json
import re
import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lowerbound import files
from lowerbound import spec as specs
from lowerbound.begin import prepare, reopen
from lowerbound.data import Source
from lowerbound.errors import DataError, StorageError, UsageError
from lowerbound.job import Job
from lowerbound.run import GROUPS, Run, fingerprint, make_folder
from lowerbound.spec import Spec
from lowerbound.train import Plan

FILE, SWEEP = GROUPS


@final
@dataclass(frozen=True)
class Group:
    """The runs of a folder: each point is trained from each seed.

    Arguments:
        folder: where they are.
        name: of the recipe.
        seeds: of the runs.
        specs: of the points, but for the seed: one where the runs differ in nothing else.
        over: what a sweep varies: "beta", or a path in the spec.
        values: what it is at each point.
        device: that of runs that are begun.
        data: the fingerprint of the data that the first run was begun with.
    """

    folder: Path
    name: str
    seeds: list[int]
    specs: list[Spec]
    over: str | None = None
    values: tuple[Any, ...] = (None,)
    device: str = "auto"
    data: list[Any] | None = None

    @property
    def runs(self) -> dict[str, Spec]:
        """The folder's name and the spec of each run, in the order of training: first all points with one seed."""
        found = {}
        for seed in self.seeds:
            for i, spec in enumerate(self.specs):
                parts = [] if self.over is None else [self.labels[i]]
                parts += [f"seed-{seed}"] if self.over is None or len(self.seeds) > 1 else []
                found["-".join(parts)] = {**spec, "seed": seed}
        return found

    @property
    def labels(self) -> list[str]:
        """A name for each point that can be that of a folder, such as beta-0.5."""
        plain = [re.sub(r"[^\w.+-]+", "_", f"{self.over}-{word(value)}") for value in self.values]
        return [name if plain.count(name) == 1 else f"{name}-{i}" for i, name in enumerate(plain)]

    def write(self, **found: Any) -> None:
        """Write the plan, and what was found, into the folder."""
        differing = (
            {"spec": self.specs[0]}
            if self.over is None
            else {"over": self.over, "values": list(self.values), "specs": self.specs}
        )
        known = {"name": self.name, "seeds": self.seeds, "device": self.device, "data": self.data}
        path = self.folder / (FILE if self.over is None else SWEEP)
        files.write(path, json.dumps({**differing, **known, **found}, indent=1, ensure_ascii=False).encode())

    def steps_after(self, name: str, source: Source) -> int:
        """Count the steps of the runs that come after one of them and are not finished."""
        names = list(self.runs)
        left = (run for run in names[names.index(name) + 1 :] if not (self.folder / run / "metrics.json").exists())
        plans: list[Plan] = [specs.construct("train", self.runs[run]["train"], {}) for run in left]
        return sum(plan.steps(len(source.train)) for plan in plans)


def word(value: Any) -> str:
    """Write a value as short as it can be read back.

    Example:
        >>> word(20.0), word(0.1), word("mog"), word([32, 64])
        ('20', '0.1', 'mog', '[32, 64]')
    """
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def create(
    spec: Spec, source: Source, seeds: Sequence[int], *, name: str, out: Path | None, device: str = "auto"
) -> Path:
    """Make the folder of runs that differ in the seed; raises UsageError where it is there already."""
    folder = make_folder(out, f"{source.name}-{name}")
    Group(folder, name, list(seeds), [spec], device=device, data=fingerprint(source.info)).write()
    return folder


def is_group(path: str | Path) -> bool:
    """Whether a folder holds several runs of one training."""
    return any((Path(path) / name).is_file() for name in GROUPS)


def source_of(folder: Path) -> Source:
    """Load the data of a group; raises DataError where they are not those that it was begun with."""
    group = opened(folder)
    if group.specs[0]["data"] == specs.OWN:
        raise UsageError(
            f"{folder} was trained on a tensor given in Python, which its spec does not name: "
            "go on with lowerbound.comparison.go_on(folder, source=x)."
        )
    return same(group, specs.build_source(group.specs[0]))


def same(group: Group, source: Source) -> Source:
    """Give the data of a group; raises DataError where they are not those that it was begun with."""
    if group.data is not None and group.data != fingerprint(source.info):
        folder = group.folder
        raise DataError(
            f"The data of {folder} are not those it was begun with: their SHA-256 differs from that in "
            f"{folder / (SWEEP if group.over else FILE)}. Put back what spec.data there names, or train anew."
        )
    return source


def opened(folder: str | Path) -> Group:
    """Read the plan of a folder of runs; raises StorageError where it is damaged."""
    folder = Path(folder)
    path = folder / next(name for name in GROUPS if (folder / name).is_file())
    try:
        known = json.loads(path.read_bytes())
        group = _read(folder, known)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        run = "seed-N" if path.name == FILE else "RUN"
        raise StorageError(
            f"{path} is damaged: {what}. The runs beside it are whole in themselves: "
            f"lowerbound resume {folder}/{run} goes on with one."
        ) from None
    checked = [specs.check(spec) for spec in group.specs]
    return Group(**{**vars(group), "specs": checked})


def _read(folder: Path, known: Mapping[str, Any]) -> Group:
    over = known.get("over")
    found = Group(
        folder,
        known["name"],
        known["seeds"],
        [known["spec"]] if over is None else known["specs"],
        over,
        (None,) if over is None else tuple(known["values"]),
        known.get("device", "auto"),
        known.get("data"),  # older folders have none
    )
    whole = isinstance(found.name, str) and all({"fit", *spec} == set(specs.TOP) for spec in found.specs)
    whole = whole and 0 < len(found.specs) == len(found.values)
    seeds = found.seeds
    if not (whole and isinstance(seeds, list) and seeds and all(type(seed) is int for seed in seeds)):
        raise ValueError("it does not hold what was written")
    return found


def jobs(folder: Path, source: Source, *, device: str | None, env: dict[str, Any]) -> Iterator[Job]:
    """Give the job of each run that is not finished: begun anew, or from its newest checkpoint.

    ``device`` is over that of each run; without one a run that is begun anew takes the group's.
    """
    group = opened(folder)
    given = source if group.specs[0]["data"] == specs.OWN else None
    for name, spec in group.runs.items():
        path = folder / name
        if not (path / "spec.json").exists():
            shutil.rmtree(path, ignore_errors=True)  # stopped while it was being made
            yield prepare(spec, source, name=group.name, out=path, device=device or group.device, env=env)
        elif not (Run.open(path).finished and (path / "report.html").exists()):
            yield reopen(path, device=device) if given is None else reopen(path, device=device, given=given)


def spread(folder: Path) -> dict[str, Any] | None:
    """Give mean and standard deviation over the seeds of each held-out figure, and write them into the folder.

    Gives None where no image was held out, so that nothing was measured.
    """
    group = opened(folder)
    found = [Run.open(folder / name).metrics for name in group.runs]
    split = next((name for name in ("test", "validation") if all(name in metrics for metrics in found)), None)
    if split is None:
        return None
    measured = {"split": split, **over_seeds([metrics[split] for metrics in found])}
    group.write(spread=measured)
    return {"seeds": group.seeds, **measured}


def over_seeds(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give mean, standard deviation and each of the figures that all rows have; of one row there is no deviation."""
    return {
        name: {
            "mean": statistics.fmean(row[name] for row in rows),
            "deviation": statistics.stdev(row[name] for row in rows) if len(rows) > 1 else None,
            "each": [row[name] for row in rows],
        }
        for name in ("elbo", "bound", "distortion", "rate", "loss", "log_p", "active")
        if all(row.get(name) is not None for row in rows)
    }
