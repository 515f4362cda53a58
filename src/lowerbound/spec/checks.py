"""A spec that was written is checked against the constructors' annotations, and every default is written out."""

from collections.abc import Mapping
from typing import Any

from lowerbound.errors import UsageError, nearest
from lowerbound.objective.weight import NonNegative
from lowerbound.spec.registry import CHILDREN, FILLED, NAMED, OWN, Spec, lookup, parameters
from lowerbound.spec.values import plain, validated

TOP = ("data", "latents", "model", "objective", "train", "fit", "seed")


def check(spec: Mapping[str, Any]) -> Spec:
    """Check a whole spec and write every default out; raises UsageError."""
    _check_top(spec)
    return {
        "data": {**OWN} if spec["data"] == OWN else complete("data", spec["data"], "data"),
        "latents": spec["latents"],
        "model": {**OWN} if spec["model"] == OWN else complete("model", spec["model"], "model"),
        "objective": complete("objective", spec["objective"], "objective"),
        "train": complete("train", spec["train"], "train"),
        "fit": None if spec.get("fit") is None else complete("fit", spec["fit"], "fit"),
        "seed": spec["seed"],
    }


def _check_top(spec: Mapping[str, Any]) -> None:
    """Refuse a spec that has other keys than a spec has, or whose numbers are none."""
    for key in spec:
        if key not in TOP:
            raise UsageError(f"{key}: a spec has no such key; {nearest(key, list(TOP))}")
    for key in TOP:
        if key not in spec and key != "fit":  # specs are older than it
            raise UsageError(f"{key}: missing from the spec.")
    for key, least in (("latents", 1), ("seed", 0)):
        if not isinstance(spec[key], int) or isinstance(spec[key], bool) or spec[key] < least:
            raise UsageError(f"{key} is {spec[key]!r}: it must be a whole number of at least {least}.")


def complete(registry: str, node: Any, path: str) -> Spec:
    """Check a node and those below it, and write every default out; raises UsageError that names the path."""
    if not isinstance(node, Mapping):
        raise UsageError(f"{path}: expected a node such as {{'kind': …}}, not {node!r}.")
    done: Spec = {} if registry == "train" else {"kind": node.get("kind")}
    kind = done.get("kind", "plan")
    taken = {name: p for name, p in parameters(lookup(registry, kind, path)).items() if name not in FILLED}
    for key in node:
        if key not in taken and key not in done:
            raise UsageError(f"{path}.{key}: {kind!r} has no such key; {nearest(key, list(taken))}")
    for name, parameter in taken.items():
        if name in node:
            done[name] = _value(registry, name, parameter.annotation, node[name], f"{path}.{name}")
        elif parameter.default is not parameter.empty:
            done[name] = plain(parameter.default)
        else:
            raise UsageError(f"{path}.{name} is missing: {kind!r} needs it.")
    return done


def _value(registry: str, name: str, annotation: Any, value: Any, path: str) -> Any:
    child = CHILDREN.get((registry, name))
    if child and (registry, name) in NAMED:
        if not isinstance(value, Mapping):
            raise UsageError(f"{path} is {value!r}: expected a mapping of names to nodes.")
        return {key: complete(child, node, f"{path}.{key}") for key, node in value.items()}
    if child == "weight" and not isinstance(value, Mapping):
        return validated(NonNegative, value, path)
    if child:
        return complete(child, value, path)
    return validated(annotation, value, path)
