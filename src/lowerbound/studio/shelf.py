"""The runs of a folder, by opaque names: no path ever comes from the page."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lowerbound import seeds
from lowerbound.errors import LowerboundError, StorageError
from lowerbound.run import GROUPS, Run
from lowerbound.studio.kept import Kept
from lowerbound.studio.lines import NEEDED, Lines, reading, regular
from lowerbound.studio.route import MissingError

PLANS = 64  # of folders of several runs, that are kept


@final
@dataclass(frozen=True)
class Shelved:
    """A run's directory, or that of several: its opaque name and its place.

    Arguments:
        id: the same at every start of the studio.
        path: the directory.
        group: the name of the folder of seeds, or of the sweep, that it is in.
    """

    id: str
    path: Path
    group: str | None = None

    @property
    def name(self) -> str:
        """What people call it."""
        return self.path.name if self.group is None else f"{self.group}/{self.path.name}"

    @property
    def known(self) -> dict[str, object]:
        """What the page is told of it, without reading any file."""
        return {"id": self.id, "name": self.name, "group": self.group, "path": str(self.path)}


@final
class Shelf:
    """What is in a folder of runs, looked up anew each time: runs come and go while the page is open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._lines = Lines()
        self._plans: Kept[tuple[Path, int], list[str]] = Kept(PLANS)

    def lines(self) -> list[dict[str, Any]]:
        """Tell of each run its name, state and figures; of one that cannot be read, why."""
        there = self.runs()
        self._lines.keep({one.path for one in there})
        return [self.line(one) for one in there]

    def line(self, shelved: Shelved) -> dict[str, Any]:
        """Tell a run's name, state and figures; of one that cannot be read, why."""
        return {**shelved.known, **self._lines.of(shelved.path)}

    def runs(self) -> list[Shelved]:
        """List the runs, those of several seeds and of sweeps one by one."""
        return list(self._walk())

    def _walk(self) -> Iterator[Shelved]:
        for path in _folders(self.folder):
            if _is_group(path):
                yield from (self._shelved(one, path.name) for one in _folders(path) if _is_run(one))
            elif _is_run(path):
                yield self._shelved(path)

    def _shelved(self, path: Path, group: str | None = None) -> Shelved:
        return Shelved(opaque(str(path.relative_to(self.folder))), path, group)

    def find(self, id: str) -> Shelved:
        """Find a run by its opaque name; raises MissingError, or StorageError where what it holds is no files."""
        for shelved in self._walk():
            if shelved.id == id:
                regular(shelved.path)
                return shelved
        raise MissingError("There is no such run in this folder: it was moved or deleted.")

    def find_group(self, id: str) -> Path:
        """Find a folder of several runs by its opaque name; raises MissingError."""
        for path in _folders(self.folder):
            if opaque(path.name) == id and _is_group(path):
                return path
        raise MissingError("There is no such folder of runs here: it was moved or deleted.")

    def waiting(self, group: Path) -> list[str]:
        """Name the runs that a folder of several is planned to hold and that are not begun; none of a damaged plan."""
        try:
            plan = next(group / name for name in GROUPS if (group / name).is_file())
            with reading(plan):
                key = plan, plan.stat().st_mtime_ns
                names = self._plans.made(key, lambda: list(seeds.opened(group).runs))
        except (LowerboundError, StopIteration):  # it is damaged, or has gone since the folder was looked at
            return []
        return [name for name in names if not _is_run(group / name)]

    def open(self, id: str) -> Run:
        """Open a run by its opaque name; raises MissingError, or what is wrong with it."""
        shelved = self.find(id)
        line = self.line(shelved)
        if line.get("damaged") in NEEDED:  # of damaged curves all others can be shown
            raise StorageError(line["error"])
        return Run.open(shelved.path)


def opaque(text: str) -> str:
    """Give a name that tells nothing, the same for the same text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LowerboundError(f"{path} cannot be read: {error.strerror}.") from None


def _is_run(path: Path) -> bool:
    return os.path.isfile(path / "spec.json")  # False too of a folder that may not be read


def _is_group(path: Path) -> bool:
    return any(os.path.isfile(path / name) for name in GROUPS)
