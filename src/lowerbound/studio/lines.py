"""A run in a line of the table: read from its small files, and kept until one of them changes."""

import json
import math
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from lowerbound import begin, files, progress, recipes, words
from lowerbound import spec as specs
from lowerbound.errors import LowerboundError, StorageError
from lowerbound.run import DIVERGED, EVALUATION, FRAMES, LOCK, WEIGHTS, Run

FILES = ("spec.json", "data.json", "env.json", "metrics.json", "history.jsonl", "timing.jsonl", DIVERGED)
NEEDED = FILES[:4]  # to open a run
READ = (*FILES, EVALUATION, FRAMES, LOCK, WEIGHTS)
LARGEST = 32 << 20  # bytes of a JSON file: more than any run writes
GAUSSIAN = ("gaussian", "bn-gaussian")  # posteriors whose z is μ + σ ⊙ ε, by their kind in a spec


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say in words what a file does not hold: raises StorageError for whatever its reading stumbles on.

    Example:
        >>> with reading(Path("runs/one/metrics.json")):
        ...     {"test": 3}["test"]["elbo"]
        Traceback (most recent call last):
        lowerbound.errors.StorageError: runs/one/metrics.json is damaged: 'int' object is not subscriptable.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from None
    except KeyError as error:
        raise StorageError(f"{path} is damaged: it has no {error}.") from None
    except RecursionError:
        raise StorageError(f"{path} is damaged: it is nested without end.") from None
    except (AttributeError, TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise StorageError(f"{path} is damaged: {error}.") from None


def regular(path: Path) -> None:
    """Raise StorageError where one of a run's files is none but a pipe or a device, which is read without end."""
    for name in READ:
        try:
            mode = os.stat(path / name).st_mode
        except OSError:
            continue
        if not stat.S_ISREG(mode):
            raise StorageError(f"{path / name} is damaged: it is no regular file.")


def there(path: Path) -> bool:
    """Whether a file is there: one of the run itself, and no link to elsewhere."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


@final
class Lines:
    """The lines of runs, each read again only where its files have changed."""

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[Any, dict[str, Any]]] = {}

    def of(self, path: Path) -> dict[str, Any]:
        """Tell a run's state and figures; of one that cannot be read, why, and which file it is."""
        try:
            regular(path)
        except StorageError as error:
            return {"state": "damaged", "damaged": NEEDED[0], "error": str(error), "pid": None}
        run = Run(path, {})
        stamps = [_stamp(path / name) for name in FILES]
        pid = None if stamps[FILES.index("metrics.json")] else run.trained_by()
        key = stamps, pid
        kept = self._kept.get(path)
        if kept is None or kept[0] != key:
            kept = self._kept[path] = key, _line(run, pid)
        return kept[1]

    def keep(self, paths: Collection[Path]) -> None:
        """Forget all runs but these."""
        for path in [path for path in self._kept if path not in paths]:
            self._kept.pop(path, None)


def _stamp(path: Path) -> Any:
    """Tell a file from what it was before without reading it."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _line(run: Run, pid: int | None) -> dict[str, Any]:
    """Read what the line shows, file by file, as far as they are whole."""
    line: dict[str, Any] = {"state": "finished" if run.finished else "stopped" if pid is None else "training"}
    line["pid"] = pid
    parts = {"spec.json": _spec, "data.json": _data, "env.json": _env}
    parts |= {"metrics.json": _metrics} if run.finished else {}
    parts |= {"history.jsonl": _history, "timing.jsonl": _timing, DIVERGED: _diverged}
    for name, part in parts.items():
        try:
            with reading(run.path / name):
                _bounded(run.path / name)
                line |= part(run, line)
        except LowerboundError as error:
            return {**line, "state": "damaged", "damaged": name, "error": str(error)}
    return {**line, "told": told(line["elbo"], line["elbo_error"])}


def _bounded(path: Path) -> None:
    if path.suffix == ".json" and path.exists() and path.stat().st_size > LARGEST:
        raise ValueError(f"it has {path.stat().st_size:,} bytes, which no run writes")


def _spec(run: Run, line: Mapping[str, Any]) -> dict[str, Any]:
    spec = run.spec = specs.check(run.read_json("spec.json"))
    _, weight = recipes.beta_of(spec["objective"]) or (None, None)
    asked = weight.get("end") if isinstance(weight, Mapping) else weight
    found = {"latents": spec["latents"], "seed": spec["seed"], "beta": number(asked), "reached": None}
    found["gaussian"] = is_gaussian(spec)
    if spec["model"] == specs.OWN:
        found["own"] = "Its model was built in Python and its spec does not describe it: open it there, with load()."
    return found


def is_gaussian(spec: specs.Spec) -> bool:
    """Whether a spec's posterior is a diagonal Gaussian."""
    return spec["model"].get("posterior", {}).get("kind") in GAUSSIAN


def _data(run: Run, line: Mapping[str, Any]) -> dict[str, Any]:
    known = run.data
    shape, images = [int(n) for n in known["shape"]], {split: int(n) for split, n in known["images"].items()}
    if not isinstance(known["unit"], bool):
        raise TypeError("unit is not true or false")
    return {"data": str(known["name"]), "shape": shape, "images": images, "total": begin.total(run)}


def _env(run: Run, line: Mapping[str, Any]) -> dict[str, Any]:
    return {"recipe": str(run.env["recipe"]), "when": str(run.env["started"])}


def _metrics(run: Run, line: Mapping[str, Any]) -> dict[str, Any]:
    """Take the figures of the held-out split, which are those of the weights that are kept."""
    known = run.metrics
    found = dict.fromkeys(("split", "elbo", "elbo_error", "rate", "active"))
    beta = known.get("beta")
    if beta is not None and line["beta"] is not None:
        found |= {"beta": number(beta["asked"]), "reached": number(beta["reached"])}
    split = next((name for name in ("test", "validation") if name in known), None)
    if split is None:
        return {**found, "note": run.weights_note}
    row = known[split]
    found |= {name: number(row.get(name)) for name in ("elbo", "rate", "active")}
    return {**found, "split": split, "elbo_error": number(row["standard_error"].get("elbo")), "note": run.weights_note}


def _history(run: Run, line: Mapping[str, Any]) -> dict[str, Any]:
    """Take the newest row: how far it is and, until it is finished, what it measures so far."""
    path = run.path / "history.jsonl"
    rows = files.tail(path) if path.exists() else []
    row = json.loads(rows[-1]) if rows else {"step": 0}
    so_far = {"elbo": number(row.get("elbo")), "rate": number(row.get("rate")), "reached": number(row.get("beta"))}
    unknown = dict.fromkeys(("split", "elbo_error", "active"))
    return {"step": int(row["step"]), **({} if run.finished else {**so_far, **unknown, "note": run.weights_note})}


def _timing(run: Run, line: Mapping[str, Any]) -> dict[str, Any]:
    path = run.path / "timing.jsonl"
    rows = [json.loads(row) for row in files.tail(path)] if line["pid"] is not None and path.exists() else []
    return {"left": progress.left(rows, line["total"])}


def _diverged(run: Run, line: Mapping[str, Any]) -> dict[str, Any]:
    if line["state"] != "stopped" or not (run.path / DIVERGED).exists():
        return {}
    return {"state": "diverged", "why": str(run.read_json(DIVERGED)["error"])}


def told(value: float | None, error: float | None) -> str:
    """Write a figure with its error as all of lowerbound does, and a dash where there is none.

    Example:
        >>> told(-101.2345, 0.31), told(None, None), told(float("nan"), 0.1)
        ('−101.23 ± 0.31', '–', 'not finite')
    """
    if value is None or not math.isfinite(value):
        return words.number(value)
    return words.with_error(value, error if error is not None and math.isfinite(error) else None)


def number(value: Any) -> float | None:
    """Take a number of a file, or none; raises TypeError where it is something else."""
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    raise TypeError(f"{str(value)[:40]!r} stands where a number should")
