"""The verb ``lowerbound evaluate``: it measures, shows how far it is, and prints tables and findings."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, final

from rich.live import Live
from rich.text import Text

from lowerbound import verbs
from lowerbound.errors import UsageError
from lowerbound.evaluation import examine
from lowerbound.evaluation.base import Section, Settings, Subject
from lowerbound.evaluation.diagnosis import Diagnosis, diagnose
from lowerbound.progress import PLAIN_EVERY, console

if TYPE_CHECKING:
    from lowerbound import cli


def evaluate(args: "cli.Evaluate") -> None:
    """Measure a run; raises UsageError where nothing that was asked for has a meaning for it."""
    for name in ("samples", "importance", "images"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise UsageError(f"--{name} is {value}: at least 1 is needed.")
    run = verbs.opened(args.run)
    shown = Shown(quiet=args.json)
    settings = Settings(samples=args.samples, importance=args.importance, images=args.images, progress=shown)
    subject = Subject(run, args.split, settings)
    whole = not args.measure or "all" in args.measure
    with shown:
        sections, refused = examine.examine(subject, args.measure or None)
        found = diagnose(subject) if whole else None
    for name in args.measure:
        if name in refused:
            raise UsageError(f"{name}: {refused[name]}")
    examine.keep(subject, refused, found)
    if args.json:
        told = {} if found is None else asdict(found)
        print(json.dumps({**examine.plain(sections), "refused": refused, **told}, ensure_ascii=False, allow_nan=False))
        return
    verbs.say(f"{run.path}, {args.split} split, from the {run.weights_note}")
    for section in sections.values():
        _print(section)
    for name, words in refused.items():
        verbs.say(f"\nNo {name}: {words}")
    if found is not None:
        _tell(found)
    verbs.say(f"\nReport: {run.path / 'report.html'}")


def _print(section: Section) -> None:
    verbs.say(f"\n{section.title}")
    for line in columns(section.rows):
        verbs.say(f"  {line}")
    for note in section.notes:
        verbs.say(f"  * {note}")


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Write rows of cells under one another; no cell is broken, and the last ones are as long as they are.

    Example:
        >>> columns([("a", "long one", "b"), ("more", "c", "d"), ("e", "f")])
        ['a     long one  b', 'more  c         d', 'e     f']
    """
    widths = [max((len(row[i]) for row in rows if i + 1 < len(row)), default=0) for i in range(max(map(len, rows)))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]


def _tell(found: Diagnosis) -> None:
    """Say what is wrong, and of what nothing can be said."""
    verbs.say("\nWhat was found" if found.findings else "\nNothing was found that is wrong.")
    for finding in found.findings:
        verbs.say(f"* {finding.says} {finding.evidence}\n  {finding.advice}")
    if found.unlooked:
        verbs.say("Not looked for:")
    for words in found.unlooked:
        verbs.say(f"  {words}")


@final
class Shown:
    """One live line of what is being measured, and the time left; without a terminal a plain line every ten seconds."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet, terminal = quiet, console.is_terminal and not quiet
        self.live = Live(console=console, transient=True) if terminal else None
        self.what, self.begun, self.last = "", 0.0, time.monotonic()

    def __enter__(self) -> "Shown":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say how far a measure is."""
        now = time.monotonic()
        if what != self.what:
            self.what, self.begun = what, now
        if self.quiet or now - self.last < (0.2 if self.live else PLAIN_EVERY):
            return
        self.last = now
        left = f", {(now - self.begun) / done * (total - done):.0f} s left" if done else ""
        line = f"{what}: {done:,} of {total:,}{left}"
        self.live.update(Text(line)) if self.live else console.print(line)
