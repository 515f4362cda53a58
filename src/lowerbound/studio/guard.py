"""Who may come in: one browser of this machine that was given the link, from the studio's own page, and nobody else.

Every request passes `Guard`, whatever its method or protocol: its Host and its Origin must be the studio's own, it must
carry the cookie that the link's token was exchanged for, and what writes must carry the page's header, which no page of
another origin can send. Nothing is blocked by a list: what is not allowed is refused.
"""

import html
import re
import secrets
from collections.abc import Mapping
from typing import final
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lowerbound.studio.limits import BODY, UPLOAD

HEADER = "x-lowerbound"  # of what writes; a browser asks before it sends it across origins, and is never answered
READS = ("GET", "HEAD")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@final
class Guard:
    """Lets requests through to an application, or refuses them with words.

    Arguments:
        app: what it guards.
        port: where it is reached.
        token: of the first link; a new one by default.

    The token is good for one browser: it is exchanged for a cookie, and the next link has another.
    """

    def __init__(self, app: ASGIApp, port: int, token: str | None = None) -> None:
        self.app, self.port = app, port
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self.token = token or secrets.token_urlsafe(32)
        self.session = secrets.token_urlsafe(32)
        self.cookie = f"lowerbound-{port}"  # browsers keep cookies by host, not by port

    @property
    def link(self) -> str:
        """The link that lets one browser in."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refused = self.refusal(scope)
        if scope["type"] != "http":  # there is no websocket here: none is let in
            await send({"type": "websocket.close", "code": 1008})
            return
        if refused is None and (refused := self._exchange(scope)) is None:
            await self.app(scope, _bounded(receive, scope), _with_headers(send))
            return
        await refused(scope, receive, _with_headers(send))

    def refusal(self, scope: Scope) -> Response | None:
        """Say why a request may not come in, or None."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            return PlainTextResponse("The studio answers at its own address only.\n", 421)
        origins = headers.getlist("origin")
        if origins not in ([], [f"http://{hosts[0]}"]):
            return PlainTextResponse("The studio answers to its own page only.\n", 403)
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin") and scope["path"] != "/":
            return PlainTextResponse("The studio answers to its own page only.\n", 403)
        if scope.get("method") not in READS and headers.get(HEADER) != "studio":
            return PlainTextResponse(f"What writes needs the page's own header, {HEADER}: studio.\n", 403)
        length = headers.get("content-length", "0")
        if not re.fullmatch("[0-9]{1,18}", length) or int(length) > max(BODY, UPLOAD):
            return PlainTextResponse(f"A body may have {UPLOAD:,} bytes.\n", 413)
        return None

    def _exchange(self, scope: Scope) -> Response | None:
        """Let in who has the cookie; give it for a token; refuse everybody else."""
        given = cookie_parser(Headers(scope=scope).get("cookie", "")).get(self.cookie, "")
        known = _same(given, self.session)
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0] if scope["path"] == "/" else ""
        if token and scope["method"] == "GET":
            if not known and not _same(token, self.token):
                return _locked("This link was used already, or is of a studio that has ended.")
            answer = RedirectResponse("/", 303)
            if not known:
                self.token = secrets.token_urlsafe(32)
                answer.set_cookie(self.cookie, self.session, httponly=True, samesite="strict", path="/")
                print(f"A browser came in. For another one: {self.link}", flush=True)
            return answer
        if known:
            return None
        if scope["path"] == "/":
            return _locked("This browser was not let in yet.")
        return PlainTextResponse("Open the link that lowerbound studio printed.\n", 401)


def _same(given: str, known: str) -> bool:
    return secrets.compare_digest(given.encode("utf-8", "surrogateescape"), known.encode())


def _locked(why: str) -> Response:
    text = (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<title>lowerbound studio</title><style>body{font:16px/1.6 system-ui,sans-serif;max-width:34rem;"
        "margin:15vh auto;padding:0 1rem;color-scheme:light dark}</style><main><h1>The studio is locked</h1>"
        f"<p>{html.escape(why)}</p><p>Open the newest link that <code>lowerbound studio</code> printed where it runs. "
        "It lets one browser in.</p></main></html>"
    )
    return HTMLResponse(text, 403)


def _with_headers(send: Send) -> Send:
    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            more = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in there]
            message["headers"] = [*message["headers"], *more]
        await send(message)

    return answer


def _bounded(receive: Receive, scope: Mapping[str, object]) -> Receive:
    """Stop reading a body that is longer than it may be, whatever length it claimed."""
    seen = 0

    async def read() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if seen > UPLOAD else message

    return read
