"""A trained model under one's hand: latents in, pictures out."""

from typing import Any

import torch

from lowerbound import explore, gallery
from lowerbound.run import Run
from lowerbound.studio import pictures
from lowerbound.studio.limits import Codes, Id
from lowerbound.studio.route import RequestError, get, post
from lowerbound.studio.state import Studio


@get("/api/runs/{run}/model", model=True)
def model(studio: Studio, run: Id) -> dict[str, Any]:
    """Tell what the sliders need: the latents, the highest KL first."""
    found = studio.opened(run).run
    latents = (
        [{"latent": i, "kl": kl} for i, kl in gallery.latents_by_kl(found)]
        if found.finished
        else [{"latent": i, "kl": None} for i in range(found.spec["latents"])]
    )
    return {"latents": latents, "shape": found.data["shape"], "note": found.weights_note}


@post("/api/runs/{run}/decode", model=True)
def decode(studio: Studio, run: Id, z: Codes) -> dict[str, Any]:
    """Decode latents to their mean images."""
    found = studio.opened(run).run
    return pictures.shown(explore.decode(found.model, latents(found, z)))


def latents(run: Run, z: list[list[float]]) -> torch.Tensor:
    """Take latents as the model has them; raises RequestError where they are of another number."""
    wanted = run.spec["latents"]
    if any(len(row) != wanted for row in z):
        raise RequestError(f"The model has {wanted} latents: each z needs as many numbers.")
    return torch.tensor(z)
