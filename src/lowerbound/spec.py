"""A spec is plain JSON; here it is checked against the constructors' annotations and turned into objects.

Every node names its ``kind``, looked up in an explicit registry: never an import path. The other keys are the
constructor's arguments; what it needs to know of the data (`FILLED`) is filled in.
"""

import copy
import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, final, get_args, get_origin

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from lowerbound import after, likelihood, nets, posterior, prior, rng
from lowerbound.data import SOURCES, Source
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
    Objective,
    Renyi,
    Sliced,
    TotalCorrelationCritic,
    WakeSleep,
    weight,
)
from lowerbound.train import Plan
from lowerbound.vae import VAE, Model

Spec = dict[str, Any]
Constructor = Callable[..., Any]

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
COMMON = {  # arguments that many constructors share, said once
    "net": "the network and its arguments",
    "hidden": "the widths of the hidden layers",
    "activation": "the function after each hidden layer",
    "norm": "normalisation of each layer over the batch or over the example, or none",
    "dropout": "the fraction of each hidden layer that is dropped in training",
    "binarise": "how pixels become 0 or 1: not at all, drawn anew for each batch, drawn once, or cut at ½",
    "dequantise": "whether uniform noise of one level is added to bytes, (x + u) / 256: densities then count in bits",
    "validation": "how many images (or which fraction) are cut from train for validation",
    "test": "how many images (or which fraction) are kept for the test",
    "n": "how many points are made",
    "noise": "the standard deviation of what is added to each coordinate",
    "seed": "of the points, not of the training",
    "end": "the value that is asked for",
}
WORDS: dict[Any, str] = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}
SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
TOP = ("data", "latents", "model", "objective", "train", "fit", "seed")


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


@final
@dataclass(frozen=True)
class Field:
    """One argument of a kind, as help texts and forms show it."""

    name: str
    type: str
    default: Any
    required: bool
    help: str
    node: str | None  # the registry of the node that stands there, if one does
    named: bool  # whether nodes stand there, each under a name
    schema: dict[str, Any]  # the JSON schema of the values; of a node there is none


def describe(registry: str, kind: str) -> list[Field]:
    """List the arguments of a kind, with the help of its docstring.

    Example:
        >>> [field.name for field in describe("weight", "linear")]
        ['end', 'start', 'until']
    """
    constructor = lookup(registry, kind, registry)
    helps = _helps(inspect.getdoc(constructor) or "")
    return [
        Field(
            name,
            _type_name(p.annotation),
            None if p.default is p.empty else _plain(p.default),
            p.default is p.empty,
            helps.get(name, COMMON.get(name, "")),
            CHILDREN.get((registry, name)),
            (registry, name) in NAMED,
            {} if (registry, name) in CHILDREN else _schema(p.annotation),
        )
        for name, p in _arguments(constructor).items()
        if name not in FILLED
    ]


def _schema(annotation: Any) -> dict[str, Any]:
    """Give the JSON schema of an annotation; that of what is no plain JSON, or says nothing, takes everything."""
    if annotation is inspect.Parameter.empty:
        return {}
    try:
        return TypeAdapter(annotation).json_schema()
    except PydanticUserError:
        return {}


def _helps(doc: str) -> dict[str, str]:
    section = re.search(r"Arguments:\n((?:[ ]+.*\n?|\n)+)", doc)
    entries = re.findall(r"^    (\w[\w, ]*): (.*(?:\n {8,}.*)*)", section[1], re.M) if section else []
    return {
        name.strip(): re.sub(r"\s+", " ", text.replace("\\*", "*"))
        for names, text in entries
        for name in names.split(",")
    }


