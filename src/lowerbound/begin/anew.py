"""A training from its beginning: the job of a spec, and the directory of its run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lowerbound import after, process
from lowerbound import spec as specs
from lowerbound.begin.checks import enough, patient, single, suits
from lowerbound.data import Source
from lowerbound.errors import UsageError
from lowerbound.job import Job
from lowerbound.run import Run
from lowerbound.train import Plan, rehearse, start
from lowerbound.vae import Model

REHEARSED = 8  # images, or fewer where a batch has fewer


def prepare(
    spec: specs.Spec,
    source: Source,
    *,
    name: str,
    out: Path | None = None,
    device: str = "auto",
    env: Mapping[str, Any] | None = None,
    model: Model | None = None,
) -> Job:
    """Make a new run and the job that trains it; raises UsageError or DataError before anything is written."""
    where = pick_device(device)
    if spec["train"]["precision"] == "auto":  # written out, so that the run goes on in the same one anywhere
        spec = specs.merge(spec, {"train": {"precision": process.precision(where)}})
    job = plan_job(spec, source, device, model)
    recorded = {"device": str(where), "recipe": name, **(env or {})}
    job.run = Run.create(spec, source, out=out, name=f"{source.name}-{name}", env=recorded, own=model)
    return job


def plan_job(spec: specs.Spec, source: Source, device: str, model: Model | None = None) -> Job:
    """Make the job of a spec without its run; raises UsageError or DataError where it cannot be trained."""
    where = pick_device(device)
    model = model or specs.build_model(spec, source.shape, source.unit)
    suits(model, source)
    single(model)
    return assemble(spec, source, model, where)


def assemble(spec: specs.Spec, source: Source, model: Model, device: torch.device) -> Job:
    """Make the job of a spec and a model; raises UsageError where they cannot be trained on these data."""
    plan: Plan = specs.construct("train", spec["train"], {})
    enough(plan, source)
    fit = specs.build_fit(spec, source.shape, source.unit)
    if fit is not None:
        after.with_prior(model, fit.prior)  # what cannot be done after the training is refused before it
    objective = specs.build_objective(spec, plan.steps(len(source.train)), len(source.train)).to(device)
    patient(plan, objective)
    x, _ = source.batch(0, min(plan.batch, REHEARSED), seed=spec["seed"])
    rehearse(model.to(device), objective, x.to(device))
    state = start(model, objective, plan, len(source.train))
    return Job(Run(Path(), spec), source.to(device), state, plan)


def pick_device(name: str) -> torch.device:
    """Find the device of a name, "auto" being CUDA, MPS or the processor; raises UsageError where it is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, ok in there.items() if ok)
    if not there.get(name.split(":")[0], False):
        found = ", ".join(kind for kind, ok in there.items() if ok)
        raise UsageError(f"The device {name!r} is not there; there is: {found}.")
    return torch.device(name)
