"""The lock of a run: one process trains it, and others can tell which."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from lowerbound import files
from lowerbound.errors import StorageError


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock, whose file has the id of the process that does; raises StorageError where another holds it.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "lock"
        >>> with held(path):
        ...     holder(path) == os.getpid()
        True
        >>> holder(path)
    """
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open(path, "ab", buffering=0))  # who has it has written into it
            ours = files.hold(file)
            if ours:
                file.truncate(0)
                file.write(str(os.getpid()).encode())
        except OSError as error:
            raise files.storage_error(path, error) from error
        if not ours:
            raise StorageError(f"{path.parent} is being trained by another process: wait for it or stop it.")
        try:
            yield
        finally:
            file.truncate(0)


def holder(path: Path) -> int | None:
    """Give the id of the process that holds a lock, or None where none does."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: who looks does not keep out who looks
    except BlockingIOError:
        return _written(path)
    except OSError:  # there is none, or it may not be read
        pass
    return None


def _written(path: Path) -> int | None:
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
