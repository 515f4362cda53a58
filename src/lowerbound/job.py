"""A training from its first step to its report: it consumes the records of `train`, and writes the run."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lowerbound import checkpoint, explore, gallery, metrics, recipes
from lowerbound import data as sources
from lowerbound import spec as specs
from lowerbound.data import Source
from lowerbound.errors import DataError, StorageError, UsageError
from lowerbound.objective import KL, Elbo, FreeBits
from lowerbound.run import WEIGHTS, Run
from lowerbound.train import Plan, Record, State, start, train
from lowerbound.vae import VAE, Model

SCHEDULED = ("beta", "capacity", "gamma")  # values of a step, where the other terms are means since the last row


@dataclass
class Tally:
    """What a checkpoint carries beside the tensors: sums since the last row, and the best validation so far."""

    count: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    best: float | None = None
    best_step: int | None = None
    worse: int = 0

    def add(self, record: Record) -> None:
        """Count one record."""
        self.count += 1
        for name, value in record.loss.terms.items():
            v = float(value)
            self.sums[name] = v * self.count if name in SCHEDULED else self.sums.get(name, 0.0) + v

    def take(self) -> dict[str, float]:
        """Give the means since the last row, and start anew."""
        means = {name: value / self.count for name, value in self.sums.items()}
        self.count, self.sums = 0, {}
        return means

    def judge(self, loss: float, step: int) -> None:
        """Remember the best validation, and how many were worse since."""
        if self.best is None or loss < self.best:
            self.best, self.best_step, self.worse = loss, step, 0
        else:
            self.worse += 1


@dataclass
class Job:
    """A run at work. ``steps()`` trains it, giving each record; ``finish()`` evaluates it and writes its report."""

    run: Run
    source: Source
    state: State
    plan: Plan
    tally: Tally = field(default_factory=Tally)
    clock: float = 0.0  # when the last row was logged

    @property
    def total(self) -> int:
        """The number of steps of the whole training."""
        return self.plan.steps(len(self.source.train))

    def steps(self) -> Iterator[Record]:
        """Train to the end, giving each record after it was logged.

        Closing the iterator saves a checkpoint at that step; a training that diverges leaves the last one.
        """
        every = self.plan.validate or max(1, len(self.source.train) // self.plan.batch)
        records = train(
            self.state, self.source, steps=self.total, batch=self.plan.batch, seed=self.run.spec["seed"]
        )
        self.clock = time.monotonic()
        if self.state.step == 0:
            self.save()  # a disk that cannot take a checkpoint says so now
        try:
            for record in () if self.stopped_early() else records:
                last = record.step == self.total
                self.tally.add(record)
                if record.step % self.plan.log == 0 or last:
                    self._log(record)
                if record.step % every == 0 or last:
                    self._validate()
                    self.save()
                elif self.plan.save and record.step % self.plan.save == 0:
                    self.save()
                yield record
                if self.stopped_early():
                    break
        except GeneratorExit:
            self.save()
            raise

    def stopped_early(self) -> bool:
        """Whether the validation has not become better for as long as the plan's patience."""
        return self.plan.patience is not None and self.tally.worse >= self.plan.patience

    def _where(self) -> dict[str, Any]:
        images = self.state.step * self.plan.batch
        return {"step": self.state.step, "epoch": round(images / len(self.source.train), 4)}

    def _log(self, record: Record) -> None:
        self.run.log({"split": "train", **self._where(), **self.tally.take(), "lr": record.lr})
        now = time.monotonic()
        self.run.log({"step": record.step, "seconds": round(now - self.clock, 4)}, "timing.jsonl")
        self.clock = now

    @property
    def judged(self) -> Model:
        """The model that is validated: the moving average of the weights where there is one."""
        return self.state.model if self.state.ema is None else self.state.ema.module

    def _validate(self) -> None:
        if not len(self.source.validation):
            return
        # the loss is taken with the weights at the end of the schedules, so that a warm-up's cheap start is not "best"
        row = metrics.evaluate(self.judged, self.state.objective, self.source.blocks("validation"), step=self.total)
        self.run.log({"split": "validation", **self._where(), **row})
        self.tally.judge(row["loss"], self.state.step)

    def save(self) -> None:
        """Save a checkpoint of this step, unless it is there."""
        tensors: dict[str, Mapping[str, torch.Tensor]] = {
            "weights": self.state.model.state_dict(),
            "objective": self.state.objective.state_dict(),
            "optimizer": checkpoint.optimizer_tensors(self.state.optimizer),
        }
        if self.state.ema is not None:
            tensors["ema"] = self.state.ema.state_dict()
        keep = set() if self.tally.best_step is None else {self.tally.best_step}
        checkpoint.save(self.run.checkpoints, self.state.step, tensors, {"step": self.state.step, **vars(self.tally)}, keep)

    def restore(self, path: Path) -> None:
        """Go back to a checkpoint, and cut the history to it."""
        tensors, state = checkpoint.load(path)
        self.state.model.load_state_dict(tensors["weights"])
        self.state.objective.load_state_dict(tensors["objective"])
        checkpoint.restore_optimizer(self.state.optimizer, tensors["optimizer"])
        if self.state.ema is not None:
            self.state.ema.load_state_dict(tensors["ema"])
        self.state.step = state.pop("step")
        self.tally = Tally(**state)
        self.run.cut(self.state.step)

    def finish(self) -> Run:
        """Choose the weights, evaluate them on the test split, and write figures, report and model card."""
        begun = time.monotonic()
        weights = self._choose()
        model, source = self.judged.eval(), self.source
        objective, blocks = self.state.objective, source.blocks
        found: dict[str, Any] = {"weights": weights, "likelihood": likelihood_note(model, source)}
        for split in ("validation", "test"):
            if len(getattr(source, split)):
                found[split] = metrics.evaluate(model, objective, blocks(split), step=self.total)
                codes, _ = explore.embed(model, blocks(split))
                found[split] |= _units(codes)
        found["beta"] = self._beta()
        found["parameters"] = sum(p.numel() for p in model.parameters())
        found["seconds"] = {"training": round(sum(row["seconds"] for row in self.run.timing), 1)}
        checkpoint.write(self.run.path / WEIGHTS, checkpoint.pack(model.state_dict()))
        self.run.write_json("metrics.json", found)
        self.run.__dict__.update(model=model, source=source)
        gallery.write(self.run)
        found["seconds"]["evaluation and report"] = round(time.monotonic() - begun, 1)
        self.run.write_json("metrics.json", found)
        return self.run

    def _choose(self) -> dict[str, Any]:
        """Take the best weights by validation, or the last where there was none, into the model."""
        at = self.tally.best_step or self.state.step
        if at != self.state.step:
            tensors, _ = checkpoint.load(self.run.checkpoints / f"{at:09d}")
            self.state.model.load_state_dict(tensors["weights"])
            if self.state.ema is not None:
                self.state.ema.load_state_dict(tensors["ema"])
        digest = checkpoint.digest(checkpoint.pack(self.judged.state_dict()))
        which = "last" if self.tally.best_step is None else "best"
        return {"which": which, "ema": self.state.ema is not None, "step": at, "sha256": digest}

    def _beta(self) -> dict[str, float] | None:
        """Say which β was asked for and which the schedule reached at the last step."""
        terms = self.state.objective.terms.values() if isinstance(self.state.objective, Elbo) else ()
        weights = [term.weight for term in terms if isinstance(term, KL | FreeBits)]
        return {"asked": weights[0].end, "reached": weights[0](self.total - 1)} if weights else None


