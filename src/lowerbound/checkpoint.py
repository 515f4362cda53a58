"""Checkpoints: folders that are whole or not there, with a SHA-256 for every file. No pickle.

A folder is written beside its place under another name, each file flushed to the disk, the manifest last; then it is
renamed, read back, and only then are old ones deleted. The newest is found by looking, not by a pointer.
"""

import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor

from lowerbound.errors import StorageError
from lowerbound.files import digest, flush, storage_error, sync

MANIFEST, STATE, FORMAT = "manifest.json", "state.json", 1

Tensors = Mapping[str, Tensor]


def pack(tensors: Tensors) -> bytes:
    """Give the tensors as safetensors bytes: contiguous, on the processor, each for itself where they share memory."""
    return save_bytes(
        {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}
    )


def unpack(data: bytes, path: Path) -> dict[str, Tensor]:
    """Read safetensors bytes; raises StorageError, with the path, where they are damaged."""
    try:
        return load_bytes(data)
    except SafetensorError as error:
        raise StorageError(f"{path} is damaged: {error}.") from error


def save(folder: Path, step: int, tensors: Mapping[str, Tensors], state: Mapping[str, Any], keep: set[int]) -> Path:
    """Save a checkpoint as ``folder/step`` and read it back; then delete all but the newest two and those in ``keep``.

    Raises StorageError where it cannot be written; those before it stay.
    """
    target = folder / f"{step:09d}"
    files = {f"{name}.safetensors": pack(part) for name, part in tensors.items()}
    files[STATE] = json.dumps(state, indent=1).encode()
    manifest = {"format": FORMAT, "step": step, "torch": torch.__version__, "files": _digests(files)}
    files[MANIFEST] = json.dumps(manifest, indent=1).encode()  # last: without it the folder is no checkpoint
    if not (target.exists() and not problem(target)):
        _place(folder, target, files)
    wrong = problem(target)
    if wrong:
        raise StorageError(f"The checkpoint {target} could not be read back: {wrong}. The disk may be failing.")
    prune(folder, keep | {step})
    return target


def _digests(files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    return {name: {"bytes": len(b), "sha256": digest(b)} for name, b in files.items()}


def _place(folder: Path, target: Path, files: Mapping[str, bytes]) -> None:
    temporary = folder / f".tmp-{target.name}-{uuid.uuid4().hex[:8]}"
    try:
        temporary.mkdir(parents=True)
        for name, data in files.items():
            flush(temporary / name, data)
        sync(temporary)
        if target.exists():  # damaged, or it would have been kept
            set_aside(target)
        os.rename(temporary, target)
        sync(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise storage_error(target, error, sum(map(len, files.values()))) from error


def set_aside(path: Path) -> Path:
    """Rename a checkpoint that is damaged or newer than wanted, so that it is neither used nor lost."""
    aside = path.with_name(f"{path.name}.aside-{uuid.uuid4().hex[:4]}")
    os.rename(path, aside)
    return aside


def prune(folder: Path, keep: Iterable[int]) -> None:
    """Delete checkpoints, and leftovers of interrupted saves, but the newest two and those of the steps in ``keep``."""
    kept = {f"{step:09d}" for step in keep} | {path.name for path in listed(folder)[:2]}
    for path in listed(folder):
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)
    for leftover in folder.glob(".tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def listed(folder: Path) -> list[Path]:
    """Give the checkpoints in a run's folder, newest first, whole or not."""
    return sorted((p for p in folder.glob("[0-9]*") if p.name.isdecimal()), key=lambda p: int(p.name), reverse=True)


def problem(path: Path) -> str | None:
    """Say what is wrong with a checkpoint, or None where every file is what its manifest says."""
    try:
        for _ in _verified(path):
            pass
    except StorageError as error:
        return str(error)
    return None


def weights(path: Path) -> str:
    """Give the SHA-256 of a checkpoint's weights; raises StorageError where its manifest is damaged."""
    return _manifest(path)["weights.safetensors"]


def load(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read a checkpoint: the tensors by file, and the state. Raises StorageError where it is damaged."""
    try:
        files = dict(_verified(path))
    except StorageError as error:
        raise StorageError(f"The checkpoint {path} is damaged: {error}.") from None
    state: dict[str, Any] = json.loads(files.pop(STATE))
    return {Path(name).stem: unpack(data, path / name) for name, data in files.items()}, state


def _verified(path: Path) -> Iterator[tuple[str, bytes]]:
    """Give each file that the manifest names, and no other; raises StorageError where one is not what was saved."""
    for name, sha256 in _manifest(path).items():
        data = _read(path / name)
        if digest(data) != sha256:
            raise StorageError(f"{name} is not what was saved (its SHA-256 differs)")
        yield name, data


def _manifest(path: Path) -> dict[str, str]:
    try:
        manifest = json.loads(_read(path / MANIFEST))
        form, step = manifest["format"], manifest["step"]
        files = {name: str(known["sha256"]) for name, known in manifest["files"].items()} if form == FORMAT else {}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StorageError(f"{MANIFEST} is damaged") from None
    if form != FORMAT:
        raise StorageError(f"its format is {form}, and this version reads {FORMAT}")
    if STATE not in files:
        raise StorageError(f"{MANIFEST} is damaged: it does not name {STATE}")
    if path.name.isdecimal() and step != int(path.name):
        raise StorageError(f"it is the checkpoint of step {step}, under the name of another")
    outside = [name for name in files if Path(name).name != name or name == ".."]
    if outside:
        raise StorageError(f"its manifest names {outside[0]!r}, outside its folder")
    return files


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise StorageError(f"{path.name} is missing") from None
    except OSError as error:
        raise StorageError(f"{path.name} cannot be read: {error.strerror}") from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Flatten an optimiser's state to named tensors."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, values in state.items() for name, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Put named tensors back into an optimiser's state, laid out as its weights are; its groups are the plan's."""
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        weight = weights[int(index)]
        if value.ndim and value.shape == weight.shape:  # channels_last, say: contiguous moments would round differently
            value = torch.empty_like(weight, dtype=value.dtype).copy_(value)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
