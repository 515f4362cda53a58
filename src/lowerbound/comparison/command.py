"""The verbs ``lowerbound sweep`` and ``lowerbound compare``: what they print."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from lowerbound import begin, verbs
from lowerbound.comparison import page
from lowerbound.comparison import plan as sweeps
from lowerbound.comparison.axis import axis
from lowerbound.comparison.table import Comparison, aligned, summary
from lowerbound.comparison.table import compare as compared
from lowerbound.progress import Stop
from lowerbound.seeds import Group
from lowerbound.words import counted

if TYPE_CHECKING:
    from lowerbound import cli


def sweep(args: "cli.Sweep") -> None:
    """Train the runs of a sweep and draw them."""
    varied = axis(args.beta, args.over, args.points)
    with Stop().listening() as stop:
        verbs.hear_loaders()
        of_data, others = begin.split(args.set)
        node, source = begin.open_data(args.data, of_data, **verbs.data_arguments(args))
        specs, name = sweeps.plan(
            node,
            source,
            varied,
            assignments=[*verbs.of_steps(args), *others],
            recipe=args.recipe,
            latents=args.latents,
            epochs=args.epochs,
            seed=args.seed,
        )
        env = verbs.settle(specs[0], args.command)
        out = None if args.out is None else Path(args.out)
        group = sweeps.create(varied, specs, source, name=name, count=args.seeds, out=out, device=args.device)
        values = ", ".join(group.labels)
        verbs.say(f"Sweep: {counted(len(group.runs), 'run')}, {values}, in {group.folder}")
        verbs.train_group(group.folder, source, args.device, env, stop)


def conclude(group: Group) -> None:
    """Say what came of a sweep, and where its page is."""
    found = sweeps.conclude(group)
    show(found)
    if text := summary(found):
        verbs.say(f"\n{text}")
    verbs.say(f"Report: {group.folder / 'report.html'}")


def compare(args: "cli.Compare") -> None:
    """Print a comparison, or write it where --out says."""
    if args.out is not None:
        verbs.make_place(Path(args.out))
    found = compared(*args.runs)
    if args.json:
        print(json.dumps(found.json(), ensure_ascii=False))
    else:
        show(found)
    if args.out is not None:
        page.write(found, Path(args.out))
        if not args.json:
            verbs.say(f"\n{args.out}")


def show(found: Comparison) -> None:
    """Print the table, how the specs differ, and what does not compare."""
    verbs.say(f"\n{found.meaning}")
    if common := found.common():
        verbs.say(f"All: {', '.join(common)}.")
    for line in aligned(*found.table()):
        verbs.say(f"  {line}")
    if len(found.differences) > (found.over is not None):
        verbs.say("\nThe specs differ in:")
        for key, values in found.differences.items():
            verbs.say(f"  {key}: {', '.join(page.said(value) for value in values)}")
    for warning in found.warnings:
        verbs.say(f"\n! {warning}")
