"""One value of a spec: plain JSON, read and checked as its annotation says."""

import inspect
import json
from functools import cache
from typing import Any

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from lowerbound.errors import UsageError


def typed(annotation: Any, value: Any) -> Any:
    """Read plain JSON as what an annotation says: a tuple where it says tuple; raises what pydantic raises."""
    return _adapter(annotation).validate_json(json.dumps(value, allow_nan=False), strict=True)


def validated(annotation: Any, value: Any, path: str) -> Any:
    """Check a value, and give it as JSON has it; raises UsageError that names its path."""
    if annotation is inspect.Parameter.empty:
        return value
    try:
        return plain(typed(annotation, value))
    except ValidationError as error:
        reason = "; or ".join(dict.fromkeys(e["msg"] for e in error.errors()))
        raise UsageError(f"{path} is {value!r}: {reason[0].lower()}{reason[1:]}.") from None
    except (TypeError, ValueError):
        raise UsageError(f"{path} is {value!r}: it must be plain JSON, and a number must be finite.") from None


def plain(value: Any) -> Any:
    """Give a value as JSON has it: lists for tuples."""
    return list(value) if isinstance(value, tuple) else value


def schema(annotation: Any) -> dict[str, Any]:
    """Give the JSON schema of an annotation; that of what is no plain JSON, or says nothing, takes everything."""
    if annotation is inspect.Parameter.empty:
        return {}
    try:
        return TypeAdapter(annotation).json_schema()
    except PydanticUserError:
        return {}


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
