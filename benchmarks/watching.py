"""Watching a training: how soon a long history is open, how soon a point is seen, what a page and frames cost.

python benchmarks/watching.py history    # two minutes; needs playwright and chromium
python benchmarks/watching.py page       # ten minutes; the same
python benchmarks/watching.py delay      # two minutes; the same
python benchmarks/watching.py frames     # ten minutes
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import ratio, save, spread
from studio import PROGRAM, asked, connection, studio, told

from lowerbound.run import Run

RECORDS = 1_000_000
EVERY = 430  # steps between validations: an epoch of MNIST
ROUNDS = 3
SHORT = ("train", "--epochs", "1")
POINTS = 80  # rows whose way to the page is timed
PROCESSES = {"browser": "chromium", "server": " studio ", "training": " train "}  # by words of their command lines

# in the page: when it was clicked, and when its first curve was painted, since it was opened
PAINTED = """
addEventListener("click", () => { window.clicked = performance.now(); }, true);
const look = new MutationObserver(() => {
  if (!document.querySelector(".curve .scatterlayer path.js-line")) return;
  look.disconnect();
  requestAnimationFrame(() => setTimeout(() => { window.painted = performance.now(); }));
});
look.observe(document, { childList: true, subtree: true });
"""
# in the page: the newest step on its first curve after each drawing, and when that was
DRAWN = """() => {
  const curve = document.querySelector(".curve");
  curve.scrollIntoView();
  window.drawn = [];
  curve.on("plotly_afterplot", () => window.drawn.push([curve.data[0].x.at(-1), Date.now() / 1000]));
}"""


def long_history(folder: Path, records: int = RECORDS) -> None:
    """Make a run of so many records: a short training's files, and a history that goes on."""
    command = [*PROGRAM, "train", "--epochs", "0.01", "--out", str(folder / "run")]
    subprocess.run([*command, "--set", "train.log=1"], check=True, stdout=subprocess.DEVNULL)
    path, draw, step, count = folder / "run", random.Random(0), 0, 0
    rows = [json.loads(line) for line in (path / "history.jsonl").read_text().splitlines()]
    train = next(row for row in rows if row["split"] == "train")
    judged = next(row for row in rows if row["split"] == "validation")
    spec = json.loads((path / "spec.json").read_text())
    spec["train"]["epochs"] = RECORDS // EVERY
    (path / "spec.json").write_text(json.dumps(spec))
    (path / "metrics.json").unlink()
    with open(path / "history.jsonl", "w") as history, open(path / "timing.jsonl", "w") as timing:
        while count < records:
            step += 1
            for row in (train, judged) if step % EVERY == 0 else (train,):
                distortion = 80 + 400 / step**0.5 + draw.random()
                history.write(
                    json.dumps({**row, "step": step, "distortion": distortion, "elbo": -distortion - 20}) + "\n"
                )
                count += 1
            timing.write(json.dumps({"step": step, "seconds": 0.01}) + "\n")


@contextmanager
def page(headers: dict[str, str], host: str) -> Iterator[Any]:
    """Open a new browser that is let in, with nothing in it yet."""
    from playwright.sync_api import sync_playwright

    name, value = headers["Cookie"].split("=", 1)
    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        found = browser.new_page(viewport={"width": 1280, "height": 900})
        found.context.add_cookies([{"name": name, "value": value, "url": host}])
        found.add_init_script(PAINTED)
        yield found
        browser.close()


@contextmanager
def visited(folder: Path) -> Iterator[tuple[Any, str]]:
    """Serve a folder, and open a new browser; gives its page and the studio's address."""
    with studio(folder) as link, connection(link) as (_, headers):
        host = link.partition("?")[0]
        with page(headers, host) as found:
            yield found, host


def first(found: Any) -> str:
    """Wait for the first run of the studio's folder; gives its name."""
    while not (runs := found.evaluate("fetch('/api/runs').then((answer) => answer.json())")["runs"]):
        found.wait_for_timeout(50)
    return str(runs[0]["id"])


def anew(found: Any, host: str, run: str) -> float:
    """Open the view of a run in a browser that has nothing yet; gives the seconds to its first curve."""
    found.goto(f"{host}#/watch/{run}")
    found.wait_for_function("() => window.painted", timeout=120_000)
    return float(found.evaluate("painted")) / 1000


def clicked(found: Any, host: str) -> float:
    """Click a run in the table of a page that has been open for a while; gives the seconds to its first curve."""
    found.goto(host)
    found.wait_for_selector("table.runs th.name a")
    found.wait_for_timeout(5000)
    found.click("table.runs th.name a")
    found.wait_for_function("() => window.painted", timeout=120_000)
    return float(found.evaluate("painted - clicked")) / 1000


