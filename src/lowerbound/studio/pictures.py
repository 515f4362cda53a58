"""Pictures for the page: tensors in, PNG out, pixel for pixel."""

import base64
import io
import math

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

GIF = 224  # pixels of an animation's longer side, to which smaller images are enlarged by a whole number


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


def gif(images: Float[Tensor, "N C H W"], pace: int = 8, *, loops: bool = True, back: bool = False) -> bytes:
    """Write an animation: each image for 1/``pace`` of a second, small ones enlarged so that they are seen.

    Arguments:
        images: in [0, 1], in their order.
        pace: images a second.
        loops: begin again at the end, rather than stop.
        back: after the last the way back to the first.

    Example:
        >>> import torch
        >>> gif(torch.rand(3, 1, 4, 4))[:6]
        b'GIF89a'
    """
    cells = pixels(images)
    scale = max(1, GIF // max(cells.shape[1:3]))
    cells = cells.repeat(scale, axis=1).repeat(scale, axis=2)
    frames = [Image.fromarray(cell.squeeze(-1) if cell.shape[-1] == 1 else cell) for cell in cells]
    frames += frames[-2:0:-1] if back else []
    file = io.BytesIO()
    again = {"loop": 0} if loops else {}
    frames[0].save(
        file, "GIF", save_all=True, append_images=frames[1:], duration=1000 // pace, optimize=True, **again
    )  # fmt: skip
    return file.getvalue()


def address(data: bytes, kind: str = "image/png") -> str:
    """Give a file as an address that an ``<img>`` takes."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def shown(images: Float[Tensor, "N C H W"], columns: int | None = None) -> dict[str, object]:
    """Give a sheet as the page's own pictures take it: its address, and how it is cut."""
    n, _, h, w = images.shape
    return {"sheet": address(sheet(images, columns)), "count": n, "columns": columns or n, "width": w, "height": h}
