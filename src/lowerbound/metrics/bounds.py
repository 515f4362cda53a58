"""The elbo on a split, each image counted once, with standard errors."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound import rng
from lowerbound.metrics.bits import bits_per_dimension, counts
from lowerbound.objective import Loss, Objective
from lowerbound.vae import Model, Trace, evaluating, pooled

SEED = 20131220  # of the evaluation's noise: fixed, so that models are compared under the same draws


def evaluate(
    model: Model,
    objective: Objective,
    blocks: Iterable[tuple[Float[Tensor, "..."], Int[Tensor, "..."] | None]],
    *,
    step: int,
    samples: int | None = None,
    width: float | None = None,
    seed: int = SEED,
) -> dict[str, Any]:
    r"""Give elbo, distortion, rate and loss as means over all images, with the standard error of each mean.

    .. math:: \mathrm{elbo} = -(\mathrm{distortion} + \mathrm{rate}), \qquad
        \mathrm{s.e.} = \mathrm{sd} / \sqrt{n}, \quad \text{in nats per example}

    Where all pixels are values of a discrete p(x|z), or dequantised, -elbo is given in bits per dimension too.

    Every image counts once, whatever the sizes of the blocks, and the loss is that of the whole (see `Objective`); the
    model is in evaluation mode, in float32 or its own precision, under the noise of a fixed seed.

    Arguments:
        model, objective: the model, and the objective whose terms are averaged beside the ledger.
        blocks: (x, labels) in a fixed order, as `Source.blocks` gives them.
        step: the step of the schedules at which the loss is taken; the last one judges by the weights asked for.
        samples: latents drawn for each image; the objective's own number if not said.
        width: of a level of dequantised data, as `Source.width` gives it: see `bits_per_dimension`.
        seed: of the noise.

    Example:
        >>> from lowerbound import data, likelihood, nets, objective, posterior, prior, vae
        >>> model = vae.VAE(posterior.Gaussian(nets.MLP((3,)), 2), prior.Standard(2),
        ...                 likelihood.Gaussian(nets.MLP((2,), (3,))))
        >>> source = data.tensor(torch.rand(100, 3), validation=20, test=0)
        >>> found = evaluate(model, objective.Elbo(), source.blocks("validation"), step=0)
        >>> found["images"], abs(found["elbo"] + found["distortion"] + found["rate"]) < 1e-9
        (20, True)
    """
    # |mean KL - C| or max(λ, mean KL_j) is not the mean of its values over blocks: the loss is reduced once, over all
    # images, where the objective lets us; else the number would depend on the size of the blocks
    once, sums, kept, bits = objective.densities_only, Loss({}), [], True
    # what an objective adapts, it adapts in training only
    with evaluating(model, objective), torch.inference_mode():
        for b, (x, _) in enumerate(blocks):
            with rng.noise(seed, "evaluate", b):
                trace = model(x, samples=samples or objective.samples)
                sums = sums if once else sums + objective.reduce(model, trace, step=step) * len(x)
                kept.append(pooled([trace]))  # here, since a density may itself be estimated from samples
            bits = bits and counts(trace.px, x, width)
        whole = pooled(kept)
        n = whole.log_px.shape[1]
        loss = objective.reduce(model, whole, step=step) if once else sums * (1 / n)
    found = {"images": n, **_summary(loss, whole), "kl_by_dim": kl_by_dim(whole) if whole.density else None}
    if bits and whole.density:
        found["bits_per_dimension"] = bits_per_dimension(-found["elbo"], trace.px, width=width)
    return found


def headline(found: Mapping[str, Any]) -> list[str]:
    """Name the figures of an evaluation that come first: elbo, distortion and rate, or what there is in their place.

    Where q is a point mass there is no rate and no elbo; the loss then stands beside the distortion. Objectives with a
    tighter bound than the elbo log it as bound.

    Example:
        >>> headline({"loss": 4.0, "elbo": -3.0, "distortion": 2.0, "rate": 1.0})
        ['elbo', 'distortion', 'rate']
        >>> headline({"loss": 3.0, "distortion": 2.0})
        ['distortion', 'loss']
    """
    names = ("elbo", "bound", "distortion", "rate") if found.get("elbo") is not None else ("distortion", "loss")
    return [name for name in names if found.get(name) is not None]


def _summary(loss: Loss, whole: Trace) -> dict[str, Any]:
    distortion, rate = -whole.log_px.mean(0), whole.kl.mean(0)
    values = {"distortion": distortion}
    if whole.density:
        values.update(rate=rate, elbo=-(distortion + rate))
    terms = {name: float(value) for name, value in loss.terms.items()}
    terms.update({name: float(value.mean()) for name, value in values.items()})
    errors = {name: float(v.std() / len(v) ** 0.5) if len(v) > 1 else None for name, v in values.items()}
    return {**terms, "standard_error": errors}


def kl_by_dim(trace: Trace) -> list[float] | None:
    """Give the mean KL of each coordinate in nats, those of all groups in order, or None where there is none.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> from lowerbound.vae import Latent
        >>> q, p = Independent(Normal(torch.ones(5, 2), 1.0), 1), Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> kl_by_dim(Trace(torch.zeros(5, 3), (Latent(q.rsample((1,)), q, p),), q))
        [0.5, 0.5]
    """
    parts = [latent.kl_by_dim for latent in trace.latents]
    if any(part is None for part in parts):
        return None
    return [float(v) for part in parts if part is not None for v in part.mean((0, 1))]
