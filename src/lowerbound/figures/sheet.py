"""Sheets: images laid out without gaps, pixel for pixel, as PNG."""

import io
import math

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor


def pixels(images: Float[Tensor, "N C H W"]) -> UInt8[np.ndarray, "N H W c"]:
    """Give images in [0, 1] as bytes: grey of one channel, colour of three; of other numbers the first as grey."""
    x = images.detach().float().cpu().clamp(0, 1).nan_to_num(0.0)
    x = x if x.shape[1] == 3 else x[:, :1]
    return (x * 255).round().byte().permute(0, 2, 3, 1).numpy()


def sheet(images: Float[Tensor, "N C H W"], columns: int | None = None) -> bytes:
    """Lay images out in a grid without gaps, as PNG: the page cuts it by the size of one.

    Example:
        >>> import torch
        >>> sheet(torch.rand(6, 1, 4, 4), columns=3)[:4]
        b'\\x89PNG'
    """
    cells = pixels(images)
    n, h, w, c = cells.shape
    columns = columns or n
    lines = math.ceil(n / columns)
    whole = np.zeros((lines * columns, h, w, c), np.uint8)
    whole[:n] = cells
    whole = whole.reshape(lines, columns, h, w, c).swapaxes(1, 2).reshape(lines * h, columns * w, c)
    return png(whole)


def png(image: UInt8[np.ndarray, "H W c"]) -> bytes:
    """Write one image as PNG."""
    file = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, "PNG", compress_level=1)
    return file.getvalue()
