"""A likelihood that is not one of these data, or whose density grows without bound."""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from lowerbound import rng
from lowerbound.errors import UsageError
from lowerbound.evaluation.base import Subject
from lowerbound.evaluation.diagnosis.base import Finding, ledger
from lowerbound.likelihood.base import LocationScale
from lowerbound.vae import VAE

SOME = 500  # images that are looked at
PIXELS = 0.01  # of the σ: one constant pixel of a hundred adds log 1000 nats to the elbo and says nothing
TINY = 0.01  # of the data's deviation: an error of a hundredth explains 99.99 % of the variance, noise and all


def unfit(subject: Subject) -> Finding | None:
    """Look for grey pixels scored by a cross-entropy, and for binary ones by a density."""
    known = subject.known["likelihood"]
    if known["density"] is None:
        raise UsageError("an own model's p(x|z) is not known.")
    if not known["density"]:
        point = ledger(subject).get("elbo") is None
        what = "the distortion is no −log p(x|z)" if point else "its elbo is no bound of log p(x)"
        return Finding(
            "likelihood that does not fit the data",
            f"{known['name']} is here {known['note']}: {what}.",
            "Some pixels lie strictly between 0 and 1, where p(x|z) has no probability. The number compares only with "
            "other runs of the same kind.",
            "Take --set model.likelihood.kind=continuous-bernoulli or --recipe sigma-vae, or --binarise dynamic.",
        )
    px, x = _seen(subject)
    support = px.support
    if support is None or support.is_discrete or not bool(((x == 0) | (x == 1)).all()):
        return None
    return Finding(
        "likelihood that does not fit the data",
        f"{known['name']} is a density, and the data are binary: it grows without bound the surer the model is.",
        f"All values of {len(x):,} {'images' if x.ndim == 4 else 'examples'} are 0 or 1.",
        "Take the likelihood of such data: --set model.likelihood.kind=bernoulli.",
    )


def variance(subject: Subject) -> Finding | None:
    """Look for a σ that has gone to its floor, or to nothing beside the data."""
    model = subject.model
    if not isinstance(model, VAE) or not isinstance(model.likelihood, LocationScale):
        return None  # no σ, and nothing to collapse
    px, x = _seen(subject)
    if not isinstance(px, Independent):
        raise UsageError("pixels are not independent given z, and have no σ each.")
    sigma: Tensor = px.base_dist.scale
    several, spread = model.likelihood.sigma in ("pixel", "image", "each"), float(x.std())
    floor = max(TINY * spread, 2 * model.likelihood.least if several else 0.0)
    share = float((sigma < floor).float().mean())
    if share < PIXELS or isinstance(model.likelihood.sigma, float | int):
        return None
    if several:
        says = f"σ has all but vanished for {share:.0%} of the pixels: their density is bounded by its floor alone."
        evidence = (
            f"It is below {floor:.2g} there, the least {float(sigma.min()):.2g}, and the data deviate by {spread:.2g}."
        )
    else:
        says = "σ has all but vanished, and the density grows the more the smaller it is."
        evidence = f"σ = {float(sigma.min()):.2g}, and the data deviate by {spread:.2g}."
    return Finding(
        "variance collapse",
        says,
        f"{evidence} Where pixels are constant, or are copied exactly, this adds nats to the elbo and no meaning.",
        "Take one σ for all pixels (--recipe sigma-vae) or a likelihood of 8-bit images "
        "(--set model.likelihood.kind=discretised-logistic); leave constant pixels out, or add noise to the data.",
        {"share": share, "least": float(sigma.min())},
    )


def _seen(subject: Subject) -> tuple[Distribution, Tensor]:
    """Give p(x|z) of some images at their codes, and the images."""
    model = subject.model
    if not isinstance(model, VAE):
        raise UsageError("an own model's p(x|z) is not known.")
    x = subject.images(SOME)
    with torch.inference_mode(), rng.noise(subject.settings.seed, "diagnosis"):
        return model.likelihood(model.encode(x)), x
