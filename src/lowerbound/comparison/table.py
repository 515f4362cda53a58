"""A comparison: rows of runs, how their specs differ, what may not be compared, and their curves."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from matplotlib.figure import Figure

from lowerbound import figures
from lowerbound.comparison.cautions import cautions, few, hardly_begun, incomparable
from lowerbound.comparison.rows import Row, found, rows_of, split_of
from lowerbound.errors import UsageError
from lowerbound.report import BEGUN
from lowerbound.run import Run
from lowerbound.seeds import Group, word
from lowerbound.words import counted, duration, number, with_error

FIGURES = {
    "elbo": "elbo",
    "bound": "bound",
    "distortion": "distortion",
    "rate": "rate",
    "log_p": "log p(x)",
    "active": "in use",
}
MISSING = "–"


@final
@dataclass(frozen=True)
class Comparison:
    """Runs beside one another; `compare` makes one.

    Arguments:
        rows: of finished runs, those that differ in the seed only together.
        unfinished: runs that are left out.
        split: that all rows were measured on.
        differences: the keys of the specs that differ, each with its value in every row, None where a spec lacks it.
        warnings: what may not be compared and what else must be known, in words.
        comparable: whether distortion and elbo are the same kind of number, of the same images, in all rows.
        over: what a sweep varies, where the runs are those of one.
        path: the folder of that sweep.
    """

    rows: list[Row]
    unfinished: list[Run]
    split: str
    differences: dict[str, list[Any]]
    warnings: list[str]
    comparable: bool
    over: str | None = None
    path: Path | None = None

    def json(self) -> dict[str, Any]:
        """Give everything as JSON takes it; figures are in nats per example."""
        return {
            "split": self.split,
            "rows": [row.json() for row in self.rows],
            "unfinished": [str(run.path) for run in self.unfinished],
            "differences": self.differences,
            "warnings": self.warnings,
            "comparable": self.comparable,
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Give heads and lines: what differs between the rows, and what was measured; `common` gives the rest."""
        columns = {"run": [row.name for row in self.rows]}
        if self.spread:
            columns["seeds"] = [str(len(row.runs)) for row in self.rows]
        facts = {head: cells for head, cells in self._facts().items() if len(set(cells)) > 1}
        columns |= {"β": facts.pop("β")} if "β" in facts else {}
        for name, head in FIGURES.items():
            if any(name in row.figures for row in self.rows):
                columns[head] = [figure(row, name) for row in self.rows]
        columns |= facts
        columns["training"] = [MISSING if row.seconds is None else duration(row.seconds) for row in self.rows]
        return list(columns), [list(line) for line in zip(*columns.values(), strict=True)]

    def common(self) -> list[str]:
        """Say what is the same for all rows."""
        same = {head: cells[0] for head, cells in self._facts().items() if len(set(cells)) == 1 and cells[0] != MISSING}
        told = {"data": "{}", "recipe": "recipe {}", "β": "β = {}"}
        return [told.get(head, f"{{}} {head}").format(cell) for head, cell in same.items()]

    def _facts(self) -> dict[str, list[str]]:
        """Give what is known of each row without measuring; β where the rows' names do not say it."""
        betas = {} if self.over == "beta" else {"β": [beta(row) for row in self.rows]}
        return {
            "data": [row.first.data["name"] for row in self.rows],
            "recipe": [row.first.env["recipe"] for row in self.rows],
            **betas,
            "latents": [str(row.first.spec["latents"]) for row in self.rows],
            "parameters": [number(row.first.metrics["parameters"], 0) for row in self.rows],
        }

    @property
    def spread(self) -> bool:
        """Whether a row has several seeds."""
        return any(len(row.runs) > 1 for row in self.rows)

    @property
    def bars(self) -> str:
        """Say what the bars of a drawing are."""
        single = any(len(row.runs) == 1 for row in self.rows)
        mixed = " (of a single run: the standard error over the images)" if single else ""
        return f"the standard deviation over the seeds{mixed}" if self.spread else "the standard error over the images"

    @property
    def meaning(self) -> str:
        """Say what ± and brackets are in the table, and of what kind and age the runs are."""
        single = any(len(row.runs) == 1 for row in self.rows)
        said = ["± is the standard deviation over the seeds"] if self.spread else []
        said += ["in brackets is the standard error of the mean over the images of one run"] if single else []
        scored = [row.name for row in self.rows if row.first.metrics["likelihood"]["density"] is False]
        begun = [row.name for row in self.rows if row.hardly_begun]
        more = f" What is scored of {few(scored)} is a cross-entropy, and no bound of log p(x)." * bool(scored)
        more += f" {hardly_begun(few(begun))}" * bool(begun)
        return f"{self.split.capitalize()}, in nats per example; {'; '.join(said)}.{more}"

    def curves(self) -> Figure:
        """Draw the course of all runs over one another."""
        return figures.overlay({row.name: [run.history for run in row.runs] for row in self.rows})

    def points(self, links: Mapping[str, str] | None = None) -> list[figures.Point]:
        """Give the rows as points of rate and distortion, with links by the rows' names: those that have both.

        There are none where the rows do not compare.
        """
        links = links or {}
        some: list[figures.Point] = []
        for row in self.rows if self.comparable else ():
            rate, distortion, elbo = (row.spread(name) for name in ("rate", "distortion", "elbo"))
            if rate is not None and distortion is not None and elbo is not None:
                some.append(
                    figures.Point(row.name, rate, distortion, elbo, links.get(row.name), row.value, row.hardly_begun)
                )
        return some

    def __repr__(self) -> str:
        heads, lines = self.table()
        return "\n".join([", ".join(self.common()), *aligned(heads, lines), self.meaning, *self.warnings])


