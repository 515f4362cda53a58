"""How a job begins: from what a user asks for, or from a run's checkpoint. Here are the verbs of Python too."""

import contextlib
import shlex
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int

from lowerbound import after, checkpoint, explore, files, process, recipes
from lowerbound import data as sources
from lowerbound import spec as specs
from lowerbound.data import Source
from lowerbound.data.npy import stored_arrays
from lowerbound.dist import on_levels
from lowerbound.errors import DataError, StorageError, UsageError
from lowerbound.job import Job, likelihood_note, reached, sigma
from lowerbound.objective import Objective
from lowerbound.process import program
from lowerbound.run import Run
from lowerbound.train import Plan, rehearse, start
from lowerbound.vae import VAE, Model

REHEARSED = 8  # images, or fewer where a batch has fewer


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
    spec = recipes.base(data, source.shape, len(source.train))
    spec = recipes.with_networks(specs.merge(spec, recipes.recipe(name).sets), source.shape)
    if beta is not None:
        spec = _with_beta(spec, beta)
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
        name = "own"  # whatever it is, it is not the published model that the recipe cites
    return specs.check(spec), name


def _with_beta(spec: specs.Spec, beta: float) -> specs.Spec:
    spec = recipes.with_beta(spec, beta)
    try:
        specs.check(spec)
    except UsageError as error:
        raise UsageError(f"β (--beta) is {beta:g}: {error}") from None
    return spec


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
    other = {p.dtype for p in model.parameters()} - {torch.float32}
    if other:
        names = ", ".join(sorted(str(dtype) for dtype in other))
        raise UsageError(f"The model's weights are {names}, and training takes float32 ones: pass model.float().")
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
    fit = specs.build_fit(spec, source.shape, source.unit)
    if fit is not None:
        after.with_prior(model, fit.prior)  # what cannot be done after the training is refused before it
    objective = specs.build_objective(spec, plan.steps(len(source.train)), len(source.train)).to(device)
    if plan.patience and not objective.comparable:
        raise UsageError(
            "train.patience waits for a lower loss, and where a weight adapts (λ or β) or a critic learns no loss "
            "says which weights are better: set patience to null."
        )
    x, _ = source.batch(0, min(plan.batch, REHEARSED), seed=spec["seed"])
    rehearse(model.to(device), objective, x.to(device))
    state = start(model, objective, plan, len(source.train))
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
    if isinstance(model, VAE) and model.likelihood.levels and not _has_levels(source):
        raise DataError(
            f"{type(model.likelihood).__name__} is a likelihood of 8-bit images, and those of {source.name} are not "
            "all multiples of 1/255 from 0 to 1. Take a likelihood of the whole interval: "
            "--set model.likelihood.kind=continuous-bernoulli"
        )


def _has_levels(source: Source) -> bool:
    x = source.train.x
    return x.dtype == torch.uint8 or all(bool(on_levels.check(rows).all()) for rows in x.split(500))


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
    job = _assemble(run.spec, source, model, pick_device(device or run.env["device"]))
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


def carry_out(job: Job, progress: bool = True, after: int = 0) -> Run:
    """Train a job to its end and give its run; ``after`` steps of other runs come then."""
    from lowerbound import progress as line  # it stands above, and is only asked how a job is shown

    with job.run.lock(), advising(job.run.path):
        for _ in line.shown(job.steps(), job, after) if progress else job.steps():
            pass
        return line.finish(job) if progress else job.finish()


@contextlib.contextmanager
def advising(path: Path) -> Iterator[None]:
    """Where what a training saves cannot be written, advise to go on with the run, not to do it all again."""
    try:
        yield
    except StorageError as error:
        again = f"then go on with: {program()} resume {shlex.quote(str(path))}"
        raise StorageError(str(error).replace(files.AGAIN, again)) from error


def split(assignments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part the assignments that are the data's from the others; raises UsageError where one replaces the data."""
    of_data: list[str] = []
    others: list[str] = []
    for assignment in assignments:
        key = assignment.partition("=")[0].strip()
        if key == "data":
            raise UsageError(
                f"--set {assignment!r}: the data are given as the argument DATA, lowerbound train DATA, or "
                "lowerbound.fit(data) in Python; --set takes their arguments, such as data.validation=500."
            )
        (of_data if key.startswith("data.") else others).append(assignment)
    return of_data, others


def open_data(data: Any, assignments: Sequence[str] = (), **arguments: Any) -> tuple[dict[str, Any], Source]:
    """Find what the user named, and load it: the data node of the spec, and the source.

    ``assignments`` are those of ``--set`` that begin with ``data.``; ``arguments`` are the loader's.
    """
    if not isinstance(data, str | Path):
        if assignments:
            raise UsageError(
                f"--set {assignments[0]!r}: data given in Python have their arguments already; "
                "give them there, such as lowerbound.data.tensor(x, validation=500)."
            )
        return {"kind": "own"}, sources.given(data)
    node: dict[str, Any] = {**sources.locate(str(data)), **arguments}
    node = specs.complete("data", node, "data")
    for assignment in assignments:
        node = specs.complete("data", specs.assign({"data": node}, assignment)["data"], "data")
    _make_absolute(node)
    return node, specs.build_source({"data": node})


def _make_absolute(node: dict[str, Any]) -> None:
    """Write out where the files are, so that the run finds them from any folder."""
    if "path" in node:
        node["path"] = str(Path(node["path"]).resolve())
    labels = node.get("labels")
    if isinstance(labels, str) and Path(labels).is_file() and labels not in stored_arrays(Path(node["path"])):
        node["labels"] = str(Path(labels).resolve())


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


def objective(run: Run) -> Objective:
    """Make the objective that a run was trained with."""
    return specs.build_objective(run.spec, total(run), run.data["images"]["train"])


def facts(run: Run) -> dict[str, Any]:
    """Give the figures of a finished run; of another what its newest checkpoint is: weights, likelihood, σ, schedules.

    Raises StorageError where there is no checkpoint yet.
    """
    if run.finished:
        return run.metrics
    weights, trained = run.weights, objective(run)
    tensors, _ = checkpoint.load(checkpoint.listed(run.checkpoints)[0])
    trained.load_state_dict(tensors.get("objective", {}))  # a weight that adapts is where it was moved to
    return {
        "weights": weights,
        "likelihood": likelihood_note(run.model, run.source),
        "sigma": sigma(run.model),
        **reached(trained, weights["step"], weights["step"]),
    }


def total(run: Run) -> int:
    """Give the number of steps of a run's whole training."""
    plan: Plan = specs.construct("train", run.spec["train"], {})
    return plan.steps(run.data["images"]["train"])


def embed(run: Run, split: str = "test") -> tuple[torch.Tensor, torch.Tensor | None]:
    """Give the codes of a split, (N, D), and its labels; raises UsageError where it has no images."""
    return explore.embed(run.model, blocks(run, split))


def blocks(run: Run, split: str) -> Iterator[tuple[Float[torch.Tensor, "..."], Int[torch.Tensor, "..."] | None]]:
    """Go through a split of a run's data; raises UsageError where it has no images."""
    if not run.data["images"].get(split):
        raise UsageError(f"{run.path} has no {split} images.")
    return run.source.blocks(split)
