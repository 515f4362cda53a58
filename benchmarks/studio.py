"""The studio: from a request to decode to its answer, from a pointer's move to the pixels that follow it, and the map.

python benchmarks/studio.py decode      # two minutes; the browser's part needs playwright and chromium
python benchmarks/studio.py map         # four minutes; a map of 70,000 points under a hand that pans, zooms and hovers
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from common import save

MOVES = 200
WARM = 20
PROGRAM = [sys.executable, "-m", "lowerbound"]
WRITES = {"X-Lowerbound": "studio", "Content-Type": "application/json"}

# in the page: when the newest pointer event came, and when the decoded image was drawn after it
WATCH = """
window.moves = []; let since = null;
const slid = ({ type }) => type === "range", over = ({ className }) => className === "map-stage";
for (const [name, ours] of Object.entries({ input: slid, pointermove: over }))
  addEventListener(name, (event) => { if (ours(event.target)) since = event.timeStamp; }, true);
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


@contextmanager
def explored(link: str, state: str = "", script: str = "", ratio: int = 1) -> Iterator[Any]:
    """Open the view Explore of the only run in chromium, with a script before the page's own; its map is there.

    The screen has ``ratio`` of its own pixels along each of the page's.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 900}, device_scale_factor=ratio)
        page.add_init_script(script)
        page.goto(link)
        run = page.evaluate("fetch('/api/runs').then((answer) => answer.json())")["runs"][0]["id"]
        page.goto(page.url.split("#")[0] + f"#/explore/{run}{state}")
        page.wait_for_selector(".map-legend button", timeout=240_000)  # the codes of the map are there
        page.wait_for_timeout(2000)
        yield page
        browser.close()


def moves(link: str) -> list[float]:
    """Time moves of a slider in chromium, from each event to the pixels that follow it, in milliseconds."""
    with explored(link, script=WATCH) as page:
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


POINTS = 70_000
FRAMES = 300  # of each of the hand's moves, about
SCRIPT = ("FireAnimationFrame", "EventDispatch", "FunctionCall", "TimerFire", "RunMicrotasks", "v8.callFunction")
FRAME, TASK = "FireAnimationFrame", "RunTask"  # the map draws in one callback a frame
COUNT = "all => all.reduce((sum, one) => sum + Number(one.title.replace(/\\D/g, '')), 0)"
TRACED = ["devtools.timeline", "disabled-by-default-devtools.timeline"]


def hand(page: Any) -> dict[str, Callable[[int], None]]:
    """Give what a hand does on the map, one move of it for each number: each event waits for the page's frame."""
    box = page.locator(".map-stage").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def at(i: int) -> tuple[float, float]:
        return x + 0.3 * box["width"] * np.sin(i / 19), y + 0.3 * box["height"] * np.sin(i / 13)

    def pan(i: int) -> None:
        page.mouse.move(*at(i))
        if i == 0:
            page.mouse.down()
        if i == FRAMES - 1:
            page.mouse.up()

    return {
        "panning": pan,
        "zooming": lambda i: page.mouse.wheel(0, -60 if (i // 40) % 2 == 0 else 60),
        "hovering": lambda i: page.mouse.move(*at(i)),
    }


def frames(trace: Path) -> dict[str, list[float]]:
    """Read chromium's trace: of each frame its script's and its thread's time of the processor, and how long it was.

    Milliseconds; a frame goes from one drawing to the next, and a pause of a second is none.
    """
    events = json.loads(trace.read_text())["traceEvents"]
    begun = [(event["pid"], event["tid"]) for event in events if event["name"] == FRAME]
    main = statistics.mode(begun)
    mine = [event for event in events if (event["pid"], event["tid"]) == main]
    edges = sorted(event["ts"] for event in mine if event["name"] == FRAME)
    found: dict[str, list[float]] = {"script": [], "thread": [], "interval": []}
    sums = {name: _spent(mine, names, edges) for name, names in (("script", SCRIPT), ("thread", (TASK,)))}
    for i, (start, end) in enumerate(pairwise(edges)):
        if end - start < 1e6:
            found["interval"].append((end - start) / 1000)
            for name, each in sums.items():
                found[name].append(each[i] / 1000)
    return found


def _spent(events: list[dict[str, Any]], names: tuple[str, ...], edges: list[float]) -> list[float]:
    """Add up the processor's time of the outermost events of some names, by the frame in which each began."""
    spent, until = [0.0] * len(edges), 0.0
    chosen = (event for event in events if event["name"] in names and event.get("ph") == "X")
    for event in sorted(chosen, key=lambda event: (event["ts"], -event["dur"])):
        if event["ts"] >= until:
            until = event["ts"] + event["dur"]
            spent[int(np.searchsorted(edges, event["ts"], "right")) - 1] += event["tdur"]
    return spent


def trained(folder: str) -> None:
    """Train the default model for a moment on all images of MNIST, so that one split has all of the points."""
    from lowerbound.data import SOURCES

    source = SOURCES["mnist"](validation=0)
    x = np.concatenate([part.x[part.rows].numpy() for part in (source.train, source.test)])
    y = np.concatenate([part.targets().numpy() for part in (source.train, source.test)])
    np.savez(f"{folder}/images.npz", x=x, y=y)
    words = ["--epochs", "0.1", "--validation", "0", "--set", "data.test=0", "--out", f"{folder}/runs/run"]
    subprocess.run([*PROGRAM, "train", f"{folder}/images.npz", *words], check=True)


def traced(page: Any, move: Callable[[int], None], trace: Path) -> dict[str, Any]:
    """Let a hand make its moves, and tell what chromium wrote down meanwhile."""
    browser = page.context.browser
    browser.start_tracing(page=page, path=trace, categories=TRACED)
    for i in range(FRAMES):
        move(i)
    browser.stop_tracing()
    page.wait_for_timeout(1000)
    return {what: told(each) for what, each in frames(trace).items()}


def followed(page: Any, move: Callable[[int], None]) -> list[float]:
    """Time moves over the map, one every 30 ms, from each event to the image of what is below, in milliseconds."""
    page.evaluate("window.moves = []")
    for i in range(MOVES + WARM):
        move(i)
        page.wait_for_timeout(30)
    found: list[float] = page.evaluate("window.moves")
    return found[WARM:]


def map_(runs: Path | None = None) -> None:
    """Measure the map of 70,000 codes that is panned, zoomed and hovered over, on a usual screen and on a fine one."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if runs is None:
            trained(folder)
        for ratio in (1, 2):
            with (
                studio(runs or Path(folder) / "runs") as link,
                explored(link, "?split=train", WATCH, ratio) as page,
            ):
                points = page.locator(".map-legend button").evaluate_all(COUNT)
                moves_of = hand(page)
                for name, move in moves_of.items():
                    found[f"{name}, {ratio} ×"] = traced(page, move, Path(folder) / "trace.json")
                found[f"hovering, {ratio} ×"]["event to pixels"] = told(followed(page, moves_of["hovering"]))
    save("studio-map", {"points": points, "milliseconds": found})


COMMANDS = {"decode": decode, "map": map_}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*map(Path, sys.argv[2:]))
