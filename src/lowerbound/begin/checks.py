"""What cannot be trained is refused before anything is written: model, data, plan and objective that do not fit."""

import torch

from lowerbound.data import Source
from lowerbound.dist import on_levels
from lowerbound.errors import DataError, UsageError
from lowerbound.objective import Objective
from lowerbound.train import Plan
from lowerbound.vae import VAE, Model


def suits(model: Model, source: Source) -> None:
    """Raise DataError where the likelihood cannot take the data's values, UsageError where they were dequantised."""
    if isinstance(model, VAE) and not source.unit and not model.likelihood.real:
        low, high = float(source.train.x.min()), float(source.train.x.max())
        scale = "--set data.scale=255" if low >= 0 and 1 < high <= 255 else "scale them"
        raise DataError(
            f"The values of {source.name} lie in [{low:g}, {high:g}], and the likelihood "
            f"{type(model.likelihood).__name__} takes [0, 1] only. Bring them there ({scale}), "
            "or take a likelihood of the real line: --set model.likelihood.kind=gaussian"
        )
    if isinstance(model, VAE) and model.likelihood.levels and source.dequantise:
        raise UsageError(
            f"{type(model.likelihood).__name__} gives each of the 256 levels of a byte its probability, and "
            "data.dequantise=true lays noise between them. Leave that out, or take a density: "
            "--set model.likelihood.kind=gaussian"
        )
    if isinstance(model, VAE) and model.likelihood.levels and not _has_levels(source):
        raise DataError(
            f"{type(model.likelihood).__name__} is a likelihood of 8-bit images, and those of {source.name} are not "
            "all multiples of 1/255 from 0 to 1. Take a likelihood of the whole interval: "
            "--set model.likelihood.kind=continuous-bernoulli"
        )


def _has_levels(source: Source) -> bool:
    x = source.train.x
    return x.dtype == torch.uint8 or all(bool(on_levels.check(rows).all()) for rows in x.split(500))


def single(model: Model) -> None:
    """Raise UsageError where a model's weights are not float32."""
    other = {p.dtype for p in model.parameters()} - {torch.float32}
    if other:
        names = ", ".join(sorted(str(dtype) for dtype in other))
        raise UsageError(f"The model's weights are {names}, and training takes float32 ones: pass model.float().")


def enough(plan: Plan, source: Source) -> None:
    """Raise UsageError where the plan asks for more images than there are."""
    if plan.patience and not len(source.validation):
        raise UsageError("train.patience needs a validation split: set data.validation above 0, or patience to null.")
    if len(source.train) < plan.batch:
        raise UsageError(
            f"train.batch is {plan.batch}, but there are only {len(source.train)} training images: "
            f"set it lower, --set train.batch={max(1, len(source.train) // 4)}."
        )


def patient(plan: Plan, objective: Objective) -> None:
    """Raise UsageError where the plan waits for a lower loss, and the objective's says nothing of the weights."""
    if plan.patience and not objective.comparable:
        raise UsageError(
            "train.patience waits for a lower loss, and where a weight adapts (λ or β) or a critic learns no loss "
            "says which weights are better: set patience to null."
        )
