"""What is taken away from a run: its report, its codes, its pictures, its card, and the commands behind them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.responses import Response

from lowerbound import gallery, report
from lowerbound.card import card as card_of
from lowerbound.process import program
from lowerbound.run import Run
from lowerbound.studio.limits import Id, Name, Split
from lowerbound.studio.lines import reading, there
from lowerbound.studio.route import MissingError, get
from lowerbound.studio.shelf import opaque
from lowerbound.studio.state import Studio
from lowerbound.tasks import command

# a report may be another's, and hold anything: it is shown in an origin of its own, and runs our script only
ALONE = f"sandbox allow-scripts; {report.POLICY}; frame-ancestors 'none'"
# the report of a sweep leads to those of its runs, which take the studio's cookie: none of its scripts runs
LEADING = "sandbox allow-same-origin; default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'"
LEADING += "; form-action 'none'; frame-ancestors 'none'"
LARGEST = 64 << 20  # bytes of a file that is given out


@get("/api/runs/{run}/take")
def take(studio: Studio, run: Id) -> dict[str, Any]:
    """List what can be taken away from a run."""
    found = studio.shelf.open(run)
    with reading(found.path / "data.json"):
        return {
            "report": there(found.path / "report.html"),
            "card": found.finished,
            "splits": [split for split, images in found.data["images"].items() if images],
            "figures": [{"id": opaque(path.name), "name": path.name} for path in _figures(found)],
            "commands": [{"what": what, "text": text} for what, text in gallery.commands(found, program())],
        }


@get("/api/runs/{run}/report", gives="text/html")
def reported(studio: Studio, run: Id) -> Response:
    """Give the run's report.html as a document of its own."""
    return _page(studio.shelf.find(run).path / "report.html", ALONE)


@get("/api/groups/{group}/report", gives="text/html")
def reported_group(studio: Studio, group: Id) -> Response:
    """Give the report.html of a sweep as a document of its own."""
    return _page(studio.shelf.find_group(group) / "report.html", LEADING)


@get("/api/groups/{group}/{name}/report.html", gives="text/html")
def reported_member(studio: Studio, group: Id, name: Name) -> Response:
    """Give the report.html of a run of a sweep, where the sweep's own leads to."""
    folder = studio.shelf.find_group(group)
    for one in studio.shelf.runs():
        if one.path.parent == folder and one.path.name == name:
            return _page(one.path / "report.html", ALONE)
    raise MissingError("There is no such run in this folder: it was moved or deleted.")


@get("/api/runs/{run}/codes", lane="model")
def codes(studio: Studio, run: Id, split: Split = "test") -> dict[str, Any]:
    """Encode every image of a split, and tell how far that is: the page asks again until the codes are ready."""
    work = studio.opened(run).atlas(split).codes
    return {"ready": True} if work.go() else work.progress


@get("/api/runs/{run}/codes.csv", lane="model", gives="text/csv")
def codes_file(studio: Studio, run: Id, split: Split = "test") -> Callable[[], Response]:
    """Give the codes of a split: the CSV that ``lowerbound embed`` writes."""
    atlas = studio.opened(run).atlas(split)
    found = atlas.codes.result

    def written() -> Response:
        columns, _ = command.columns(atlas.run, split, found.z, found.labels)
        return _file(command.table(columns).encode(), "text/csv")

    return written


@get("/api/runs/{run}/figures/{figure}", gives="image/png")
def figure(studio: Studio, run: Id, figure: Id) -> Response:
    """Give one of the run's pictures, by its opaque name."""
    for path in _figures(studio.shelf.open(run)):
        if opaque(path.name) == figure:
            return _file(_bytes(path), "image/png")
    raise MissingError("There is no such picture any more: lowerbound report makes them anew.")


@get("/api/runs/{run}/card", gives="text/markdown")
def card(studio: Studio, run: Id) -> Response:
    """Give the run's model card."""
    found = studio.shelf.open(run)
    with reading(found.path / "metrics.json"):
        return _file(card_of(found).encode("utf-8", "replace"), "text/markdown")


def _figures(run: Run) -> list[Path]:
    if run.figures.is_symlink():  # no more than a file of it does it lead out of the run
        return []
    try:
        return sorted(path for path in run.figures.iterdir() if path.suffix == ".png" and there(path))
    except OSError:  # there are none yet
        return []


def _bytes(path: Path) -> bytes:
    if not there(path):
        raise MissingError(f"{path} is not there yet: it is written when the training has ended.")
    with reading(path):
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, which no run writes")
        return path.read_bytes()


def _page(path: Path, policy: str) -> Response:
    return Response(_bytes(path), media_type="text/html", headers={"content-security-policy": policy})


def _file(data: bytes, kind: str) -> Response:
    """Give a file that is saved and not shown; the page names it."""
    return Response(data, media_type=kind, headers={"content-disposition": "attachment"})
