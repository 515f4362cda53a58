"""Files with a row of JSON on each line: what a training logs as it goes."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowerbound import files
from lowerbound.errors import StorageError


def read(path: Path) -> list[dict[str, Any]]:
    """Give the rows that were written to their end; a process that was killed may have left half of one."""
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
    except ValueError as error:
        raise StorageError(f"{path} is damaged: {error}.") from None


def append(path: Path, row: Mapping[str, Any]) -> None:
    """Write one row more; raises StorageError where the disk does not take it."""
    try:
        with open(path, "ab") as file:
            file.write(json.dumps(row).encode() + b"\n")
    except OSError as error:
        raise files.storage_error(path, error) from error


def cut(path: Path, step: int) -> None:
    """Take away the rows of later steps than this, atomically."""
    if path.exists():
        lines = [json.dumps(row).encode() for row in read(path) if row["step"] <= step]
        files.write(path, b"".join(line + b"\n" for line in lines))
