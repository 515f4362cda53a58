"""A folder of images: any formats, read in a fixed order; what could not be read is named."""

import hashlib
import os
import stat
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge, Le, Len
from torch import Tensor

from lowerbound.data.images import SUFFIXES, UNREAD, Colour, Picture, read
from lowerbound.data.prepare import assemble
from lowerbound.data.source import Binarise, Share, Source
from lowerbound.errors import DataError, UsageError
from lowerbound.words import counted

Side = Annotated[int, Ge(1), Le(16384)]
NAMED = 1000  # at most so many files are named one by one in the info
GROUP = 64  # files that are read ahead


def folder(
    path: str,
    size: Annotated[Sequence[Side], Len(2, 2)] | None = None,
    colour: Colour = "auto",
    binarise: Binarise = "none",
    dequantise: bool = False,
    validation: Share = 0.1,
    test: Share = 0.1,
) -> Source:
    """All images in a folder and the folders in it; the first folder's name is the label where every image has one.

    Arguments:
        path: the folder.
        size: [width, height] that each is cropped in its centre and resized to; null where all images have one size.
        colour: grey, colour, or auto: grey if every image is.

    ``size`` is [width, height]: a centre crop to that shape, then an antialiased resize. Without it, all images must
    have one size. EXIF orientation is applied, transparency laid on white, 16 bits are reduced to 8, and of an
    animation the first frame is taken. ``colour="auto"`` is grey if every image is.

    Raises:
        DataError: if the folder holds no readable image, or images of different sizes and no ``size`` is given.
        UsageError: if ``size`` is not two positive numbers.
    """
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise UsageError(f"size = {size}: give [width, height], for example [64, 48].")
    base = Path(path)
    listing = _Listing(base)
    pictures = _pictures(listing, (size[0], size[1]) if size else None, colour)
    if not pictures:
        raise DataError(_nothing(path, listing))
    x = _stack(pictures)
    info = _info(path, listing, pictures)
    return assemble(
        base.resolve().name or "folder",
        x,
        _labels(pictures, info),
        test=test,
        validation=validation,
        unit=True,
        binarise=binarise,
        dequantise=dequantise,
        info=info,
    )


# ---- which files


class _Listing:
    """The files of a folder in sorted order: images, and by reason what is left out."""

    def __init__(self, base: Path) -> None:
        self.images: list[tuple[str, Path]] = []
        self.skipped: dict[str, list[str]] = {}
        self.unreadable: list[str] = []
        if not base.is_dir():
            what = "is not a folder" if base.exists() else "does not exist"
            raise DataError(f"The folder of images {str(base)!r} {what}. Check the path.")
        self._walk(base, base, set())
        self.images.sort()

    def _walk(self, base: Path, here: Path, seen: set[tuple[int, int]]) -> None:
        waiting = [here]
        while waiting:
            here = waiting.pop()
            try:
                found = here.stat()
                entries = sorted(os.scandir(here), key=lambda entry: entry.name)
            except OSError as error:
                self.unreadable.append(f"{shown(here.relative_to(base))}/ ({error.strerror})")
                continue
            if (found.st_dev, found.st_ino) in seen:  # a link to a folder that was there before: a loop, or twice
                continue
            seen.add((found.st_dev, found.st_ino))
            for entry in entries:
                if entry.name.startswith("."):
                    self.skipped.setdefault("hidden", []).append(shown(Path(entry).relative_to(base)))
                elif _is_folder(entry):
                    waiting.append(Path(entry))
                else:
                    self._file(shown(Path(entry).relative_to(base)), Path(entry))

    def _file(self, name: str, path: Path) -> None:
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES:
            self.skipped.setdefault(shown(suffix) or "no suffix", []).append(name)
            return
        try:
            regular = stat.S_ISREG(path.stat().st_mode)
        except OSError as error:
            self.unreadable.append(f"{name} ({error.strerror})")
            return
        if regular:
            self.images.append((name, path))
        else:
            self.unreadable.append(f"{name} (not a regular file)")


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    # isdir is False where is_dir() raises: a link that leads to itself
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry))


def shown(path: Path | str) -> str:
    """A file's name that can be printed and written as JSON: what is not printable is escaped."""
    text = str(path)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


# ---- reading them


