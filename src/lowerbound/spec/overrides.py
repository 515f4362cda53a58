"""One spec laid over another, and single settings as ``--set`` gives them."""

import copy
import json
from collections.abc import Mapping
from typing import Any

from lowerbound.errors import UsageError, nearest
from lowerbound.spec.registry import Spec


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
