"""A sweep: the same training with several values of one setting, in one folder; how it begins and goes on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lowerbound import begin, data, seeds
from lowerbound.comparison import page
from lowerbound.comparison.axis import BETA, Axis, axis
from lowerbound.comparison.table import Comparison, of_group
from lowerbound.data import Source
from lowerbound.errors import DivergedError, UsageError
from lowerbound.run import fingerprint, make_folder
from lowerbound.seeds import Group, word
from lowerbound.words import counted


def plan(
    node: Mapping[str, Any], source: Source, over: Axis, *, assignments: Sequence[str] = (), **arguments: Any
) -> tuple[list[dict[str, Any]], str]:
    """Lay each value over the spec that the arguments of `begin.plan_spec` ask for; gives also the recipe's name.

    Raises UsageError, which names the value, where a spec cannot be.
    """
    found, name = [], ""
    for value in over.values:
        beta = value if over.over == BETA else over.beta
        given = [*assignments, *over.assignment(value)]
        try:
            spec, name = begin.plan_spec(node, source, beta=beta, assignments=given, **arguments)
        except UsageError as error:
            raise UsageError(f"At {over.over} = {word(value)}: {error}") from None
        found.append(spec)
    return found, name


def create(
    over: Axis,
    specs: list[dict[str, Any]],
    source: Source,
    *,
    name: str,
    count: int = 1,
    out: Path | None = None,
    device: str = "auto",
) -> Group:
    """Make the folder of a sweep from ``count`` seeds; what cannot be trained is refused before.

    Raises UsageError or DataError, which name the value, where a run cannot be trained; UsageError where the folder is
    there already.
    """
    if count < 1:
        raise UsageError(f"--seeds is {count}: at least 1 is needed.")
    for value, spec in zip(over.values, specs, strict=True):
        try:
            begin.plan_job(spec, source, device)
        except UsageError as error:
            raise UsageError(f"At {over.over} = {word(value)}: {error}") from None
    first = specs[0]["seed"]
    folder = make_folder(out, f"{source.name}-{name}-over-{over.over.rpartition('.')[2]}")
    known = fingerprint(source.info)
    group = Group(
        folder, name, list(range(first, first + count)), specs, over.over, over.values, device=device, data=known
    )
    group.write()
    return group


def conclude(group: Group) -> Comparison:
    """Compare the runs of a sweep that are finished, and write its pictures and its page."""
    found = of_group(group)
    page.write_sweep(found, group)
    return found


def sweep(
    data: Any = "mnist",
    *,
    beta: str | float | Sequence[float] | None = None,
    over: str | None = None,
    points: int = 8,
    recipe: str | None = None,
    latents: int | None = None,
    epochs: float | None = None,
    seed: int = 0,
    seeds: int = 1,
    out: str | Path | None = None,
    set: Sequence[str] = (),
    device: str = "auto",
    progress: bool = True,
) -> Comparison:
    """Train a set of runs that differ in β, or in another setting, and compare them: what ``lowerbound sweep`` does.

    Raises UsageError or DataError, before a folder is made, where one of them cannot be trained.

    Arguments:
        data: as `lowerbound.fit` takes them.
        beta: a range such as "0.1..20", or numbers such as [0.1, 1, 4]; beside ``over`` the one β of all runs.
        over: another setting and its values, such as "latents=2..32".
        points: of a range, on a geometric grid.
        recipe, latents, epochs, set, device: as for `lowerbound.fit`, the same for all runs.
        seed: the first seed.
        seeds: how many; each point is trained from each of them.
        out: the folder; by default a new one under ``runs``.
        progress: whether it is printed how far the training is.
    """
    varied = axis(beta, over, points)
    of_data, others = begin.split(set)
    node, source = begin.open_data(data, of_data)
    specs, name = plan(
        node, source, varied, assignments=others, recipe=recipe, latents=latents, epochs=epochs, seed=seed
    )
    where = None if out is None else Path(out)
    group = create(varied, specs, source, name=name, count=seeds, out=where, device=device)
    return go_on(group.folder, source=source, progress=progress)


def go_on(folder: str | Path, *, source: Any = None, device: str | None = None, progress: bool = True) -> Comparison:
    """Train what is not finished of a sweep, and compare its runs.

    A run that diverges is left out, and the others are trained. Raises DataError where the data are not those that the
    sweep was begun with; DivergedError, at the end, where all runs diverged.

    Arguments:
        folder: that of the sweep.
        source: the data, a `Source` or the tensor, where they were given in Python.
        device: "auto", "cpu", "cuda" or "mps"; by default each run's own.
        progress: whether it is printed how far the training is.
    """
    if not seeds.is_group(folder) or (group := seeds.opened(folder)).over is None:
        raise UsageError(f"{folder} is no sweep: it has no {seeds.SWEEP}.")
    held = seeds.source_of(group.folder) if source is None else seeds.same(group, data.given(source))
    lost = []
    for job in seeds.jobs(group.folder, held, device=device, env={}):
        try:
            begin.carry_out(job, progress, group.steps_after(job.run.path.name, held))
        except DivergedError:
            lost.append(job.run.path.name)
    if len(lost) == len(group.runs):
        raise DivergedError(f"All {counted(len(lost), 'run')} of {folder} diverged: try a lower train.lr.")
    return conclude(group)
