"""Anyone's numbers: a .npy or .npz file, or a tensor in memory."""

import hashlib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Gt
from torch import Tensor

from lowerbound.data.npy import Stored, read_stored, shape_text, stored_arrays
from lowerbound.data.numbers import as_images
from lowerbound.data.prepare import assemble, chunks
from lowerbound.data.source import Binarise, Share, Source
from lowerbound.errors import DataError, UsageError, nearest

IMAGES = ("x", "images", "data", "arr_0")
LABELS = ("y", "labels")


def array(
    path: str,
    key: str | None = None,
    labels: str | None = None,
    scale: Annotated[float, Gt(0)] | None = None,
    binarise: Binarise = "none",
    dequantise: bool = False,
    validation: Share = 0.1,
    test: Share = 0.1,
) -> Source:
    """A NumPy file: (N, D), (N, H, W), (N, H, W, C) or (N, C, H, W) numbers.

    Arguments:
        path: the .npy or .npz file.
        key: the name of the array in an .npz.
        labels: the name of another array in it, or a second .npy file.
        scale: what the values are divided by.

    ``key`` names the array in an .npz; ``labels`` names another one in it, or a second .npy file. Bytes, truth values
    and integers from 0 to 255 are grey values; values are divided by ``scale`` where it is given. A .npy file is
    mapped, not read, where its values can be used as they are.

    Raises:
        DataError: if the file is damaged, holds objects, not a number (NaN), no rows, or a shape with no meaning.
        UsageError: if ``key`` or ``labels`` is not in the file, or a key is needed.
    """
    file = Path(path)
    arrays = stored_arrays(file)
    chosen = _choose(path, arrays, key)
    notes: list[str] = []
    x, unit = as_images(read_stored(arrays[chosen]), scale, notes, path)
    y, classes = _labels(file, arrays, chosen, labels, len(x), notes)
    beside = [Path(labels)] if labels is not None and labels not in arrays else []
    origins = [{"name": some.name, "sha256": _sha256(some), "from": str(some)} for some in (file, *beside)]
    info = {"kind": "array", "files": origins, "key": chosen, "notes": notes} | classes
    return assemble(
        file.stem,
        x,
        y,
        test=test,
        validation=validation,
        unit=unit,
        binarise=binarise,
        dequantise=dequantise,
        info=info,
    )


def tensor(
    x: Tensor | np.ndarray,
    labels: Tensor | np.ndarray | None = None,
    *,
    factors: Tensor | np.ndarray | None = None,
    name: str = "tensor",
    scale: float | None = None,
    binarise: Binarise = "none",
    dequantise: bool = False,
    validation: Share = 0.1,
    test: Share = 0.1,
) -> Source:
    """A tensor or array in memory, as `array` takes it; it is copied only where its values must be changed.

    ``factors``, (N, F) whole numbers, say what made each row, where that is known: disentanglement is measured by them.

    Raises:
        DataError: if it holds NaN, no rows, a shape or numbers with no meaning, or labels or factors do not fit.

    Example:
        >>> source = tensor(torch.rand(100, 28, 28))
        >>> source.shape, len(source.train), source.unit
        ((1, 28, 28), 80, True)
    """
    notes: list[str] = []
    data, unit = as_images(_numpy(x), scale, notes, name)
    if binarise == "dynamic":
        data = data.clone()  # its validation and test rows are replaced, and the caller's tensor is not ours
    y = None if labels is None else _integers(_numpy(labels), len(data), "labels")
    causes = None if factors is None else _columns(_numpy(factors), len(data))
    origin = {"from": "memory", "sha256": _values_sha256(data, y)}
    info = {"kind": "tensor", "files": [origin], "notes": notes}
    return assemble(
        name,
        data,
        y,
        test=test,
        validation=validation,
        unit=unit,
        binarise=binarise,
        dequantise=dequantise,
        info=info,
        factors=causes,
    )