def compare(*runs: str | Path | Run) -> Comparison:
    """Compare runs: what ``lowerbound compare`` does.

    Raises UsageError where there is no run, one is there twice, a path is none, or no split is common to all.

    Arguments:
        runs: directories of runs, of several seeds or of sweeps, or runs of `lowerbound.load`.
    """
    return _compared(found(runs))


def of_group(group: Group) -> Comparison:
    """Compare the runs of a sweep, each point with what it varies."""
    some = found([group.folder])
    values = [group.values[i % len(group.values)] for i in range(len(group.runs))]
    points = {
        group.folder / name: (label(group.over or "", value), value)
        for name, value in zip(group.runs, values, strict=True)
    }
    return _compared(some, group, points)


def _compared(
    runs: Sequence[Run], group: Group | None = None, points: Mapping[Path, tuple[str, Any]] | None = None
) -> Comparison:
    finished, unfinished = ([run for run in runs if run.finished is done] for done in (True, False))
    if not finished:
        names = ", ".join(str(run.path) for run in unfinished)
        raise UsageError(f"None of the runs is finished: {names}. Go on with one of them: lowerbound resume RUN")
    split = split_of(finished)
    rows = rows_of(finished, split, points)
    over, path = (None, None) if group is None else (group.over, group.folder)
    apart = incomparable(rows, split)
    warnings = [*apart, *cautions(rows, unfinished, split)]
    return Comparison(rows, unfinished, split, differences(rows), warnings, not apart, over, path)


def differences(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Give the keys of the specs that differ between rows, each with the value in every row."""
    flat = [_flat({key: value for key, value in row.first.spec.items() if key != "seed"}) for row in rows]
    keys = dict.fromkeys(key for each in flat for key in each)
    values = {key: [each.get(key) for each in flat] for key in keys}
    return {key: some for key, some in values.items() if any(value != some[0] for value in some)}


def _flat(node: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= _flat(value, f"{path}{key}.") if isinstance(value, Mapping) else {f"{path}{key}": value}
    return found


def label(over: str, value: Any) -> str:
    """Name a point of a sweep.

    Example:
        >>> label("beta", 0.5), label("train.lr", 0.001)
        ('β = 0.5', 'lr = 0.001')
    """
    return f"{'β' if over == 'beta' else over.rpartition('.')[2]} = {word(value)}"


def beta(row: Row) -> str:
    """Say which β was asked for, and where it differs which was reached."""
    if row.asked is None or row.reached is None:
        return MISSING
    asked, reached = f"{row.asked:.4g}", f"{row.reached:.4g}"
    return asked if math.isclose(row.asked, row.reached, rel_tol=1e-3) else f"{asked} (reached {reached})"


def figure(row: Row, name: str) -> str:
    """Write a figure with ± over seeds, or of one run with its standard error over images in brackets."""
    if name not in row.figures or (spread := row.spread(name)) is None:
        return MISSING
    value, error = spread
    if name == "active" and len(row.runs) == 1:
        return f"{value:.0f}"
    text = with_error(value, error)
    return text if len(row.runs) > 1 or " ± " not in text else f"{text.replace(' ± ', ' (')})"


def aligned(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """Give lines of text whose columns stand below one another: the first to the left, others to the right."""
    every = [heads, *lines]
    widths = [max(len(line[i]) for line in every) for i in range(len(heads))]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in every
    ]


def summary(comparison: Comparison) -> str:
    """Say in a sentence or two what came of a sweep: the best elbo, and what the ends trade."""
    points = comparison.points()
    if len(points) < 2 or comparison.over is None:
        return ""
    first, last = points[0], points[-1]
    if best := max((point for point in points if not point.begun), key=lambda point: point.elbo[0], default=None):
        said = f"Of {counted(len(points), 'point')} the {comparison.split} elbo is best at {best.label}: "
        said += f"{number(best.elbo[0])} nats."
    else:
        said = f"With fewer than {BEGUN} steps no point is trained, and which is best cannot be told."
    return (
        f"{said} From {first.label} to {last.label} the rate goes from "
        f"{number(first.rate[0], 1)} to {number(last.rate[0], 1)} nats and the distortion from "
        f"{number(first.distortion[0], 1)} to {number(last.distortion[0], 1)}."
    )
