"""A training that goes on, from a checkpoint of its run."""

from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from lowerbound import checkpoint, recipes
from lowerbound import spec as specs
from lowerbound.begin.anew import assemble, pick_device
from lowerbound.data import Source
from lowerbound.errors import StorageError, UsageError
from lowerbound.job import Job
from lowerbound.run import Run
from lowerbound.vae import Model


def reopen(
    path: str | Path,
    *,
    device: str | None = None,
    at: int | None = None,
    own: Model | None = None,
    given: Source | None = None,
    fit: Any = None,
) -> Job:
    """Open a run to go on with it, from its newest checkpoint or from that of step ``at``.

    ``fit`` is another node of that name for its spec: a trained run is then evaluated anew under another prior.

    Raises UsageError where there is none of that step; StorageError where it is damaged, and offers another, or where
    a finished run has none.
    """
    run = Run.open(path, own, given)
    saved = checkpoint.listed(run.checkpoints)
    wanted = _wanted(run, saved, at)
    source = run.source
    if fit is not None:
        run.spec = _with_fit(run.spec, fit, source)
    model = own or specs.build_model(run.spec, source.shape, source.unit)
    job = assemble(run.spec, source, model, pick_device(device or run.env["device"]))
    job.run = run
    if wanted:
        job.restore(wanted)
    if fit is not None:  # last, so that what is refused has changed nothing
        with run.lock():
            run.unfinish()
            run.write_json("spec.json", run.spec)
    if at is not None:
        with run.lock():
            for later in checkpoint.listed(run.checkpoints):
                if int(later.name) > at:
                    checkpoint.set_aside(later)
    return job


def _with_fit(spec: specs.Spec, fit: Any, source: Source) -> specs.Spec:
    """Give a spec another fit: a kind, a node, or "none"."""
    node = {"kind": fit} if isinstance(fit, str) else dict(fit)
    changed = {**spec, "fit": None if fit == "none" else node}
    return specs.check(recipes.with_networks(changed, source.shape))


def _wanted(run: Run, saved: list[Path], at: int | None) -> Path | None:
    """Choose the checkpoint to go on from, which is whole; None where the run was stopped before its first one."""
    if run.finished and not saved:
        raise StorageError(
            f"{run.path} is finished, but its checkpoints are gone, and to train it further needs one. "
            f"What it holds stays as it is: lowerbound evaluate {run.path} measures it, lowerbound report {run.path} "
            "makes its report anew. To train again, begin another run: lowerbound train"
        )
    some = saved if at is None else [p for p in saved if int(p.name) == at]
    if at is not None and not some:
        steps = ", ".join(str(int(p.name)) for p in reversed(saved))
        there = f"Those that it has are of the steps {steps}: give one of them." if saved else "It has none yet."
        raise UsageError(f"{run.path} has no checkpoint of step {at}. {there}")
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


def differences(run: Run) -> list[str]:
    """Say what keeps a resumed run from being bit for bit the one that was never stopped."""
    lines, env = [], run.env
    threads, there = env.get("threads"), torch.get_num_threads()
    if isinstance(threads, int) and threads != there:
        lines.append(
            f"{run.path} was trained with {threads} threads and goes on with {there}, so not bit for bit: "
            f"torch.set_num_threads({threads}) first would make it so."
        )
    version = env.get("versions", {}).get("torch")
    if version != metadata.version("torch"):
        lines.append(
            f"{run.path} was trained with torch {version} and goes on with {metadata.version('torch')}: "
            "the figures agree, but not bit for bit."
        )
    return lines
