"""The registries: which constructor a kind names, what its arguments are, and which of them are nodes themselves."""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from lowerbound import after, likelihood, nets, posterior, prior
from lowerbound.data import SOURCES
from lowerbound.errors import UsageError, nearest
from lowerbound.objective import (
    DIP,
    KL,
    MMD,
    AdversarialCritic,
    Capacity,
    DecoderL2,
    Decomposed,
    Distortion,
    Elbo,
    FreeBits,
    GradientPenalty,
    Importance,
    Lagging,
    Renyi,
    Sliced,
    TotalCorrelationCritic,
    WakeSleep,
    weight,
)
from lowerbound.train import Plan
from lowerbound.vae import VAE

Spec = dict[str, Any]
Constructor = Callable[..., Any]
OWN: Spec = {"kind": "own"}  # the node of a model or of data given in Python, which no spec describes

REGISTRIES: dict[str, dict[str, Constructor]] = {
    "data": dict(SOURCES),
    "model": {"vae": VAE},
    "posterior": {
        "gaussian": posterior.Gaussian,
        "full-gaussian": posterior.FullGaussian,
        "laplace": posterior.Laplace,
        "dirac": posterior.Dirac,
        "bn-gaussian": posterior.BatchNormGaussian,
        "planar": posterior.Planar,
        "householder": posterior.Householder,
        "iaf": posterior.IAF,
        "spline": posterior.Spline,
    },
    "prior": {
        "standard": prior.Standard,
        "scaled": prior.Scaled,
        "mixture": prior.MixtureOfGaussians,
        "vamp": prior.Vamp,
        "maf": prior.MAF,
        "nsf": prior.NSF,
    },
    "likelihood": {
        "bernoulli": likelihood.Bernoulli,
        "continuous-bernoulli": likelihood.ContinuousBernoulli,
        "gaussian": likelihood.Gaussian,
        "laplace": likelihood.Laplace,
        "hyperbolic-secant": likelihood.HyperbolicSecant,
        "student-t": likelihood.StudentT,
        "discretised-logistic": likelihood.DiscretisedLogistic,
        "discretised-logistic-mixture": likelihood.DiscretisedLogisticMixture,
        "categorical": likelihood.Categorical,
    },
    "encoder": {
        "conv": nets.ConvEncoder,
        "mlp": nets.mlp_encoder,
        "gated-conv": nets.GatedConvEncoder,
        "gated-mlp": nets.gated_mlp_encoder,
        "resnet": nets.ResNetEncoder,
    },
    "decoder": {
        "conv": nets.ConvDecoder,
        "mlp": nets.mlp_decoder,
        "gated-conv": nets.GatedConvDecoder,
        "gated-mlp": nets.gated_mlp_decoder,
        "resnet": nets.ResNetDecoder,
    },
    "objective": {
        "elbo": Elbo,
        "importance": Importance,
        "renyi": Renyi,
        "wake-sleep": WakeSleep,
        "lagging": Lagging,
    },
    "term": {
        "distortion": Distortion,
        "kl": KL,
        "free-bits": FreeBits,
        "capacity": Capacity,
        "decomposed": Decomposed,
        "dip": DIP,
        "mmd": MMD,
        "sliced": Sliced,
        "tc-critic": TotalCorrelationCritic,
        "adversarial": AdversarialCritic,
        "decoder-l2": DecoderL2,
        "gradient-penalty": GradientPenalty,
    },
    "weight": {
        "constant": weight.Constant,
        "linear": weight.Linear,
        "cyclic": weight.Cyclic,
        "sigmoid": weight.Sigmoid,
        "geco": weight.GECO,
        "control": weight.ControlVAE,
    },
    "train": {"plan": Plan},
    "fit": dict(after.FITS),
}
# (registry, argument) -> the registry of the node that stands there
CHILDREN = {
    ("model", "posterior"): "posterior",
    ("model", "prior"): "prior",
    ("model", "likelihood"): "likelihood",
    ("posterior", "net"): "encoder",
    ("likelihood", "net"): "decoder",
    ("objective", "terms"): "term",
    ("objective", "objective"): "objective",
    ("term", "weight"): "weight",
    ("term", "capacity"): "weight",
    ("term", "tc"): "weight",
    ("fit", "prior"): "prior",
}
NAMED = {("objective", "terms")}  # a mapping of name -> node
FILLED = ("shape", "latents", "unit", "total", "features", "images")


def register(registry: str, kind: str) -> Callable[[Constructor], Constructor]:
    """Add an own part under a name that specs and ``--set`` may use; a decorator.

    A network's constructor may ask for ``shape`` and ``latents``, which are filled in. Raises UsageError for an
    unknown registry or a name that is taken.

    Example:
        >>> from torch import nn
        >>> @register("encoder", "doc-example")
        ... class Mine(nn.Module):
        ...     def __init__(self, shape, width: int = 8): ...
        >>> REGISTRIES["encoder"].pop("doc-example").__name__
        'Mine'
    """
    if registry not in REGISTRIES:
        raise UsageError(f"There is no registry {registry!r}; {nearest(registry, list(REGISTRIES))}")

    def add(constructor: Constructor) -> Constructor:
        known = REGISTRIES[registry].get(kind)
        if known is not None and known.__qualname__ != constructor.__qualname__:
            raise UsageError(f"The {registry} {kind!r} is there already ({known.__qualname__}): take another name.")
        REGISTRIES[registry][kind] = constructor
        return constructor

    return add


def lookup(registry: str, kind: Any, path: str) -> Constructor:
    """Find a kind's constructor; raises UsageError that names the nearest known kind."""
    known = REGISTRIES[registry]
    if not isinstance(kind, str) or kind not in known:
        raise UsageError(
            f"{path}: there is no {registry} {kind!r}; {nearest(str(kind), list(known))} "
            f"An own part must be registered first: lowerbound.register({registry!r}, {str(kind)!r})."
        )
    return known[kind]


@cache
def parameters(constructor: Constructor) -> dict[str, inspect.Parameter]:
    """Give the arguments of a constructor by their names; a node of its kind may have these keys."""
    found = inspect.signature(constructor).parameters
    return {name: p for name, p in found.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
