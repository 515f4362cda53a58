"""Watching a training: how soon a long history is open, and what frames and an open page cost the training.

python benchmarks/watching.py history    # a minute; needs playwright and chromium
python benchmarks/watching.py page       # ten minutes; the same
python benchmarks/watching.py frames     # ten minutes
"""

import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import ratio, save, spread
from studio import PROGRAM, asked, connection, studio

RECORDS = 1_000_000
EVERY = 430  # steps between validations: an epoch of MNIST
ROUNDS = 3
SHORT = ("train", "--epochs", "1")


def long_history(folder: Path) -> None:
    """Make a run of a million records: a short training's files, and a history that goes on."""
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
        while count < RECORDS:
            step += 1
            for row in (train, judged) if step % EVERY == 0 else (train,):
                distortion = 80 + 400 / step**0.5 + draw.random()
                history.write(
                    json.dumps({**row, "step": step, "distortion": distortion, "elbo": -distortion - 20}) + "\n"
                )
                count += 1
            timing.write(json.dumps({"step": step, "seconds": 0.01}) + "\n")


@contextmanager
def page(link: str) -> Iterator[Any]:
    """Open the studio in chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        found = browser.new_page(viewport={"width": 1280, "height": 900})
        found.goto(link)
        found.wait_for_selector("h1")
        yield found
        browser.close()


def first(found: Any) -> str:
    """Wait for the first run of the studio's folder; gives its name."""
    while not (runs := found.evaluate("fetch('/api/runs').then((answer) => answer.json())")["runs"]):
        found.wait_for_timeout(50)
    return str(runs[0]["id"])


def watched(found: Any, run: str) -> float:
    """Open the view of a run; gives the seconds to its first curve."""
    begun = time.perf_counter()
    found.goto(found.url.split("#")[0] + f"#/watch/{run}")
    found.wait_for_selector(".curve .main-svg", timeout=120_000)
    return time.perf_counter() - begun


def history() -> None:
    """Time the answer with the thinned history of a million records, and the page until its first curve."""
    with tempfile.TemporaryDirectory() as name:
        long_history(Path(name))
        size = (Path(name) / "run" / "history.jsonl").stat().st_size
        answers, pages = [], []
        with studio(Path(name)) as link, connection(link) as (line, headers):
            run = asked(line, headers, "/api/runs")["runs"][0]["id"]
            for _ in range(2 * ROUNDS):
                begun = time.perf_counter()
                rows = len(asked(line, headers, f"/api/runs/{run}/history")["rows"])
                answers.append(time.perf_counter() - begun)
        for _ in range(ROUNDS):
            with studio(Path(name)) as link, page(link) as found:
                pages.append(watched(found, first(found)))
    seconds = {"answer": spread(answers), "page to its first curve": spread(pages)}
    save("watching-history", {"records": RECORDS, "bytes": size, "rows shown": rows, "seconds": seconds})


def trained(folder: Path, *settings: str, meanwhile: Callable[[Path], None] | None = None) -> float:
    """Train for a moment, with what goes on beside it; gives the seconds that the steps took, as the run tells them."""
    command = [*PROGRAM, *SHORT, *settings, "--out", str(folder / "run")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        if meanwhile is not None:
            meanwhile(folder)
        if process.wait():
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}.")
    rows = [json.loads(line) for line in (folder / "run" / "timing.jsonl").read_text().splitlines()]
    return float(sum(row["seconds"] for row in rows))


def watching(folder: Path) -> float:
    """Train in a folder that a studio and a page were opened on before, and let the page watch it to its end."""

    def watch(folder: Path) -> None:
        watched(found, first(found))
        while not (folder / "run" / "metrics.json").exists():
            found.wait_for_timeout(200)

    with studio(folder) as link, page(link) as found:
        return trained(folder, meanwhile=watch)


def alternated(name: str, ways: dict[str, Callable[[Path], float]]) -> None:
    """Let two ways to train take turns, and keep the ratio round by round."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, call in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds[way].append(call(Path(folder)))
            print(way, seconds[way][-1], file=sys.stderr, flush=True)
    first, second = seconds
    found = {way: spread(each) for way, each in seconds.items()}
    save(name, {"command": " ".join(SHORT), "seconds of the steps": found,
                f"{first} over {second}": ratio(seconds[first], seconds[second])})  # fmt: skip


def open_page() -> None:
    """Compare a training that is watched with one that is not."""
    alternated("watching-page", {"watched": watching, "alone": trained})


def frames() -> None:
    """Compare a training that keeps frames with one that keeps none."""
    alternated(
        "watching-frames",
        {"with frames": trained, "without": lambda f: trained(f, "--set", "train.frames=0")},
    )


COMMANDS = {"history": history, "page": open_page, "frames": frames}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]]()
