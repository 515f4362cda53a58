"""The IDX format of MNIST: two zero bytes, a type, the number of axes, their lengths, then the values."""

import gzip
import io
import struct
import zlib
from math import prod

import numpy as np
from jaxtyping import UInt8

from lowerbound.errors import DataError

UBYTE = 0x08


def parse(data: bytes | bytearray, name: str = "IDX data") -> UInt8[np.ndarray, "..."]:
    """Read an IDX file of unsigned bytes; the array is a view of ``data``.

    Raises:
        DataError: if the header is wrong or does not fit the number of bytes.

    Example:
        >>> parse(serialise(np.arange(6, dtype=np.uint8).reshape(2, 3))).tolist()
        [[0, 1, 2], [3, 4, 5]]
    """
    if len(data) < 4 or data[0] or data[1]:
        raise DataError(f"{name} is not an IDX file: it starts with {bytes(data[:4])!r}.")
    if data[2] != UBYTE:
        raise DataError(f"{name} holds IDX type 0x{data[2]:02x}; only unsigned bytes (0x08) are read.")
    axes = data[3]
    start = 4 + 4 * axes
    if not 1 <= axes <= 4 or len(data) < start:
        raise DataError(f"{name} is not an IDX file: {axes} axes in a file of {len(data)} bytes.")
    shape = struct.unpack(f">{axes}I", data[4:start])
    expected = prod(shape)  # Python's integers: a product cannot overflow
    if expected == 0 or expected != len(data) - start:
        raise DataError(
            f"{name} is damaged: its header says {' x '.join(map(str, shape))} = {expected} bytes of values, "
            f"but {len(data) - start} follow."
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def serialise(array: UInt8[np.ndarray, "..."]) -> bytes:
    """Write an array of unsigned bytes, one to four axes, as an IDX file."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, UBYTE, array.ndim, *array.shape) + array.tobytes()


def gunzip(packed: bytes, cap: int, name: str) -> bytes:
    """Unpack a gzip file that must not hold more than ``cap`` bytes.

    Raises:
        DataError: if it is damaged, empty, or unpacks to more.
    """
    try:
        with gzip.open(io.BytesIO(packed)) as stream:
            data = stream.read(cap + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name} cannot be unpacked: {error}") from error
    if len(data) > cap:
        raise DataError(f"{name} unpacks to more than the {cap} bytes that the original has.")
    if not data:  # gzip takes an empty file for an empty archive
        raise DataError(f"{name} is empty.")
    return data
