"""The same training from several seeds: a folder of runs, and the spread of their figures."""

import json
import shutil
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lowerbound import files
from lowerbound import spec as specs
from lowerbound.begin import prepare, reopen
from lowerbound.data import Source
from lowerbound.errors import DataError, StorageError
from lowerbound.job import Job
from lowerbound.run import Run, fingerprint, make_folder
from lowerbound.spec import Spec

FILE = "seeds.json"


def create(
    spec: Spec, source: Source, seeds: Sequence[int], *, name: str, out: Path | None, device: str = "auto"
) -> Path:
    """Make the folder of a group of runs; raises UsageError where it is there already."""
    folder = make_folder(out, f"{source.name}-{name}")
    content = {
        "spec": spec,
        "name": name,
        "seeds": list(seeds),
        "device": device,
        "data": fingerprint(source.info),  # so that a seed that is begun later is trained on the same ones
    }
    _write(folder, content)
    return folder


def is_group(path: str | Path) -> bool:
    """Whether a folder holds the runs of several seeds."""
    return (Path(path) / FILE).is_file()


def spec_of(folder: Path) -> Spec:
    """Give the spec that the runs of a group share but for the seed."""
    spec: Spec = _read(folder)["spec"]
    return spec


def source_of(folder: Path) -> Source:
    """Load the data of a group; raises DataError where they are not those that it was begun with."""
    content = _read(folder)
    source = specs.build_source(content["spec"])
    if "data" in content and content["data"] != fingerprint(source.info):
        raise DataError(
            f"The data of {folder} are not those it was begun with: their SHA-256 differs from that in "
            f"{folder / FILE}. Put back what spec.data there names, or train anew."
        )
    return source


def _write(folder: Path, content: dict[str, Any]) -> None:
    files.write(folder / FILE, json.dumps(content, indent=1).encode())


def _read(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        seeds = content["seeds"]
        known = isinstance(content["name"], str) and {"fit", *content["spec"]} == set(specs.TOP)
        if not (known and isinstance(seeds, list) and seeds and all(type(seed) is int for seed in seeds)):
            raise ValueError("it does not hold what was written")
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from None
    except (ValueError, KeyError, TypeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise StorageError(
            f"{path} is damaged: {what}. The runs beside it are whole in themselves: "
            f"lowerbound resume {folder}/seed-N goes on with one."
        ) from None
    content["spec"] = specs.check(content["spec"])
    return content


def jobs(folder: Path, source: Source, *, device: str | None, env: dict[str, Any]) -> Iterator[Job]:
    """Give the job of each seed that is not finished: begun anew, or from its newest checkpoint.

    ``device`` is over that of each run; without one a run that is begun anew takes the group's.
    """
    content = _read(folder)
    for seed in content["seeds"]:
        path = folder / f"seed-{seed}"
        if not (path / "spec.json").exists():
            shutil.rmtree(path, ignore_errors=True)  # stopped while it was being made
            spec = {**content["spec"], "seed": seed}
            where = device or content.get("device", "auto")
            yield prepare(spec, source, name=content["name"], out=path, device=where, env=env)
        elif not (Run.open(path).finished and (path / "report.html").exists()):
            yield reopen(path, device=device)


def spread(folder: Path) -> dict[str, Any] | None:
    """Give mean and standard deviation over the seeds of each held-out figure, and write them into the folder.

    Gives None where no image was held out, so that nothing was measured.
    """
    content = _read(folder)
    found = [Run.open(folder / f"seed-{seed}").metrics for seed in content["seeds"]]
    split = next((name for name in ("test", "validation") if all(name in metrics for metrics in found)), None)
    if split is None:
        return None
    content["spread"] = {"split": split, **_spread([metrics[split] for metrics in found])}
    _write(folder, content)
    return {"seeds": content["seeds"], **content["spread"]}


def _spread(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: {
            "mean": statistics.fmean(row[name] for row in rows),
            "deviation": statistics.stdev(row[name] for row in rows) if len(rows) > 1 else None,
            "each": [row[name] for row in rows],
        }
        for name in ("elbo", "bound", "distortion", "rate", "loss", "active")
        if all(row.get(name) is not None for row in rows)
    }
