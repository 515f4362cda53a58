"""Checks of a user's own composition: its model, its objective and its data."""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound import begin
from lowerbound import spec as specs
from lowerbound.data import Source
from lowerbound.doctor.members import densities_of_pixels, derivative, mover
from lowerbound.doctor.table import Check, Row, Setting, drawn, mean_of
from lowerbound.errors import UsageError
from lowerbound.metrics.importance import log_mean_weights
from lowerbound.objective import Objective
from lowerbound.run import Run
from lowerbound.train import LATE, Plan, backward, start
from lowerbound.vae import Model

BATCH, BATCHES = 16, 8
IMAGES = 8  # whose log p(x) is estimated
EACH = 25  # draws at once: a prior that is a mixture of many flows takes much memory for each
SHARES = 5  # of the importance samples, whose spread is the error of their mean
WHILE, FEWEST = 8.0, 10  # seconds that a kind of draw may take, and how many times it is done at least


def opened(path: str | Path) -> tuple[Model, Objective, Source]:
    """Open what shall be examined: a run with its trained weights, or the file of a spec with new ones.

    Raises UsageError where it is neither, or names a model or data that were given in Python.
    """
    path = Path(path)
    if path.is_dir():
        run = Run.open(path)
        return run.model, begin.objective(run), run.source
    try:
        spec = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror}): give a run's directory, or a file like its spec.json."
        ) from None
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}. Give a run's directory, or a file like its spec.json.") from None
    if not isinstance(spec, dict):
        raise UsageError(f"{path} holds no spec, which is an object of JSON with data, model, objective and more.")
    for part in ("model", "data"):
        if spec.get(part) == specs.OWN:
            raise UsageError(
                f"The {part} of {path} was given in Python, and no spec describes it: examine it there, "
                "with lowerbound.doctor.examine(model, objective, source)."
            )
    return specs.build(spec)


def examine(model: Model, objective: Objective, source: Source) -> dict[str, Check]:
    """Give the checks of a composition, by name: shapes, gradients, likelihood, divergence and bounds.

    Each is to be run by `perform`, under a `Setting`; the model itself stays as it is.

    Example:
        >>> from lowerbound import data, likelihood, nets, objective, posterior, prior, vae
        >>> from lowerbound.doctor import Setting, Table, perform
        >>> model = vae.VAE(posterior.Gaussian(nets.MLP((3,)), 2), prior.Standard(2),
        ...                 likelihood.Gaussian(nets.MLP((2,), (3,)), sigma=1.0))
        >>> checks = examine(model, objective.Elbo(), data.tensor(torch.rand(50, 3)))
        >>> rows = perform("shapes", checks["shapes"], Setting(torch.device("cpu"), quick=True))
        >>> Table(rows).failed
        []
    """
    return {
        name: partial(_prepared, check, model, objective, source)
        for name, check in {
            "shapes": shapes,
            "gradients": gradients,
            "likelihood": likelihood,
            "bounds": bounds,
        }.items()
    }


Composed = Callable[[Model, Objective, Source, Setting], Iterator[Row]]


def _prepared(check: Composed, model: Model, objective: Objective, source: Source, setting: Setting) -> Iterator[Row]:
    """Run a check on copies, on the setting's device: some move buffers, or change the precision."""
    where = setting.device
    return check(
        copy.deepcopy(model).to(where).eval(), copy.deepcopy(objective).to(where).eval(), source.to(where), setting
    )


def shapes(model: Model, objective: Objective, source: Source, setting: Setting) -> Iterator[Row]:
    """Say whether everything has the shape that it must have, and densities their precision."""
    x = _batch(source, BATCH)
    n = len(x)
    with torch.no_grad():
        trace = model(x, samples=2)
        code = model.encode(x)
        found = {
            "z": [latent.z[..., :0].shape[:2] for latent in trace.latents],
            "log p(x|z)": [trace.log_px.shape],
            "log p(z)": [latent.log_p.shape for latent in trace.latents],
            "log q(z|x)": [latent.log_q.shape for latent in trace.latents],
            "the rate": [trace.kl.shape],
        }
        for name, every in found.items():
            for shape in every:
                yield _same(f"{name} of 2 draws for {n} examples", (2, n), shape)
        yield _same("what p(x|z) is of", source.shape, trace.px.event_shape)
        yield _same("codes", (n,), code.shape[:1])
        yield _same("decoded codes", x.shape, model.decode(code).shape)
        yield _same("3 new examples", (3, *source.shape), model.sample(3, seed=0).shape)
        with torch.autocast(x.device.type, torch.bfloat16):
            trace = model(x)
            bits = min(torch.finfo(t.dtype).bits for t in (trace.log_px, trace.kl))
        yield Row("bits of the densities under bfloat16", 32, bits, sense="at least")


def _same(name: str, expected: tuple[int, ...], found: tuple[int, ...]) -> Row:
    note = "" if tuple(expected) == tuple(found) else f"it is {tuple(found)}"
    return Row(f"shape of {name}: {tuple(expected)}", 1, float(not note), note=note)


