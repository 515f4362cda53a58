"""A training from its first step to its report: it consumes the records of `train`, and writes the run."""

import itertools
import math
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch

from lowerbound import after, checkpoint, explore, files, gallery, metrics
from lowerbound import spec as specs
from lowerbound.data import Source
from lowerbound.errors import DivergedError
from lowerbound.frames import Frames
from lowerbound.likelihood import Gaussian
from lowerbound.metrics.bounds import SEED
from lowerbound.metrics.support import inside
from lowerbound.objective import KL, Capacity, Distortion, Elbo, FreeBits, Lagging, Objective
from lowerbound.objective.weight import Constant, Weight
from lowerbound.run import DIVERGED, WEIGHTS, Run
from lowerbound.train import Plan, Record, State, train
from lowerbound.vae import VAE, Model, evaluating
from lowerbound.words import noun

SCHEDULED = ("beta", "capacity", "gamma", "lambda")  # values of a step; other terms are means since the last row


@final
@dataclass
class Tally:
    """What a checkpoint carries beside the tensors: what was logged since the last row, and the best validation so far.

    ``gradient`` is the largest norm of a step's gradient since the last row.
    """

    count: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    best: float | None = None
    best_step: int | None = None
    worse: int = 0
    gradient: float = 0.0

    def add(self, record: Record) -> None:
        """Count one record."""
        self.count += 1
        self.gradient = max(self.gradient, float(record.gradient))
        for name, value in {**record.loss.terms, "gradient": record.gradient}.items():
            v = float(value)
            of_the_step = name in SCHEDULED or name.endswith("_weight")  # as `terms.weighed` names a schedule's value
            self.sums[name] = v * self.count if of_the_step else self.sums.get(name, 0.0) + v

    def take(self) -> dict[str, float]:
        """Give the means since the last row and the largest gradient, and start anew."""
        means = {name: value / self.count for name, value in self.sums.items()}
        row = {**means, "gradient_max": self.gradient}
        self.count, self.sums, self.gradient = 0, {}, 0.0
        return row

    def judge(self, loss: float, step: int) -> None:
        """Remember the best validation, and how many were worse since."""
        if math.isfinite(loss) and (self.best is None or loss < self.best):
            self.best, self.best_step, self.worse = loss, step, 0
        else:
            self.worse += 1


@final
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

    def steps(self) -> Generator[Record]:
        """Train to the end, giving each record after it was logged.

        Closing the iterator saves a checkpoint at that step; a training that diverges leaves the last one, and why it
        ended in diverged.json.
        """
        every = self.plan.between(len(self.source.train))
        records = train(self.state, self.source, steps=self.total, batch=self.plan.batch, seed=self.run.spec["seed"])
        frames = Frames(self.run, self.source, self.total, self.plan.frames)
        self.clock = time.monotonic()
        self.run.cut(self.state.step)  # what came after the checkpoint is done again
        if self.state.step < self.total and not self.stopped_early():
            self.run.unfinish()
        if self.state.step == 0:
            self.run.cut(-1)  # the frame of no step is taken again
            frames.take(self.judged, 0)
            self.save()  # a disk that cannot take a checkpoint says so now
        try:
            for record in () if self.stopped_early() else records:
                last = record.step == self.total
                self.tally.add(record)
                if record.step % self.plan.log == 0 or last:
                    self._log(record)
                frames.take(self.judged, record.step)
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
        except DivergedError as error:
            self.run.write_json(DIVERGED, {"step": self.state.step, "error": str(error)})
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
        if self.state.ema is None:
            return self.state.model
        average: Model = self.state.ema.module  # type: ignore[assignment]
        return average

    def _validate(self) -> None:
        if not len(self.source.validation):
            return
        # the loss is taken with the weights at the end of the schedules, so that a warm-up's cheap start is not "best"
        row = metrics.evaluate(
            self.judged,
            self.state.objective,
            self.source.blocks("validation"),
            step=self.total,
            width=self.source.width,
        )
        bad = [name for name in ("loss", "elbo", "distortion", "rate") if not math.isfinite(row.get(name, 0.0))]
        if bad:
            raise DivergedError(
                f"Step {self.state.step}: the {' and the '.join(bad)} of the validation {noun(self.source.shape)} is "
                "not finite. The last "
                "checkpoint, from before this step, stays. The likely cause is a learning rate that is too high: "
                "try a lower train.lr, or train.clip=1."
            )
        self.run.log({"split": "validation", **self._where(), **row})
        if self.state.objective.comparable:  # else the last weights are taken: no loss says which are the best
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
        state = {"step": self.state.step, **vars(self.tally)}
        checkpoint.save(self.run.checkpoints, self.state.step, tensors, state, keep)

    def restore(self, path: Path) -> None:
        """Go back to a checkpoint; ``steps()`` cuts the history to it."""
        tensors, state = checkpoint.load(path)
        self.state.model.load_state_dict(tensors["weights"])
        self.state.objective.load_state_dict(tensors["objective"])
        checkpoint.restore_optimizer(self.state.optimizer, tensors["optimizer"])
        if self.state.ema is not None:
            self.state.ema.load_state_dict(tensors["ema"])
        self.state.step = state.pop("step")
        self.tally = Tally(**state)

    def finish(self) -> Run:
        """Choose the weights, fit the prior that the spec asks for, evaluate, and write figures, report and card."""
        begun = time.monotonic()
        weights = self._choose()
        source, fit = self.source, specs.build_fit(self.run.spec, self.source.shape, self.source.unit)
        trained = model = self.judged.eval()
        if fit is not None:
            model = after.fit_prior(trained, source, fit, seed=self.run.spec["seed"])
        packed = checkpoint.pack(model.state_dict())
        weights["sha256"] = files.digest(packed)
        objective, blocks = self.state.objective, source.blocks
        found: dict[str, Any] = {"weights": weights, "likelihood": likelihood_note(model, source)}
        for split in ("validation", "test"):
            if len(getattr(source, split)):
                found[split] = metrics.evaluate(model, objective, blocks(split), step=self.total, width=source.width)
                codes, _ = explore.embed(model, blocks(split))
                unit = metrics.unit_variance(
                    codes,
                    model.prior() if isinstance(model, VAE) else None,
                    density=found[split].get("elbo") is not None,
                )
                found[split] |= metrics.usage(codes, found[split]["kl_by_dim"], unit)
        if fit is not None and isinstance(trained, VAE) and isinstance(model, VAE):
            both = {split: self._under_both(trained, model, split, found) for split in ("validation", "test")}
            known = {split: row for split, row in both.items() if row}
            found["fit"] = {"kind": self.run.spec["fit"]["kind"], "exact": fit.exact, **known}
        found["sigma"] = sigma(model)
        found |= reached(objective, self.state.step, weights["step"])
        found["parameters"] = sum(p.numel() for p in model.parameters())
        found["seconds"] = {"training": round(sum(row["seconds"] for row in self.run.timing), 1)}
        files.write(self.run.path / WEIGHTS, packed)
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
        which = "last" if self.tally.best_step is None else "best"
        return {"which": which, "ema": self.state.ema is not None, "step": at}

    def _under_both(self, trained: VAE, fitted: VAE, split: str, found: Mapping[str, Any]) -> dict[str, Any]:
        """Give E log p(z), rate and elbo under the prior of the training and under the fitted one, which is shown."""
        if split not in found:
            return {}
        z = after.codes_of(fitted, self.source.blocks(split)).draw(SEED)
        measured = metrics.evaluate(
            trained, self.state.objective, self.source.blocks(split), step=self.total, width=self.source.width
        )
        return {
            which: {
                "log_p": float(after.log_density(model.prior, z, seed=SEED).mean()),
                **{name: row[name] for name in ("elbo", "rate") if name in row},
            }
            for which, model, row in (("trained", trained, measured), ("fitted", fitted, found[split]))
        }


