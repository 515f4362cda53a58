"""Published models as data: what each sets over the default spec, and where it was published."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from lowerbound.errors import UsageError, nearest
from lowerbound.spec import Spec, merge

CONV_CHANNELS = (32, 64, 128, 256, 256, 256)
FEWEST_STEPS = 1000  # of a training for which nobody said how long it shall be


@final
@dataclass(frozen=True)
class Recipe:
    """A published model as arguments."""

    about: str
    citation: str
    sets: Mapping[str, Any] = field(default_factory=dict)


def _kl(**weight: Any) -> dict[str, Any]:
    return {"objective": {"terms": {"kl": {"kind": "kl", "weight": weight}}}}


RECIPES: dict[str, Recipe] = {
    "vae": Recipe(
        "the variational autoencoder: the elbo itself, β = 1",
        "Kingma and Welling, Auto-encoding variational Bayes, ICLR 2014",
    ),
    "beta-vae": Recipe(
        "the rate is weighted by β, which is 4 where nothing else is said",
        "Higgins et al., β-VAE: learning basic visual concepts with a constrained variational framework, ICLR 2017",
        {"objective": {"terms": {"kl": {"weight": 4.0}}}},
    ),
    "annealed-vae": Recipe(
        "the rate is held at a capacity that grows from 0 to 25 nats, by γ = 100 where the paper has 1,000: in short "
        "trainings on small images that drowns the gradient of the distortion",
        "Burgess et al., Understanding disentangling in β-VAE, 2018",
        {
            "objective": {
                "terms": {
                    "kl": None,
                    "capacity": {
                        "kind": "capacity",
                        "weight": 100.0,
                        "capacity": {"kind": "linear", "start": 0.0, "end": 25.0, "until": 0.5},
                    },
                }
            }
        },
    ),
    "cyclic-vae": Recipe(
        "β rises from 0 to 1 four times",
        "Fu et al., Cyclical annealing schedule: a simple approach to mitigating KL vanishing, NAACL 2019",
        _kl(kind="cyclic", end=1.0, cycles=4, ratio=0.5),
    ),
    "sigma-vae": Recipe(
        "a Gaussian likelihood whose σ is the best one for the batch",
        "Rybkin, Daniilidis and Levine, Simple and effective VAE training with calibrated decoders, ICML 2021",
        {"model": {"likelihood": {"kind": "gaussian", "sigma": "optimal"}}},
    ),
    "free-bits": Recipe(
        "each latent may spend 0.25 nats for nothing",
        "Kingma et al., Improved variational inference with inverse autoregressive flow, NeurIPS 2016",
        {"objective": {"terms": {"kl": None, "free-bits": {"kind": "free-bits", "nats": 0.25, "weight": 1.0}}}},
    ),
}


def recipe(name: str) -> Recipe:
    """Find a recipe; raises UsageError that names the nearest one."""
    if name not in RECIPES:
        raise UsageError(f"There is no recipe {name!r}; {nearest(name, list(RECIPES))}")
    return RECIPES[name]


def networks(shape: tuple[int, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Choose an encoder and a decoder for the data: convolutions down to some 8 pixels, or an MLP for vectors.

    Example:
        >>> networks((1, 28, 28))[0]
        {'kind': 'conv', 'channels': [32, 64]}
    """
    side = min(shape[1:]) if len(shape) == 3 else 0
    if side < 4:
        return {"kind": "mlp", "hidden": [256, 256]}, {"kind": "mlp", "hidden": [256, 256]}
    layers = max(2, min(len(CONV_CHANNELS), (side // 8).bit_length()))
    channels = list(CONV_CHANNELS[:layers])
    return {"kind": "conv", "channels": channels}, {"kind": "conv", "channels": channels[::-1]}


def length(shape: tuple[int, ...], images: int) -> dict[str, Any]:
    """Choose batch and epochs: 128 and four passes (forty for vectors), or for few images smaller batches and more.

    Four passes over a few hundred images are a few dozen steps, after which a model has hardly begun.

    Example:
        >>> length((1, 28, 28), 55_000), length((3, 48, 64), 240)
        ({'batch': 128, 'epochs': 4}, {'batch': 32, 'epochs': 134})
    """
    batch = min(128, 1 << max(0, (images // 4).bit_length() - 1))
    passes = 4 if len(shape) == 3 else 40
    return {"batch": batch, "epochs": max(passes, -(-FEWEST_STEPS * batch // max(1, images)))}


def base(data: Mapping[str, Any], shape: tuple[int, ...], images: int = 55_000) -> Spec:
    """Give the default spec for so many images of this shape: the lecture's β-VAE, or a Gaussian one for vectors."""
    encoder, decoder = networks(shape)
    image = len(shape) == 3
    likelihood = {"kind": "bernoulli"} if image else {"kind": "gaussian", "sigma": "learned"}
    return {
        "data": dict(data),
        "latents": 16 if image else 2,
        "model": {
            "kind": "vae",
            "posterior": {"kind": "gaussian", "net": encoder},
            "prior": {"kind": "standard"},
            "likelihood": {**likelihood, "net": decoder},
        },
        "objective": {
            "kind": "elbo",
            "terms": {"distortion": {"kind": "distortion"}, "kl": {"kind": "kl", "weight": 1.0}},
        },
        "train": length(shape, images),
        "seed": 0,
    }


def with_networks(spec: Spec, shape: tuple[int, ...]) -> Spec:
    """Give a posterior or likelihood that was replaced the network that suits the data."""
    if spec["model"].get("kind") == "vae":
        for part, net in zip(("posterior", "likelihood"), networks(shape), strict=True):
            spec["model"][part].setdefault("net", net)
    return spec


def with_beta(spec: Spec, beta: float) -> Spec:
    """Set β, the weight of the KL: the number, or the end of its schedule. Raises UsageError where there is no β."""
    for name, term in spec["objective"]["terms"].items():
        if term["kind"] in ("kl", "free-bits"):
            weight = {"end": beta} if isinstance(term.get("weight"), Mapping) else beta
            return merge(spec, {"objective": {"terms": {name: {"weight": weight}}}})
    raise UsageError(
        "This recipe has no β: no term of its objective is a weighted KL. "
        "Set what it has instead, such as --set objective.terms.capacity.weight=100 (γ)."
    )
