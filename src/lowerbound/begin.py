"""How a job begins: from what a user asks for, or from a run's checkpoint. Here are the verbs of Python too."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lowerbound import checkpoint, explore, metrics, process, recipes
from lowerbound import data as sources
from lowerbound import spec as specs
from lowerbound.data import Source
from lowerbound.errors import DataError, StorageError, UsageError
from lowerbound.job import Job
from lowerbound.run import Run
from lowerbound.train import Plan, start
from lowerbound.vae import VAE, Model


def pick_device(name: str) -> torch.device:
    """Find the device of a name, "auto" being CUDA, MPS or the processor; raises UsageError where it is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, ok in there.items() if ok)
    if not there.get(name.split(":")[0], False):
        found = ", ".join(kind for kind, ok in there.items() if ok)
        raise UsageError(f"The device {name!r} is not there; there is: {found}.")
    return torch.device(name)


def plan_spec(
    data: Mapping[str, Any],
    source: Source,
    *,
    recipe: str | None = None,
    beta: float | None = None,
    latents: int | None = None,
    epochs: float | None = None,
    seed: int | None = None,
    assignments: Sequence[str] = (),
    own: bool = False,
) -> tuple[specs.Spec, str]:
    """Lay recipe, arguments and assignments over the default spec, check it, and name the recipe that it is."""
    name = recipe or ("vae" if beta is None else "beta-vae")
    spec = recipes.base(data, source.shape)
    spec = recipes.with_networks(specs.merge(spec, recipes.recipe(name).sets), source.shape)
    if beta is not None:
        spec = recipes.with_beta(spec, beta)
    if latents is not None:
        spec["latents"] = latents
    if seed is not None:
        spec["seed"] = seed
    if epochs is not None:
        spec["train"]["epochs"] = epochs
    for assignment in assignments:
        spec = recipes.with_networks(specs.assign(specs.check(spec), assignment), source.shape)
    if own:
        spec["model"] = {"kind": "own"}
    return specs.check(spec), name


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
    return _assemble(spec, source, model, where)


def _assemble(spec: specs.Spec, source: Source, model: Model, device: torch.device) -> Job:
    plan: Plan = specs.construct("train", spec["train"], {})
    if plan.patience and not len(source.validation):
        raise UsageError("train.patience needs a validation split: set data.validation above 0, or patience to null.")
    if len(source.train) < plan.batch:
        raise UsageError(
            f"train.batch is {plan.batch}, but there are only {len(source.train)} training images: "
            f"set it lower, --set train.batch={max(1, len(source.train) // 4)}."
        )
    objective = specs.build_objective(spec, plan.steps(len(source.train))).to(device)
    state = start(model.to(device), objective, plan, len(source.train))
    return Job(Run(Path(), spec), source.to(device), state, plan)


def suits(model: Model, source: Source) -> None:
    """Raise DataError where the likelihood cannot take the data's values."""
    if isinstance(model, VAE) and not source.unit and not model.likelihood.real:
        low, high = float(source.train.x.min()), float(source.train.x.max())
        scale = "--set data.scale=255" if low >= 0 and 1 < high <= 255 else "scale them"
        raise DataError(
            f"The values of {source.name} lie in [{low:g}, {high:g}], and the likelihood "
            f"{type(model.likelihood).__name__} takes [0, 1] only. Bring them there ({scale}), "
            "or take a likelihood of the real line: --set model.likelihood.kind=gaussian"
        )


def reopen(path: str | Path, *, device: str | None = None, at: int | None = None, own: Model | None = None) -> Job:
    """Open a run to go on with it, from its newest checkpoint or from that of step ``at``.

    Raises StorageError where that checkpoint is damaged, and offers another, or where a finished run has none.
    """
    run = Run.open(path, own)
    saved = checkpoint.listed(run.checkpoints)
    wanted = _wanted(run, saved, at)
    source = run.source
    model = own or specs.build_model(run.spec, source.shape, source.unit)
    job = _assemble(run.spec, source, model, pick_device(device or run.env["device"]))
    job.run = run
    if wanted:
        job.restore(wanted)
    if at is not None:  # last, so that what is refused has changed nothing
        with run.lock():
            for later in checkpoint.listed(run.checkpoints):
                if int(later.name) > at:
                    checkpoint.set_aside(later)
    return job


