"""Checkpoints: folders that are whole or not there, with a SHA-256 for every file. No pickle.

A folder is written beside its place under another name, each file flushed to the disk, the manifest last; then it is
renamed, read back, and only then are old ones deleted. The newest is found by looking, not by a pointer.
"""

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor

from lowerbound.errors import StorageError

MANIFEST, STATE, FORMAT = "manifest.json", "state.json", 1

Tensors = Mapping[str, Tensor]


def write(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or, after any interruption, not at all.

    Raises StorageError, with the free space, where the disk does not take it; nothing half is left.
    """
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    try:
        _flush(temporary, data)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise storage_error(path, error, len(data)) from error


def _flush(path: Path, data: bytes) -> None:
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
    place = path if path.exists() else path.parent
    free = shutil.disk_usage(place).free if place.exists() else 0
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    cause = f"the disk is full ({free:,} bytes free, {needed:,} needed)" if full else error.strerror or str(error)
    advice = "free some space" if full else "check the folder and its permissions"
    return StorageError(f"{path} could not be written: {cause}. Nothing half was left; {advice} and resume the run.")


def pack(tensors: Tensors) -> bytes:
    """Give the tensors as safetensors bytes, contiguous and on the processor."""
    return save_bytes({name: t.detach().contiguous().cpu() for name, t in tensors.items()})


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


def digest(data: bytes) -> str:
    """Give the SHA-256 of bytes, as manifests write it."""
    return hashlib.sha256(data).hexdigest()


def _digests(files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    return {name: {"bytes": len(b), "sha256": digest(b)} for name, b in files.items()}


def _place(folder: Path, target: Path, files: Mapping[str, bytes]) -> None:
    temporary = folder / f".tmp-{target.name}-{uuid.uuid4().hex[:8]}"
    try:
        temporary.mkdir(parents=True)
        for name, data in files.items():
            _flush(temporary / name, data)
        sync(temporary)
        if target.exists():  # damaged, or it would have been kept
            set_aside(target)
        os.rename(temporary, target)
        sync(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise storage_error(target, error, sum(map(len, files.values()))) from error


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint, so that it is neither used nor lost."""
    aside = path.with_name(f"{path.name}.damaged-{uuid.uuid4().hex[:4]}")
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
    return sorted((p for p in folder.glob("[0-9]*") if p.name.isdigit()), key=lambda p: int(p.name), reverse=True)


def problem(path: Path) -> str | None:
    """Say what is wrong with a checkpoint, or None where every file is what its manifest says."""
    try:
        manifest = json.loads((path / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT:
            return f"its format is {manifest['format']}, and this version reads {FORMAT}"
        for name, known in manifest["files"].items():
            if Path(name).name != name:
                return f"its manifest names {name!r}, outside its folder"
            if digest((path / name).read_bytes()) != known["sha256"]:
                return f"{name} is not what was saved (its SHA-256 differs)"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is damaged"
    return None


def load(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Read a checkpoint: the tensors by file, and the state. Raises StorageError where it is damaged."""
    wrong = problem(path)
    if wrong:
        raise StorageError(f"The checkpoint {path} is damaged: {wrong}.")
    tensors = {p.stem: unpack(p.read_bytes(), p) for p in sorted(path.glob("*.safetensors"))}
    return tensors, json.loads((path / STATE).read_bytes())


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Flatten an optimiser's state to named tensors."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, values in state.items() for name, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Put named tensors back into an optimiser's state; its groups are those of the plan."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        i, name = key.split(".", 1)
        state.setdefault(int(i), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