def reached(objective: Objective, last: int, chosen: int) -> dict[str, dict[str, float | bool] | None]:
    """Say which β, λ and C were asked for, which the last step taken had, and where that differs the weights' step."""
    schedules, steps = _schedules(objective), {"reached": last, "chosen": chosen}
    found: dict[str, dict[str, float | bool] | None] = dict.fromkeys(("beta", "lambda", "capacity"))
    for name, schedule in schedules.items():
        values = {which: float(schedule(max(0, step - 1))) for which, step in steps.items()}
        if values["chosen"] == values["reached"]:
            del values["chosen"]
        # one that adapts was asked for nothing: it moves until something else is what was asked for
        asked = {"asked": values["reached"], "adaptive": True} if schedule.adaptive else {"asked": schedule.end}
        found[name] = {**asked, **values}
    return found


def _schedules(objective: Objective) -> dict[str, Weight]:
    """Find the first β, the first capacity and a λ that is not 1 throughout among the terms of an elbo."""
    objective = objective.objective if isinstance(objective, Lagging) else objective
    terms = list(objective.terms.values()) if isinstance(objective, Elbo) else []
    found: dict[str, Weight] = {}
    for term in terms:
        if isinstance(term, KL | FreeBits):
            found.setdefault("beta", term.weight)
        elif isinstance(term, Capacity):
            found.setdefault("capacity", term.capacity)
        elif isinstance(term, Distortion) and not isinstance(term.weight, Constant):
            found.setdefault("lambda", term.weight)
    return found


def sigma(model: Model) -> dict[str, Any] | None:
    """Say which σ a Gaussian p(x|z) has, if all pixels share one: fixed, learned or the best one for the data."""
    px = getattr(model, "likelihood", None)
    if not isinstance(px, Gaussian) or px.sigma in ("pixel", "image", "each"):
        return None
    if px.sigma == "optimal":
        return {"value": float(px.variance.sqrt()), "kind": "optimal"}
    if px.sigma == "learned":
        return {"value": float(px.log_sigma.detach().exp()), "kind": "learned"}
    return {"value": float(px.sigma), "kind": "fixed"}


def likelihood_note(model: Model, source: Source) -> dict[str, Any]:
    """Ask all images that are evaluated whether what is scored is a likelihood: whether p(x|z)'s support has them."""
    if not isinstance(model, VAE):
        return {"name": type(model).__name__, "density": None, "note": ""}
    splits = [split for split in ("test", "validation") if len(getattr(source, split))] or ["train"]
    blocks = [source.blocks(split) for split in splits]
    with evaluating(model), torch.inference_mode():  # in training batch norm would take statistics of this one image
        first, _ = next(iter(source.blocks(splits[0], 1)))
        px = model.likelihood(model.encode(first))
        there = (inside(px, x) for x, _ in itertools.chain(*blocks))
        # stops at the first block that fails, or of which nothing is known
        density = next((None if each is None else False for each in there if each is None or not each.all()), True)
    pixels = "grey pixels" if source.shape[0] == 1 else "pixels between 0 and 1"
    note = "" if density is not False else f"a cross-entropy on {pixels}, which is not a likelihood"
    return {"name": type(model.likelihood).__name__, "density": density, "note": note}
