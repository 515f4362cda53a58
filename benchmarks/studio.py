"""The studio: from a request to decode to its answer, and from a pointer's move to the pixels that follow it.

python benchmarks/studio.py decode      # two minutes; the browser's part needs playwright and chromium
"""

import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import save

MOVES = 200
WARM = 20
PROGRAM = [sys.executable, "-m", "lowerbound"]
WRITES = {"X-Lowerbound": "studio", "Content-Type": "application/json"}

# in the page: when the newest pointer event came, and when the decoded image was drawn after it
WATCH = """
window.moves = []; let since = null;
addEventListener("input", (event) => { if (event.target.type === "range") since = event.timeStamp; }, true);
const draw = CanvasRenderingContext2D.prototype.drawImage;
CanvasRenderingContext2D.prototype.drawImage = function (...what) {
  draw.apply(this, what);
  if (since !== null && this.canvas.getAttribute("aria-label")?.includes("z decodes to")) {
    window.moves.push(performance.now() - since);
    since = null;
  }
};
"""


@contextmanager
def studio(folder: Path) -> Iterator[str]:
    """Run the real command; gives the link that lets one browser in."""
    command = [*PROGRAM, "studio", str(folder), "--no-browser", "--port", "8804"]
    unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=unbuffered) as process:
        try:
            yield next(found[0] for line in process.stdout or () if (found := re.search(r"http://\S+token=\S+", line)))
        finally:
            process.terminate()


@contextmanager
def connection(link: str) -> Iterator[tuple[http.client.HTTPConnection, dict[str, str]]]:
    """Open one connection that is let in, and give the headers that it needs."""
    host, token = re.fullmatch(r"http://([^/]+)(/.*)", link).groups()  # type: ignore[union-attr]
    line = http.client.HTTPConnection(host)
    line.request("GET", token)
    with line.getresponse() as answer:
        answer.read()
        cookie = str(answer.getheader("Set-Cookie")).split(";")[0]
    yield line, {**WRITES, "Cookie": cookie}
    line.close()


def asked(line: http.client.HTTPConnection, headers: dict[str, str], path: str, body: Any = None) -> Any:
    """Ask for JSON."""
    line.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers)
    with line.getresponse() as answer:
        return json.loads(answer.read())


def requests(link: str) -> list[float]:
    """Time requests to decode, one after the other on one connection, in milliseconds."""
    taken = []
    with connection(link) as (line, headers):
        run = asked(line, headers, "/api/runs")["runs"][0]["id"]
        latents = len(asked(line, headers, f"/api/runs/{run}/model")["latents"])
        for i in range(MOVES + WARM):
            z = [[((i * (k + 3)) % 100) / 25 - 2 for k in range(latents)]]
            begun = time.perf_counter()
            asked(line, headers, f"/api/runs/{run}/decode", {"z": z})
            taken.append(1000 * (time.perf_counter() - begun))
    return taken[WARM:]


def moves(link: str) -> list[float]:
    """Time moves of a slider in chromium, from each event to the pixels that follow it, in milliseconds."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(WATCH)
        page.goto(link)
        run = page.evaluate("fetch('/api/runs').then((answer) => answer.json())")["runs"][0]["id"]
        page.goto(page.url.split("#")[0] + f"#/explore/{run}")
        page.wait_for_selector(".map-legend button", timeout=120_000)  # the codes of the map are there
        page.wait_for_timeout(2000)
        box = page.locator(".latents input").first.bounding_box()
        assert box is not None
        x, y = box["x"], box["y"] + box["height"] / 2
        page.mouse.move(x + box["width"] / 2, y)
        page.mouse.down()
        for i in range(MOVES + WARM):  # to and fro, by a step of the slider at least
            there = abs((3 * i) % 200 - 100) / 100
            page.mouse.move(x + 8 + there * (box["width"] - 16), y)
            page.wait_for_timeout(30)
        page.mouse.up()
        page.wait_for_timeout(500)
        found: list[float] = page.evaluate("window.moves")
        browser.close()
    return found[WARM:]


def told(taken: list[float]) -> dict[str, Any]:
    """Give the median and the 95th percentile."""
    cuts = statistics.quantiles(taken, n=20)
    return {"count": len(taken), "median": round(statistics.median(taken), 2), "p95": round(cuts[-1], 2)}


def decode(runs: Path | None = None) -> None:
    """Measure decoding with the default model, trained for a moment: its weights do not change what it costs."""
    with tempfile.TemporaryDirectory() as folder:
        if runs is None:
            subprocess.run([*PROGRAM, "train", "--epochs", "0.1", "--out", f"{folder}/run"], check=True)
        with studio(runs or Path(folder)) as link:
            answers = told(requests(link))
        with studio(runs or Path(folder)) as link:
            pixels = told(moves(link))
    save("studio-decode", {"milliseconds": {"request to answer": answers, "pointer event to pixels": pixels}})


COMMANDS = {"decode": decode}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*map(Path, sys.argv[2:]))
