"""The rows of a training's history as it grows: thinned without reading the whole file, and what was added since.

Rows stand in the order of their steps. Damaged lines, and the half of one that a killed process left, are passed over.
"""

import bisect
import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, final

import numpy as np

BLOCK = 1 << 13  # bytes that are read to find the last line
NEAR = 1 << 10  # bytes within which lines are read one after the other
LONGEST = 1 << 20  # bytes of a line; what is longer is passed over
WHOLE = 512  # bytes of a file, for each row that is asked for, below which all of it is read
MOST = 1 << 22  # bytes that are taken up at a time of what was added
KEYS = 64  # of a row
NOWHERE = "0-0"  # the mark of a file that is not there yet

Row = dict[str, Any]
Lines = dict[int, tuple[int, Row]]  # where each begins, its length, and what it says


@final
@dataclass(frozen=True)
class Course:
    """Some rows of a history, in order.

    Arguments:
        rows: those that were read.
        count: how many there are in the file, about; exactly where all were read.
        mark: where its last whole line ends, for `added`.
        again: of `added`: the file is another one now, or cut back, and has to be read from its beginning.
    """

    rows: list[Row]
    count: int
    mark: str = NOWHERE
    again: bool = False


def thinned(
    path: Path, points: int = 1000, steps: Sequence[int] = (), low: int | None = None, high: int | None = None
) -> Course:
    """Read about so many rows, evenly spread over a file of any length, the first and the last among them.

    Lines are sampled at even distances in bytes, and found by their step in the way a word is found in a dictionary: of
    a file of a million rows some thousand are read.

    Arguments:
        path: the file; without it there are no rows.
        points: how many rows; a file that is hardly longer is read whole.
        steps: steps of which every row is wanted in any case, as those of validations.
        low, high: the steps that the rows lie between; the whole training where they are not said.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "history.jsonl"
        >>> _ = path.write_bytes(b"".join(b'{"step": %d}\\n' % step for step in range(100_000)))
        >>> found = thinned(path, 4, steps=[70_001])
        >>> [row["step"] for row in found.rows][-2:], abs(found.count - 100_000) < 9_000
        ([75174, 99999], True)
    """
    try:
        with open(path, "rb") as file:
            end = _end(file)
            mark = f"{os.fstat(file.fileno()).st_ino}-{end}"
            start = 0 if low is None else _find(file, low, 0, end)
            stop = end if high is None else _find(file, high + 1, start, end)
            if stop - start <= WHOLE * points:
                rows = [row for _, (_, row) in _rows(file, start, stop)]
                return Course(rows, len(rows), mark)
            lines = _sampled(file, start, stop, points)
            length = sum(length for length, _ in lines.values()) / max(1, len(lines))
            lines |= _of_steps(file, steps, lines, start, stop)
            rows = [lines[place][1] for place in sorted(lines)]
            return Course(rows, round((stop - start) / max(1.0, length)), mark)
    except FileNotFoundError:
        return Course([], 0)


def added(path: Path, mark: str) -> Course:
    """Read the whole lines that were added to a file since a mark; says where it has to be read from its beginning.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "history.jsonl"
        >>> _ = path.write_bytes(b'{"step": 1}\\n{"step": 2}\\n{"st')
        >>> first = added(path, NOWHERE)
        >>> first.rows, added(path, first.mark).rows
        ([{'step': 1}, {'step': 2}], [])
    """
    known, place = (int(part) for part in mark.split("-"))
    try:
        found = os.stat(path)
        if found.st_size == place and found.st_ino == known:
            return Course([], 0, mark)
        with open(path, "rb") as file:
            now = os.fstat(file.fileno())
            if known not in (0, now.st_ino) or now.st_size < place or now.st_size - place > MOST:
                return Course([], 0, mark, again=True)
            file.seek(place)
            data = file.read(MOST)
    except FileNotFoundError:
        return Course([], 0, mark, again=known != 0)
    data = data[: data.rfind(b"\n") + 1]
    rows = [row for line in data.split(b"\n") if (row := read(line)) is not None]
    return Course(rows, len(rows), f"{now.st_ino}-{place + len(data)}")


