"""A checked spec is turned into its objects: the model, the objective, the data and what fits a prior afterwards."""

from collections.abc import Mapping
from typing import Any

from lowerbound import after, rng
from lowerbound.data import Source
from lowerbound.objective import Objective
from lowerbound.spec.checks import check
from lowerbound.spec.registry import CHILDREN, NAMED, Constructor, Spec, lookup, parameters
from lowerbound.spec.values import typed
from lowerbound.vae import Model


def build(spec: Mapping[str, Any]) -> tuple[Model, Objective, Source]:
    """Turn a spec into the model, the objective and the data; raises UsageError or DataError."""
    done = check(spec)
    source = build_source(done)
    images = len(source.train)
    total = construct("train", done["train"], {}).steps(images)
    return build_model(done, source.shape, source.unit), build_objective(done, total, images), source


def build_model(spec: Spec, shape: tuple[int, ...], unit: bool) -> Model:
    """Make the model of a checked spec for data of this shape; its weights are drawn by the spec's seed."""
    filled = {"shape": tuple(shape), "latents": spec["latents"], "unit": unit}
    with rng.noise(spec["seed"], "init"):
        model: Model = construct("model", spec["model"], filled)
    return model


def build_objective(spec: Spec, total: int, images: int) -> Objective:
    """Make the objective of a checked spec for a training of ``total`` steps on so many images."""
    filled = {"total": total, "images": images, "latents": spec["latents"]}
    with rng.noise(spec["seed"], "objective"):  # a critic has weights
        objective: Objective = construct("objective", spec["objective"], filled)
    return objective


def build_fit(spec: Spec, shape: tuple[int, ...], unit: bool) -> after.Fit | None:
    """Make what fits a prior to the codes of a checked spec's model after its training, or None where nothing does."""
    if spec["fit"] is None:
        return None
    filled = {"shape": tuple(shape), "latents": spec["latents"], "unit": unit}
    with rng.noise(spec["seed"], "fit"):  # a flow has weights
        fit: after.Fit = construct("fit", spec["fit"], filled)
    return fit


def build_source(spec: Spec) -> Source:
    """Load the data of a checked spec."""
    source: Source = construct("data", spec["data"], {})
    return source


def construct(registry: str, node: Mapping[str, Any], filled: Mapping[str, Any]) -> Any:
    """Make the object of a checked node, the nodes below it first; ``filled`` is what it needs to know of the data."""
    constructor = lookup(registry, "plan" if registry == "train" else node["kind"], registry)
    given: dict[str, Any] = {}
    for name, parameter in parameters(constructor).items():
        child, value = CHILDREN.get((registry, name)), node.get(name)
        if name not in node:
            given |= {name: filled[name]} if name in filled else {}
        elif child and (registry, name) in NAMED and value is not None:
            given[name] = {key: construct(child, part, filled) for key, part in value.items()}
        elif child and isinstance(value, Mapping):
            given[name] = construct(child, value, _below(constructor, node, filled))
        else:
            plain = child or parameter.annotation is parameter.empty
            given[name] = value if plain else typed(parameter.annotation, value)
    return constructor(**given)


def _below(constructor: Constructor, node: Mapping[str, Any], filled: Mapping[str, Any]) -> Mapping[str, Any]:
    """Say what is filled in below a node: a likelihood of several numbers a pixel needs as many times the channels."""
    numbers = getattr(constructor, "numbers", None)
    if numbers is None or "shape" not in filled:
        return filled
    channels, *rest = filled["shape"]
    own = {name: value for name, value in node.items() if not isinstance(value, Mapping)}
    return {**filled, "shape": (channels * numbers(**own), *rest)}
