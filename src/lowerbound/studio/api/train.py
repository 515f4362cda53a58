"""Trainings that are started, stopped and gone on with from the page."""

import inspect
import os
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lowerbound import recipes, seeds
from lowerbound import spec as specs
from lowerbound.errors import LowerboundError, StorageError, UsageError
from lowerbound.process import program
from lowerbound.run import Run
from lowerbound.studio import processes
from lowerbound.studio.limits import Id
from lowerbound.studio.planning import Form, field_of, new_name
from lowerbound.studio.processes import Started
from lowerbound.studio.route import get, post
from lowerbound.studio.shelf import Shelved
from lowerbound.studio.state import Studio


@get("/api/parts")
def parts(studio: Studio) -> dict[str, Any]:
    """Tell what a training can be made of: parts and their arguments, recipes and data sets, each with its help."""
    named = {kind: _help(make) for kind, make in specs.REGISTRIES["data"].items() if kind not in ("folder", "array")}
    return {
        "folder": str(studio.shelf.folder),
        "registries": {
            registry: {
                kind: {"help": _help(make), "fields": [asdict(field) for field in specs.describe(registry, kind)]}
                for kind, make in kinds.items()
            }
            for registry, kinds in specs.REGISTRIES.items()
        },
        "recipes": [{"name": name, **asdict(recipe)} for name, recipe in recipes.RECIPES.items()],
        "data": [{"name": name, "help": text} for name, text in named.items()],
    }


def _help(constructor: Any) -> str:
    return (inspect.getdoc(constructor) or "").split("\n")[0]


@post("/api/plan", lane="plan")
def plan(studio: Studio, form: Form) -> dict[str, Any]:
    """Check a form without training: the whole spec, or what is wrong, and the field that it is about."""
    try:
        found = studio.planner.plan(form)
        _free(studio, form.name)
    except LowerboundError as error:
        return {"problem": {"words": str(error), "field": field_of(error)}}
    name = form.name or f"{found['data']['name']}-{found['recipe']['name']}"
    usual = form.name is None and studio.shelf.folder == Path("runs").absolute()
    return {**found, "command": form.command(None if usual else _shown(studio) / name)}


def _shown(studio: Studio) -> Path:
    """Give the folder of the runs as it is typed from here."""
    here = Path.cwd()
    folder = studio.shelf.folder
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _free(studio: Studio, name: str | None) -> None:
    if name is not None and os.path.lexists(studio.shelf.folder / name):
        raise UsageError(f"name: {name} is there already, and nothing is overwritten: take another.")


@post("/api/trainings", lane="plan")
def start(studio: Studio, form: Form) -> dict[str, Any]:
    """Start a training as a process of its own; what cannot be trained is refused in words."""
    found = studio.planner.plan(form)
    _free(studio, form.name)
    name = new_name(form, found)
    out = studio.shelf.folder / name
    return _line(studio, studio.trainings.start(form.arguments(out), name, form.command(_shown(studio) / name)))


@get("/api/trainings")
def trainings(studio: Studio) -> dict[str, Any]:
    """List the trainings that were started from the page, the newest first."""
    there = studio.shelf.runs()
    return {"trainings": [_line(studio, one, there) for one in studio.trainings.all()]}


@get("/api/trainings/{training}")
def training(studio: Studio, training: Id) -> dict[str, Any]:
    """Tell how a training is, and what it printed last."""
    one = studio.trainings.find(training)
    return {**_line(studio, one), "log": studio.trainings.said(one)}


def _line(studio: Studio, started: Started, runs: list[Shelved] | None = None) -> dict[str, Any]:
    """Tell the state of a training by what is there: its process, its runs, their figures."""
    runs = studio.shelf.runs() if runs is None else runs
    there = [one for one in runs if started.name in (one.name, one.group)]
    alive = studio.trainings.alive(started)
    path = studio.shelf.folder / started.name
    done = bool(there) and all((one.path / "metrics.json").exists() for one in there) and _all_begun(path, len(there))
    state = ("training" if there else "starting") if alive else "finished" if done else "stopped" if there else "failed"
    said = [line for line in studio.trainings.said(started) if line.strip()] if state in ("stopped", "failed") else []
    return {**asdict(started), "state": state, "runs": [one.id for one in there], "last": said[-1] if said else ""}


def _all_begun(path: Path, count: int) -> bool:
    return not seeds.is_group(path) or count == len(seeds.opened(path).runs)


@post("/api/trainings/{training}/stop")
def stop_training(studio: Studio, training: Id) -> dict[str, Any]:
    """Ask a training that was started from the page to save and stop."""
    studio.trainings.stop(studio.trainings.find(training))
    return {"state": "stopping"}


@post("/api/trainings/{training}/resume")
def resume_training(studio: Studio, training: Id) -> dict[str, Any]:
    """Go on with a training that was started from the page, of all its runs."""
    one = studio.trainings.find(training)
    path = studio.shelf.folder / one.name
    if not seeds.is_group(path) and not (path / "spec.json").is_file():
        raise StorageError(f"{one.name} had not begun when it ended: start it anew.")
    return _resume(studio, path, one.name)


@post("/api/runs/{run}/stop")
def stop(studio: Studio, run: Id) -> dict[str, Any]:
    """Ask the process that trains a run to save and stop, whoever started it."""
    found = studio.shelf.find(run)
    pid = Run(found.path, {}).trained_by()
    if pid is None:
        raise StorageError(f"{found.name} is not being trained now.")
    if pid == os.getpid():
        raise StorageError(f"{found.name} is being trained by the program that serves this page: stop it there.")
    processes.stop(pid)
    return {"state": "stopping"}


@post("/api/runs/{run}/resume")
def resume(studio: Studio, run: Id) -> dict[str, Any]:
    """Go on with a run that was stopped, as a process of its own."""
    found = studio.shelf.find(run)
    opened = Run.open(found.path)
    if opened.finished:
        raise StorageError(f"{found.name} is finished.")
    if opened.trained_by() is not None:
        raise StorageError(f"{found.name} is being trained already.")
    return _resume(studio, found.path, found.name)


def _resume(studio: Studio, path: Path, name: str) -> dict[str, Any]:
    command = f"{program()} resume {shlex.quote(str(_shown(studio) / name))}"
    return _line(studio, studio.trainings.start(["resume", str(path)], name, command))
