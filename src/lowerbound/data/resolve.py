"""The registry of data sources, and from what the user typed to an entry of it."""

import os
from collections.abc import Callable
from pathlib import Path

from lowerbound.data.array import array
from lowerbound.data.folder import folder
from lowerbound.data.known import digits, fashion_mnist, mnist
from lowerbound.data.shapes import shapes
from lowerbound.data.source import Source
from lowerbound.data.toy import checkerboard, circles, eight_gaussians, moons, pinwheel, swiss_roll
from lowerbound.errors import DataError, nearest

# the loaders' signatures are the configuration: JSON's types only, checked by their annotations
SOURCES: dict[str, Callable[..., Source]] = {
    "mnist": mnist,
    "fashion-mnist": fashion_mnist,
    "digits": digits,
    "shapes": shapes,
    "folder": folder,
    "array": array,
    "moons": moons,
    "circles": circles,
    "pinwheel": pinwheel,
    "swiss-roll": swiss_roll,
    "eight-gaussians": eight_gaussians,
    "checkerboard": checkerboard,
}


def locate(text: str) -> dict[str, str]:
    """Turn what the user typed into a data node: a known name, a folder of images, or an array's file.

    Raises:
        DataError: if it is none of them; it names the nearest known one.

    Example:
        >>> locate("mnist")
        {'kind': 'mnist'}
    """
    named = [name for name in SOURCES if name not in ("folder", "array")]
    if text in named:
        return {"kind": text}
    path = Path(text)
    if os.path.isdir(text):  # False too of what is too long for a path
        return {"kind": "folder", "path": text}
    if os.path.exists(text):
        if path.suffix.lower() in (".npy", ".npz"):
            return {"kind": "array", "path": text}
        raise DataError(
            f"{text} is a file, but neither .npy nor .npz. Images are given by the folder they are in: {path.parent}"
        )
    if path.suffix.lower() in (".npy", ".npz") or len(path.parts) > 1:
        raise DataError(f"There is no file or folder {text!r}: it was looked for in {path.absolute().parent}.")
    raise DataError(
        f"There is no data set, folder or file {text!r}; {nearest(text, named)} "
        "Or give a folder of images, or a .npy or .npz file."
    )
