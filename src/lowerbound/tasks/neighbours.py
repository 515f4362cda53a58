"""The nearest images of a split to one image, by the codes and by the pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from lowerbound import explore, figures, gallery
from lowerbound.errors import UsageError
from lowerbound.evaluation.base import Progress, silent
from lowerbound.run import Run
from lowerbound.tasks.given import Given, own, picture
from lowerbound.words import ONE_IMAGE


@final
@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest images of a split to a query: for codes and for pixels, their places and distances.

    Arguments:
        query: the image, (1, …).
        name: what it is called.
        data: the split that was searched.
        places: "codes" and "pixels": the places in the split, the nearest first.
        distances: the same, of the distances.
    """

    query: Float[Tensor, "1 *X"]
    name: str
    data: Given
    places: dict[str, list[int]]
    distances: dict[str, list[float]]

    def table(self) -> list[dict[str, Any]]:
        """Give a row for each neighbour: by what, which, its label, its distance."""
        rows = []
        for by, places in self.places.items():
            for i, far in zip(places, self.distances[by], strict=True):
                label = self.data.split.targets(i, i + 1)
                known = {} if label is None else {"label": int(label)}
                rows.append({"by": by, "image": self.data.called(i), **known, "distance": far})
        return rows

    def figure(self) -> Figure:
        """Lay the neighbours out beside the query, their distances under them."""
        if self.query.ndim != 4:
            raise UsageError("The data are vectors, of which there is no picture: see the list.")
        rows = [
            (
                f"nearest by {by}",
                torch.cat([self.data.split.images(i, i + 1).cpu() for i in places]),
                torch.tensor(self.distances[by]),
            )
            for by, places in self.places.items()
        ]
        return figures.nearest(self.query.cpu(), rows, self.name)


def neighbours(
    run: Run,
    image: int | None = None,
    *,
    file: str | None = None,
    split: str = "train",
    k: int = 10,
    progress: Progress = silent,
) -> Neighbours:
    """Find the images of a split that are nearest to one image: what ``lowerbound neighbours`` does.

    Distances are Euclidean: of the codes, which are the posteriors' centres (a latent that is not in use is the same
    for all and counts for nothing), and beside them of the pixels, both binarised where the data are. An image is not
    its own neighbour.

    Arguments:
        run: of `lowerbound.load` or `lowerbound.fit`.
        image: a row of the held-out split that pictures show, test where there is one.
        file: an image's file instead.
        split: the one that is searched.
        k: how many.
        progress: is told what is done, how much of it, of how much.

    Raises UsageError where no image, or two, are given, or it or the split is not there; DataError where the file
    cannot be read, or has another shape.
    """
    if (image is None) == (file is None):
        raise UsageError(ONE_IMAGE)
    if k < 1:
        raise UsageError(f"-n is {k}: at least 1 neighbour is needed.")
    part = own(run, split)
    itself = image if image is not None and split == gallery.held_out(run) else None
    x, name = _row(run, image) if image is not None else (picture(run, str(file)), str(file))
    x = x.to(next(run.model.parameters()).device)

    def blocks(what: str) -> Iterator[Tensor]:
        done = 0
        for block in part.blocks(run):
            yield block
            progress(what, done := done + len(block), len(part))

    with torch.inference_mode():
        codes = (run.model.encode(block) for block in blocks("codes"))
        found = {
            "codes": explore.neighbours(run.model.encode(x), codes, k + 1),
            "pixels": explore.neighbours(x, blocks("pixels"), k + 1),
        }
    kept = {by: _others(far[0], rows[0], itself, k) for by, (far, rows) in found.items()}
    if not kept["codes"]:
        raise UsageError(f"{part.name} has no other image: search another split.")
    return Neighbours(
        x, name, part,
        {by: [i for i, _ in some] for by, some in kept.items()},
        {by: [far for _, far in some] for by, some in kept.items()},
    )  # fmt: skip


def _row(run: Run, image: int) -> tuple[Tensor, str]:
    shown = own(run, split := gallery.held_out(run))
    if not 0 <= image < len(shown):
        raise UsageError(f"There is no image {image} in the {split} split of {len(shown)}.")
    return shown.split.images(image, image + 1), f"{split} {shown.titled(image)}"


def _others(far: Tensor, rows: Tensor, itself: int | None, k: int) -> list[tuple[int, float]]:
    return [(int(i), float(d)) for d, i in zip(far, rows, strict=True) if int(i) != itself][:k]
