"""The same training from several seeds: a folder of runs, and the spread of their figures."""

import json
import shutil
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lowerbound import files
from lowerbound.begin import prepare, reopen
from lowerbound.data import Source
from lowerbound.errors import StorageError
from lowerbound.job import Job
from lowerbound.run import Run, make_folder
from lowerbound.spec import Spec

FILE = "seeds.json"


def create(spec: Spec, source: Source, seeds: Sequence[int], *, name: str, out: Path | None) -> Path:
    """Make the folder of a group of runs; raises UsageError where it is there already."""
    folder = make_folder(out, f"{source.name}-{name}")
    content = {"spec": spec, "name": name, "seeds": list(seeds)}
    files.write(folder / FILE, json.dumps(content, indent=1).encode())
    return folder


def is_group(path: str | Path) -> bool:
    """Whether a folder holds the runs of several seeds."""
    return (Path(path) / FILE).is_file()


def spec_of(folder: Path) -> Spec:
    """Give the spec that the runs of a group share but for the seed."""
    spec: Spec = _read(folder)["spec"]
    return spec


def _read(folder: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads((folder / FILE).read_bytes())
    except ValueError as error:
        raise StorageError(f"{folder / FILE} is damaged: {error}.") from None
    return content


def jobs(folder: Path, source: Source, *, device: str, env: dict[str, Any]) -> Iterator[Job]:
    """Give the job of each seed that is not finished: begun anew, or from its newest checkpoint."""
    content = _read(folder)
    for seed in content["seeds"]:
        path = folder / f"seed-{seed}"
        if not (path / "spec.json").exists():
            shutil.rmtree(path, ignore_errors=True)  # stopped while it was being made
            spec = {**content["spec"], "seed": seed}
            yield prepare(spec, source, name=content["name"], out=path, device=device, env=env)
        elif not Run.open(path).finished:
            yield reopen(path, device=device)


def spread(folder: Path) -> dict[str, Any]:
    """Give mean and standard deviation over the seeds of each test figure, and write them into the folder."""
    content = _read(folder)
    runs = [Run.open(folder / f"seed-{seed}") for seed in content["seeds"]]
    split = "test" if "test" in runs[0].metrics else "validation"
    rows = [run.metrics[split] for run in runs]
    figures = {
        name: {
            "mean": statistics.fmean(row[name] for row in rows),
            "deviation": statistics.stdev(row[name] for row in rows) if len(rows) > 1 else None,
            "each": [row[name] for row in rows],
        }
        for name in ("elbo", "distortion", "rate", "loss", "active")
    }
    content["spread"] = {"split": split, **figures}
    files.write(folder / FILE, json.dumps(content, indent=1).encode())
    spread_: dict[str, Any] = content["spread"]
    return spread_
