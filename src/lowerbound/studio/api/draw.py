"""An image of one's own: what the model says of it, its missing part, and its way through the model."""

import shlex
from collections.abc import Callable
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound import gallery, walk
from lowerbound.errors import LowerboundError
from lowerbound.process import program
from lowerbound.run import Run
from lowerbound.studio import pictures, same, sets
from lowerbound.studio.api.explore import is_point, named, room, rounded
from lowerbound.studio.limits import Chains, Few, Id, Mask, Row, Seed, Strength
from lowerbound.studio.lines import is_gaussian
from lowerbound.studio.route import RequestError, get, post
from lowerbound.studio.slow import Slow
from lowerbound.studio.state import Studio
from lowerbound.tasks.drawn import Drawn, as_data, dark_ground, drawn, image_shape
from lowerbound.tasks.impute import KINDS, Filled, imputing

SAMPLES = 32  # of q, by whose mean the costs are told; the first of them are shown


@get("/api/runs/{run}/easel", lane="model")
def easel(studio: Studio, run: Id) -> dict[str, Any]:
    """Tell what is needed to draw for a run: the shape, how its data look, and how many of them can be taken."""
    found = studio.opened(run).run
    c, h, w = image_shape(found)
    split = gallery.held_out(found)
    known: dict[str, Any] = {"dark": True, "rows": found.data["images"][split], "missing": None}
    try:
        known["dark"] = dark_ground(found) is not False
    except LowerboundError as error:  # the model can be asked without its data
        known |= {"rows": 0, "missing": str(error)}
    likelihood = found.metrics.get("likelihood", {}).get("note") if found.finished else None
    return {
        **known, "channels": c, "height": h, "width": w, "split": split, "note": found.weights_note,
        "binarised": found.data["binarise"] != "none", "cost": likelihood,
        "digits": found.data["name"] == "mnist", "gaussian": is_gaussian(found.spec),
        "point": is_point(found),
    }  # fmt: skip


@post("/api/images", lane="model")
def upload(
    studio: Studio, run: Id, body: bytes, invert: Literal["auto", "yes", "no"] = "auto", centre: bool = False
) -> Callable[[], dict[str, Any]]:
    """Take a picture's file, read as the run's data are, and keep it for a while."""
    found = studio.opened(run).run
    return lambda: _kept(studio, found, drawn(found, body, invert=invert, centre=centre))


@post("/api/runs/{run}/held", lane="model")
def held(studio: Studio, run: Id, row: Row) -> dict[str, Any]:
    """Take an image of the held-out split as if it had been drawn."""
    found = studio.opened(run).run
    image_shape(found)
    x, label = _row(found, row)
    return {**_kept(studio, found, Drawn(x, [])), "label": label}


def _kept(studio: Studio, run: Run, picture: Drawn) -> dict[str, Any]:
    x = as_data(run, picture.x)
    room(run, 1)
    cut = ["The data are binarised: so is the picture, 1 where it is at least ½."] * (run.data["binarise"] != "none")
    return {"id": studio.uploads.keep(picture), "notes": picture.notes + cut, "picture": pictures.shown(x[None])}


def _row(run: Run, row: int) -> tuple[Float[Tensor, "C H W"], str | None]:
    split = gallery.held_out(run)
    x, labels = gallery.shown(run, slice(row, row + 1))
    if not len(x):
        raise RequestError(f"There is no image {row} in the {split} split of {run.data['images'][split]}.")
    names = named(run, labels)
    return x[0], names[0] if names else None


def _taken(studio: Studio, run: str, image: str | None, row: int | None) -> tuple[Run, Float[Tensor, "C H W"]]:
    """Give a run, and the image that is meant, as its model takes it."""
    if (image is None) == (row is None):
        raise RequestError("Give one image: image, one that was drawn or uploaded, or row, a held-out one.")
    found = studio.opened(run).run
    image_shape(found)
    if image is not None:
        return found, as_data(found, studio.uploads.find(image).x)
    return found, _row(found, row or 0)[0]


@post("/api/runs/{run}/posterior", lane="model")
def posterior(
    studio: Studio, run: Id, image: Id | None = None, row: Row | None = None, seed: Seed = 0, number: Few = 8
) -> dict[str, Any]:
    """Tell what the model sees in an image: its posterior, what it decodes to, and what it costs in nats."""
    found, x = _taken(studio, run, image, row)
    room(found, number)
    seen = walk.seen(found.model, x, samples=max(number, SAMPLES), seed=seed)
    return {
        "picture": pictures.shown(x[None]),
        "reconstruction": pictures.shown(seen.reconstruction[None]),
        "samples": pictures.shown(seen.images[:number], columns=min(number, 8)),
        "z": rounded(seen.z[:number]),
        "mu": rounded(seen.mu), "sigma": rounded(seen.sigma), "exact": seen.exact,
        "rates": _numbers(seen.rates), "rate": _numbers(seen.rate),
        "distortion": rounded(seen.distortion), "elbo": _numbers(seen.elbo),
        "average": max(number, SAMPLES),
        "command": same.seen(found, row), "given": same.given(found, row),
    }  # fmt: skip


