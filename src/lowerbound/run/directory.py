"""A run: the directory of one training, and the trained model in it."""

import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

from lowerbound import checkpoint, data, files, process
from lowerbound import spec as specs
from lowerbound.data import Source
from lowerbound.errors import DataError, StorageError, UsageError
from lowerbound.run import lock, rows
from lowerbound.run.data import recorded, same
from lowerbound.run.model import trained
from lowerbound.run.names import DIVERGED, EVALUATION, FRAMES, GROUPS, HISTORY, LOCK, TIMING, WEIGHTS, make_folder
from lowerbound.vae import Model


@final
@dataclass
class Run:
    """One training run on disk; `lowerbound.load` opens one and `lowerbound.fit` makes one.

    ``run.model`` is the trained model in evaluation mode, ``run.source`` the data, ``run.history`` the rows of the
    curves, ``run.metrics`` the figures of its evaluation.
    """

    path: Path
    spec: specs.Spec
    own: Model | None = None  # a model built in Python, which no spec describes
    given: Source | None = None  # data given in Python, which no spec names

    @classmethod
    def create(
        cls,
        spec: specs.Spec,
        source: Source,
        *,
        out: Path | None,
        name: str,
        env: Mapping[str, Any],
        own: Model | None = None,
    ) -> "Run":
        """Make the directory of a new run.

        Raises UsageError where ``out`` is there already, StorageError where the disk does not take it.
        """
        path = make_folder(out, name)
        run = cls(path, spec, own)
        try:
            (path / "checkpoints").mkdir()
            run.write_json("env.json", {**process.environment(), **env})
            run.write_json("data.json", recorded(source))
            run.write_json("spec.json", spec)  # last: without it the folder is no run
        except BaseException as error:  # a signal among them
            shutil.rmtree(path, ignore_errors=True)  # half a run is no run, and nothing is in it yet
            raise files.storage_error(path, error) if isinstance(error, OSError) else error from None
        return run

    @classmethod
    def open(cls, path: str | Path, own: Model | None = None, given: Source | None = None) -> "Run":
        """Open a run's directory; raises UsageError where it is none, or used a part that is not registered."""
        path = Path(path)
        if any((path / name).is_file() for name in GROUPS):
            runs = ", ".join(str(spec.parent) for spec in sorted(path.glob("*/spec.json")))
            raise UsageError(f"{path} holds several runs: give one of them ({runs}).")
        if not (path / "spec.json").is_file():
            raise UsageError(
                f"{path} is not a run: it has no spec.json. Give the directory that lowerbound train printed."
            )
        run = cls(path, {}, own, given)
        run.spec = specs.check(run.read_json("spec.json"))
        if run.spec["model"] == specs.OWN and own is None:
            raise UsageError(
                f"{path} was trained with a model built in Python, which its spec does not describe: "
                "build the same model and pass it, lowerbound.load(path, model=model)."
            )
        return run

    # what is in the directory

    def read_json(self, name: str) -> Any:
        """Read one of the run's JSON files; raises StorageError where it is missing or damaged."""
        try:
            return json.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            raise StorageError(f"{self.path / name} is missing: the run is not whole.") from None
        except ValueError as error:
            raise StorageError(f"{self.path / name} is damaged: {error}.") from None

    def write_json(self, name: str, content: Any) -> None:
        """Write one of the run's JSON files, whole or not at all."""
        files.write(self.path / name, json.dumps(content, indent=1, ensure_ascii=False).encode())

    @property
    def data(self) -> dict[str, Any]:
        """What is known about the data: origin, sizes, hashes, notes."""
        known: dict[str, Any] = self.read_json("data.json")
        return known

    @property
    def env(self) -> dict[str, Any]:
        """Versions, machine, settings and the command."""
        known: dict[str, Any] = self.read_json("env.json")
        return known

    @property
    def metrics(self) -> dict[str, Any]:
        """The figures of the finished run; raises StorageError while there are none."""
        if not (self.path / "metrics.json").exists():
            raise StorageError(f"{self.path} is not finished: go on with lowerbound resume {self.path}")
        known: dict[str, Any] = self.read_json("metrics.json")
        return known

    @property
    def finished(self) -> bool:
        """Whether the training has ended and was evaluated."""
        return (self.path / "metrics.json").exists()

    @property
    def evaluation(self) -> dict[str, Any]:
        """What ``lowerbound evaluate`` found of each split, of the weights that are here now; nothing before."""
        if not (self.path / EVALUATION).exists():
            return {}
        known, now = self.read_json(EVALUATION), self.weights
        current = (known["weights"], known.get("step", now["step"])) == (now["sha256"], now["step"])
        splits: dict[str, Any] = known["splits"] if current else {}
        return splits

    @property
    def weights(self) -> dict[str, Any]:
        """Which weights the run's model has, their step and SHA-256: the chosen ones, or the newest checkpoint's.

        Raises StorageError where there are none yet.
        """
        if self.finished:
            chosen: dict[str, Any] = self.metrics["weights"]
            return chosen
        newest = self.newest
        return {"which": "newest", "ema": False, "step": int(newest.name), "sha256": checkpoint.weights(newest)}

    @property
    def newest(self) -> Path:
        """The newest checkpoint; raises StorageError where there is none yet."""
        saved = checkpoint.listed(self.checkpoints)
        if not saved:
            raise StorageError(f"{self.path} has no weights yet: it has not come to its first checkpoint.")
        return saved[0]

    @property
    def figures(self) -> Path:
        """The folder of the pictures."""
        return self.path / "figures"

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of the curves, for train and validation."""
        return rows.read(self.path / HISTORY)

    @property
    def timing(self) -> list[dict[str, Any]]:
        """The seconds that the steps of each row of the history took."""
        return rows.read(self.path / TIMING)

    def log(self, row: Mapping[str, Any], name: str = HISTORY) -> None:
        """Append one row to the history (or to timing.jsonl, or to frames.jsonl)."""
        rows.append(self.path / name, row)

    def unfinish(self) -> None:
        """Take away what `finish` made of a later step, before training goes on from an earlier one."""
        for name in ("metrics.json", WEIGHTS, EVALUATION, DIVERGED):
            (self.path / name).unlink(missing_ok=True)

    def cut(self, step: int) -> None:
        """Cut history, timing and frames back to a step, each atomically: what came after it will be done again."""
        for name in (HISTORY, TIMING, FRAMES):
            rows.cut(self.path / name, step)
        for later in [path for path in self.frames.glob("*.png") if path.stem > f"{step:09d}"]:
            later.unlink()

    @property
    def frames(self) -> Path:
        """The folder of the pictures that were made while it was trained, each named by its step."""
        return self.path / "frames"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Keep a second process from training the same run; raises StorageError where one does."""
        return lock.held(self.path / LOCK)

    def trained_by(self) -> int | None:
        """Give the id of the process that trains the run now, or None where none does."""
        return lock.holder(self.path / LOCK)

    # what came of it

    @cached_property
    def model(self) -> Model:
        """The trained model, in evaluation mode: the chosen weights, or the newest checkpoint's while it trains.

        It has the prior that was fitted to its codes, where one was; before that, the one it is trained with.
        """
        return trained(self)

    @cached_property
    def source(self) -> Source:
        """The data it was trained on, loaded anew; raises DataError where they are gone or not the same."""
        if self.given is None and self.spec["data"] == specs.OWN:
            raise UsageError(
                f"{self.path} was trained on a tensor given in Python, which its spec does not name: "
                "pass the same one, lowerbound.load(path, source=x), or lowerbound.resume(path, source=x) to go on."
            )
        source = specs.build_source(self.spec) if self.given is None else self.given
        if not same(self.data, source):
            what = f"Put back what {self.path / 'data.json'} names" if self.given is None else "Pass the same ones"
            raise DataError(
                f"The data of {self.path} are not those it was trained on: their SHA-256 or their split differs. "
                f"{what}, or train anew."
            )
        return source

    @property
    def weights_note(self) -> str:
        """Say which weights the run's model has, and which prior if not that of its training, for beside a figure."""
        chosen = self.weights
        if not self.finished:
            return f"weights of the newest checkpoint (step {chosen['step']:,}); the run is not finished"
        average = ", exponential moving average" if chosen["ema"] else ""
        fitted = self.metrics.get("fit")
        prior = f" and the prior fitted to their codes afterwards ({fitted['kind']})" if fitted else ""
        return f"{chosen['which']} weights (step {chosen['step']:,}{average}){prior}"

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        """Show the run in a notebook: its figures and its samples."""
        from lowerbound.gallery import notebook

        return notebook(self)


def load(path: str | Path, model: Model | None = None, source: Any = None) -> Run:
    """Open a finished or interrupted run.

    Arguments:
        path: the run's directory.
        model: the model, built as it was, where the run was trained with one built in Python.
        source: the data, a `Source` or the tensor, where the run was trained on data given in Python.
    """
    return Run.open(path, model, None if source is None else data.given(source))
