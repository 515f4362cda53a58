"""The application: routes in, answers out. No mathematics is here, and none in the routes."""

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, final, get_args

import anyio
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route as Path_

from lowerbound.errors import LowerboundError, StorageError
from lowerbound.studio.api import ROUTES
from lowerbound.studio.limits import BODY
from lowerbound.studio.openapi import document
from lowerbound.studio.route import Lane, RequestError, Route, plain
from lowerbound.studio.state import Studio

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


@final
class Turns:
    """Lets one request after the other into a lane, in a thread of its own."""

    def __init__(self) -> None:
        self._limiter: anyio.CapacityLimiter | None = None

    async def run(self, call: Any, request: Request) -> Any:
        """Call when it is the request's turn, unless nobody waits for the answer any more."""
        if self._limiter is None:  # it belongs to the loop that is running
            self._limiter = anyio.CapacityLimiter(1)
        async with self._limiter:
            if await request.is_disconnected():  # the pointer is elsewhere, or the view was left
                return answer({"error": "Nobody waits for this any more."}, 499)
            return await anyio.to_thread.run_sync(call)


def application(studio: Studio) -> Starlette:
    """Make the application of a studio; `Guard` stands before it."""
    lanes = {lane: Turns() for lane in get_args(Lane)}
    pages = _static()
    routes = [Path_(route.path, _endpoint(studio, route, lanes), methods=[route.method]) for route in ROUTES]
    described = answer(document(ROUTES)).body
    routes.append(Path_("/openapi.json", _page(bytes(described), "application/json"), methods=["GET"]))
    routes += [Path_(address, _page(*found), methods=["GET"]) for address, found in pages.items()]
    return Starlette(routes=routes, exception_handlers={404: _nothing, 405: _nothing, 500: _failed})


def answer(content: Any, status: int = 200) -> Response:
    """Answer with JSON, in which every number is finite and every character survives."""
    text = json.dumps(plain(content), allow_nan=False, ensure_ascii=True)
    return Response(text, status, media_type="application/json")


def _endpoint(studio: Studio, route: Route, lanes: Mapping[Lane, Turns]) -> Any:
    async def answered(request: Request) -> Response:
        try:
            body = b"" if route.method == "GET" else await request.body()
            if not route.raw and len(body) > BODY:
                return answer({"error": f"A body of JSON may have {BODY:,} bytes."}, 413)
            arguments = route.read(request.path_params, dict(request.query_params), body)
            call = lambda: route.call(studio, **arguments)  # noqa: E731
            found = await (lanes[route.lane].run(call, request) if route.lane else run_in_threadpool(call))
            if callable(found) and not isinstance(found, Response):
                found = await run_in_threadpool(found)
        except ClientDisconnect:
            return answer({"error": "The body is longer than it may be."}, 413)
        except LowerboundError as error:
            return answer({"error": str(error)}, status_of(error))
        return found if isinstance(found, Response) else answer(found)

    return answered


def status_of(error: LowerboundError) -> int:
    """Choose HTTP's word for an error: what the user can mend is 4xx."""
    if isinstance(error, RequestError):
        return error.status
    return 409 if isinstance(error, StorageError) else 400


async def _nothing(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    words = "There is nothing at this address." if status == 404 else "This address does not take that method."
    return answer({"error": words}, status)


async def _failed(request: Request, error: Exception) -> Response:
    words = f"something failed that should not have: {type(error).__name__}: {error}"
    return answer({"error": f"{words}. The terminal of lowerbound studio has the rest."}, 500)


def _static() -> dict[str, tuple[bytes, str]]:
    """Read the page's files once: what is asked for is looked up among them, and never a path."""
    root = Path(str(files("lowerbound.studio") / "static"))
    found = {
        f"/static/{path.relative_to(root).as_posix()}": (path.read_bytes(), KINDS[path.suffix])
        for path in sorted(root.rglob("*"))
        if path.suffix in KINDS
    }
    found["/"] = found.pop("/static/index.html")
    found["/plotly.js"] = (files("plotly").joinpath("package_data/plotly.min.js").read_bytes(), KINDS[".js"])
    return found


def _page(data: bytes, kind: str) -> Any:
    async def page(request: Request) -> Response:
        return Response(data, media_type=kind)

    return page
