"""A trained model under one's hand: latents in, pictures out."""

import shlex
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from starlette.responses import Response
from torch import Tensor

from lowerbound import explore, gallery, recipes
from lowerbound.errors import LowerboundError
from lowerbound.process import program
from lowerbound.run import Run
from lowerbound.studio import pictures, same
from lowerbound.studio.limits import (
    SHEET,
    Anchors,
    Code,
    Codes,
    Coordinate,
    Few,
    Id,
    Pace,
    Path,
    Row,
    Rows,
    Seed,
    Steps,
    Temperature,
)
from lowerbound.studio.route import RequestError, get, post
from lowerbound.studio.state import Studio
from lowerbound.vae import VAE
from lowerbound.words import noun

ROUNDING = 1e-3  # of codes in a link
APART = "This model was never trained towards its prior, so what is drawn from it need not look like the data."


@get("/api/runs/{run}/model", lane="model")
def model(studio: Studio, run: Id) -> dict[str, Any]:
    """Tell what the sliders need: the latents, the highest KL first, with the range that each comes to."""
    found = studio.opened(run).run
    missing = _missing(found)
    centre = None if apart(found) else _centre(found)
    low, high = (edge.tolist() for edge in _extent(found, centre, data=missing is None))
    unused = gallery.unused(found)
    latents = [
        {"latent": i, "kl": kl, "low": low[i], "high": high[i], "collapsed": i in unused}
        for i, kl in gallery.latents_by_kl(found)
    ]
    split = gallery.held_out(found)
    return {
        "latents": latents,
        "centre": centre,
        "point": is_point(found),
        "apart": apart(found),
        "shape": found.data["shape"],
        "picture": gallery.is_image(found),
        "noun": noun(found.data["shape"]),
        "split": split,
        "rows": 0 if missing else found.data["images"][split],
        "missing": missing,
        "note": found.weights_note,
    }


def _extent(run: Run, centre: list[float] | None, *, data: bool) -> tuple[Tensor, Tensor]:
    """Give the range of each slider: where the prior has a middle, about it and as wide for all as the widest."""
    low, high = (edge.cpu() for edge in gallery.extent(run, data=data))
    if centre is None:
        return low, high
    middle = torch.tensor(centre)
    reach = torch.maximum(high - middle, middle - low).max()
    return middle - reach, middle + reach


def is_point(run: Run) -> bool:
    """Whether the posterior is a point, as an autoencoder's is: then nothing is drawn from it, and it has no KL."""
    return isinstance(run.model, VAE) and not run.model.posterior.density


def apart(run: Run) -> str | None:
    """Say that the prior is none that the codes were brought to, or give None."""
    return None if recipes.meets_prior(run.spec) else APART


def _missing(run: Run) -> str | None:
    """Say why the data are not here, or None."""
    try:
        run.source  # noqa: B018 - what cannot be loaded is said
    except LowerboundError as error:
        return str(error)
    return None


def _centre(run: Run) -> list[float] | None:
    """Give the prior's middle, or None where it has none."""
    try:
        middle: list[float] = rounded(gallery.origin(run))
    except LowerboundError:
        return None
    return middle


@post("/api/runs/{run}/decode", lane="model")
def decode(studio: Studio, run: Id, z: Codes, seed: Seed | None = None) -> dict[str, Any]:
    """Decode latents to the means of p(x|z), or by a seed to draws of it."""
    found = studio.opened(run).run
    some = shown(found, explore.decode(found.model, latents(found, z), seed=seed))
    return some if len(z) > 1 else {**some, "command": same.decoded(found, z[0], seed)}


@get("/api/runs/{run}/start", lane="model")
def start(studio: Studio, run: Id, image: Row) -> dict[str, Any]:
    """Give the code of a held-out image, and the image."""
    found = studio.opened(run).run
    z = gallery.origin(found, image)
    x, labels = gallery.shown(found, slice(image, image + 1))
    known = named(found, labels)
    return {"z": rounded(z), **shown(found, x), "label": known[0] if known else None}


@post("/api/runs/{run}/sample", lane="model")
def sample(
    studio: Studio, run: Id, number: Few, seed: Seed = 0, temperature: Temperature = 1.0, noise: bool = False
) -> dict[str, Any]:
    """Draw new images from the prior, each with its latents."""
    found = studio.opened(run).run
    z = found.model.draw_latents(number, seed=seed, temperature=temperature)
    x = found.model.sample(number, seed=seed, temperature=temperature, noise=noise)
    more = [f"--temperature {temperature:g}"] * (temperature != 1) + ["--noise"] * noise
    words = [f"{program()} sample {shlex.quote(str(found.path))} --number {number} --seed {seed}", *more]
    return {"z": rounded(z), **shown(found, x), "command": " ".join(words)}


@post("/api/runs/{run}/traverse", lane="model")
def traverse(
    studio: Studio, run: Id, z: Code, latent: Row, low: Coordinate, high: Coordinate, steps: Steps = 11
) -> dict[str, Any]:
    """Decode latents with one of them moved from low to high."""
    found = studio.opened(run).run
    origin = latents(found, [z])[0]
    if latent >= len(origin):
        raise RequestError(f"There is no latent {latent}: the model has {len(origin)}.")
    values = torch.linspace(low, high, steps)
    x = explore.traverse(found.model, origin, [latent], values)[0]
    return {"values": rounded(values), **shown(found, x), "command": same.traversed(found, z, latent, low, high, steps)}


