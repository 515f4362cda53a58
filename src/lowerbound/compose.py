"""What composes with what: a small model of any kinds, trained for two steps and evaluated, or words.

python -c "from lowerbound import compose; print(compose.attempt(compose.small(posterior='dirac')))"
"""

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch

from lowerbound import data, metrics, rng, spec
from lowerbound.errors import DivergedError, UsageError
from lowerbound.spec import Spec
from lowerbound.train import Plan, rehearse, start, step

SHAPE, LATENTS, IMAGES, BATCH, STEPS = (1, 4, 4), 3, 16, 8, 2
FEW = 4  # of whatever a default has many of


def node(registry: str, kind: str, **arguments: Any) -> Spec:
    """Give a node of a kind with small sizes: defaults, but for whole numbers above 8, which become a few.

    Example:
        >>> node("encoder", "mlp")
        {'kind': 'mlp', 'hidden': [4]}
    """
    defaults = _defaults(registry, kind, spec.REGISTRIES[registry].get(kind))
    small = {name: _few(default) for name, default in defaults.items()}
    return {
        "kind": kind,
        **{name: value for name, value in small.items() if value is not None},
        **{name: value for name, value in arguments.items() if name in defaults},
    }


@cache
def _defaults(registry: str, kind: str, constructor: Callable[..., Any] | None) -> dict[str, Any]:
    """Give the defaults of a kind; its constructor, of which they are, may be another one later."""
    return {field.name: field.default for field in spec.describe(registry, kind)}


def _few(default: Any) -> Any:
    """Give something small in place of a large default, or None where it is small already."""
    if isinstance(default, int) and not isinstance(default, bool) and default > 8:
        return FEW
    if isinstance(default, list) and any(isinstance(n, int) and n > 8 for n in default):
        return [FEW]
    return None


def small(
    posterior: str = "gaussian",
    prior: str = "standard",
    likelihood: str = "bernoulli",
    objective: str = "elbo",
    term: str | None = None,
    encoder: Mapping[str, Any] | str = "mlp",
    decoder: Mapping[str, Any] | str = "mlp",
) -> Spec:
    """Give the spec of a small model of these kinds; a term stands in the elbo, beside distortion and KL.

    Raises UsageError for a kind that is in no registry.
    """
    nets = [
        node(registry, net, activation="tanh") if isinstance(net, str) else dict(net)
        for registry, net in (("encoder", encoder), ("decoder", decoder))
    ]
    goal = node("objective", objective, objective={"kind": "elbo"})
    if term is not None:
        goal["terms"] = {name: node("term", name) for name in ("distortion", "kl", term)}
    return spec.check(
        {
            "data": {"kind": "own"},
            "latents": LATENTS,
            "model": {
                "kind": "vae",
                "posterior": node("posterior", posterior, net=nets[0]),
                "prior": node("prior", prior),
                "likelihood": node("likelihood", likelihood, net=nets[1]),
            },
            "objective": goal,
            "train": {"batch": BATCH, "epochs": STEPS * BATCH / IMAGES, "precision": "float32"},
            "seed": 0,
        }
    )


def source() -> data.Source:
    """Give a few images of 256 levels, which every likelihood takes."""
    with rng.noise(0, "compose"):
        x = torch.randint(256, (IMAGES + BATCH, *SHAPE)).float() / 255
    return data.tensor(x, validation=BATCH, test=0)


def attempt(composed: Spec, images: data.Source | None = None) -> str | None:
    """Train a spec's model for two steps, evaluate it and sample from it; gives the words where it is refused, or None.

    Raises DivergedError where a number of it is not finite.

    Example:
        >>> attempt(small()) is None
        True
    """
    images = images or source()
    try:
        plan: Plan = spec.construct("train", composed["train"], {})
        model = spec.build_model(composed, images.shape, images.unit)
        objective = spec.build_objective(composed, STEPS, len(images.train))
        rehearse(model, objective, images.batch(0, BATCH, seed=0)[0])
        state = start(model, objective, plan, len(images.train))
        for t in range(STEPS):
            x, _ = images.batch(t * BATCH, BATCH, seed=0)
            with rng.noise(0, "step", t):
                step(state, x)
        found = metrics.evaluate(model, objective, images.blocks("validation"), step=STEPS)
        drawn = model.eval().sample(2, seed=0)
    except UsageError as error:
        return str(error)
    bad = [name for name, value in found.items() if isinstance(value, float) and not math.isfinite(value)]
    if bad or not torch.isfinite(drawn).all():
        raise DivergedError(f"Not finite after {STEPS} steps: {', '.join(bad) or 'a sample'}.")
    return None
