"""A route is a function whose annotations say what it takes: requests are read, checked and described by them."""

import inspect
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, final

from pydantic import TypeAdapter, ValidationError

from lowerbound.errors import LowerboundError
from lowerbound.studio.limits import DEPTH

Call = Callable[..., Any]
Lane = Literal["model", "plan"]


class RequestError(LowerboundError):
    """A request that is not what the route takes; ``status`` is HTTP's."""

    status = 400


@final
class MissingError(RequestError):
    """A run, an image or a file that is not here (any more)."""

    status = 404


@final
@dataclass(frozen=True)
class Route:
    """A method, a path with ``{names}``, and the function that answers.

    Its first argument is the `Studio`; those in the path come from there, all others from the query of a GET and from
    the JSON body of a POST. An argument ``body`` of bytes takes the body as it is. It gives JSON, or a response, or a
    function that gives either when its lane is free for others again.

    Arguments:
        method: GET reads; POST needs the page's own header.
        path: such as ``/api/runs/{run}/decode``.
        call: the function.
        lane: what it works with, the model or a model that is planned: such requests are answered one after the other.
        gives: the media type of its answer.
    """

    method: Literal["GET", "POST"]
    path: str
    call: Call
    lane: Lane | None
    gives: str

    @cached_property
    def takes(self) -> dict[str, inspect.Parameter]:
        """The arguments, but for the studio."""
        _, *rest = inspect.signature(self.call).parameters.values()
        return {parameter.name: parameter for parameter in rest}

    @cached_property
    def raw(self) -> bool:
        """Whether it takes the body as it is."""
        return "body" in self.takes

    @cached_property
    def adapters(self) -> dict[str, Any]:
        """What checks each argument."""
        return {name: TypeAdapter(p.annotation) for name, p in self.takes.items() if name != "body"}

    def inside(self, name: str) -> bool:
        """Whether an argument stands in the path."""
        return f"{{{name}}}" in self.path

    def read(self, path: Mapping[str, str], query: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Check a request; gives the call's arguments, or raises RequestError that names the one which is wrong."""
        asked: dict[str, Any] = dict(query)
        if self.method == "POST" and not self.raw:
            asked = _object(body)
        unknown = [name for name in asked if name not in self.adapters or self.inside(name)]
        if unknown:
            raise RequestError(f"{self.path} takes no {unknown[0]!r}.")
        given = {**asked, **path}
        strict = self.method == "POST" and not self.raw
        done: dict[str, Any] = {"body": body} if self.raw else {}
        for name, adapter in self.adapters.items():
            if name in given:
                done[name] = _checked(adapter, name, given[name], strict and not self.inside(name))
            elif self.takes[name].default is inspect.Parameter.empty:
                raise RequestError(f"{self.path} needs {name!r}.")
        return done


def _checked(adapter: Any, name: str, value: Any, strict: bool) -> Any:
    try:
        if strict:
            return adapter.validate_json(json.dumps(value, allow_nan=False), strict=True)
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise RequestError(f"{'.'.join(map(str, (name, *first['loc'])))}: {first['msg'].lower()}.") from None
    except (ValueError, OverflowError):
        raise RequestError(f"{name}: a number must be finite.") from None


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise RequestError("The body is not JSON.") from None
    if not isinstance(found, dict):
        raise RequestError("The body must be a JSON object.")
    if _depth(found) > DEPTH:
        raise RequestError(f"The body's JSON is nested more than {DEPTH} deep.")
    return found


def _depth(node: Any) -> int:
    """Count how deep lists and objects stand in one another, level by level: a body may be nested without end."""
    depth, level = 0, [node]
    while level:
        depth += 1
        inner = [list(n.values()) if isinstance(n, dict) else n for n in level if isinstance(n, dict | list)]
        level = [one for some in inner for one in some]
    return depth - 1


def plain(value: Any) -> Any:
    """Give what JSON takes: numbers that are not finite become null.

    Example:
        >>> plain({"rate": float("nan"), "z": (1.0, float("inf"))})
        {'rate': None, 'z': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def get(path: str, *, lane: Lane | None = None, gives: str = "application/json") -> Callable[[Call], Route]:
    """Make a route that reads; a decorator."""
    return lambda call: Route("GET", path, call, lane, gives)


def post(path: str, *, lane: Lane | None = None, gives: str = "application/json") -> Callable[[Call], Route]:
    """Make a route that changes something, or that takes more than a query holds; a decorator."""
    return lambda call: Route("POST", path, call, lane, gives)
