"""Files that are whole or not there."""

import errno
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import IO

from lowerbound.errors import StorageError

AGAIN = "then do it again"
PATIENCE = 0.5  # seconds: whoever looks whether a lock is held has it for an instant


def write(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or, after any interruption, as it was before.

    Raises StorageError, with the free space, where the disk does not take it; nothing half is left.
    """
    try:
        replace(path, data)
    except OSError as error:
        raise storage_error(path, error, len(data)) from error


def replace(path: Path, data: bytes) -> None:
    """Do what `write` does, and let the OSError through."""
    temporary = path.with_name(f".{path.name[:100]}-{uuid.uuid4().hex[:8]}")
    try:
        flush(temporary, data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def flush(path: Path, data: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Make a rename in the folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def storage_error(path: Path, error: OSError, needed: int = 0) -> StorageError:
    """Say in words why a path could not be written."""
    place = next((p for p in (path, *path.parents) if p.exists()), Path())
    cause = error.strerror or str(error)
    advice = "Check the folder and its permissions"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        cause = f"the disk is full ({shutil.disk_usage(place).free:,} bytes free, {needed:,} needed)"
        advice = "Free some space"
    return StorageError(f"{path} could not be written: {cause}. Nothing half was left. {advice}, {AGAIN}.")


def hold(file: IO[bytes], patience: float = PATIENCE) -> bool:
    """Take the lock of an open file, for as long as it is open; tried for some seconds, since who looks has it briefly.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "lock"
        >>> with open(path, "ab") as one, open(path, "ab") as other:
        ...     hold(one), hold(other, 0.0)
        (True, False)
    """
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.01)
        else:
            return True


def digest(data: bytes) -> str:
    """Give the SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def tail(path: Path, size: int = 1 << 14, most: int = 1 << 24) -> list[bytes]:
    """Give the last whole lines of a file, without reading the rest of it: those within ``size`` bytes, or the last.

    Raises ValueError where no line ends within ``most`` bytes.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "rows"
        >>> _ = path.write_bytes(b"one\\ntwo\\nthree\\nhalf of f")
        >>> tail(path), tail(path, 1)
        ([b'one', b'two', b'three'], [b'three'])
    """
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        while True:
            start = max(0, end - size)
            file.seek(start)
            lines = file.read(end - start).split(b"\n")[bool(start) : -1]
            if lines or not start:
                return lines
            if size >= most:
                raise ValueError(f"no line ends within its last {size:,} bytes")
            size *= 2