def _pictures(listing: _Listing, size: tuple[int, int] | None, colour: Colour) -> list[Picture]:
    """Every readable image; those that are not are added to ``listing.unreadable``."""
    pictures: list[Picture] = []
    sizes: Counter[tuple[int, int]] = Counter()
    example: dict[tuple[int, int], str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's hints on odd metadata: nothing that a user could act on
        for picture in _read_all(listing.images, size, colour):
            if picture.pixels is None:
                listing.unreadable.append(f"{picture.name} ({picture.reason})")
                continue
            wh = (picture.pixels.shape[1], picture.pixels.shape[0])
            sizes[wh] += 1
            example.setdefault(wh, picture.name)
            if len(sizes) == 1:  # else it ends in an error, and memory would be held for nothing
                pictures.append(picture)
    if len(sizes) > 1:
        raise DataError(_different(sizes, example))
    listing.unreadable.sort()
    return pictures


def _read_all(images: list[tuple[str, Path]], size: tuple[int, int] | None, colour: Colour) -> Iterator[Picture]:
    files = iter(images)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # Pillow decodes outside the lock
        while group := list(islice(files, GROUP)):
            yield from pool.map(lambda file: read(file[1], file[0], size, colour), group)


def _different(sizes: Counter[tuple[int, int]], example: dict[tuple[int, int], str]) -> str:
    lines = [f"  {w}x{h}: {count}, e.g. {example[w, h]}" for (w, h), count in sizes.most_common(5)]
    if len(sizes) > 5:
        lines.append(f"  … and {len(sizes) - 5} more sizes")
    (w, h), _ = sizes.most_common(1)[0]
    scale = min(1, 64 / max(w, h))
    proposal = f"{max(1, round(w * scale))}x{max(1, round(h * scale))}"
    return (
        f"The {sizes.total()} images have {len(sizes)} different sizes (width x height), and a model needs one:\n"
        + "\n".join(lines)
        + f"\nGive the size that all shall get, by a centre crop and an antialiased resize: --size {proposal}"
    )


def _nothing(path: str, listing: _Listing) -> str:
    known = ", ".join(sorted(SUFFIXES))
    if listing.unreadable:
        names = "\n".join(f"  {name}" for name in listing.unreadable[:10])
        return f"None of the {len(listing.unreadable)} images in {path} can be read:\n{names}"
    others = ", ".join(f"{len(names)} {kind}" for kind, names in listing.skipped.items())
    there = f"there are other files: {others}" if others else "it is empty"
    return f"There is no image in {path}; {there}. Images end in {known}."


# ---- the tensor, and what is said about it


def _stack(pictures: list[Picture]) -> Tensor:
    """One (N, C, H, W) tensor; each picture's own array is given up on the way, so that memory is needed once."""
    arrays = [picture.pixels for picture in pictures if picture.pixels is not None]
    channels = max(1 if array.ndim == 2 else 3 for array in arrays)
    x = np.empty((len(arrays), channels, *arrays[0].shape[:2]), np.uint8)
    nothing = np.empty(0, np.uint8)
    for i, array in enumerate(arrays):
        x[i] = array if array.ndim == 2 else array.transpose(2, 0, 1)
        pictures[i] = Picture(pictures[i].name, None, pictures[i].sha256, notes=pictures[i].notes)
        arrays[i] = nothing
    return torch.from_numpy(x)


def _labels(pictures: list[Picture], info: dict[str, Any]) -> Tensor | None:
    parts = [picture.name.split("/", 1) for picture in pictures]
    if any(len(part) == 1 for part in parts):
        return None
    classes = sorted({part[0] for part in parts})
    info["classes"] = classes
    index = {name: i for i, name in enumerate(classes)}
    return torch.tensor([index[part[0]] for part in parts])


def _info(path: str, listing: _Listing, pictures: list[Picture]) -> dict[str, Any]:
    whole = hashlib.sha256()
    for picture in pictures:
        whole.update(f"{picture.name}\0{picture.sha256}\n".encode())
    bad = listing.unreadable
    info: dict[str, Any] = {
        "kind": "folder",
        "path": path,
        "sha256": whole.hexdigest(),
        "unreadable": bad[:NAMED],
        "skipped": {
            kind: {"count": len(names), "names": names[:20]} for kind, names in sorted(listing.skipped.items())
        },
    }
    if len(pictures) <= 100 * NAMED:
        info["names"] = [picture.name for picture in pictures]
    told = Counter(note for picture in pictures for note in picture.notes)
    notes = [f"{count} images {note}." for note, count in sorted(told.items())]
    if bad:
        more = f", … and {len(bad) - 5} more" if len(bad) > 5 else ""
        notes.insert(0, f"{counted(len(bad), 'file')} could not be read: {', '.join(bad[:5])}{more}.")
    left_out = [f"{len(names)} {kind}" for kind, names in sorted(listing.skipped.items()) if kind in UNREAD]
    if left_out:
        notes.append(f"Left out, in formats that are not read: {', '.join(left_out)}. Convert them to PNG or JPEG.")
    return info | {"notes": notes}
