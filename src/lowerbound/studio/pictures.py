"""Pictures for the page: tensors in, PNG out, pixel for pixel."""

import base64
import io

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from lowerbound.figures.sheet import pixels, sheet

GIF = 224  # pixels of an animation's longer side, to which smaller images are enlarged by a whole number


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