@post("/api/runs/{run}/way", lane="model")
def way(
    studio: Studio, run: Id, anchors: Anchors, rows: Rows = [], steps: Steps = 11, kind: Path = "spherical"  # noqa: B006
) -> dict[str, Any]:  # fmt: skip
    """Walk from the first anchor through each to the last; ``rows`` names those that are held-out images."""
    found = studio.opened(run).run
    z, x = _walked(found, anchors, steps, kind)
    return {"z": rounded(z), **shown(found, x), "command": _walk(found, anchors, rows, steps, kind)}


@post("/api/runs/{run}/way.gif", lane="model", gives="image/gif")
def animation(
    studio: Studio, run: Id, anchors: Anchors, steps: Steps = 11, kind: Path = "spherical",
    pace: Pace = 8, loops: bool = True, back: bool = False,
) -> Callable[[], Response]:  # fmt: skip
    """Give the same walk as an animated GIF."""
    found = studio.opened(run).run
    if not gallery.is_image(found):
        raise RequestError("The data are vectors, of which there is no picture.")
    _, x = _walked(found, anchors, steps, kind)
    return lambda: Response(pictures.gif(x, pace, loops=loops, back=back), media_type="image/gif")


def _walked(run: Run, anchors: list[list[float]], steps: int, kind: Path) -> tuple[Tensor, Tensor]:
    ends = latents(run, anchors)
    room(run, (len(anchors) - 1) * (steps - 1) + 1)
    z = explore.way(ends, steps, kind)
    return z, explore.decode(run.model, z)


def _walk(run: Run, anchors: list[list[float]], rows: list[int | None], steps: int, kind: Path) -> str:
    """Write the command of a walk between two held-out images, or else the lines of Python."""
    if _are_codes(run, anchors, rows):
        ends = f"--start {rows[0]} --end {rows[1]} --steps {steps} --kind {kind}"
        return f"{program()} interpolate {shlex.quote(str(run.path))} {ends}"
    return same.walked(run, anchors, steps, kind)


def _are_codes(run: Run, anchors: list[list[float]], rows: list[int | None]) -> bool:
    """Check that two anchors are the codes of two held-out images still: a link may be older than the weights."""
    known = [row for row in rows if row is not None]
    if not (len(anchors) == len(rows) == len(known) == 2 and gallery.is_image(run)):
        return False
    codes = torch.stack([gallery.origin(run, row) for row in known])
    return torch.allclose(codes.cpu(), torch.tensor(anchors), rtol=0, atol=ROUNDING)


@post("/api/runs/{run}/nearest", lane="model")
def nearest(studio: Studio, run: Id, z: Code, number: Few = 8) -> dict[str, Any]:
    """Find the held-out images whose codes are nearest to some latents, or tell how far their encoding is."""
    opened = studio.opened(run)
    found, atlas = opened.run, opened.atlas()
    query = latents(found, [z])
    room(found, number)
    if not atlas.codes.go():
        return atlas.codes.progress
    codes, labels = atlas.codes.result.z, atlas.codes.result.labels
    far, rows = explore.neighbours(query.to(codes), codes, number)
    x = torch.cat([gallery.shown(found, slice(i, i + 1))[0] for i in rows[0].tolist()])
    return {
        **shown(found, x),
        "rows": rows[0].tolist(),
        "z": rounded(codes[rows[0]]),
        "distances": rounded(far[0]),
        "labels": named(found, None if labels is None else labels[rows[0]]),
        "command": same.near(found, z, number),
    }


def latents(run: Run, z: list[list[float]]) -> Float[Tensor, "N D"]:
    """Take latents as the model has them; raises RequestError where they are of another number."""
    wanted = run.spec["latents"]
    if any(len(row) != wanted for row in z):
        raise RequestError(f"The model has {wanted} latents: each z needs as many numbers.")
    return torch.tensor(z)


def shown(run: Run, x: Float[Tensor, "N *X"]) -> dict[str, Any]:
    """Give what was decoded as the page shows it: a sheet of images, or of vectors the numbers."""
    if gallery.is_image(run):
        room(run, len(x))
        return pictures.shown(x, min(len(x), 16))
    return {"count": len(x), "numbers": rounded(x)}


def room(run: Run, count: int) -> None:
    """Raise RequestError where so many images of a run are more than one answer holds."""
    _, *size = run.data["shape"]
    each = size[0] * size[1] if len(size) == 2 else 1
    if count * each > SHEET:
        raise RequestError(f"{count} images of {each:,} pixels are too many at once: {SHEET // each} can be shown.")


def rounded(z: Float[Tensor, "..."]) -> Any:
    """Give numbers with the digits that a page can use."""
    return z.detach().double().cpu().numpy().round(4).tolist()


def named(run: Run, labels: Tensor | None) -> list[str] | None:
    """Give labels by the names of their classes, where they have any."""
    if labels is None:
        return None
    classes = run.data.get("classes")
    return [classes[i] if classes else str(i) for i in labels.tolist()]
