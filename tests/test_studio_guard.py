"""Who may come in to the studio: the matrix of methods, hosts, origins, tokens and headers, and what a body may be."""

import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from lowerbound.studio.api import ROUTES
from lowerbound.studio.app import application
from lowerbound.studio.guard import POLICY, Guard
from lowerbound.studio.limits import BODY, UPLOAD
from lowerbound.studio.state import Studio
from studiopage import PORT, WRITES, visitor

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"]
OWN = f"127.0.0.1:{PORT}"
HOSTS = [
    "evil.example",
    "localhost.evil.example",
    f"localhost.evil.example:{PORT}",
    "",
    "127.0.0.1",
    f"127.0.0.1:{PORT + 1}",
    "[::1]",
    f"[::1]:{PORT}",
    f"0.0.0.0:{PORT}",
    f"127.0.0.1.:{PORT}",
    f"127.1:{PORT}",
    f"2130706433:{PORT}",
    f"{OWN}@evil.example",
]
ORIGINS = [
    "null",
    "http://evil.example",
    f"https://{OWN}",
    f"http://127.0.0.1:{PORT + 1}",
    f"http://{OWN}.evil.example",
    "file://",
]
PATHS = ["/", "/api/runs", "/api/alive", "/static/app.js", "/plotly.js", "/openapi.json", "/nothing"]


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Guard:
    return Guard(application(Studio(tmp_path_factory.mktemp("runs"))), PORT)


def client_of(guard: Guard, **headers: str) -> TestClient:
    return TestClient(guard, base_url=f"http://{OWN}", headers=headers, follow_redirects=False)


