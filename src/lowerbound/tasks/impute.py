"""Missing pixels of a run's images, or of a user's: which are missing, their draws, and a picture."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure
from torch import Tensor

from lowerbound import figures, gibbs, rng
from lowerbound.data.npy import read_stored, stored_arrays
from lowerbound.data.numbers import as_images
from lowerbound.errors import DataError, UsageError, nearest
from lowerbound.evaluation.base import Progress, silent
from lowerbound.gibbs import Imputed
from lowerbound.job import likelihood_note
from lowerbound.run import Run
from lowerbound.tasks.given import Given, given, own

KINDS = ("left", "right", "top", "bottom", "centre", "random:0.5")
SHOWN = 5  # draws of each image in the picture
FEW = 10  # moves on average: such chains have hardly left where they began


@final
@dataclass(frozen=True, eq=False)
class Filled:
    """Images, which of their pixels were missing, and what was drawn in their place.

    Arguments:
        names: what the images are called.
        rows: their rows in the data.
        x: the images; NaN where nobody knows the pixel.
        missing: which pixels were missing.
        found: what was drawn.
        notes: what must be said beside the numbers.
    """

    names: list[str]
    rows: Int[Tensor, "N"]
    x: Float[Tensor, "N *X"]
    missing: Bool[Tensor, "N *X"]
    found: Imputed
    notes: list[str] = field(default_factory=list)

    def arrays(self) -> dict[str, np.ndarray]:
        """Give everything as arrays, as it is written to an .npz."""
        found = self.found
        some = {"x": self.x, "missing": self.missing, "draws": found.draws, "means": found.means, "mean": found.mean,
                "rows": self.rows}  # fmt: skip
        some |= {} if found.acceptance is None else {"acceptance": found.acceptance}
        return {name: value.cpu().numpy() for name, value in some.items()}

    def figure(self, noise: bool = False) -> Figure:
        """Lay out original, seen, drawn and mean: draws by the mean of p(x|z), or with the noise of their pixels."""
        if self.x.ndim != 4:
            raise UsageError("The data are vectors, of which there is no picture: see the numbers.")
        draws = (self.found.draws if noise else self.found.means)[:SHOWN]
        known = None if bool(self.x.isnan().any()) else self.x.cpu()
        return figures.imputed(known, self.missing.cpu(), draws.cpu(), self.found.mean.cpu(), self.names)


def impute(
    run: Run,
    data: Any = None,
    *,
    missing: str | np.ndarray | Tensor | None = None,
    images: int | Sequence[int] = 6,
    draws: int = 5,
    steps: int = 1000,
    warmup: int = 50,
    seed: int = 0,
    progress: Progress = silent,
) -> Filled:
    """Draw missing pixels given those that were seen: what ``lowerbound impute`` does.

    Arguments:
        run: of `lowerbound.load` or `lowerbound.fit`.
        data: a known name, a folder, a file, a tensor or a `Source`; None is the run's test split. A NaN is missing.
        missing: "left", "right", "top", "bottom", "centre", "random:0.5", or what is not 0 in an array or an .npy file:
            of one image's shape, without channels, or one for each image.
        images: the first so many, or these.
        draws, steps, warmup, seed: see `lowerbound.gibbs.impute`.
        progress: is told what is done, how much of it, of how much.

    Raises UsageError or DataError where nothing is missing, or all of an image, where the mask is of another shape,
    and where the model cannot impute.
    """
    work = imputing(
        run, data, missing=missing, images=images, draws=draws, steps=steps, warmup=warmup, seed=seed
    )  # fmt: skip
    return gibbs.finished(work, lambda done, of: progress("imputing", done, of))


def imputing(
    run: Run,
    data: Any = None,
    *,
    missing: str | np.ndarray | Tensor | None = None,
    images: int | Sequence[int] = 6,
    draws: int = 5,
    steps: int = 1000,
    warmup: int = 50,
    seed: int = 0,
) -> gibbs.Steps[Filled]:
    """Do what `impute` does, from step to step of the chains."""
    part, holes = _with_holes(run, data)
    chosen = _chosen(part, images)
    device = next(run.model.parameters()).device
    x = torch.cat([part.split.images(i, i + 1) for i in chosen]).to(device)
    hidden = torch.zeros_like(x, dtype=torch.bool) if holes is None else holes[chosen].to(device)
    if missing is None and holes is None:
        raise UsageError(f"Say which pixels are missing: one of {', '.join(KINDS)}, or an .npy file of a mask.")
    masked = (
        hidden if missing is None else hidden | mask(missing, tuple(x.shape[1:]), chosen, len(part), seed).to(device)
    )
    x = x.masked_fill(hidden, torch.nan)
    found = yield from gibbs.imputing(
        run.model, x, masked, draws=draws, steps=steps, warmup=warmup, seed=seed
    )  # fmt: skip
    names = [part.titled(i) for i in chosen]
    return Filled(names, part.split.rows[chosen], x, masked, found, _notes(run, part, names, found, steps))


def _chosen(part: Given, images: int | Sequence[int]) -> list[int]:
    rows = list(range(min(images, len(part)))) if isinstance(images, int) else list(images)
    for i in rows:
        if not 0 <= i < len(part):
            raise UsageError(f"There is no image {i} in {part.name}, which has {len(part)}.")
    if not rows:
        raise UsageError("No image was asked for: give the number of images, or which.")
    return rows


def _notes(run: Run, part: Given, names: list[str], found: Imputed, steps: int) -> list[str]:
    notes = list(part.notes)
    if likelihood_note(run.model, run.source)["note"]:
        notes.append("The likelihood is a cross-entropy: missing pixels are drawn as 0 or 1, the mean is grey.")
    if found.acceptance is None:
        return [*notes, "No step was corrected: the draws follow the encoder's q, and not p(x_mis | x_obs)."]
    moves = (found.acceptance * steps).tolist()
    stuck = [name for name, moved in zip(names, moves, strict=True) if moved < FEW]
    if stuck:
        notes.append(
            f"The chains of {', '.join(stuck)} moved fewer than {FEW} times each, on average, and have hardly left "
            "where they began: their draws are not yet those of p(x_mis | x_obs). Take more steps."
        )
    return notes


def mask(
    kind: str | np.ndarray | Tensor, shape: tuple[int, ...], rows: Sequence[int], size: int, seed: int
) -> Bool[Tensor, "N ..."]:
    """Give what is missing of images of a shape: by a word, by an .npy file, or by an array.

    Arguments:
        kind: one of `KINDS`, any share after "random:", a file, or an array.
        shape: of one image.
        rows: of the images among ``size``: an array may have a mask for each.
        size: how many images there are.
        seed: of "random"; the mask of row i is the same whichever others there are.

    Raises UsageError for an unknown word or a share outside (0, 1), DataError for an array of another shape.

    Example:
        >>> mask("left", (1, 2, 4), [0], 1, seed=0).int().tolist()
        [[[[1, 1, 0, 0], [1, 1, 0, 0]]]]
    """
    if not isinstance(kind, str):
        return _fitted(np.asarray(kind), shape, rows, size, "The mask")
    word, _, share = kind.partition(":")
    if word == "random":
        return _random(share or "0.5", shape, rows, seed)
    if kind.endswith(".npy"):
        (stored,) = stored_arrays(Path(kind)).values()
        return _fitted(read_stored(stored), shape, rows, size, kind)
    if kind not in KINDS:
        raise UsageError(f"There is no mask {kind!r}; {nearest(kind, KINDS)} Or give an .npy file.")
    if len(shape) != 3:
        raise UsageError(
            f"{kind!r} is a part of an image, and these data are vectors: give random:0.5, or an .npy file."
        )
    h, w = shape[1:]
    sides = {"left": (0, h, 0, w // 2), "right": (0, h, w // 2, w), "top": (0, h // 2, 0, w),
             "bottom": (h // 2, h, 0, w), "centre": (h // 4, h - h // 4, w // 4, w - w // 4)}  # fmt: skip
    top, bottom, left, right = sides[kind]
    hidden = torch.zeros(len(rows), *shape, dtype=torch.bool)
    hidden[..., top:bottom, left:right] = True
    return hidden


def _random(share: str, shape: tuple[int, ...], rows: Sequence[int], seed: int) -> Tensor:
    try:
        rate = float(share)
    except ValueError:
        rate = -1.0
    if not 0 < rate < 1:
        raise UsageError(f"random:{share}: give the share of the pixels that is missing, between 0 and 1.")
    hidden = []
    for i in rows:
        with rng.noise(seed, "mask", i):
            hidden.append((torch.rand(1, *shape[1:]) if len(shape) == 3 else torch.rand(shape)) < rate)
    return torch.stack([one.expand(shape) for one in hidden])


def _fitted(found: np.ndarray, shape: tuple[int, ...], rows: Sequence[int], size: int, name: str) -> Tensor:
    if found.dtype.kind not in "biuf" or (found.dtype.kind == "f" and bool(np.isnan(found).any())):
        raise DataError(
            f"{name} holds {found.dtype}, not all of it numbers: 0 for a pixel that was seen, else missing."
        )
    hidden = torch.from_numpy(np.asarray(found != 0))
    plain = shape[1:] if len(shape) == 3 else shape
    for one, axes in ((shape, 0), (plain, 1)):
        if tuple(hidden.shape) == one:
            return hidden.expand(len(rows), *shape)
        if tuple(hidden.shape) == (size, *one):
            return (hidden.unsqueeze(1) if axes and len(shape) == 3 else hidden)[list(rows)].expand(len(rows), *shape)
    ours = "×".join(map(str, shape))
    raise DataError(
        f"{name} is of shape {tuple(hidden.shape)}, and the images are {ours}, {size} of them: give a mask of one "
        "image, or one for each."
    )


def _with_holes(run: Run, data: Any) -> tuple[Given, Tensor | None]:
    """Take the data, and where they are NaN; numbers are read without the NaN, which no loader takes."""
    if isinstance(data, str | Path) and Path(data).suffix == ".npy" and Path(data).is_file():
        (stored,) = stored_arrays(Path(data)).values()
        values = read_stored(stored)
        if values.dtype.kind != "f" or not bool(np.isnan(values).any()):
            return given(run, data), None
        data = values
    if isinstance(data, Tensor):
        data = data.detach().cpu().numpy()
    if not isinstance(data, np.ndarray) or data.dtype.kind != "f" or not bool(np.isnan(data).any()):
        return (own(run, "test") if data is None else given(run, data)), None
    empty = np.isnan(data)
    holes, _ = as_images(empty.astype(np.uint8), None, [], "NaN")
    return given(run, np.where(empty, 0, data)), holes > 0
