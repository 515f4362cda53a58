"""Training: a state, one step, and a generator of records. Whoever consumes the records prints, plots or saves them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal, final

import torch
from annotated_types import Ge, Gt, Le, Lt
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from lowerbound import optimisers, process, rng
from lowerbound.data import Source
from lowerbound.errors import DivergedError, UsageError
from lowerbound.objective import Loss, Objective
from lowerbound.vae import Model, in_mode

Fraction = Annotated[float, Ge(0), Le(1)]
LATE = 10**9  # a step after all schedules, when all of a model moves


@final
@dataclass(frozen=True)
class Plan:
    """How a model is trained: the "train" part of a spec.

    Arguments:
        optimiser: "adam", or "adamw" with decoupled weight decay.
        lr: the highest learning rate.
        betas: the decay rates of Adam's two moments.
        weight_decay: of the optimiser.
        schedule: "cosine" falls from lr to 0, "constant" stays.
        warmup: the fraction of the training over which lr rises from 0.
        batch: images a step.
        epochs: passes over the training images.
        clip: the largest norm of the whole gradient, or null for none.
        ema: the decay of an exponential moving average of the weights, or null for none.
        patience: stop after so many validations without a better loss, or null for never.
        validate: steps between validations; null for once an epoch.
        save: steps between checkpoints beside those at validations; null for none.
        log: steps between rows of the history.
        frames: how often pictures are kept of what the model makes of the same images and latents, more of the
            beginning than later; a short training has fewer, and 0 is for none.
        precision: of the networks in a step, "float32" or "bfloat16" (autocast; the elbo and the weights stay float32);
            "auto" takes bfloat16 where the device multiplies it in hardware.
        deterministic: whether only torch's own deterministic kernels may be used.
    """

    optimiser: Literal["adam", "adamw"] = "adam"
    lr: Annotated[float, Gt(0)] = 0.006
    betas: tuple[Annotated[float, Ge(0), Lt(1)], Annotated[float, Ge(0), Lt(1)]] = (0.8, 0.99)
    weight_decay: Annotated[float, Ge(0)] = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Fraction = 0.05
    batch: Annotated[int, Ge(1)] = 128
    epochs: Annotated[float, Gt(0)] = 4
    clip: Annotated[float, Gt(0)] | None = None
    ema: Annotated[float, Gt(0), Lt(1)] | None = None
    patience: Annotated[int, Ge(1)] | None = None
    validate: Annotated[int, Ge(1)] | None = None
    save: Annotated[int, Ge(1)] | None = None
    log: Annotated[int, Ge(1)] = 50
    frames: Annotated[int, Ge(0)] = 40
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    deterministic: bool = False

    def steps(self, images: int) -> int:
        """Say how many steps the training takes: the last partial batch is dropped.

        Example:
            >>> Plan(batch=64, epochs=2).steps(1000)
            31
        """
        return max(1, int(images * self.epochs) // self.batch)

    def between(self, images: int) -> int:
        """Say how many steps lie between two validations: an epoch, begun or whole, where nothing was said.

        Example:
            >>> Plan(batch=64).between(1000), Plan(validate=5).between(1000)
            (16, 5)
        """
        return self.validate or math.ceil(images / self.batch)

    def factor(self, step: int, total: int) -> float:
        """Give the learning rate of a step as a fraction of ``lr``.

        Example:
            >>> plan = Plan(warmup=0.1)
            >>> [round(plan.factor(t, 100), 2) for t in (0, 9, 10, 55, 100)]
            [0.1, 1.0, 1.0, 0.5, 0.0]
        """
        warm = self.warmup * total
        if step < warm:
            return min(1.0, (step + 1) / warm)
        if self.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1.0, total - warm))))


@final
@dataclass
class State:
    """All that changes while training; there is no generator's state and no loader's among it."""

    model: Model
    objective: Objective
    optimizer: torch.optim.Optimizer
    factor: Callable[[int], float] = lambda step: 1.0
    clip: float | None = None
    ema: AveragedModel | None = None
    bfloat16: bool = False
    step: int = 0
    gradient: Tensor = field(default_factory=lambda: torch.zeros(()))  # the last one's norm; of no later step's concern


@final
@dataclass(frozen=True)
class Record:
    """One step's outcome: the number of steps done, the loss, the learning rate, and the norm of the whole gradient.

    The norm is that before clipping. Tensors are unread.
    """

    step: int
    loss: Loss
    lr: float
    gradient: Float[Tensor, ""]


def start(model: Model, objective: Objective, plan: Plan, images: int) -> State:
    """Make the state before the first step: one optimiser, with a parameter group for each player.

    Raises UsageError where the plan is deterministic and the process is not.
    """
    if plan.deterministic and not torch.are_deterministic_algorithms_enabled():
        raise UsageError("train.deterministic is set for the whole process: call lowerbound.tune(deterministic=True).")
    groups = [
        {"params": group.params, "lr": plan.lr, "name": player, **group.options}
        for player, group in objective.players(model).items()
    ]
    for group in groups:
        group["peak"] = group["lr"]
    kind = {"adam": optimisers.Adam, "adamw": optimisers.AdamW}[plan.optimiser]
    optimizer = kind(groups, betas=plan.betas, weight_decay=plan.weight_decay, fused=True)
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(plan.ema)) if plan.ema else None
    total = plan.steps(images)
    precision = process.precision(next(model.parameters()).device) if plan.precision == "auto" else plan.precision
    half = precision == "bfloat16"
    return State(model, objective, optimizer, lambda t: plan.factor(t, total), plan.clip, ema, half)


def rehearse(model: Model, objective: Objective, x: Float[Tensor, "B *X"], c: Tensor | None = None) -> None:
    """Take the loss and the gradient of one step, and change nothing: what cannot be trained is refused beforehand.

    Raises UsageError where the objective has no meaning for the model, and where a learned prior would never move.

    Example:
        >>> from lowerbound import likelihood, nets, objective, posterior, prior, vae
        >>> parts = posterior.Gaussian(nets.MLP((3,)), 2), prior.Scaled(2), likelihood.Bernoulli(nets.MLP((2,), (3,)))
        >>> rehearse(vae.VAE(*parts), objective.Elbo(), torch.rand(8, 3))
    """
    before = [(buffer, buffer.clone()) for buffer in [*model.buffers(), *objective.buffers()]]
    try:
        with in_mode(True, model), rng.noise(0, "rehearsal"):
            loss: Loss = objective(model, x, c, step=LATE)
        _prior_moves(model, torch.stack(list(loss.losses.values())).sum())
    finally:
        for buffer, value in before:
            buffer.copy_(value)


def _prior_moves(model: Model, total: Float[Tensor, ""]) -> None:
    prior = dict(getattr(model, "prior", nn.Module()).named_parameters())
    if prior and all(g is None for g in torch.autograd.grad(total, list(prior.values()), allow_unused=True)):
        names = ", ".join(list(prior)[:4]) + (f" and {len(prior) - 4} more" if len(prior) > 4 else "")
        raise UsageError(
            f"Nothing that is minimised reads the prior (its {names}): it would stay as it was drawn. Add a "
            "term that does, such as --set objective.terms.kl.kind=kl, or take a prior without parameters: "
            "--set model.prior.kind=standard"
        )


def step(state: State, x: Float[Tensor, "B *X"], c: Tensor | None = None) -> Loss:
    """Take one step of gradient descent on a batch.

    Raises DivergedError, before anything is changed, where the loss or a gradient is not finite.
    """
    for part in (state.model, state.objective):
        if not part.training:
            part.train()
    state.optimizer.zero_grad()
    with torch.autocast(x.device.type, torch.bfloat16, enabled=state.bfloat16):
        loss: Loss = state.objective(state.model, x, c, step=state.step)
    backward(state, loss)
    gradients_are_finite(state, loss, x)
    for group in state.optimizer.param_groups:
        group["lr"] = group["peak"] * state.factor(state.step)
    state.optimizer.step()
    if state.ema is not None:
        state.ema.update_parameters(state.model)
    state.step += 1
    return loss


def train(state: State, source: Source, *, steps: int, batch: int, seed: int = 0) -> Iterator[Record]:
    """Train until ``steps`` steps are done in all, giving a record after each.

    The images of step t are positions t·batch … of the source's stream, and its noise is a pure function of
    (seed, t): stopping between two steps, drawing samples there or resuming changes nothing.
    """
    while state.step < steps:
        t = state.step
        x, _ = source.batch(t * batch, batch, seed=seed)
        with rng.noise(seed, "step", t):
            loss = step(state, x)
        yield Record(state.step, loss, state.optimizer.param_groups[0]["lr"], state.gradient)


def backward(state: State, loss: Loss) -> None:
    """Give each player the gradient of its own loss, and of no other."""
    if set(loss.losses) == {"model"} and len(state.optimizer.param_groups) == 1:  # a critic may sit a step out
        loss.losses["model"].backward()
        return
    groups = {group["name"]: group["params"] for group in state.optimizer.param_groups}
    last = list(loss.losses)[-1]
    for player, value in loss.losses.items():
        value.backward(inputs=groups[player], retain_graph=player != last)


def gradients_are_finite(state: State, loss: Loss, x: Float[Tensor, "B *X"]) -> None:
    """Note the gradient's norm, and clip it where asked; raise DivergedError where it or the loss is not finite."""
    params = [p for group in state.optimizer.param_groups for p in group["params"]]
    norm = nn.utils.get_total_norm([p.grad for p in params if p.grad is not None])
    if not math.isfinite(float(norm + sum(value.detach() for value in loss.losses.values()))):
        raise DivergedError(_diagnosis(state, loss, x))
    state.gradient = norm
    if state.clip is not None:
        nn.utils.clip_grads_with_norm_(params, state.clip, norm)


def _diagnosis(state: State, loss: Loss, x: Tensor) -> str:
    """Name the first tensor that is not finite, in the order in which the step computes them."""
    params = [*state.model.named_parameters(), *state.objective.named_parameters("objective")]
    grads = {name: p.grad for name, p in params if p.grad is not None}
    named = {"the batch x": x, **loss.terms, **{f"the loss of {k}": v for k, v in loss.losses.items()}}
    weights = {f"the weight {name}": p for name, p in state.model.named_parameters()}
    candidates = {**weights, **named, **{f"the gradient of {name}": g for name, g in grads.items()}}
    bad = [name for name, value in candidates.items() if not torch.isfinite(value).all()]
    others = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    return (
        f"Step {state.step}: {bad[0] if bad else 'the norm of the gradient'} is not finite{others}. "
        "Nothing was changed by this step. The likely cause is a learning rate that is too high: "
        "try a lower train.lr, or train.clip=1."
    )