@post("/api/runs/{run}/walk", lane="model")
def walked(
    studio: Studio, run: Id, image: Id | None = None, row: Row | None = None, seed: Seed = 0, strength: Strength = 1.0
) -> dict[str, Any]:
    """Take an image through the model with the noise of a seed, and tell every quantity on its way."""
    found, x = _taken(studio, run, image, row)
    eps = walk.noise(found.spec["latents"], seed, strength)
    step = walk.walk(found.model, x, eps)
    heat = step.heat
    return {
        "picture": pictures.shown(x[None]), "image": pictures.shown(step.image[None]),
        "heat": None if heat is None else pictures.shown(heat[None]),
        "dearest": None if step.costs is None else rounded(step.costs.max()),
        "mu": rounded(step.mu), "sigma": rounded(step.sigma), "eps": rounded(step.eps), "z": rounded(step.z),
        "rates": _numbers(step.rates), "rate": rounded(step.rate), "distortion": rounded(step.distortion),
        "elbo": rounded(step.elbo),
    }  # fmt: skip


def _numbers(some: Tensor | None) -> Any:
    return None if some is None else rounded(some)


@post("/api/runs/{run}/impute", lane="model")
def filled(
    studio: Studio, run: Id, missing: Mask, image: Id | None = None, row: Row | None = None,
    draws: Few = 5, steps: Chains = 500, seed: Seed = 0,
) -> dict[str, Any]:  # fmt: skip
    """Draw the missing pixels of an image given the others, by the sampler of ``lowerbound impute``, in short turns."""
    found, x = _taken(studio, run, image, row)
    room(found, draws)
    hidden = missing if missing in KINDS else _mask(missing, x)
    how = {"draws": draws, "steps": steps, "seed": seed}
    work = studio.opened(run).works.made(
        ("impute", image, row, missing, *how.values()),
        lambda: Slow("Drawing the missing pixels", imputing(found, x[None].cpu(), missing=hidden, images=[0], **how)),
    )
    if not work.go():
        return work.progress
    done: Filled = work.result
    result = done.found
    return {
        "ready": True,
        "seen": pictures.shown(torch.where(done.missing, 0.5, done.x)),
        "draws": pictures.shown(result.means[:, 0]), "mean": pictures.shown(result.mean),
        "acceptance": None if result.acceptance is None else rounded(result.acceptance[0]),
        "moves": None if result.acceptance is None else rounded(result.acceptance[0] * steps),
        "notes": done.notes, "missing": int(done.missing[0, 0].sum()),
        "command": _command(found, row, missing, draws, steps, seed), "given": same.given(found, row),
    }  # fmt: skip


def _mask(missing: str, x: Float[Tensor, "C H W"]) -> Any:
    _, h, w = x.shape
    if len(missing) != h * w:
        raise RequestError(f"missing: it has {len(missing):,} digits, and the image {h * w:,} pixels.")
    return torch.tensor([digit == "1" for digit in missing]).view(h, w).numpy()


def _command(run: Run, row: int | None, missing: str, draws: int, steps: int, seed: int) -> str:
    """Write the command of a held-out image and a mask that has a name, or else the line of Python."""
    if row is not None and missing in KINDS and gallery.held_out(run) == "test":
        where = f"--images {row} --missing {missing} --draws {draws} --steps {steps} --seed {seed}"
        return f"{program()} impute {shlex.quote(str(run.path))} {where}"
    return same.imputed(run, row, missing, missing in KINDS, f"draws={draws}, steps={steps}, seed={seed}")


@get("/api/runs/{run}/betas")
def betas(studio: Studio, run: Id) -> dict[str, Any]:
    """List the runs that differ from this one in β only, or those of another such set, and which sets there are."""
    return sets.betas(studio.shelf, studio.shelf.find(run))


@get("/api/tour")
def tour(studio: Studio) -> dict[str, Any]:
    """Choose the run that explains best: of images, finished, with a Gaussian posterior whose latents are in use."""
    return {"run": sets.teacher(studio.shelf)}
