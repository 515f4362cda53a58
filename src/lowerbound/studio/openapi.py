"""The routes described as OpenAPI 3.1, from the same annotations that check what comes in."""

import inspect
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from lowerbound.studio.guard import HEADER
from lowerbound.studio.route import Route

ERROR = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
REFUSALS = {
    "400": "What was asked for cannot be: the error says why.",
    "404": "There is no such run or image.",
    "409": "The run is not in a state that allows it, or its files are damaged.",
    "413": "The body is longer than it may be.",
}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Describe routes; what `schemathesis` tries is made from it.

    Example:
        >>> from lowerbound.studio.api import ROUTES
        >>> sorted(document(ROUTES)["paths"]["/api/alive"])
        ['get']
    """
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "lowerbound studio", "version": version("lowerbound")},
        "paths": paths,
    }


def _operation(route: Route) -> dict[str, Any]:
    refused = {
        status: {"description": words, "content": {"application/json": {"schema": ERROR}}}
        for status, words in REFUSALS.items()
    }
    return {
        "operationId": f"{route.call.__module__.rpartition('.')[2]}.{route.call.__name__}",
        "summary": (inspect.getdoc(route.call) or "").split("\n")[0],
        "parameters": _parameters(route),
        "responses": {"200": {"description": "Done.", "content": {route.gives: {}}}, **refused},
        **_body(route),
    }


def _parameters(route: Route) -> list[dict[str, Any]]:
    """Describe what stands in the path, in the query, and the header of what writes."""
    queried = route.method == "GET" or route.raw
    some = [
        {"name": name, "in": "path" if route.inside(name) else "query", "required": _needed(route, name),
         "schema": route.adapters[name].json_schema()}
        for name in route.adapters
        if route.inside(name) or queried
    ]  # fmt: skip
    if route.method == "POST":
        some.append({"name": HEADER, "in": "header", "required": True, "schema": {"const": "studio"}})
    return some


def _body(route: Route) -> dict[str, Any]:
    if route.method == "GET":
        return {}
    if route.raw:
        content: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    else:
        names = [name for name in route.adapters if not route.inside(name)]
        schema = {
            "type": "object",
            "properties": {name: route.adapters[name].json_schema() for name in names},
            "required": [name for name in names if _needed(route, name)],
            "additionalProperties": False,
        }
        content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def _needed(route: Route, name: str) -> bool:
    return route.inside(name) or route.takes[name].default is inspect.Parameter.empty