def _units(codes: torch.Tensor) -> dict[str, Any]:
    active = metrics.active_units(codes)
    collapsed = (~active).nonzero().flatten().tolist()
    return {"latents": codes.shape[1], "active": int(active.sum()), "collapsed": collapsed}


def likelihood_note(model: Model, source: Source) -> dict[str, Any]:
    """Ask the data, once, whether what is scored is a likelihood: whether every value lies in the support of p(x|z)."""
    if not isinstance(model, VAE):
        return {"name": type(model).__name__, "density": None, "note": ""}
    x, _ = next(iter(source.blocks("test" if len(source.test) else "train")))
    with torch.inference_mode():
        px = model.likelihood(model.encode(x))
        density = bool(px.support.check(x).all())
    note = "" if density else "a cross-entropy on grey pixels, which is not a likelihood"
    return {"name": type(model.likelihood).__name__, "density": density, "note": note}


def pick_device(name: str) -> torch.device:
    """Find the device of a name, "auto" being CUDA, MPS or the processor; raises UsageError where it is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(kind for kind, ok in there.items() if ok)
    if not there.get(name.split(":")[0], False):
        raise UsageError(f"The device {name!r} is not there; there is: {', '.join(k for k, ok in there.items() if ok)}.")
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
    own = model
    model = own or specs.build_model(spec, source.shape, source.unit)
    suits(model, source)
    job = _assemble(spec, source, model, where)
    recorded = {"device": str(where), "recipe": name, **(env or {})}
    job.run = Run.create(spec, source, out=out, name=f"{source.name}-{name}", env=recorded, own=own)
    return job


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
        raise DataError(
            f"The values of {source.name} lie in [{low:g}, {high:g}], and the likelihood "
            f"{type(model.likelihood).__name__} takes [0, 1] only. Scale them, or take a likelihood of the real line: "
            "--set model.likelihood.kind=gaussian"
        )


def reopen(path: str | Path, *, device: str | None = None, at: int | None = None, own: Model | None = None) -> Job:
    """Open a run to go on with it, from its newest checkpoint or from that of step ``at``.

    Raises StorageError where that checkpoint is damaged, and offers the one before it.
    """
    run = Run.open(path, own)
    saved = checkpoint.listed(run.checkpoints)
    if at is not None:
        for newer in [p for p in saved if int(p.name) > at]:
            checkpoint.set_aside(newer)
        saved = [p for p in saved if int(p.name) <= at]
    if not saved:
        raise StorageError(f"{run.path} has no checkpoint{'' if at is None else f' at or before step {at}'}: train it anew.")
    wrong = checkpoint.problem(saved[0])
    if wrong:
        whole = next((p for p in saved[1:] if not checkpoint.problem(p)), None)
        offer = f"The one before it is whole: lowerbound resume {run.path} --at {int(whole.name)}" if whole else "None before it is whole: train it anew."
        raise StorageError(f"The checkpoint {saved[0]} is damaged: {wrong}. {offer}")
    source = run.source
    model = own or specs.build_model(run.spec, source.shape, source.unit)
    job = _assemble(run.spec, source, model, pick_device(device or run.env["device"]))
    job.run = run
    job.restore(saved[0])
    return job


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