def gradients(model: Model, objective: Objective, source: Source, setting: Setting) -> Iterator[Row]:
    """Say whether gradients are finite, reach every parameter, and are derivatives."""
    model.train()
    objective.train()
    state = start(model, objective, Plan(), len(source.train))
    named = [*model.named_parameters(), *objective.named_parameters("objective")]
    left, broken = {name for name, p in named if p.requires_grad}, set()
    for i in range(BATCHES):
        state.optimizer.zero_grad()
        x = source.batch(i * BATCH, BATCH, seed=setting.seed)[0]
        backward(state, objective(model, x, step=LATE))
        for name, p in named:
            if p.grad is not None:
                broken |= set() if p.grad.isfinite().all() else {name}
                left -= {name} if p.grad.any() else set()
    yield Row("parameters whose gradient is not finite", 0, len(broken), note=_listed(broken))
    yield Row(f"parameters that no gradient of {BATCHES} batches reaches", 0, len(left), note=_listed(left))
    estimator = getattr(objective, "gradient", "total")
    if estimator != "total":
        why = f"not examined: {estimator!r} has the derivative as its mean, and not draw by draw"
        yield Row("derivative of the loss", 0, math.nan, told=True, note=why)
        return
    model, objective = model.eval().to(setting.exact).double(), objective.eval().to(setting.exact).double()
    x = _batch(source, IMAGES).to(setting.exact).double()
    player = mover(objective(model, x, step=LATE).losses)
    params = objective.players(model)[player].params
    yield derivative(f"derivative of the loss, {player}", lambda: objective(model, x, step=LATE).losses[player], params)


def _listed(names: set[str]) -> str:
    some = sorted(names)
    return ", ".join(some[:8]) + (f" and {len(some) - 8} more" if len(some) > 8 else "")


def likelihood(model: Model, objective: Objective, source: Source, setting: Setting) -> Iterator[Row]:
    """Say whether p(x|z) integrates to one, and whether the data lie where it lives."""
    x = _batch(source, 1)
    with torch.no_grad():
        yield from densities_of_pixels(model(x).px, "one example", setting)
        there = []
        for x, _ in source.blocks(_held_out(source)):
            there.append(model(x[:1]).px.support.check(x).reshape(len(x), -1).all(1))
    outside = 1 - float(torch.cat(there).float().mean())
    note = "what is scored is no likelihood of these data: compare it with its like only" if outside else ""
    yield Row("share of examples outside the support of p(x|z)", 0, outside, told=outside > 0, note=note)


def bounds(model: Model, objective: Objective, source: Source, setting: Setting) -> Iterator[Row]:
    """Hold the KL against draws, and the elbo against log p(x) by many importance samples."""
    x = _batch(source, IMAGES)
    with torch.no_grad():
        trace = model(x, samples=EACH)
        if not trace.density:
            why = "not examined: this posterior has no density, so there is none"
            yield Row("elbo", 0, math.nan, told=True, note=why)
            return
        repeats = _affordable(lambda: model(x, samples=EACH).log_w, setting.many(50))
        draws = [(t.kl, t.log_px, t.log_w) for t in (model(x, samples=EACH) for _ in range(repeats))]
    kl, log_px, log_w = (torch.cat(parts) for parts in zip(*draws, strict=True))
    if all(latent.closed_kl is not None for latent in trace.latents):
        yield drawn("rate, by draws", float(kl.mean()), (log_px - log_w).mean(1))
    elbo, error = mean_of((log_px - kl).mean(1))
    mean, spread = mean_of(log_w.mean(1) - (log_px - kl).mean(1))
    yield Row("E log w, which is the elbo", elbo, elbo + mean, 1e-4 * (1 + abs(elbo)), spread)
    samples = EACH * _affordable(lambda: log_mean_weights(model, x, EACH), setting.many(200))
    shares = [
        log_mean_weights(model, x, samples // SHARES, EACH * IMAGES, setting.seed + i).mean() for i in range(SHARES)
    ]
    value, other = mean_of(torch.stack(shares))
    name = f"log p(x) by {samples // SHARES:,} importance samples, above the elbo"
    yield Row(name, elbo, value, 1e-5 * (1 + abs(elbo)), math.hypot(error, other), sense="at least")
    if objective.bound == "lower" and objective.samples <= samples // SHARES:  # else it may be the higher one
        with torch.no_grad():
            repeats = _affordable(lambda: objective(model, x).losses, setting.many(100))
            terms = [objective(model, x).terms for _ in range(repeats)]
        bound, deviation = mean_of(torch.stack([term.get("bound", term["elbo"]) for term in terms]))
        spread = math.hypot(other, deviation)
        yield Row("bound of the objective, below it", value, bound, 1e-5 * (1 + abs(value)), spread, sense="at most")


def _affordable(work: Callable[[], object], wanted: int) -> int:
    """Say how many times a work is done: as often as is wanted, but for what takes long, which is done for a while."""
    begun = time.monotonic()
    work()
    return max(FEWEST, min(wanted, int(WHILE / max(1e-6, time.monotonic() - begun))))


def _held_out(source: Source) -> str:
    return next(split for split in ("validation", "test", "train") if len(getattr(source, split)))


def _batch(source: Source, n: int) -> Float[Tensor, "B *X"]:
    """Take the first n examples that are held out, or of train where none are."""
    x, _ = next(iter(source.blocks(_held_out(source), n)))
    return x
