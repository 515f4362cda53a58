"""A run: the directory of one training, and the trained model in it."""

import contextlib
import fcntl
import json
import os
import platform
import secrets
import shlex
import shutil
import string
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

import torch

from lowerbound import after, checkpoint, data, files
from lowerbound import spec as specs
from lowerbound.data import Source
from lowerbound.errors import DataError, StorageError, UsageError
from lowerbound.vae import Model

WEIGHTS = "weights.safetensors"
EVALUATION = "evaluation.json"
FRAMES = "frames.jsonl"
DIVERGED = "diverged.json"  # why the training ended; gone when it goes on
LOCK = ".lock"
GROUPS = ("seeds.json", "sweep.json")  # in a folder of several runs: of several seeds, and of a sweep


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
        known = {
            **source.info,
            "name": source.name,
            "origin": list(dict.fromkeys(file["from"] for file in source.info.get("files", []) if "from" in file)),
            "shape": list(source.shape),
            "unit": source.unit,
            "binarise": source.binarise,
            "dequantise": source.dequantise,
            "images": {part: len(getattr(source, part)) for part in ("train", "validation", "test")},
        }
        try:
            (path / "checkpoints").mkdir()
            run.write_json("env.json", {**environment(), **env})
            run.write_json("data.json", known)
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
        if run.spec["model"] == {"kind": "own"} and own is None:
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
        same = (known["weights"], known.get("step", now["step"])) == (now["sha256"], now["step"])
        splits: dict[str, Any] = known["splits"] if same else {}
        return splits

    @property
    def weights(self) -> dict[str, Any]:
        """Which weights the run's model has, their step and SHA-256: the chosen ones, or the newest checkpoint's.

        Raises StorageError where there are none yet.
        """
        if self.finished:
            chosen: dict[str, Any] = self.metrics["weights"]
            return chosen
        newest = self._newest()
        return {"which": "newest", "ema": False, "step": int(newest.name), "sha256": checkpoint.weights(newest)}

    def _newest(self) -> Path:
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
        return _rows(self.path / "history.jsonl")

    @property
    def timing(self) -> list[dict[str, Any]]:
        """The seconds that the steps of each row of the history took."""
        return _rows(self.path / "timing.jsonl")

    def log(self, row: Mapping[str, Any], name: str = "history.jsonl") -> None:
        """Append one row to the history (or to timing.jsonl, or to frames.jsonl)."""
        path = self.path / name
        try:
            with open(path, "ab") as file:
                file.write(json.dumps(row).encode() + b"\n")
        except OSError as error:
            raise files.storage_error(path, error) from error

    def unfinish(self) -> None:
        """Take away what `finish` made of a later step, before training goes on from an earlier one."""
        for name in ("metrics.json", WEIGHTS, EVALUATION, DIVERGED):
            (self.path / name).unlink(missing_ok=True)

    def cut(self, step: int) -> None:
        """Cut history, timing and frames back to a step, each atomically: what came after it will be done again."""
        for path in (self.path / name for name in ("history.jsonl", "timing.jsonl", FRAMES)):
            if path.exists():
                lines = [json.dumps(row).encode() for row in _rows(path) if row["step"] <= step]
                files.write(path, b"".join(line + b"\n" for line in lines))
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

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second process from training the same run; raises StorageError where one does.

        The file holds the process id of who has it, for `trained_by`.
        """
        path = self.path / LOCK
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(open(path, "ab", buffering=0))  # who has it has written into it
                held = files.hold(file)
                if held:
                    file.truncate(0)
                    file.write(str(os.getpid()).encode())
            except OSError as error:
                raise files.storage_error(path, error) from error
            if not held:
                raise StorageError(f"{self.path} is being trained by another process: wait for it or stop it.")
            try:
                yield
            finally:
                file.truncate(0)

    def trained_by(self) -> int | None:
        """Give the id of the process that trains the run now, or None where none does."""
        try:
            with open(self.path / LOCK, "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: who looks does not keep out who looks
        except BlockingIOError:
            return _written_pid(self.path / LOCK)
        except OSError:  # there is none, or it may not be read
            pass
        return None

    # what came of it

    @cached_property
    def model(self) -> Model:
        """The trained model, in evaluation mode: the chosen weights, or the newest checkpoint's while it trains.

        It has the prior that was fitted to its codes, where one was; before that, the one it is trained with.
        """
        known = self.data
        what = tuple(known["shape"]), known["unit"]
        model = self.own or specs.build_model(self.spec, *what)
        tensors = self._weights()
        fit = specs.build_fit(self.spec, *what)
        if fit is not None and (self.path / WEIGHTS).exists():
            model = after.with_prior(model, fit.prior)
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            raise StorageError(f"The weights in {self.path} do not fit the model of its spec: {error}.") from None
        return model.eval()

    def _weights(self) -> dict[str, torch.Tensor]:
        path = self.path / WEIGHTS
        if not path.exists() and self.finished:
            raise StorageError(f"{path} is missing: lowerbound resume {self.path} writes it anew from the checkpoints.")
        if not path.exists():
            return checkpoint.load(self._newest())[0]["weights"]
        raw = path.read_bytes()
        expected = self.metrics["weights"]["sha256"] if self.finished else None
        if expected not in (None, files.digest(raw)):
            raise StorageError(
                f"{path} is damaged: its SHA-256 is not the one in metrics.json. "
                f"The checkpoints hold the same weights: lowerbound resume {self.path} writes it anew."
            )
        return checkpoint.unpack(raw, path)

    @cached_property
    def source(self) -> Source:
        """The data it was trained on, loaded anew; raises DataError where they are gone or not the same."""
        if self.given is None and self.spec["data"] == {"kind": "own"}:
            raise UsageError(
                f"{self.path} was trained on a tensor given in Python, which its spec does not name: "
                "pass the same one, lowerbound.load(path, source=x), or lowerbound.resume(path, source=x) to go on."
            )
        source = specs.build_source(self.spec) if self.given is None else self.given
        if not self._same(source):
            what = f"Put back what {self.path / 'data.json'} names" if self.given is None else "Pass the same ones"
            raise DataError(
                f"The data of {self.path} are not those it was trained on: their SHA-256 or their split differs. "
                f"{what}, or train anew."
            )
        return source

    def _same(self, source: Source) -> bool:
        known = self.data
        images = {part: len(getattr(source, part)) for part in known["images"]}
        facts = [list(source.shape), source.binarise, images, source.dequantise]
        return fingerprint(source.info) == fingerprint(known) and facts == [
            *(known[name] for name in ("shape", "binarise", "images")),
            known.get("dequantise", False),
        ]

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


def fingerprint(info: Mapping[str, Any]) -> list[Any]:
    """Give what tells data from others, as JSON has it: the SHA-256 of the whole and of each file."""
    return [info.get("sha256"), [file.get("sha256") for file in info.get("files", [])]]


def _rows(path: Path) -> list[dict[str, Any]]:
    """Give the rows that were written to their end; a process that was killed may have left half of one."""
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    except ValueError as error:
        raise StorageError(f"{path} is damaged: {error}.") from None


def _written_pid(path: Path) -> int | None:
    """Read who holds a lock: the id of a living process."""
    try:
        pid = int(path.read_bytes())
        if pid <= 0:  # damaged: signals to these would reach whole groups of processes
            return None
        os.kill(pid, 0)
    except PermissionError:  # another user's, and alive
        return pid
    except (OSError, ValueError, OverflowError):  # it was taken this instant, or let go
        return None
    return pid


def make_folder(out: Path | None, name: str) -> Path:
    """Make a new folder, by default ``runs/<name>-<8 random characters>``; raises UsageError where ``out`` is there."""
    if out is None:
        out = Path("runs") / unlike(name)
    try:
        out.mkdir(parents=True)
    except (FileExistsError, NotADirectoryError):
        begun = any((out / name).exists() for name in ("spec.json", *GROUPS))
        advice = f"go on with it, lowerbound resume {out}, or give" if begun else "give"
        raise UsageError(f"{out} exists, and nothing is overwritten: {advice} another --out.") from None
    except OSError as error:
        raise files.storage_error(out, error) from error
    return out


def unlike(name: str) -> str:
    """Give a name that no other run has: 8 random characters after it."""
    letters = string.ascii_lowercase + string.digits
    return f"{name}-{''.join(secrets.choice(letters) for _ in range(8))}"


def environment() -> dict[str, Any]:
    """Say what the run was made with: versions, machine and threads."""
    packages = ("lowerbound", "torch", "numpy", "safetensors", "matplotlib", "pillow")
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "machine": {"system": platform.platform(), "processor": processor(), "cores": os.cpu_count()},
        "threads": torch.get_num_threads(),
        "command": "python: lowerbound.fit",  # the command line puts its own words here
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def program() -> str:
    """Name the program as it can be called again from here: its path where the PATH does not find it."""
    called = Path(sys.argv[0])
    found = shutil.which("lowerbound")
    if called.name != "lowerbound" or not called.exists() or (found and called.samefile(found)):
        return "lowerbound"
    path, here = Path(os.path.abspath(called)), Path.cwd()
    return shlex.quote(os.path.join(".", path.relative_to(here)) if path.is_relative_to(here) else str(path))


def noun(shape: Sequence[int]) -> str:
    """Say what one of the data is called: vectors are no images."""
    return "images" if len(shape) == 3 else "examples"


def processor() -> str:
    """Name the processor as the system does."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
