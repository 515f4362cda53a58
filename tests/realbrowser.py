"""A real browser at a real studio: the server as its own process, Chromium without a screen."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, final

import pytest

REQUIRED = os.environ.get("LOWERBOUND_TEST_BROWSER") == "required"
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
needed = pytest.mark.skipif(CHROMIUM is None and not REQUIRED, reason="there is no Chromium: apt install chromium")


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port: int = place.getsockname()[1]
        return port


@final
class Server:
    """``lowerbound studio`` of a folder, started, killed and started again on the same port."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> str:
        """Start it; gives its link."""
        words = [
            sys.executable,
            "-m",
            "lowerbound",
            "studio",
            str(self.folder),
            "--no-browser",
            "--port",
            str(self.port),
        ]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout is not None
        said = ""
        for line in self.process.stdout:
            said += line
            if found := re.search(r"http://\S+token=\S+", line):
                return found[0]
        raise AssertionError(f"no link: {said}")

    def kill(self) -> None:
        """Kill it, as by SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


@contextmanager
def browser(**options: Any) -> Iterator[Any]:
    """Give a page; whatever its console complains of, or its policy stops, is an error at the end."""
    from playwright.sync_api import sync_playwright

    complaints: list[str] = []
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = chromium.new_context(**options).new_page()
        page.set_default_timeout(90_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.complaints = complaints
        try:
            yield page
        finally:
            chromium.close()
    refused = ("net::ERR", "status of 40")  # what a page tells in words: a server that was killed, a damaged run
    unexpected = [text for text in complaints if not any(word in text for word in refused)]
    assert not unexpected, unexpected


def until(condition: Any, seconds: float = 90.0) -> Any:
    """Wait until something holds, and give it."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(0.05)
    return found
