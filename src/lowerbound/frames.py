"""Frames of a training: what the model makes of the same images and the same latents as it goes on."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound import files, metrics, rng
from lowerbound.data import Source
from lowerbound.figures.sheet import sheet
from lowerbound.metrics.bounds import SEED
from lowerbound.run import FRAMES, Run
from lowerbound.vae import Model, evaluating

COLUMNS = 16  # images in a row of a frame: held-out ones, their reconstructions, samples
MEASURED = 64  # images over which the KL of each latent is taken
FEWEST, APART = 8, 25  # a short training has fewer frames, so that they cost it little: one in so many steps


def moments(total: int, count: int) -> list[int]:
    """Choose the steps of the frames: before the first and after the last one, ever wider apart at first, then evenly.

    Example:
        >>> moments(1000, 12)
        [0, 1, 3, 11, 37, 125, 250, 375, 500, 625, 750, 875, 1000]
        >>> moments(1000, 0)
        []
    """
    count = min(count, max(FEWEST, total // APART))
    if count < 2:
        return [total] * count
    early = count // 3
    first = total / max(1, count - early)  # where steps that widen by a factor meet steps that are even
    widening = np.geomspace(1, max(1.0, first), early + 1)[:-1] if early else np.zeros(0)
    even = np.linspace(min(first, total), total, count - early)
    return sorted({0, *(int(step) for step in np.concatenate([widening, even]).round())})


@final
@dataclass
class Frames:
    """Keeps a frame at each of its moments: ``frames/<step>.png`` of images, and a row of ``frames.jsonl``.

    The images are the first of the validation split (of the training split where there is none), so that the test split
    stays unread until the end. The model is in evaluation mode and the noise has its own seed: the training is the same
    with frames and without.

    Arguments:
        run: the run that they are of.
        source: its data.
        total: the steps of the whole training.
        count: how many frames, about.
    """

    run: Run
    source: Source
    total: int
    count: int

    @cached_property
    def moments(self) -> frozenset[int]:
        """The steps at which a frame is taken."""
        return frozenset(moments(self.total, self.count))

    @cached_property
    def images(self) -> Float[Tensor, "N *X"]:
        """The images that all frames are of."""
        split = self.source.validation if len(self.source.validation) else self.source.train
        return split.images(0, MEASURED)

    def take(self, model: Model, step: int) -> None:
        """Keep the frame of a step, if it is one of the moments; raises StorageError where it cannot be written."""
        if step not in self.moments:
            return
        with evaluating(model), torch.inference_mode():
            shown = self.images[:COLUMNS] if self.images.ndim == 4 else self.images[:0]
            row = {"step": step, "shown": len(shown), **measured(model, self.images)}
            if len(shown):
                _write(self.run.frames / f"{step:09d}.png", picture(model, shown))
        self.run.log(row, FRAMES)


def measured(model: Model, x: Float[Tensor, "N *X"]) -> dict[str, Any]:
    """Give distortion, rate, elbo and the KL of each latent in nats, as far as there are such; z is drawn once each."""
    with rng.noise(SEED, "frames"):
        trace = model(x)
    distortion = float(-trace.log_px.mean())
    if not trace.density:
        return {"images": len(x), "distortion": distortion}
    rate = float(trace.kl.mean())
    figures = {"distortion": distortion, "rate": rate, "elbo": -(distortion + rate)}
    return {"images": len(x), **figures, "kl_by_dim": metrics.kl_by_dim(trace)}


def picture(model: Model, x: Float[Tensor, "n C H W"]) -> bytes:
    """Draw a frame as PNG: the images, below them their reconstructions, and below these as many samples of seed 0."""
    rows = [x, model.reconstruct(x), model.sample(len(x), seed=0)]
    return sheet(torch.cat([row.float().cpu() for row in rows]), columns=len(x))


def _write(path: Path, data: bytes) -> None:
    """Write a picture where it belongs: its row in frames.jsonl comes after it, and no one reads it before."""
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise files.storage_error(path, error, len(data)) from error
