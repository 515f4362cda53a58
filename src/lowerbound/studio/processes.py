"""Trainings as processes of their own: the studio starts and stops them, and may end or be killed without harm to them.

Each is ``lowerbound train``, ``sweep`` or ``resume`` in a session of its own, so that a Ctrl-C in the studio's terminal
does not reach it. Beside the runs, in ``.studio``, is a record of each start and what it printed. A training holds a
lock on its log for as long as it lives: any studio, now or later, sees by it that it does, whatever process has its id.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from lowerbound import files
from lowerbound.errors import StorageError, UsageError
from lowerbound.studio.route import MissingError
from lowerbound.studio.shelf import opaque

PLACE = ".studio"
MOST = 4  # at once: they share the processor
ENDING = 3.0  # seconds: a training that was stopped takes a moment to end
TAIL = 8192  # bytes of a log that are read
LINES = 30
KEPT = 50  # records; the oldest go


@final
@dataclass(frozen=True)
class Started:
    """The record of a training that was started.

    Arguments:
        id: opaque; that of the run, or of the folder of runs.
        name: of the directory in the folder of the runs.
        command: as it would be typed.
        pid: of its process.
        when: as env.json has it.
    """

    id: str
    name: str
    command: str
    pid: int
    when: str


@final
class Trainings:
    """The trainings that were started in a folder of runs, by this studio or by another one before.

    Arguments:
        folder: of the runs; it is made with the first training.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.place = folder, folder / PLACE
        self._starting = threading.Lock()

    def start(self, arguments: Sequence[str], name: str, command: str) -> Started:
        """Start ``lowerbound`` with arguments, which train what will be the directory ``name``.

        Raises UsageError where as many are at work as may be, or one is at that name; StorageError where the record
        cannot be written.
        """
        with self._starting:
            id = opaque(name)
            if sum(one.id != id and self.alive(one) for one in self.all()) >= MOST:
                raise UsageError(f"{MOST} trainings are at work, and more would only slow each other: stop one first.")
            log = self._log(id)
            try:
                self.place.mkdir(parents=True, exist_ok=True)
                with open(log, "ab") as file:
                    if not files.hold(file, ENDING):  # the child inherits it, and nobody else
                        raise UsageError(f"{name} is being trained already.")
                    file.truncate(0)
                    process = _spawned(arguments, file.fileno())
            except OSError as error:
                raise files.storage_error(log, error) from error
            threading.Thread(target=process.wait, daemon=True).start()  # so that it does not stay as a zombie
            started = Started(id, name, command, process.pid, time.strftime("%Y-%m-%dT%H:%M:%S%z"))
            files.write(self.place / f"{id}.json", json.dumps(asdict(started), ensure_ascii=False).encode())
            self._tidy()
            return started

    def all(self) -> list[Started]:
        """List the records, the newest first."""
        found = [one for path in self.place.glob("*.json") if (one := _read(path)) is not None]
        return sorted(found, key=lambda one: one.when, reverse=True)

    def find(self, id: str) -> Started:
        """Find a record; raises MissingError."""
        found = _read(self.place / f"{id}.json")
        if found is None:
            raise MissingError("There is no record of such a training in this folder.")
        return found

    def alive(self, started: Started) -> bool:
        """Whether a training's process is there: it holds the lock of its log."""
        try:
            with open(self._log(started.id), "rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def said(self, started: Started) -> list[str]:
        """Give the last lines that a training printed."""
        try:
            with open(self._log(started.id), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
                text = file.read(TAIL).decode(errors="replace")
        except OSError:
            return []
        return text.splitlines()[-LINES:]

    def stop(self, started: Started) -> None:
        """Ask a training to stop; raises StorageError where it has ended."""
        if not self.alive(started):
            raise StorageError(f"{started.name} has ended already.")
        stop(started.pid)

    def _log(self, id: str) -> Path:
        return self.place / f"{id}.log"

    def _tidy(self) -> None:
        for old in [one for one in self.all()[KEPT:] if not self.alive(one)]:
            for path in (self.place / f"{old.id}.json", self._log(old.id)):
                path.unlink(missing_ok=True)


def stop(pid: int) -> None:
    """Ask a process that trains to stop: it saves first. Raises StorageError where it cannot be asked."""
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        raise StorageError("The training has ended already.") from None
    except PermissionError:
        raise StorageError(f"The training (process {pid}) is another user's: it cannot be stopped from here.") from None


def _spawned(arguments: Sequence[str], log: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "lowerbound", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )


def _read(path: Path) -> Started | None:
    """Read a record; what is none, as after a full disk, is passed over: the runs themselves are seen without it."""
    try:
        known: dict[str, Any] = json.loads(path.read_bytes())
        found = Started(**{**known, "id": path.stem, "pid": int(known["pid"]), "when": str(known["when"])})
        return found if found.pid > 0 else None  # signals to others would reach whole groups of processes
    except (OSError, ValueError, TypeError, KeyError):
        return None
