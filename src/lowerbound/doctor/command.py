"""The verb ``lowerbound doctor``: it runs the checks, shows which one is at work, and prints the table."""

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table as Printed
from rich.text import Text

from lowerbound import begin, process
from lowerbound.doctor import CHECKS, FALSE_ALARM, composition
from lowerbound.doctor.table import Check, Row, Setting, Table, perform, verdict
from lowerbound.errors import ProofError, UsageError
from lowerbound.progress import PLAIN_EVERY, console
from lowerbound.words import counted

if TYPE_CHECKING:
    from lowerbound import cli

WIDTH = 118  # of the table where there is no terminal
COLOURS = {"right": "green", "wrong": "bold red", "said": "yellow"}


def doctor(args: "cli.Doctor") -> None:
    """Examine the library, or the user's composition, and print the verdict; raises ProofError where a row is wrong."""
    device = begin.pick_device(args.device)
    process.tune()
    precision = process.precision(device) if args.precision in (None, "auto") else args.precision
    setting = Setting(device, precision == "bfloat16", args.quick)
    checks = CHECKS if args.spec is None else composition.examine(*composition.opened(args.spec))
    begun = time.monotonic()
    table = Table([row for rows in _performed(checks, setting, quiet=args.json) for row in rows])
    seconds = time.monotonic() - begun
    if not table.rows:
        raise UsageError("Nothing was examined: no check gave a row.")
    where = f"{device}, {precision} in a training step, torch {torch.__version__}, lowerbound {version('lowerbound')}"
    if args.json:
        settings = {"device": str(device), "precision": precision, "quick": args.quick, "spec": args.spec}
        versions = {name: version(name) for name in ("lowerbound", "torch")}
        content = {**settings, "versions": versions, "seed": setting.seed, "seconds": round(seconds, 2)}
        print(json.dumps({**content, **table.plain()}, ensure_ascii=False, allow_nan=False))
    else:
        _print(table)
        _conclude(table, where, seconds)
    if table.failed:
        raise ProofError(_complaint(table))


def _performed(checks: Mapping[str, Check], setting: Setting, *, quiet: bool) -> Iterator[list[Row]]:
    """Run the checks, with one live line in a terminal, or a plain line every ten seconds elsewhere."""
    begun = last = time.monotonic()
    with _line(quiet) as live:
        for i, (name, check) in enumerate(checks.items()):
            text = f"check {i + 1}/{len(checks)}  {name}  {time.monotonic() - begun:.0f} s"
            if live:
                live.update(Text(text))
            elif not quiet and time.monotonic() - last >= PLAIN_EVERY:
                console.print(text)
                sys.stdout.flush()
                last = time.monotonic()
            yield perform(name, check, setting)


@contextmanager
def _line(quiet: bool) -> Iterator[Live | None]:
    if quiet or not console.is_terminal:
        yield None
        return
    with Live(console=console, refresh_per_second=8, transient=True) as live:
        yield live


def _print(table: Table) -> None:
    printed = Printed(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    printed.add_column("quantity", overflow="fold")
    for name in ("exact", "estimate", "error", "allowed"):
        printed.add_column(name, justify="right", no_wrap=True)
    printed.add_column("verdict", no_wrap=True)
    check = None
    for row in table.rows:
        if row.check != check:
            if check is not None:
                printed.add_section()
            printed.add_row(Text(row.check, style="bold"))
            check = row.check
        word = verdict(table, row)
        sign = {"equal": "", "at most": "≤ ", "at least": "≥ "}[row.sense]
        numbers = (f"{sign}{row.exact:.5g}", f"{row.estimate:.5g}", f"{row.error:.1e}", f"{table.allowed(row):.1e}")
        told = ("", "", "", "") if row.told and "not examined" in row.note else numbers
        printed.add_row(Text(_words(row, word)), *map(Text, told), Text(word, style=COLOURS[word]))
    (console if console.is_terminal else Console(width=WIDTH, highlight=False)).print(printed)


def _words(row: Row, word: str) -> str:
    return f"  {row.quantity}" + (f" ({row.note})" if row.note and word != "right" else "")


def _conclude(table: Table, where: str, seconds: float) -> None:
    drawn = sum(row.deviation is not None for row in table.rows)
    said = sum(row.told for row in table.rows)
    right = len(table.rows) - len(table.failed) - said
    parts = [f"{counted(right, 'row')} right", f"{len(table.failed)} wrong", *([f"{said} said only"] if said else [])]
    lines = [f"{', '.join(parts)}, in {seconds:.0f} s, on {where}."]
    if drawn:
        lines.append(
            f"The {counted(drawn, 'row')} that were drawn may be {table.z:.2f} standard errors off: with a new seed "
            f"each time, one of them would fail by chance in {1 / FALSE_ALARM:,.0f} examinations."
        )
    for text in lines:
        console.print(text, markup=False)


def _complaint(table: Table) -> str:
    """Say which rows are wrong, and what to do."""
    first: Any = table.failed[0]
    others = f", and {len(table.failed) - 1} more" if len(table.failed) > 1 else ""
    why = f" ({first.note})" if first.note else ""
    return (
        f"{counted(len(table.failed), 'row')} of {len(table.rows)} wrong: "
        f"{first.check}, {first.quantity}{why}{others}. "
        "Numbers that rest on it cannot be trusted here. Try --device cpu and --precision float32, to see whether "
        "device or precision are the cause, and report the table with lowerbound doctor --json."
    )