def _wanted(run: Run, saved: list[Path], at: int | None) -> Path | None:
    """Choose the checkpoint to go on from, which is whole; None where the run was stopped before its first one."""
    if run.finished and not saved:
        raise StorageError(
            f"{run.path} is finished, but its checkpoints are gone, and to train it further needs one. "
            f"What it holds stays as it is: lowerbound evaluate {run.path} measures it, lowerbound report {run.path} "
            "makes its report anew. To train again, begin another run: lowerbound train"
        )
    some = saved if at is None else [p for p in saved if int(p.name) <= at]
    if at is not None and not some:
        raise StorageError(f"{run.path} has no checkpoint at or before step {at}: give a later one.")
    wrong = checkpoint.problem(some[0]) if some else None
    if wrong:
        raise StorageError(f"The checkpoint {some[0]} is damaged: {wrong}. {_another(run, saved, some[0])}")
    return some[0] if some else None


def _another(run: Run, saved: list[Path], damaged: Path) -> str:
    """Offer a checkpoint that is whole: the one before, or else the newest of all."""
    before = [p for p in saved if int(p.name) < int(damaged.name)]
    later = [p for p in saved if int(p.name) > int(damaged.name)]
    for which, some in (("The one before it", before), ("None before it is whole, but a later one", later)):
        whole = next((p for p in some if not checkpoint.problem(p)), None)
        if whole:
            return f"{which} is whole: lowerbound resume {run.path} --at {int(whole.name)}"
    kept = " Its weights and figures stay as they are." if run.finished else ""
    return f"None before it is whole: train it anew.{kept}"


def fit(
    data: Any = "mnist",
    recipe: str | None = None,
    *,
    beta: float | None = None,
    latents: int | None = None,
    epochs: float | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    set: Sequence[str] = (),
    model: Model | None = None,
    device: str = "auto",
) -> Run:
    """Train a model and give its run: what ``lowerbound train`` does.

    Arguments:
        data: a name, a folder, an .npy or .npz file, a tensor of images (N, C, H, W) or vectors (N, D), or a `Source`.
        recipe: a name of ``lowerbound list recipes``.
        beta, latents, epochs, seed: over the recipe's.
        out: the run's directory; by default a new one under ``runs``.
        set: assignments such as ``"train.lr=0.001"``.
        model: an own model, instead of the recipe's.
        device: "auto", "cpu", "cuda" or "mps".
    """
    node, source = open_data(data, [a for a in set if a.startswith("data.")])
    spec, name = plan_spec(
        node,
        source,
        recipe=recipe,
        beta=beta,
        latents=latents,
        epochs=epochs,
        seed=seed,
        assignments=[a for a in set if not a.startswith("data.")],
        own=model is not None,
    )
    job = prepare(spec, source, name=name, out=None if out is None else Path(out), device=device, model=model)
    with job.run.lock():
        for _ in job.steps():
            pass
        return job.finish()


def open_data(data: Any, assignments: Sequence[str] = (), **arguments: Any) -> tuple[dict[str, Any], Source]:
    """Find what the user named, and load it: the data node of the spec, and the source.

    ``assignments`` are those of ``--set`` that begin with ``data.``; ``arguments`` are the loader's.
    """
    if isinstance(data, Source):
        return {"kind": "own"}, data
    if not isinstance(data, str | Path):
        return {"kind": "own"}, sources.tensor(data)
    node: dict[str, Any] = {**sources.locate(str(data)), **arguments}
    if "path" in node:
        node["path"] = str(Path(node["path"]).resolve())
    node = specs.complete("data", node, "data")
    for assignment in assignments:
        node = specs.complete("data", specs.assign({"data": node}, assignment)["data"], "data")
    return node, specs.build_source({"data": node})


def resume(path: str | Path, *, at: int | None = None, device: str | None = None, model: Model | None = None) -> Run:
    """Go on with a run that was stopped, and give it finished: what ``lowerbound resume`` does.

    Raises StorageError where its newest checkpoint is damaged; ``at`` goes back to that of another step.
    """
    job = reopen(path, device=device, at=at, own=model)
    with job.run.lock():
        for _ in job.steps():
            pass
        return job.finish()


def evaluate(run: Run, split: str = "test", *, samples: int = 1) -> dict[str, Any]:
    """Measure a run's model on a split, see `lowerbound.metrics.evaluate`; raises UsageError where it has no images."""
    blocks = _blocks(run, split)
    total = specs.construct("train", run.spec["train"], {}).steps(run.data["images"]["train"])
    objective = specs.build_objective(run.spec, total)
    return metrics.evaluate(run.model, objective, blocks, step=total, samples=samples)


def embed(run: Run, split: str = "test") -> tuple[torch.Tensor, torch.Tensor | None]:
    """Give the codes of a split, (N, D), and its labels; raises UsageError where it has no images."""
    return explore.embed(run.model, _blocks(run, split))


def _blocks(run: Run, split: str) -> Any:
    if not run.data["images"].get(split):
        raise UsageError(f"{run.path} has no {split} images.")
    return run.source.blocks(split)
