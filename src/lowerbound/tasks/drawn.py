"""A picture of one's own, drawn or photographed, brought to what a run's model has seen."""

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound import gallery
from lowerbound.data.images import centred, decoded
from lowerbound.errors import DataError, UsageError
from lowerbound.run import Run

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MOST_PIXELS = 1 << 24
LOOKED_AT = 200  # held-out images whose borders say whether the data are light on dark


@final
@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture of a run's shape, in [0, 1] and not yet binarised, and what was done to it."""

    x: Float[Tensor, "C H W"]
    notes: list[str]


def drawn(run: Run, file: bytes, *, invert: Literal["auto", "yes", "no"] = "auto", centre: bool = False) -> Drawn:
    """Read a picture as the images of a folder are read: grey or colour as the run's, centre crop, antialiased resize.

    Arguments:
        run: whose model it is for.
        file: the bytes of a PNG, JPEG, WebP, GIF or BMP; of an animation the first frame.
        invert: swap dark and light; "auto" does it where grey data are light on dark and the picture is dark on light,
            or the other way round, by the brightness of the borders.
        centre: put the ink where MNIST has its digits, see `lowerbound.data.images.centred`.

    Raises UsageError where the data are no images, and DataError where the file is none, or the data have another
    scale or number of channels than a file can have.
    """
    c, h, w = image_shape(run)
    if c not in (1, 3):
        raise DataError(f"The images of {run.path} have {c} channels, and a picture has 1 or 3.")
    if not run.data["unit"]:
        raise DataError(f"The values of {run.path} are not all in [0, 1]: nobody knows the scale of a picture there.")
    asked = c == 1 and centre
    found = decoded(file, "the picture", None if asked else (w, h), "grey" if c == 1 else "colour",
                    formats=FORMATS, most=MOST_PIXELS)  # fmt: skip
    if found.pixels is None:
        raise DataError(f"The picture cannot be read: {found.reason}. PNG, JPEG, WebP, GIF and BMP are.")
    pixels, notes = found.pixels, [f"The picture was {note}." for note in found.notes]
    dark = dark_ground(run) if c == 1 and (invert == "auto" or asked) else None
    if invert == "yes" or (invert == "auto" and dark is not None and dark != _is_dark(pixels)):
        pixels = 255 - pixels
        notes.append("Dark and light were swapped, so that it is drawn as the data are.")
    if asked:
        pixels = centred(pixels, (w, h)) if dark is not False else 255 - centred(255 - pixels, (w, h))
        notes.append("Centred by its mass and scaled as MNIST's digits are.")
    return Drawn(_tensor(pixels), notes)


def image_shape(run: Run) -> tuple[int, int, int]:
    """Give the channels, height and width of a run's images; raises UsageError where its data are vectors."""
    if not gallery.is_image(run):
        raise UsageError("The data of this run are vectors, not images: there is nothing to draw.")
    c, h, w = run.data["shape"]
    return c, h, w


def as_data(run: Run, x: Float[Tensor, "C H W"]) -> Float[Tensor, "C H W"]:
    """Bring a picture in [0, 1] to what the model takes: cut at ½ where the data are binarised.

    Raises DataError where it was made for images of another shape.
    """
    if tuple(x.shape) != image_shape(run):
        theirs, ours = ("×".join(map(str, shape)) for shape in (x.shape, image_shape(run)))
        raise DataError(f"This picture is of {theirs}, and the model takes {ours}: draw or upload it here anew.")
    x = x if run.data["binarise"] == "none" else (x >= 0.5).to(x)
    return x.to(next(run.model.parameters()).device)


def dark_ground(run: Run) -> bool | None:
    """Say whether grey data are light on dark, by the borders of some of the held-out images; None in colour."""
    if image_shape(run)[0] != 1:
        return None
    x, _ = gallery.shown(run, slice(0, LOOKED_AT))
    return _is_dark((x[:, 0].mean(0) * 255).cpu().numpy())


def _is_dark(pixels: np.ndarray) -> bool:
    border = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    return float(np.concatenate([side.ravel() for side in border]).mean()) < 127.5


def _tensor(pixels: np.ndarray) -> Float[Tensor, "C H W"]:
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return torch.from_numpy(planes.astype(np.float32)) / 255
