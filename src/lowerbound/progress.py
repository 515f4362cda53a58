"""What is shown while a training works, and how it is asked to stop."""

import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, final

from rich.console import Console
from rich.live import Live
from rich.text import Text

from lowerbound.errors import StoppedError
from lowerbound.job import Job
from lowerbound.metrics import headline
from lowerbound.process import program
from lowerbound.run import Run
from lowerbound.train import Record
from lowerbound.words import duration, noun, number

console = Console(highlight=False, soft_wrap=True)
PLAIN_EVERY = 10.0  # seconds between lines where there is no terminal


@final
class Stop:
    """Remembers that SIGINT or SIGTERM came; a second signal, or one outside the training, stops at once.

    It is remembered even where it stops at once: what is raised in a handler can be lost in whatever code it hits (an
    ``except Exception`` of a library that is being imported), and the training then stops at its first step instead.
    """

    def __init__(self) -> None:
        self.asked = False
        self.training = False

    @contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Take over the two signals for a while."""
        before = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for s, handler in before.items():
                signal.signal(s, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self.asked = self.asked, True
        if again or not self.training:
            raise StoppedError("Stopped. What was saved stays.")


def work(job: Job, stop: Stop, after: int = 0) -> None:
    """Train a job to its end under the eyes of the user, and finish it; ``after`` steps of other runs come then.

    Raises StoppedError, when a checkpoint is saved, where a signal asked for it.
    """
    again = f"Go on with: {program()} resume {job.run.path}"
    with job.run.lock():
        steps = job.steps()
        stop.training = True
        for _ in shown(steps, job, after):
            if stop.asked:
                steps.close()
                raise StoppedError(f"Stopped at step {job.state.step:,} of {job.total:,}; everything is saved. {again}")
        stop.training = False
        try:
            finish(job)
        except StoppedError:
            raise StoppedError(f"Stopped after the training, before its report. {again}") from None


def finish(job: Job) -> Run:
    """Finish a job whose steps are done, saying so."""
    if job.stopped_early():
        console.print(f"Stopped early at step {job.state.step:,}: no better validation for {job.plan.patience}.")
    if job.run.spec["fit"]:
        console.print(f"Fitting a prior to the codes ({job.run.spec['fit']['kind']}) …")
    console.print("Evaluating, and writing the report …")
    return job.finish()


def shown(records: Iterable[Record], job: Job, after: int = 0) -> Iterator[Record]:
    """Pass records on, showing one live line in a terminal, or a plain line every ten seconds elsewhere.

    ``after`` is the number of steps of other runs that come then.
    """
    begun, first, last = time.monotonic(), job.state.step, 0.0
    live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None
    try:
        if live:
            live.start()
        for record in records:
            now = time.monotonic()
            if now - last >= (0.2 if live else PLAIN_EVERY) or record.step == job.total:
                text = line(record, job, now - begun, first, after)
                live.update(Text(text)) if live else console.print(text)
                sys.stdout.flush()
                last = now
            yield record
    finally:
        if live:
            live.stop()


def left(rows: Sequence[Mapping[str, Any]], total: int) -> float | None:
    """Give the seconds to the end of a training at the pace of the newest rows of its timing.jsonl; None without any.

    Example:
        >>> left([{"step": 50, "seconds": 9.0}, {"step": 100, "seconds": 5.0}, {"step": 150, "seconds": 5.0}], 1150)
        100.0
    """
    if not rows:
        return None
    first, last = rows[0], rows[-1]
    some = (
        rows[1:] or rows
    )  # the first tells how long its steps took, not how many they were, unless it is all there is
    steps = last["step"] - (first["step"] if len(rows) > 1 else 0)
    seconds: float = sum(row["seconds"] for row in some) * (total - last["step"]) / steps
    return max(0.0, seconds)


def line(record: Record, job: Job, seconds: float, first: int, after: int = 0) -> str:
    """Write a record as one line: step, elbo and its two parts (or what there is of them), speed, time left.

    Where steps of other runs come after this one, their time at the same speed is told too.
    """
    terms = {name: float(value) for name, value in record.loss.terms.items()}
    speed = (record.step - first) / max(seconds, 1e-9)
    left = (job.total - record.step) / speed
    parts = [f"step {record.step:,}/{job.total:,}"]
    parts += [f"{name} {number(terms[name], 1)}" for name in headline(terms)]
    parts += [f"β {terms['beta']:.3g}"] if "beta" in terms else []
    parts += [f"C {terms['capacity']:.3g}"] if "capacity" in terms else []
    parts += [f"{speed * job.plan.batch:,.0f} {noun(job.source.shape)}/s", f"{left:.0f} s left"]
    return "  ".join([*parts, f"{duration(left + after / speed)} of training left in all"] if after else parts)