def _type_name(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return "any"
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bounded(_type_name(inner[0]), inner[1:])
    if origin is Literal:
        return " or ".join(json.dumps(word) for word in inner)
    if origin in (Union, UnionType):
        return " or ".join(map(_type_name, inner))
    if origin is tuple:
        return f"list of {len(inner)}, each {_type_name(inner[0])}"
    if isinstance(origin, type) and inner:
        return f"{'names' if issubclass(origin, Mapping) else 'list'}, each {_type_name(inner[-1])}"
    return WORDS.get(annotation) or str(getattr(annotation, "__name__", annotation))


def _bounded(name: str, bounds: Iterable[Any]) -> str:
    """Add to a type's name the bounds of its values, or how many there are in a list."""
    said = []
    for bound in bounds:
        said += [f"{sign} {getattr(bound, key)}" for key, sign in SIGNS.items() if hasattr(bound, key)]
        least, most = getattr(bound, "min_length", None), getattr(bound, "max_length", None)
        if least is not None:
            name = name.replace("list", f"list of {least}" if least == most else f"list of {least} or more", 1)
    return f"{name} {' and '.join(said)}".strip()


@cache
def _arguments(constructor: Constructor) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(constructor).parameters
    return {name: p for name, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def lookup(registry: str, kind: Any, path: str) -> Constructor:
    """Find a kind's constructor; raises UsageError that names the nearest known kind."""
    known = REGISTRIES[registry]
    if not isinstance(kind, str) or kind not in known:
        raise UsageError(
            f"{path}: there is no {registry} {kind!r}; {nearest(str(kind), list(known))} "
            f"An own part must be registered first: lowerbound.register({registry!r}, {str(kind)!r})."
        )
    return known[kind]


def complete(registry: str, node: Any, path: str) -> Spec:
    """Check a node and those below it, and write every default out; raises UsageError that names the path."""
    if not isinstance(node, Mapping):
        raise UsageError(f"{path}: expected a node such as {{'kind': …}}, not {node!r}.")
    kind = "plan" if registry == "train" else node.get("kind")
    arguments = _arguments(lookup(registry, kind, path))
    for key in node:
        if (key not in arguments or key in FILLED) and not (key == "kind" and registry != "train"):
            known = [name for name in arguments if name not in FILLED]
            raise UsageError(f"{path}.{key}: {kind!r} has no such key; {nearest(key, known)}")
    done: Spec = {} if registry == "train" else {"kind": kind}
    for name, parameter in arguments.items():
        if name in node:
            done[name] = _value(registry, name, parameter.annotation, node[name], f"{path}.{name}")
        elif parameter.default is not parameter.empty and name not in FILLED:
            done[name] = _plain(parameter.default)
        elif name not in FILLED:
            raise UsageError(f"{path}.{name} is missing: {kind!r} needs it.")
    return done


def _value(registry: str, name: str, annotation: Any, value: Any, path: str) -> Any:
    child = CHILDREN.get((registry, name))
    if child and (registry, name) in NAMED:
        if not isinstance(value, Mapping):
            raise UsageError(f"{path} is {value!r}: expected a mapping of names to nodes.")
        return {key: complete(child, node, f"{path}.{key}") for key, node in value.items()}
    if child == "weight" and not isinstance(value, Mapping):
        return _validated(weight.NonNegative, value, path)
    if child:
        return complete(child, value, path)
    return _validated(annotation, value, path)


def _validated(annotation: Any, value: Any, path: str) -> Any:
    if annotation is inspect.Parameter.empty:
        return value
    try:
        return _plain(typed(annotation, value))
    except ValidationError as error:
        reason = "; or ".join(dict.fromkeys(e["msg"] for e in error.errors()))
        raise UsageError(f"{path} is {value!r}: {reason[0].lower()}{reason[1:]}.") from None
    except (TypeError, ValueError):
        raise UsageError(f"{path} is {value!r}: it must be plain JSON, and a number must be finite.") from None


def typed(annotation: Any, value: Any) -> Any:
    """Read plain JSON as what an annotation says: a tuple where it says tuple; raises what pydantic raises."""
    return _adapter(annotation).validate_json(json.dumps(value, allow_nan=False), strict=True)


def _adapter(annotation: Any) -> Any:
    """Make what reads an annotation; once for each that can be looked up, since it takes long."""
    try:
        hash(annotation)
    except TypeError:
        return TypeAdapter(annotation)
    return _kept(annotation)


@cache
def _kept(annotation: Any) -> Any:
    return TypeAdapter(annotation)


def _plain(value: Any) -> Any:
    """Give a default as JSON has it: lists for tuples."""
    return list(value) if isinstance(value, tuple) else value


def check(spec: Mapping[str, Any]) -> Spec:
    """Check a whole spec and write every default out; raises UsageError."""
    for key in spec:
        if key not in TOP:
            raise UsageError(f"{key}: a spec has no such key; {nearest(key, list(TOP))}")
    for key in TOP:
        if key not in spec and key != "fit":  # specs are older than it
            raise UsageError(f"{key}: missing from the spec.")
    for key, least in (("latents", 1), ("seed", 0)):
        if not isinstance(spec[key], int) or isinstance(spec[key], bool) or spec[key] < least:
            raise UsageError(f"{key} is {spec[key]!r}: it must be a whole number of at least {least}.")
    own = {"kind": "own"}
    done = {
        "data": own if spec["data"] == own else complete("data", spec["data"], "data"),
        "latents": spec["latents"],
        "model": own if spec["model"] == own else complete("model", spec["model"], "model"),
        "objective": complete("objective", spec["objective"], "objective"),
        "train": complete("train", spec["train"], "train"),
        "fit": None if spec.get("fit") is None else complete("fit", spec["fit"], "fit"),
        "seed": spec["seed"],
    }
    return done


def construct(registry: str, node: Mapping[str, Any], filled: Mapping[str, Any]) -> Any:
    """Make the object of a checked node, the nodes below it first."""
    constructor = lookup(registry, "plan" if registry == "train" else node["kind"], registry)
    arguments: dict[str, Any] = {}
    for name, parameter in _arguments(constructor).items():
        child, value = CHILDREN.get((registry, name)), node.get(name)
        if name not in node:
            if name in filled:
                arguments[name] = filled[name]
        elif child and (registry, name) in NAMED and value is not None:
            arguments[name] = {key: construct(child, part, filled) for key, part in node[name].items()}
        elif child and isinstance(value, Mapping):
            arguments[name] = construct(child, value, _below(constructor, node, filled))
        else:
            arguments[name] = (
                value if child or parameter.annotation is parameter.empty else typed(parameter.annotation, value)
            )
    return constructor(**arguments)


def _below(constructor: Constructor, node: Mapping[str, Any], filled: Mapping[str, Any]) -> Mapping[str, Any]:
    """Say what is filled in below a node: a likelihood of several numbers a pixel needs as many times the channels."""
    numbers = getattr(constructor, "numbers", None)
    if numbers is None or "shape" not in filled:
        return filled
    channels, *rest = filled["shape"]
    own = {name: value for name, value in node.items() if not isinstance(value, Mapping)}
    return {**filled, "shape": (channels * numbers(**own), *rest)}


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


def build(spec: Mapping[str, Any]) -> tuple[Model, Objective, Source]:
    """Turn a spec into the model, the objective and the data; raises UsageError or DataError."""
    done = check(spec)
    source = build_source(done)
    images = len(source.train)
    total = construct("train", done["train"], {}).steps(images)
    return build_model(done, source.shape, source.unit), build_objective(done, total, images), source


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Spec:
    """Lay one spec over another: a new ``kind`` replaces the whole node, null removes one.

    Example:
        >>> merge({"net": {"kind": "conv", "channels": [32]}}, {"net": {"kind": "mlp"}})
        {'net': {'kind': 'mlp'}}
    """
    done = dict(copy.deepcopy(dict(base)))
    for key, value in over.items():
        old = done.get(key)
        if isinstance(old, Mapping) and value is None:
            del done[key]
        elif isinstance(old, Mapping) and isinstance(value, Mapping) and value.get("kind") in (None, old.get("kind")):
            done[key] = merge(old, value)
        else:
            done[key] = copy.deepcopy(value)
    return done


def assign(spec: Mapping[str, Any], assignment: str) -> Spec:
    """Apply ``path=value``, as ``--set`` gives it; the value is JSON, or else a string. Raises UsageError.

    Setting a node's ``kind`` resets its other arguments.

    Example:
        >>> assign({"a": {"kind": "x", "b": 1}}, "a.b=2.5")
        {'a': {'kind': 'x', 'b': 2.5}}
    """
    path, equals, text = assignment.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise UsageError(f"--set {assignment!r}: write it as path=value, such as objective.terms.kl.weight=4.")
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    node: Any = spec
    for depth, key in enumerate(keys[:-1]):
        if not isinstance(node, Mapping) or key not in node:
            known = list(node) if isinstance(node, Mapping) else []
            raise UsageError(f"--set {assignment!r}: no {'.'.join(keys[: depth + 1])!r}; {nearest(key, known)}")
        node = node[key]
    over: Any = value
    for key in reversed(keys):
        over = {key: over}
    return merge(spec, over)