@pytest.fixture(scope="module")
def known(guard: Guard) -> Iterator[TestClient]:
    with client_of(guard, **WRITES) as client:
        client.cookies.set(guard.cookie, guard.session)
        yield client


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("host", HOSTS)
def test_no_other_host_is_answered(known: TestClient, method: str, host: str) -> None:
    """A page whose name is made to resolve to this machine (DNS rebinding) gets nothing, even with the cookie."""
    for path in PATHS:
        assert known.request(method, path, headers={"Host": host}).status_code == 421


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("origin", ORIGINS)
def test_no_other_origin_is_answered(known: TestClient, method: str, origin: str) -> None:
    for path in PATHS:
        assert known.request(method, path, headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("cookie", [None, "", "wrong", "token", "é"])
def test_nobody_comes_in_without_the_cookie(guard: Guard, method: str, cookie: str | None) -> None:
    with client_of(guard, **WRITES) as client:
        headers = {} if cookie is None else {"Cookie": f"{guard.cookie}={cookie}".encode()}
        for path in PATHS:
            found = client.request(method, path, headers=headers)
            assert found.status_code in (401, 403)
            assert guard.token not in found.text
            assert guard.session not in found.text


@pytest.mark.parametrize("method", [method for method in METHODS if method not in ("GET", "HEAD")])
def test_what_writes_needs_the_header_of_the_page(known: TestClient, method: str) -> None:
    for header in ({"X-Lowerbound": ""}, {"X-Lowerbound": "other"}):
        for path in PATHS:
            assert known.request(method, path, headers=header).status_code == 403


def test_every_route_is_behind_the_guard(guard: Guard, known: TestClient) -> None:
    with client_of(guard, **WRITES) as stranger:
        for route in ROUTES:
            path = route.path.replace("{run}", "0" * 12)
            assert stranger.request(route.method, path).status_code == 401
            assert known.request(route.method, path, headers={"Host": "evil.example"}).status_code == 421
            other = "POST" if route.method == "GET" else "DELETE"
            assert known.request(other, path).status_code in (400, 404, 405)


def test_the_link_lets_one_browser_in_and_leaves_the_url(guard: Guard, capsys: pytest.CaptureFixture[str]) -> None:
    token = guard.token
    with client_of(guard) as first:
        found = first.get("/", params={"token": token})
        assert (found.status_code, found.headers["location"]) == (303, "/")
        cookie = found.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert "Path=/" in cookie
        assert "token" not in found.headers["location"]
        assert token not in first.get("/").text
        assert first.get("/api/alive").status_code == 200
        assert first.get("/", params={"token": token}).status_code == 303  # its own link again does no harm
    with client_of(guard) as second:
        assert second.get("/", params={"token": token}).status_code == 403  # used
        assert second.get("/api/alive").status_code == 401
        assert guard.token != token
        assert guard.link in capsys.readouterr().out
        assert second.get("/", params={"token": guard.token}).status_code == 303


def test_a_studio_that_is_started_anew_knows_nobody(tmp_path: Path) -> None:
    guards = [Guard(application(Studio(tmp_path)), PORT) for _ in range(2)]
    with client_of(guards[1]) as client:
        client.cookies.set(guards[0].cookie, guards[0].session)
        assert client.get("/api/alive").status_code == 401
        assert client.get("/", params={"token": guards[0].token}).status_code == 403


def test_a_token_is_good_at_the_first_page_only(guard: Guard) -> None:
    with client_of(guard) as client:
        assert client.get("/api/alive", params={"token": guard.token}).status_code == 401
        assert client.post("/", params={"token": guard.token}, headers=WRITES).status_code == 403
        assert client.get("/", params={"token": guard.token[:-1]}).status_code == 403


def test_another_site_cannot_ask_for_a_file_of_the_page(known: TestClient) -> None:
    """A script or an image of another site carries no Origin; browsers say where it comes from."""
    for site in ("cross-site", "same-site"):
        for path in PATHS[1:]:
            assert known.get(path, headers={"Sec-Fetch-Site": site}).status_code == 403


def test_websockets_are_refused(known: TestClient) -> None:
    for headers in ({}, {"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        with pytest.raises(WebSocketDisconnect), known.websocket_connect("/api/runs", headers=headers):
            pass


def test_every_answer_carries_the_policy(guard: Guard, known: TestClient) -> None:
    with client_of(guard) as stranger:
        answers = [client.get(path) for client in (known, stranger) for path in PATHS]
    answers.append(known.get("/", headers={"Host": "evil.example"}))
    for found in answers:
        assert found.headers["content-security-policy"] == POLICY
        assert found.headers["referrer-policy"] == "no-referrer"
        assert found.headers["x-content-type-options"] == "nosniff"
        assert not any(name.startswith("access-control-") for name in found.headers)
    scripts = next(part for part in POLICY.split("; ") if part.startswith("script-src"))
    assert scripts == "script-src 'self'"
    assert POLICY.startswith("default-src 'none'")


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/%252e%252e/app.py",
        "/static/..\\app.py",
        "/static//etc/passwd",
        "/etc/passwd",
        "/static/app.js%00",
        "/static/" + "a" * 4000,
        "/api/runs/../../etc/passwd",
        "/api/runs/..%2f..%2fspec.json",
        "/api/runs/%00",
        "/api/runs/" + "0" * 12,
        "/api/runs/<script>",
    ],
)
def test_no_path_leads_out(known: TestClient, path: str) -> None:
    assert known.get(path).status_code in (400, 404)


def test_bodies_are_bounded(guard: Guard, known: TestClient) -> None:
    path = f"/api/runs/{'0' * 12}/decode"
    assert known.post(path, content=b" " * (BODY + 1)).status_code == 413
    assert known.post(path, content=b"", headers={"Content-Length": str(UPLOAD + 1)}).status_code == 413
    assert known.post(path, content=b"", headers={"Content-Length": "-1"}).status_code == 413
    chunks = (b" " * 65536 for _ in range(UPLOAD // 65536 + 2))  # a length that is not said
    assert known.post(path, content=chunks).status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"z": [[NaN]]}',
        b'{"z": [[1e400]]}',
        b'{"z": [[1e308]]}',
        b'{"z": [[-1e308]]}',
        b'{"z": "0"}',
        b'{"z": [["0"]]}',
        b'{"z": [[true]]}',
        b'{"z": []}',
        b'{"z": [[]]}',
        b'{"z": [[0]], "path": "/etc/passwd"}',
        b"\xff\xfe",
        b'{"z": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"z": [[' + b"9" * 5000 + b"]]}",
        b'{"z\\ud800": 1}',
        json.dumps({"z": [[0.0]] * 1_000}).encode(),
        json.dumps({"z": [[0.0] * 10_000]}).encode(),
        b'{"z": {"__proto__": 1}}',
    ],
)
def test_numbers_and_lists_are_bounded(known: TestClient, body: bytes) -> None:
    found = known.post(f"/api/runs/{'0' * 12}/decode", content=body)
    assert found.status_code == 400
    assert found.json()["error"]


def test_a_good_request_passes_the_same_checks(tmp_path: Path) -> None:
    """What the tests above refuse is refused for its fault: here nothing is wrong but that there is no such run."""
    with visitor(tmp_path) as client:
        for origin in ({}, {"Origin": f"http://{OWN}"}):
            assert client.post(f"/api/runs/{'0' * 12}/decode", json={"z": [[0.0]]}, headers=origin).status_code == 404


def test_only_this_machine_is_listened_to() -> None:
    from lowerbound.studio.command import bound

    with bound(None) as place:
        assert place.getsockname()[0] == "127.0.0.1"
        assert struct.pack("!I", 0x7F000001) == socket.inet_aton(place.getsockname()[0])
