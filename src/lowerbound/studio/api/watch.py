"""A training as it goes on: its history, what is added to it, and its frames."""

import json
import math
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
from starlette.responses import Response, StreamingResponse

from lowerbound import course
from lowerbound import spec as specs
from lowerbound.run import EVALUATION, FRAMES, Run
from lowerbound.studio.limits import Id, Points, Row, Since
from lowerbound.studio.lines import reading, there
from lowerbound.studio.route import MissingError, get, plain
from lowerbound.studio.state import Studio
from lowerbound.train import Plan

FILES = ("history.jsonl", "timing.jsonl", FRAMES)  # what grows while a run is trained
EVERY = 0.25  # seconds between two looks at them
QUIET = 60  # looks without news after which something is said nevertheless, so that who went away is noticed
VALIDATIONS = 200  # rows of the validation split that are shown in any case
MOST_FRAMES = 1000


@get("/api/runs/{run}/history")
def history(
    studio: Studio, run: Id, points: Points = 1000, low: Row | None = None, high: Row | None = None
) -> dict[str, Any]:
    """Give about so many rows of a run's history, between two steps, and what the page needs to go on from there."""
    path = studio.shelf.find(run).path
    with reading(path):
        plan, images, total = _plan(path)
    every = plan.between(images["train"])
    validations = range(every, total + 1, every * max(1, math.ceil(total / every / VALIDATIONS)))
    wanted = [step for step in (*validations, total) if (low or 0) <= step <= (high or total)]
    with reading(path):
        rows = course.thinned(path / FILES[0], points, wanted if images["validation"] else (), low, high)
        times, frames = (course.thinned(path / name, MOST_FRAMES) for name in FILES[1:])
    return {
        "rows": rows.rows,
        "count": rows.count,
        "since": ",".join(one.mark for one in (rows, times, frames)),
        "elapsed": course.elapsed(times.rows, plan.log),
        "frames": frames.rows,
        "plan": {"batch": plan.batch, "total": total, "epoch": images["train"] / plan.batch},
    }


def _plan(path: Path) -> tuple[Plan, dict[str, int], int]:
    """Read how a run is trained, on how many images of each split, and in how many steps."""
    run = Run(path, {})
    plan: Plan = specs.construct("train", specs.check(run.read_json("spec.json"))["train"], {})
    images = {part: int(run.data["images"][part]) for part in ("train", "validation", "test")}
    if images["train"] < 1:
        raise ValueError("it was trained on no images")
    return plan, images, plan.steps(images["train"])


@get("/api/runs/{run}/stream", gives="text/event-stream")
def stream(studio: Studio, run: Id, since: Since) -> Response:
    """Send what is added to a run's history from now on, and changes of its state, as server-sent events."""
    path = studio.shelf.find(run).path
    with reading(path):
        plan, *_ = _plan(path)
    told = events(path, since, plan.log, lambda: studio.ending())
    return StreamingResponse(told, media_type="text/event-stream")


async def events(path: Path, since: str, log: int, ending: Callable[[], bool] = lambda: False) -> AsyncIterator[str]:
    """Look at the files again and again, without a thread: ``rows``, ``state``, or ``again`` where history was cut."""
    marks, state, quiet, spent = since.split(","), _state(path), 0, None
    yield ": here\n\n"
    while not ending():
        found = [course.added(path / name, mark) for name, mark in zip(FILES, marks, strict=True)]
        if any(one.again for one in found):
            yield _event("again", {})
            return
        marks, before, quiet = [one.mark for one in found], state, quiet + 1
        if any(one.rows for one in found):
            rows, times, frames = (one.rows for one in found)
            if times:
                spent = course.elapsed(times, log, spent[-1] if spent else _spent(path, times[0]["step"], log))
            more = spent if times else []
            yield _event("rows", {"since": ",".join(marks), "rows": rows, "elapsed": more, "frames": frames})
            quiet = 0
        state = _state(path) if quiet % 4 == 0 else state
        if state != before:
            yield _event("state", {})
        elif quiet >= QUIET:
            yield ": still here\n\n"
            quiet = 0
        await anyio.sleep(EVERY)


def _spent(path: Path, step: int, log: int) -> tuple[int, float]:
    """Give the last step before this one whose time is known, and the seconds until then."""
    rows = course.thinned(path / FILES[1], MOST_FRAMES, high=step - 1).rows
    return (0, 0.0) if not rows else course.elapsed(rows, log)[-1]


def _state(path: Path) -> Any:
    """Tell whether a run is trained, finished and evaluated from what it was before."""
    return Run(path, {}).trained_by(), [_when(path / name) for name in ("metrics.json", EVALUATION, "spec.json")]


def _when(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def _event(name: str, data: Mapping[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(plain(data), allow_nan=False)}\n\n"


@get("/api/runs/{run}/frame", gives="image/png")
def frame(studio: Studio, run: Id, step: Row) -> Response:
    """Give the picture of a step: rows of held-out images, their reconstructions and samples."""
    path = Run(studio.shelf.find(run).path, {}).frames / f"{step:09d}.png"
    if path.parent.is_symlink() or not there(path):  # neither leads out of the run
        raise MissingError("There is no picture of this step.")
    with reading(path):
        return Response(path.read_bytes(), media_type="image/png")
