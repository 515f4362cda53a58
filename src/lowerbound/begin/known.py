"""What a training was begun with, of a run that is opened again: its objective, its length, its images, its figures."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int

from lowerbound import checkpoint
from lowerbound import spec as specs
from lowerbound.errors import UsageError
from lowerbound.job import likelihood_note, reached, sigma
from lowerbound.objective import Objective
from lowerbound.run import Run
from lowerbound.train import Plan


def objective(run: Run) -> Objective:
    """Make the objective that a run was trained with."""
    return specs.build_objective(run.spec, total(run), run.data["images"]["train"])


def total(run: Run) -> int:
    """Give the number of steps of a run's whole training."""
    plan: Plan = specs.construct("train", run.spec["train"], {})
    return plan.steps(run.data["images"]["train"])


def blocks(run: Run, split: str) -> Iterator[tuple[Float[torch.Tensor, "..."], Int[torch.Tensor, "..."] | None]]:
    """Go through a split of a run's data; raises UsageError where it has no images."""
    if not run.data["images"].get(split):
        raise UsageError(f"{run.path} has no {split} images.")
    return run.source.blocks(split)


def facts(run: Run) -> dict[str, Any]:
    """Give the figures of a finished run; of another what its newest checkpoint is: weights, likelihood, σ, schedules.

    Raises StorageError where there is no checkpoint yet.
    """
    if run.finished:
        return run.metrics
    weights, trained = run.weights, objective(run)
    tensors, _ = checkpoint.load(run.newest)
    trained.load_state_dict(tensors.get("objective", {}))  # a weight that adapts is where it was moved to
    return {
        "weights": weights,
        "likelihood": likelihood_note(run.model, run.source),
        "sigma": sigma(run.model),
        **reached(trained, weights["step"], weights["step"]),
    }
