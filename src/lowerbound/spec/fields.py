"""The arguments of a kind in words, as help texts, pages and forms show them."""

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, final, get_args, get_origin

from lowerbound.spec.registry import CHILDREN, FILLED, NAMED, lookup, parameters
from lowerbound.spec.values import plain, schema

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
            None if p.default is p.empty else plain(p.default),
            p.default is p.empty,
            helps.get(name, COMMON.get(name, "")),
            CHILDREN.get((registry, name)),
            (registry, name) in NAMED,
            {} if (registry, name) in CHILDREN else schema(p.annotation),
        )
        for name, p in parameters(constructor).items()
        if name not in FILLED
    ]


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