def read(line: bytes) -> Row | None:
    """Read a row: its step, and of the rest what is a number, a list of numbers or the split; None where it is none.

    Example:
        >>> read(b'{"step": 3, "elbo": NaN, "kl_by_dim": [1, 2], "split": "train", "x": {}}')
        {'step': 3, 'elbo': None, 'kl_by_dim': [1.0, 2.0], 'split': 'train'}
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or not _is_step(found.get("step")):
        return None
    row: Row = {}
    for name, value in list(found.items())[:KEYS]:
        if name == "step" or (name == "split" and value in ("train", "validation")):
            row[name] = value
        elif name == "kl_by_dim" and isinstance(value, list):
            row[name] = [_number(one) for one in value]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            row[name] = _number(value)
    return row


def _is_step(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def _number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def elapsed(
    rows: Iterable[Mapping[str, Any]], log: int, since: tuple[int, float] = (0, 0.0)
) -> list[tuple[int, float]]:
    """Give the seconds of training until each row of timing.jsonl, also of a thinned one: at the pace of those read.

    Arguments:
        rows: each with its step and the seconds that the last ``log`` steps took.
        log: steps between two rows.
        since: the step before the first row, and the seconds until then.

    Example:
        >>> elapsed([{"step": 50, "seconds": 2.0}, {"step": 100, "seconds": 1.0}, {"step": 300, "seconds": 3.0}], 50)
        [(50, 2.0), (100, 3.0), (300, 15.0)]
    """
    (last, done), found = since, []
    for row in rows:
        done += max(0.0, row.get("seconds") or 0.0) * max(0, row["step"] - last) / log
        last = row["step"]
        found.append((last, round(done, 4)))
    return found


def _sampled(file: IO[bytes], start: int, stop: int, points: int) -> Lines:
    """Take the first row after each of many places at even distances, and the last of all."""
    lines: Lines = {}
    for place in np.linspace(start, stop, points, endpoint=False).astype(int).tolist():
        lines.update(itertools.islice(_rows(file, place, stop, inside=place > start), 1))
    back = BLOCK
    while not (last := dict(_rows(file, max(start, stop - back), stop, inside=stop - back > start))) and back < LONGEST:
        back *= 4
    return {**lines, **dict(list(last.items())[-1:])}


def _of_steps(file: IO[bytes], steps: Iterable[int], known: Lines, start: int, stop: int) -> Lines:
    """Take every row of some steps, each looked for between the known rows around it."""
    places = sorted(known)
    known_steps = [known[place][1]["step"] for place in places]
    found: Lines = {}
    for step in steps:
        i = bisect.bisect_left(known_steps, step)
        low, high = places[i - 1] if i else start, places[i] if i < len(places) else stop
        for place, (length, row) in _rows(file, _find(file, step, low, high), stop):
            if row["step"] != step:
                break
            found[place] = length, row
    return found


def _find(file: IO[bytes], step: int, low: int, high: int) -> int:
    """Find where the first row begins that is of this step or a later one, by halving what lies between two places."""
    end = high
    while high - low > NEAR:
        middle = (low + high) // 2
        found = next(_rows(file, middle, high, inside=True), None)
        if found is not None and found[1][1]["step"] < step:
            low = found[0]
        else:
            high = middle
    return next((at for at, (_, row) in _rows(file, low, end) if row["step"] >= step), end)


def _rows(file: IO[bytes], place: int, stop: int, inside: bool = False) -> Iterator[tuple[int, tuple[int, Row]]]:
    """Give (where it begins, (its length, the row)) of each from a place on, which may lie inside a line."""
    file.seek(max(0, place - inside))
    if inside and place:
        file.readline(LONGEST)
    at = file.tell()
    while at < stop and (line := file.readline(LONGEST)):
        if (row := read(line)) is not None:
            yield at, (len(line), row)
        at += len(line)


def _end(file: IO[bytes]) -> int:
    """Find where the last whole line ends."""
    size = place = file.seek(0, os.SEEK_END)
    while place > max(0, size - MOST):
        start = max(0, place - BLOCK)
        file.seek(start)
        if (found := file.read(place - start).rfind(b"\n")) >= 0:
            return start + found + 1
        place = start
    return 0
