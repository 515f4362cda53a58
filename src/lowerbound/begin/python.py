"""The verbs of Python: fit, resume and embed do what the command line does, and set nothing process-wide."""

import contextlib
import shlex
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from lowerbound import data as sources
from lowerbound import explore, files
from lowerbound.begin.again import differences, reopen
from lowerbound.begin.anew import prepare
from lowerbound.begin.asked import open_data, plan_spec, split
from lowerbound.begin.known import blocks
from lowerbound.errors import StorageError, UsageError
from lowerbound.job import Job
from lowerbound.process import program
from lowerbound.progress import finish, shown
from lowerbound.run import Run
from lowerbound.vae import Model


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
    progress: bool = True,
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
        progress: whether it is printed how far the training is.
    """
    of_data, others = split(set)
    node, source = open_data(data, of_data)
    spec, name = plan_spec(
        node,
        source,
        recipe=recipe,
        beta=beta,
        latents=latents if model is None else _own_latents(model, latents),
        epochs=epochs,
        seed=seed,
        assignments=others,
        own=model is not None,
    )
    job = prepare(spec, source, name=name, out=None if out is None else Path(out), device=device, model=model)
    return carry_out(job, progress)


def _own_latents(model: Model, asked: int | None) -> int:
    """Count the latents of an own model; raises UsageError where others were asked for."""
    found = int(model.draw_latents(1, seed=0).shape[-1])
    if asked not in (None, found):
        raise UsageError(f"latents is {asked}, but the model has {found}: leave latents out, or build it with {asked}.")
    return found


def resume(
    path: str | Path,
    *,
    at: int | None = None,
    device: str | None = None,
    model: Model | None = None,
    source: Any = None,
    fit: Any = None,
    progress: bool = True,
) -> Run:
    """Go on with a run that was stopped, and give it finished: what ``lowerbound resume`` does.

    Raises StorageError where its newest checkpoint is damaged; ``at`` goes back to that of another step. Warns where
    the threads or torch are not those that it was trained with: nothing process-wide is set here.

    Arguments:
        path: the run's directory.
        at: the step of an earlier checkpoint.
        device: "auto", "cpu", "cuda" or "mps"; by default the run's own.
        model: the model, built as it was, where the run was trained with one built in Python.
        source: the data, a `Source` or the tensor, where the run was trained on data given in Python.
        fit: another prior to fit to the codes, such as "mixture" or {"kind": "mixture", "components": 5}; "none" is the
            prior of the training.
        progress: whether it is printed how far the training is.
    """
    given = None if source is None else sources.given(source)
    job = reopen(path, device=device, at=at, own=model, given=given, fit=fit)
    for line in differences(job.run):
        warnings.warn(line, stacklevel=2)
    return carry_out(job, progress)


def embed(run: Run, split: str = "test") -> tuple[torch.Tensor, torch.Tensor | None]:
    """Give the codes of a split, (N, D), and its labels; raises UsageError where it has no images."""
    return explore.embed(run.model, blocks(run, split))


def carry_out(job: Job, progress: bool = True, after: int = 0) -> Run:
    """Train a job to its end and give its run; ``after`` steps of other runs come then."""
    with job.run.lock(), advising(job.run.path):
        for _ in shown(job.steps(), job, after) if progress else job.steps():
            pass
        return finish(job) if progress else job.finish()


@contextlib.contextmanager
def advising(path: Path) -> Iterator[None]:
    """Where what a training saves cannot be written, advise to go on with the run, not to do it all again."""
    try:
        yield
    except StorageError as error:
        again = f"then go on with: {program()} resume {shlex.quote(str(path))}"
        raise StorageError(str(error).replace(files.AGAIN, again)) from error