def given(x: Any) -> Source:
    """Take what was given in Python: a `Source` as it is, numbers as `tensor` does.

    Raises:
        UsageError: if it is no table of numbers.
        DataError: as `tensor` does.
    """
    if isinstance(x, Source):
        return x
    if not isinstance(x, Tensor | np.ndarray):
        try:
            x = np.asarray(x)
        except (ValueError, TypeError, RuntimeError) as error:
            raise UsageError(
                f"A {type(x).__name__} was given as data, and it is no array of numbers: {error}. "
                "Give a name, a path, a tensor or array of images (N, C, H, W) or vectors (N, D), or a Source."
            ) from None
    return tensor(x)


def _values_sha256(x: Tensor, labels: Tensor | None) -> str:
    """Hash what the model sees, its shape and the labels."""
    whole = hashlib.sha256(f"{x.dtype} {tuple(x.shape)}".encode())
    for rows in chunks(len(x), x.shape[1:]):
        whole.update(x[rows].contiguous().numpy().tobytes())
    if labels is not None:
        whole.update(labels.numpy().tobytes())
    return whole.hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _numpy(x: Tensor | np.ndarray) -> np.ndarray:
    if isinstance(x, Tensor):
        x = x.detach().cpu()
        x = (x.float() if x.dtype == torch.bfloat16 else x).numpy()
    return x if x.flags.writeable else x.copy()  # torch wants memory that may be written


# ---- which array


def _choose(path: str, arrays: dict[str, Stored], key: str | None) -> str:
    names = list(arrays)
    if key is not None:
        if key in arrays:
            return key
        raise UsageError(f"{path} holds no array {key!r}; {nearest(key, names)}")
    candidates = [name for name in names if name not in LABELS] or names
    obvious = [name for name in candidates if name in IMAGES]
    for group in (candidates, obvious):
        if len(group) == 1:
            return group[0]
    listing = "\n".join(f"  {name}: {stored}" for name, stored in arrays.items())
    raise UsageError(
        f"{path} holds {len(names)} arrays; say which one the images are in, such as "
        f"--set data.key={candidates[0]} (in Python set=['data.key={candidates[0]}']):\n{listing}"
    )


def _labels(
    file: Path,
    arrays: dict[str, Stored],
    chosen: str,
    wanted: str | None,
    n: int,
    notes: list[str],
) -> tuple[Tensor | None, dict[str, Any]]:
    if wanted is None:
        for name in LABELS:
            stored = arrays.get(name)
            if stored and name != chosen and stored.dtype.kind in "iub" and stored.shape == (n,):
                notes.append(f"Labels are taken from the array {name!r}.")
                return _integers(read_stored(stored), n, name), {"labels": name}
        return None, {}
    if wanted in arrays:
        return _integers(read_stored(arrays[wanted]), n, wanted), {"labels": wanted}
    if not Path(wanted).exists():
        raise UsageError(
            f"labels = {wanted!r} is neither an array in {file} nor a file; {nearest(wanted, list(arrays))}"
        )
    others = stored_arrays(Path(wanted))
    if len(others) != 1:
        raise UsageError(f"The labels' file {wanted} holds {len(others)} arrays; give a .npy file.")
    return _integers(read_stored(*others.values()), n, wanted), {"labels": wanted}


def _integers(y: np.ndarray, n: int, name: str) -> Tensor:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.dtype.kind not in "iub" or y.shape != (n,):
        raise DataError(f"The labels {name} are {shape_text(y.shape)} of {y.dtype}; {n} whole numbers are needed.")
    if y.dtype == np.uint64 and y.max() > np.iinfo(np.int64).max:
        raise DataError(f"The labels {name} go up to {y.max()}, more than 64 bits with a sign hold.")
    return torch.from_numpy(y.astype(np.int64))


def _columns(factors: np.ndarray, n: int) -> Tensor:
    if factors.ndim != 2:
        raise DataError(f"The factors are {shape_text(factors.shape)}: a row for each of the {n} examples is needed.")
    return torch.stack([_integers(column, n, f"of factor {k}") for k, column in enumerate(factors.T)], 1)
