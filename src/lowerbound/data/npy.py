"""NumPy's files read with care: what a header claims is held against what is stored before any memory is asked for.

A file of 188 bytes can claim 64 GiB, and ``numpy.load`` believes it.
"""

import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import final

import numpy as np
from numpy.lib import format as npy

from lowerbound.errors import DataError

MOST_ARRAYS = 1000
HEADER = 12 + 10_000  # bytes; numpy refuses longer ones
DEFLATE = 1032  # no byte of deflate makes more bytes than this


@final
@dataclass(frozen=True)
class Stored:
    """An array in a file, as its header describes it; ``size`` is how many bytes of values the file can hold."""

    path: Path
    member: str
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{shape_text(self.shape)} of {self.dtype}"


def shape_text(shape: Sequence[int]) -> str:
    """Say a shape: ``60000 x 28 x 28``."""
    return " x ".join(map(str, shape)) or "a single number"


def stored_arrays(path: Path) -> dict[str, Stored]:
    """List the arrays of a .npy or .npz file without reading them.

    Raises:
        DataError: if there is no such file, or it is neither.
    """
    if not path.is_file():
        what = "is not a regular file" if path.exists() else "does not exist"
        raise DataError(f"The array's file {str(path)!r} {what}. Check the path.")
    with _in_words(path), path.open("rb") as stream:
        start = stream.read(6)
        stream.seek(0)
        if start == npy.MAGIC_PREFIX:
            return {path.stem: _header(stream.read(HEADER), path, "", path.stat().st_size)}
        if start[:2] == b"PK":
            with zipfile.ZipFile(stream) as archive:
                return _members(archive, path)
    raise DataError(
        f"{path} is neither a .npy nor a .npz file: it starts with {start!r}. "
        "Write it with numpy.save(path, array) or numpy.savez(path, x=images, y=labels)."
    )


def read_stored(stored: Stored) -> np.ndarray:
    """Read an array; a .npy file is mapped, and what is written to the array stays in memory.

    Raises:
        DataError: if it holds objects, more than the file can hold, more than memory, or is damaged.
    """
    name = f"{stored.path}{f' ({stored.member})' if stored.member else ''}"
    _check(stored, name)
    with _in_words(stored.path):
        if not stored.member:
            return np.memmap(
                stored.path,
                stored.dtype,
                mode="c",
                offset=stored.offset,
                shape=stored.shape,
                order="F" if stored.fortran else "C",
            )
        with zipfile.ZipFile(stored.path) as archive, archive.open(stored.member) as stream:
            array: np.ndarray = npy.read_array(stream, allow_pickle=False)
            return array


def _check(stored: Stored, name: str) -> None:
    if stored.dtype.hasobject:
        raise DataError(
            f"{name} holds Python objects (pickle), which could run any code when read; it is not opened. "
            "Convert it where it was made: numpy.save(path, numpy.stack(list(array)))."
        )
    if min(stored.shape, default=1) < 1:
        raise DataError(f"{name} has the shape {stored.shape}: there is nothing in it.")
    needed = prod(stored.shape) * stored.dtype.itemsize
    if needed > stored.size:
        raise DataError(
            f"{name} is damaged: its header claims {stored}, {needed} bytes, but the file holds {stored.size}. "
            "Likely it was cut off while it was written or copied."
        )
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if stored.member and needed > memory:
        raise DataError(
            f"{name} needs {needed / 2**30:.1f} GiB, and this machine has {memory / 2**30:.1f}. "
            "Save it as .npy: such a file is mapped, not read."
        )


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except (DataError, MemoryError):
        raise
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # zipfile and numpy raise nearly anything on a damaged file
        raise DataError(f"{path} is damaged: {error or type(error).__name__}.") from error


def _header(data: bytes, path: Path, member: str, total: int) -> Stored:
    stream = io.BytesIO(data)
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise DataError(
            f"{path} is of NumPy's format {version}; read are 1.0 and 2.0 (3.0 is for tables with named columns)."
        )
    parse = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = parse(stream)
    offset = stream.tell()
    return Stored(path, member, shape, fortran, dtype, offset, total - offset)


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, Stored]:
    found = archive.infolist()
    if len(found) > MOST_ARRAYS:
        raise DataError(f"{path} holds {len(found)} files; an .npz has at most {MOST_ARRAYS} here.")
    arrays: dict[str, Stored] = {}
    for info in found:
        name = info.filename.removesuffix(".npy")
        if name in arrays:
            raise DataError(f"{path} is damaged: it holds {name!r} twice.")
        if name != info.filename:
            with archive.open(info) as stream:
                arrays[name] = _header(stream.read(HEADER), path, info.filename, _unpacked(info, path))
    if not arrays:
        raise DataError(f"{path} is a zip file without arrays (no .npy in it).")
    return arrays


def _unpacked(info: zipfile.ZipInfo, path: Path) -> int:
    """How many bytes a member can hold: what it says, if what is stored can make as much."""
    packed = min(info.compress_size, path.stat().st_size)
    most = packed if info.compress_type == zipfile.ZIP_STORED else DEFLATE * packed
    return min(info.file_size, most)