def history() -> None:
    """Time the answer with the thinned history of a million records, and the page until its first curve."""
    with tempfile.TemporaryDirectory() as name:
        long_history(Path(name))
        size = (Path(name) / "run" / "history.jsonl").stat().st_size
        answers, clicks, browsers = [], [], []
        with studio(Path(name)) as link, connection(link) as (line, headers):
            run = asked(line, headers, "/api/runs")["runs"][0]["id"]
            for _ in range(2 * ROUNDS):
                begun = time.perf_counter()
                rows = len(asked(line, headers, f"/api/runs/{run}/history")["rows"])
                answers.append(time.perf_counter() - begun)
        for _ in range(ROUNDS):
            with visited(Path(name)) as (found, host), Run(Path(name) / "run", {}).lock():  # as one that trains
                clicks.append(clicked(found, host))
            with visited(Path(name)) as (found, host):
                browsers.append(anew(found, host, run))
    seconds = {"answer": answers, "click in an open page to its first curve": clicks,
               "new browser to its first curve": browsers}  # fmt: skip
    found = {what: spread(each) for what, each in seconds.items()}
    save("watching-history", {"records": RECORDS, "bytes": size, "rows shown": rows, "seconds": found})


def processor() -> dict[str, float]:
    """Give the seconds of processor that browser, server and training have used, all processes of each together."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            children.setdefault(int(place.read_text().rpartition(")")[2].split()[1]), []).append(int(place.parent.name))
        except OSError:  # it has ended meanwhile
            continue
    used, todo = dict.fromkeys(PROCESSES, 0.0), [os.getpid()]
    while todo:
        todo += (mine := children.get(todo.pop(), []))
        for pid in mine:
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            except OSError:
                continue
            if (what := next((what for what, word in PROCESSES.items() if word in words), None)) is not None:
                used[what] += sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return used


def delay() -> None:
    """Time rows of a history from when they are written until the page has drawn them."""
    draw, written = random.Random(0), {}
    with tempfile.TemporaryDirectory() as name:
        long_history(Path(name), records=500)
        path = Path(name) / "run"
        row = json.loads((path / "history.jsonl").read_text().splitlines()[-1])

        def write() -> None:
            step = row["step"]
            for _ in range(POINTS):
                time.sleep(draw.uniform(0.5, 2))  # so that none keeps time with the server's looks
                step += 1
                with open(path / "history.jsonl", "a") as history:
                    history.write(json.dumps({**row, "split": "train", "step": step}) + "\n")
                written[step] = time.time()

        with visited(Path(name)) as (found, host), Run(path, {}).lock():
            found.goto(host)
            anew(found, host, first(found))
            found.evaluate(DRAWN)
            found.wait_for_timeout(2000)
            writer = threading.Thread(target=write)
            writer.start()
            while writer.is_alive():
                found.wait_for_timeout(500)
            found.wait_for_timeout(3000)
            drawn = found.evaluate("drawn")
    taken = [1000 * (min(at for newest, at in drawn if newest >= step) - when) for step, when in written.items()]
    save("watching-delay", {"milliseconds": {"row written to point on the page": told(taken)}})


def trained(folder: Path, *settings: str, meanwhile: Callable[[], None] | None = None) -> dict[str, float]:
    """Train for a moment, with what goes on beside it; gives the seconds that the steps took, as the run tells them."""
    command = [*PROGRAM, *SHORT, *settings, "--out", str(folder / "run")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        if meanwhile is not None:
            meanwhile()
        if process.wait():
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}.")
    rows = [json.loads(line) for line in (folder / "run" / "timing.jsonl").read_text().splitlines()]
    half = rows[-1]["step"] / 2
    return {"all": sum(row["seconds"] for row in rows),
            "second half": sum(row["seconds"] for row in rows if row["step"] > half)}  # fmt: skip


def watching(folder: Path) -> dict[str, float]:
    """Train in a folder that a studio and a page were opened on before, and let the page watch it to its end."""
    used: dict[str, float] = {}

    def watch() -> None:
        anew(found, host, first(found))
        begun, before = time.perf_counter(), processor()
        while not (folder / "run" / "metrics.json").exists():
            found.wait_for_timeout(500)
            seconds, now = time.perf_counter() - begun, processor()
            used.update({what: (now[what] - before[what]) / seconds for what in PROCESSES})

    with visited(folder) as (found, host):
        found.goto(host)
        found.wait_for_selector("h1")
        return {**trained(folder, meanwhile=watch), **used}


def alternated(name: str, ways: dict[str, Callable[[Path], dict[str, float]]]) -> None:
    """Let two ways to train take turns, and keep the ratio round by round."""
    each: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, call in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                each[way].append(call(Path(folder)))
            print(way, each[way][-1], file=sys.stderr, flush=True)
    of = {way: {part: [one[part] for one in some] for part in some[0]} for way, some in each.items()}
    (first, a), (second, b) = of.items()
    found = {
        "command": " ".join(SHORT),
        "seconds of the steps": {way: spread(parts["all"]) for way, parts in of.items()},
        f"{first} over {second}": ratio(a["all"], b["all"]),
        f"{first} over {second}, second half of the steps": ratio(a["second half"], b["second half"]),
        "seconds of processor a second": {what: spread(a[what]) for what in PROCESSES if what in a},
    }
    save(name, found)


def open_page() -> None:
    """Compare a training that is watched with one that is not, and tell what each process uses once a curve is seen."""
    alternated("watching-page", {"watched": watching, "alone": trained})


def frames() -> None:
    """Compare a training that keeps frames with one that keeps none."""
    alternated(
        "watching-frames",
        {"with frames": trained, "without": lambda f: trained(f, "--set", "train.frames=0")},
    )


COMMANDS = {"history": history, "page": open_page, "delay": delay, "frames": frames}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]]()
