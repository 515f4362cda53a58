"""The images that a task is given: a split of the run's own data, or a user's, read as the run's are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound import begin
from lowerbound import data as sources
from lowerbound import spec as specs
from lowerbound.data import Source, Split
from lowerbound.data.images import read
from lowerbound.data.prepare import assemble
from lowerbound.errors import DataError, UsageError, nearest
from lowerbound.run import Run
from lowerbound.words import noun

BLOCK = 500  # images read at a time


@final
@dataclass(frozen=True, eq=False)
class Given:
    """Images of a run's shape, what they are called, and the names of their classes where there are any."""

    name: str
    split: Split
    files: Sequence[str] | None = None
    classes: Sequence[str] | None = None
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.split)

    def blocks(self, run: Run) -> Iterator[Float[Tensor, "n *X"]]:
        """Go through the images in order, on the device of the run's model."""
        device = next(run.model.parameters()).device
        return (self.split.images(s, s + BLOCK).to(device) for s in range(0, len(self), BLOCK))

    def called(self, i: int) -> str:
        """Name an image: its file, or its row."""
        row = int(self.split.rows[i])
        return self.files[row] if self.files else str(row)

    def titled(self, i: int) -> str:
        """Name an image for people: its file or its place, and its class where it has one."""
        label = self.split.targets(i, i + 1)
        name = self.called(i) if self.files else f"image {i}"
        if label is None:
            return name
        known = self.classes and int(label) < len(self.classes)
        return f"{name} ({self.classes[int(label)] if known and self.classes else int(label)})"

    def first(self, n: int | None) -> "Given":
        """Keep the first n of the images, or all."""
        return self if n is None else self.rows(slice(0, n))

    def rows(self, which: Any) -> "Given":
        """Keep some of the images, by their places."""
        part = replace(self.split, rows=self.split.rows[which])
        return Given(self.name, part, self.files, self.classes, self.notes)


def own(run: Run, split: str) -> Given:
    """Take a split of the run's data; raises UsageError where it has no images."""
    begin.blocks(run, split)
    classes, names = (run.source.info.get(what) for what in ("classes", "names"))
    return Given(f"the {split} split of {run.source.name}", run.source.part(split), names, classes)


def given(run: Run, data: Any) -> Given:
    """Take the data that a user named, a known name, a folder or a file, or gave in Python; None is the test split.

    They are read as the run's: binarised as they are, and a folder's images cut and resized only where the run's were.
    Of a set that has a test split of its own that one is taken; of a folder, a file or a tensor everything.

    Raises UsageError or DataError where they are none, or not of the run's shape or range.
    """
    if data is None:
        return own(run, "test")
    source = _source(run, data)
    part = source.part("test" if len(source.test) else "train")
    shape = tuple(run.data["shape"])
    if source.shape != shape:
        raise DataError(_other_shape(run, source))
    if run.data["unit"] and not source.unit:
        low, high = float(part.x.min()), float(part.x.max())
        raise DataError(
            f"The values of {source.name} lie in [{low:g}, {high:g}], and those of {run.path} in [0, 1]: bring them "
            "there, by the same scale as the data that the model was trained on."
        )
    begin.suits(run.model, source)
    names = source.info.get("names")
    return Given(source.name, part, names, source.info.get("classes"), list(source.info.get("notes", [])))


def _source(run: Run, data: Any) -> Source:
    if isinstance(data, Source):
        return data
    if not isinstance(data, str | Path):
        return sources.tensor(data, **_prepared(run), validation=0, test=0)
    node = specs.complete("data", sources.locate(str(data)), "data")
    if "binarise" in node:
        node |= _prepared(run)
    if "path" in node:
        known = run.spec["data"] if run.spec["data"].get("kind") == node["kind"] else {}
        node |= {"validation": 0, "test": 0} | {name: known[name] for name in ("size", "scale") if name in known}
    if node["kind"] == "folder":
        node["colour"] = _colour(run)
    return specs.build_source({"data": node})


def _colour(run: Run) -> str:
    """Say how a folder's images are read: a grey one is one in colour too, but not the other way round."""
    colour = "colour" if run.data["shape"][0] == 3 else "auto"
    return str(run.spec["data"].get("colour", colour)) if colour == "auto" else colour


def _other_shape(run: Run, source: Source) -> str:
    ours, theirs = ("×".join(map(str, shape)) for shape in (run.data["shape"], source.shape))
    folder = source.info.get("kind") == "folder"
    advice = " A folder's images are cut and resized only where the run's own data are a folder with a --size."
    return (
        f"{source.name} holds {noun(source.shape)} of {theirs}, and the model of {run.path} takes {ours}: bring them "
        f"to that shape first.{advice if folder else ''}"
    )


def picture(run: Run, path: str) -> Float[Tensor, "1 C H W"]:
    """Read one image file, as the run's data are read; raises DataError where it is none, or of another shape."""
    shape = tuple(run.data["shape"])
    if len(shape) != 3:
        raise UsageError(f"The data of {run.path} are vectors, not images: give a row of them instead of a file.")
    size = run.spec["data"].get("size")
    colour: Any = "colour" if shape[0] == 3 else "grey" if run.spec["data"].get("colour") == "grey" else "auto"
    found = read(Path(path), path, (size[0], size[1]) if size else None, colour)
    if found.pixels is None:
        raise DataError(f"{path} cannot be read: {found.reason}.")
    pixels = found.pixels[None] if found.pixels.ndim == 2 else found.pixels.transpose(2, 0, 1)
    x = torch.from_numpy(pixels[None].copy())
    source = assemble(path, x, None, test=0, validation=0, unit=True, **_prepared(run), info={})
    if source.shape != shape:
        raise DataError(_other_shape(run, source))
    return source.part("train").images()


def _prepared(run: Run) -> dict[str, Any]:
    # "dynamic" draws the bits of a training anew each time; what is held out has those of one fixed draw
    binarise = {"dynamic": "static"}.get(run.data["binarise"], run.data["binarise"])
    return {"binarise": binarise, "dequantise": run.data.get("dequantise", False)}


def labelled(part: Given, words: str | Sequence[int | str]) -> list[int]:
    """Read labels by number or by name, such as "1,7"; raises UsageError where the data have none, or not these."""
    if part.split.labels is None:
        raise UsageError(f"{part.name} has no labels, by which some of its images could be said to be anomalous.")
    asked = words.split(",") if isinstance(words, str) else [str(word) for word in words]
    there = sorted({int(y) for y in part.split.labels.unique()})
    names = {str(y): y for y in there}
    for y in there:
        if part.classes and y < len(part.classes):
            names.setdefault(part.classes[y], y)
    for word in asked:
        if word.strip() not in names:
            raise UsageError(f"{part.name} has no label {word.strip()!r}; {nearest(word.strip(), list(names))}")
    return sorted({names[word.strip()] for word in asked})
