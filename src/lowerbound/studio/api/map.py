"""The map of the codes: where each image of a split is in a plane of the latents, and what is below a place of it."""

import base64
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Int
from pydantic import Field
from starlette.responses import Response
from torch import Tensor

from lowerbound import data, explore, gallery, planes
from lowerbound.run import Run
from lowerbound.studio import atlas
from lowerbound.studio.api.explore import apart, latents, named, rounded, shown
from lowerbound.studio.atlas import Atlas, Of
from lowerbound.studio.limits import Code, Coordinate, Id, Split, Text
from lowerbound.studio.route import RequestError, get, post
from lowerbound.studio.state import Studio
from lowerbound.words import noun

Places = Annotated[list[Code], Field(min_length=1, max_length=1024)]
PlaneName = Annotated[str, Field(pattern=r"^(pca|umap|z\d{1,4}\.z\d{1,4})$")]


@get("/api/runs/{run}/map", lane="model")
def map(
    studio: Studio, run: Id, plane: PlaneName | None = None, split: Split | None = None, colour: Text = "label"
) -> dict[str, Any]:
    """Tell what a map needs, or how far it is: the page asks again until it is ready."""
    found = studio.opened(run).atlas(split)
    if found.latents == 1 or plane is None:
        plane = found.usual()
    if waiting := found.waiting(plane):
        return waiting
    at = found.plane(plane)
    return {
        "ready": True,
        "plane": plane,
        "axes": at.axes,
        "line": isinstance(at, planes.Linear) and at.line,
        "flat": isinstance(at, planes.Linear),
        "bounds": found.bounds(plane),
        "latents": [k for k, _ in gallery.latents_by_kl(found.run)],
        "umap": atlas.UMAP,
        "split": found.split,
        "noun": noun(found.run.data["shape"]),
        "splits": {name: count for name, count in found.run.data["images"].items() if count},
        "count": len(found.codes.result.z),
        "colours": _colours(found.run),
        "colour": colour,
        "classes": _classes(found, colour),
        "note": found.run.weights_note,
    }


@get("/api/runs/{run}/map/points", lane="model", gives="application/octet-stream")
def points(
    studio: Studio, run: Id, plane: PlaneName, split: Split | None = None, colour: Text = "label"
) -> Response:  # fmt: skip
    """Give x and y of all codes as float32, then what colours each as int32: -1 where nothing does."""
    found = studio.opened(run).atlas(split)
    xy = found.places(plane).numpy().astype("<f4")
    values = _values(found, colour)
    which = np.full(len(xy), -1, "<i4") if values is None else values.numpy().astype("<i4")
    return Response(xy.tobytes() + which.tobytes(), media_type="application/octet-stream")


@get("/api/runs/{run}/map/density", lane="model")
def density(studio: Studio, run: Id, plane: PlaneName, of: Of, split: Split | None = None) -> dict[str, Any]:
    """Give a density in a plane as bytes, of which 255 is its maximum, or tell how far it is; rows go upwards."""
    found = studio.opened(run).atlas(split)
    if waiting := found.waiting(plane):
        return waiting
    work = found.under(plane, of)
    if not work.go():
        return work.progress
    cells = work.result.cells.nan_to_num(0.0, 0.0, 0.0)
    most, note = float(cells.max()), apart(found.run)
    shades = (cells / most if most > 0 else cells).mul(255).round().byte().numpy()
    return {
        "ready": True,
        "bounds": planes.around(found.bounds(plane)),
        "width": shades.shape[1],
        "height": shades.shape[0],
        "maximum": most,
        "words": ". ".join([work.result.words, *([note.rstrip(".")] if of != "codes" and note else [])]),
        "mass": work.result.mass,
        "cells": base64.b64encode(shades.tobytes()).decode(),
    }


@post("/api/runs/{run}/map/below", lane="model")
def below(
    studio: Studio, run: Id, plane: PlaneName, x: Coordinate, y: Coordinate,
    base: Code | None = None, split: Split | None = None, colour: Text = "label",
) -> dict[str, Any]:  # fmt: skip
    """Decode what a place of the map stands for, and tell which code is nearest to the place in the plane."""
    found = studio.opened(run).atlas(split)
    at, xy = found.plane(plane), torch.tensor([x, y], dtype=torch.float64)
    stays = None if base is None else latents(found.run, [base])[0]
    z = at.back(xy, stays).float()
    places = found.places(plane)
    row = int(planes.nearest(xy.to(places), places))
    values = _values(found, colour)
    near = None if values is None else values[row : row + 1]
    return {
        "z": rounded(z),
        "row": row,
        "label": None if near is None else (_names(found.run, colour, near))[0],
        "place": rounded(places[row]),
        **shown(found.run, explore.decode(found.run.model, z[None])),
    }


@post("/api/runs/{run}/map/project", lane="model")
def project(
    studio: Studio, run: Id, plane: PlaneName, z: Places, sigma: Places | None = None, split: Split | None = None
) -> dict[str, Any]:
    """Give the place of each z, and the ellipse of one σ in the plane where it has one."""
    found = studio.opened(run).atlas(split)
    at = found.plane(plane)
    if sigma is not None and len(sigma) != len(z):
        raise RequestError(f"There are {len(z)} z and {len(sigma)} sigma: give each z its own.")
    spread = None if sigma is None else at.covariance(latents(found.run, sigma))
    return {
        "xy": rounded(at.project(latents(found.run, z))),
        "ellipse": None if spread is None else rounded(planes.ellipse(spread)),
    }


# what colours the points


def _colours(run: Run) -> list[str]:
    """Name what can colour the points: the label, and factors that are known."""
    part = run.source.train
    return ["label"] * (part.labels is not None) + list(run.data.get("factors", {})) * (part.factors is not None)


def _values(found: Atlas, colour: str) -> Int[Tensor, " N"] | None:
    """Give what colours each point, as a number; raises RequestError where it is not known."""
    if colour == "label":
        return found.codes.result.labels
    if colour not in _colours(found.run):
        raise RequestError(f"Nothing is known as {colour!r} of these data.")
    part: data.Split = getattr(found.run.source, found.split)
    assert part.factors is not None
    return part.factors[part.rows][:, list(found.run.data["factors"]).index(colour)].cpu()


def _names(run: Run, colour: str, values: Int[Tensor, " N"]) -> list[str]:
    return (named(run, values) or []) if colour == "label" else [str(value) for value in values.tolist()]


def _classes(found: Atlas, colour: str) -> list[dict[str, Any]]:
    """List the values that colour points, with their names and how many points have each."""
    values = _values(found, colour)
    if values is None:
        return []
    kinds, counts = values.unique(return_counts=True)
    return [
        {"value": value, "name": name, "count": count}
        for value, name, count in zip(kinds.tolist(), _names(found.run, colour, kinds), counts.tolist(), strict=True)
    ]
