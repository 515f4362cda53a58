"""From any array of numbers to what a Source holds: (N, D) or (N, C, H, W), bytes or float32."""

import numpy as np
import torch
from torch import Tensor

from lowerbound.data.npy import shape_text
from lowerbound.data.prepare import chunks
from lowerbound.errors import DataError

CHANNELS = (1, 3, 4)


def as_images(x: np.ndarray, scale: float | None, notes: list[str], name: str) -> tuple[Tensor, bool]:
    """Bring an array's axes and numbers into order; say whether all values lie in [0, 1], and add to ``notes``.

    Raises:
        DataError: if its shape or its numbers have no meaning here.

    Example:
        >>> x, unit = as_images(np.arange(8).reshape(2, 2, 2), None, notes := [], "x")
        >>> x.shape, x.dtype, unit, notes
        (torch.Size([2, 1, 2, 2]), torch.uint8, True, ['int64 from 0 to 7 are taken as grey values out of 255.'])
    """
    if x.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {x.dtype}; whole, floating-point or truth values are needed.")
    x = _axes(x, notes, name)
    if scale is None and x.dtype.kind in "biu":
        least, most = int(x.min()), int(x.max())
        if least >= 0 and most <= 255:
            return torch.from_numpy(_bytes(x, least, most, notes)), True
        notes.append(f"Whole numbers from {least} to {most} are not grey values; taken as they are.")
    values = _float32(x, scale)
    low, high = _finite_range(values, name)
    unit = low >= 0 and high <= 1
    if not unit:
        hint = " If they are grey values, give scale=255." if low >= 0 and 1 < high <= 255 else ""
        notes.append(f"Values from {low:g} to {high:g}, not in [0, 1]: on the real line.{hint}")
    return torch.from_numpy(values), unit


def _axes(x: np.ndarray, notes: list[str], name: str) -> np.ndarray:
    shape = shape_text(x.shape)
    if x.size == 0:
        raise DataError(f"{name} has the shape {x.shape}: there is nothing in it.")
    if x.ndim not in (2, 3, 4):
        raise DataError(
            f"{name} is {shape}; needed are rows of vectors (N, D), or images (N, H, W), (N, H, W, C) or (N, C, H, W)."
        )
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4:
        if x.shape[1] in CHANNELS:
            if x.shape[3] in CHANNELS:
                notes.append(f"{shape} is taken as (N, C, H, W), though (N, H, W, C) would fit too.")
            return x
        if x.shape[3] not in CHANNELS:
            raise DataError(f"{name} is {shape}; images are (N, C, H, W) or (N, H, W, C) with 1, 3 or 4 channels C.")
        notes.append(f"{shape} is taken as (N, H, W, C).")
        return x.transpose(0, 3, 1, 2)
    return x


def _bytes(x: np.ndarray, low: int, high: int, notes: list[str]) -> np.ndarray:
    if high == 1:
        notes.append("Only 0 and 1: taken as black and white.")
        white: np.ndarray = np.multiply(x, 255, dtype=np.uint8, casting="unsafe")
        return white
    if x.dtype != np.uint8:
        notes.append(f"{x.dtype} from {low} to {high} are taken as grey values out of 255.")
    elif x.ndim == 2:
        notes.append("Bytes are taken as grey values out of 255; scale=1 keeps them as they are.")
    return _plain(x if x.dtype == np.uint8 else x.astype(np.uint8))


def _plain(x: np.ndarray) -> np.ndarray:
    """The array itself if torch can take it and a row is near to itself in memory, else a copy."""
    if min(x.strides) < 0 or x.strides[0] != max(x.strides):
        return np.ascontiguousarray(x)
    return x


def _float32(x: np.ndarray, scale: float | None) -> np.ndarray:
    if x.dtype == np.float32 and scale is None:
        return _plain(x)
    out = np.empty(x.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is found below
        for rows in chunks(len(x), x.shape[1:]):
            out[rows] = x[rows] if scale is None else x[rows].astype(np.float64) / scale
    return out


def _finite_range(x: np.ndarray, name: str) -> tuple[float, float]:
    bad, first, low, high = 0, -1, np.inf, -np.inf
    for rows in chunks(len(x), x.shape[1:]):
        part = x[rows]
        wrong = ~np.isfinite(part)
        if found := int(wrong.sum()):
            if not bad:
                where = wrong.reshape(len(part), -1).any(1)
                first = rows.start + int(where.argmax())
            bad += found
        low, high = min(low, float(part.min())), max(high, float(part.max()))
    if bad:
        raise DataError(
            f"{name} holds {bad} values that are not numbers (NaN, infinite, or too large for float32), "
            f"the first in row {first}. Remove those rows or fill the values in."
        )
    return low, high
