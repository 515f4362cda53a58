"""One image file to one array of bytes, whatever its format, orientation, palette, transparency or depth."""

import hashlib
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, final

import numpy as np
from jaxtyping import UInt8

from lowerbound.errors import DataError

if TYPE_CHECKING:  # Pillow is imported when the first image is read
    from PIL.Image import Image

Colour: TypeAlias = Literal["auto", "grey", "colour"]
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
SUFFIXES |= {".ppm", ".pgm", ".pbm", ".pnm"}
# pictures in formats that are not read: raw files of cameras, vector drawings, and newer or rarer codecs
UNREAD = {".heic", ".heif", ".hif", ".avif", ".jp2", ".j2k", ".jpx", ".jxl", ".jxr", ".apng", ".jfif"}
UNREAD |= {".svg", ".svgz", ".eps", ".ai", ".psd", ".xcf", ".ico", ".tga", ".pcx", ".exr", ".hdr", ".dcm"}
UNREAD |= {".raw", ".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2"}
UNREAD |= {".raf", ".pef", ".srw"}
MOST_PIXELS = 64 * 10**6
MOST_BYTES = 512 * 2**20
INK = 25  # of 255: fainter is paper


@final
@dataclass(frozen=True)
class Picture:
    """What was read from one file: rows of grey (H, W) or colour (H, W, 3), or the reason why nothing was."""

    name: str
    pixels: UInt8[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"] | None = None
    sha256: str = ""
    reason: str = ""
    notes: tuple[str, ...] = ()


def read(path: Path, name: str, size: tuple[int, int] | None, colour: Colour) -> Picture:
    """Read an image, and cut and scale it to ``size`` (width, height) if given; never raises for what a file holds."""
    try:
        data = _bytes(path)
    except Exception as error:
        return Picture(name, reason=_reason(error))
    return decoded(data, name, size, colour)


def decoded(
    data: bytes,
    name: str,
    size: tuple[int, int] | None,
    colour: Colour,
    *,
    formats: tuple[str, ...] = FORMATS,
    most: int = MOST_PIXELS,
) -> Picture:
    """Read an image from the bytes of its file, as `read` does, of some formats and of at most so many pixels."""
    from PIL import Image, ImageOps

    try:
        notes: list[str] = []
        with Image.open(io.BytesIO(data), formats=formats) as opened:
            if opened.width * opened.height > most:
                raise DataError(f"{opened.width}x{opened.height} pixels, more than {most / 10**6:.0f} million")
            image = _eight_bits(ImageOps.exif_transpose(opened), notes)
        if size:
            image = _fit(image, size)
        pixels = _in_colour(np.asarray(image), image, colour)
    except Exception as error:  # a damaged file makes Pillow raise nearly anything; MemoryError is one of them
        return Picture(name, reason=_reason(error))
    return Picture(name, pixels, hashlib.sha256(data).hexdigest(), notes=tuple(notes))


def centred(ink: UInt8[np.ndarray, "H W"], size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    """Bring bright ink to where MNIST has its digits: into 20/28 of the sides, its centre of mass in the middle.

    Example:
        >>> ink = np.zeros((50, 90), np.uint8)
        >>> ink[2:12, 3:13] = 255
        >>> np.argwhere(centred(ink, (28, 28)) > 0).min(0), np.argwhere(centred(ink, (28, 28)) > 0).max(0)
        (array([4, 4]), array([23, 23]))

    Reference: Gradient-based learning applied to document recognition (LeCun et al., 1998), section III.A.
    """
    from PIL import Image

    w, h = size
    there = np.argwhere(ink > INK)
    image = Image.fromarray(ink)
    if not len(there):
        return np.asarray(_fit(image, size))
    (top, left), (bottom, right) = there.min(0), there.max(0) + 1
    scale = min(w * 20 / 28 / (right - left), h * 20 / 28 / (bottom - top))
    box = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    cut = image.crop((left, top, right, bottom)).resize(box, Image.Resampling.LANCZOS)
    found, mass = np.zeros((h, w), np.uint8), np.asarray(cut)
    rows, columns = (mass.sum(1, dtype=float), mass.sum(0, dtype=float))
    y, x = ((np.arange(len(one)) + 0.5) @ one / one.sum() for one in (rows, columns))
    y0, x0 = (int(np.clip(round(side / 2 - middle), 0, side - n))
              for side, middle, n in ((h, y, box[1]), (w, x, box[0])))  # fmt: skip
    found[y0 : y0 + box[1], x0 : x0 + box[0]] = mass
    return found


def _fit(image: "Image", size: tuple[int, int]) -> "Image":
    """The largest centred part of size's aspect, scaled; ImageOps.fit would let pixels from outside the crop in."""
    from PIL import Image

    scale = min(image.width / size[0], image.height / size[1])
    w, h = (max(1, round(side * scale)) for side in size)
    left, top = (image.width - w) // 2, (image.height - h) // 2
    return image.crop((left, top, left + w, top + h)).resize(size, Image.Resampling.LANCZOS)


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image, or of a format that is not read"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "more than 64 million pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _bytes(path: Path) -> bytes:
    # not blocking: a FIFO that took the file's place would wait for a writer for ever
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as stream:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise DataError("not a regular file")
        if found.st_size > MOST_BYTES:
            raise DataError(f"{found.st_size} bytes, more than 512 MiB")
        if found.st_size == 0:
            raise DataError("an empty file")
        return stream.read(MOST_BYTES)


def _eight_bits(image: "Image", notes: list[str]) -> "Image":
    """An image of mode L or RGB: transparency on white, deep greys reduced."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        notes.append("reduced from more than 8 bits")
        return Image.fromarray(_reduced(np.asarray(image)))
    if "transparency" in image.info or image.mode in ("RGBA", "RGBa", "LA", "La", "PA"):
        rgba = image.convert("RGBA")
        if rgba.getchannel("A").getextrema() != (255, 255):
            notes.append("with transparency, laid on white")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _reduced(deep: np.ndarray) -> np.ndarray:
    """Grey values of 16 bits, or floats in [0, 1], as bytes."""
    low, high = deep.min(), deep.max()
    top = 1 if deep.dtype.kind == "f" else 65535
    if not (low >= 0 and high <= top):  # so written, NaN is refused too
        raise DataError(f"grey values from {low} to {high}; known ranges are 0..65535 and 0.0..1.0")
    return np.round(deep.astype(np.float64) * (255 / top)).astype(np.uint8)


def _in_colour(pixels: np.ndarray, image: "Image", colour: Colour) -> np.ndarray:
    if colour == "colour":
        return np.asarray(image.convert("RGB"))
    if colour == "grey":
        return np.asarray(image.convert("L"))
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        return pixels[..., 0].copy()  # colour only by name
    return pixels
