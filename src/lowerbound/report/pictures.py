"""The pictures of the page, with their bytes inside it."""

import base64
import contextlib
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

from PIL import Image

from lowerbound.report.content import Content, Picture
from lowerbound.report.markup import framed

WIDEST = 1800  # pixels of a picture in the page, which shows at most half as many; the run's folder keeps the whole
PICTURES = 3_000_000  # bytes of all pictures: base64 makes 4 MB of them, and the page stays below 5 MB


def gallery(c: Content) -> str:
    """Show the run's pictures."""
    if not c.pictures:
        return ""
    weights = {} if all("weights" in p.caption for p in c.pictures) else c.metrics.get("weights") or {}
    step = f" of step {weights['step']:,}" if isinstance(weights.get("step"), int) else ""
    mean = ", averaged over the training (EMA)" if weights.get("ema") else ""
    lead = f"<p>Made with the {escape(str(weights['which']))} weights{step}{mean}.</p>" if weights.get("which") else ""
    return f"<h2>Pictures</h2>{lead}{shown(c, c.pictures)}"


def shown(c: Content, pictures: Sequence[Picture], *, text: bool = False) -> str:
    """Show some of the page's pictures, each with no more bytes than let all of them fit into the page.

    Arguments:
        c: the whole page.
        pictures: those to show.
        text: whether there is something to be read in them.
    """
    sizes, every = [], [*c.pictures, *c.drawn]
    for picture in every:
        with contextlib.suppress(OSError, SyntaxError):
            sizes.append(len(_embedded(picture.path)[1]))
    most = None if sum(sizes) <= PICTURES else PICTURES // len(every)
    return "".join(framed(image(p, most), p.title, p.caption, text=text) for p in pictures)


def _embedded(path: Path | str, most: int | None = None) -> tuple[str, bytes, tuple[int, int]]:
    """Give a picture's kind and bytes as the page has them, and the whole picture's width and height."""
    data = Path(path).read_bytes()
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        size = image.size
        if size[0] > WIDEST or size[1] > 2 * WIDEST:
            image.thumbnail((WIDEST, 2 * WIDEST), Image.Resampling.LANCZOS)
            file = io.BytesIO()
            image.save(file, "PNG", optimize=True)
            data = file.getvalue()
        # a photograph's grain is what PNG cannot make small
        return ("png", data, size) if most is None or len(data) <= most else ("jpeg", _jpeg(image, most), size)


def _jpeg(image: Image.Image, most: int) -> bytes:
    """Give a picture as JPEG, as wide as fits into so many bytes."""
    data, scale, whole = b"", 1.0, image.convert("RGB")
    while not data or (len(data) > most and scale > 0.05):
        file = io.BytesIO()
        part = whole.resize((max(1, round(whole.width * scale)), max(1, round(whole.height * scale))))
        part.save(file, "JPEG", quality=85)
        data, scale = file.getvalue(), scale * 0.8
    return data


def image(picture: Picture, most: int | None = None) -> str:
    """Give a picture as an element with its bytes inside; a missing or damaged file is said and not fatal."""
    try:
        kind, data, (width, height) = _embedded(picture.path, most)
    except (OSError, SyntaxError) as error:  # Pillow reports a broken PNG as a SyntaxError
        return (
            f"<p>The picture {escape(Path(picture.path).name)} could not be read: {escape(type(error).__name__)}.</p>"
        )
    source = base64.b64encode(data).decode()
    return (
        f'<img alt="{escape(picture.title)}" width="{width}" height="{height}" style="max-width:{width}px" '
        f'loading="lazy" src="data:image/{kind};base64,{source}">'
    )
