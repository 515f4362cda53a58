"""What a sweep varies, and the values of it: read from what the user wrote, or refused in words."""

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from lowerbound.errors import UsageError
from lowerbound.seeds import word

BETA = "beta"
FIXED = {
    "seed": "the seeds of a sweep are those of --seeds",
    "data": "the runs of a sweep share their data, or their figures would not compare",
    "train.deterministic": "it is set for the whole process, with --deterministic",
}


@final
@dataclass(frozen=True)
class Axis:
    """What a sweep varies.

    Arguments:
        over: "beta", or a path in the spec, such as "train.lr".
        values: at least two; numbers ascend.
        beta: that of all runs where something else is varied; the recipe's if None.
    """

    over: str
    values: tuple[Any, ...]
    beta: float | None = None

    def assignment(self, value: Any) -> list[str]:
        """Give the assignment that sets a value, where it is not β's."""
        return [] if self.over == BETA else [f"{self.over}={json.dumps(value)}"]


def axis(beta: str | float | Sequence[float] | None, over: str | None = None, points: int = 8) -> Axis:
    """Read what shall be varied: β, or with ``over`` another setting.

    Arguments:
        beta: a range such as "0.1..20", a list such as "0.1,1,4", or numbers; beside ``over`` one number.
        over: the path of a setting with its values, such as "latents=2..32" or "train.lr=0.001,0.003".
        points: values of a range, on a geometric grid.

    Raises UsageError where the values are no range and no list of two or more.

    Example:
        >>> axis("0.1..10", points=3).values, axis(None, "latents=2..5").values
        ((0.1, 1.0, 10.0), (2, 3, 4, 5))
        >>> axis(None, "model.prior.kind=standard,mixture").values
        ('standard', 'mixture')
    """
    if over is None:
        if beta is None:
            raise UsageError(
                "A sweep needs what it shall vary: --beta 0.1..20, or another setting, --over latents=2..32."
            )
        return Axis(BETA, _betas(beta, points))
    path, equals, text = over.partition("=")
    path = path.strip()
    if not equals or not path:
        raise UsageError(f"--over {over!r}: write it as path=values, such as latents=2..32 or train.lr=0.001,0.003.")
    for fixed, why in FIXED.items():
        if path == fixed or path.startswith(f"{fixed}."):
            raise UsageError(f"--over {path}: {why}.")
    if path == BETA:
        raise UsageError("--over beta: β is varied with --beta 0.1..20.")
    return Axis(path, _values(f"--over {path}", text, points), None if beta is None else _one_beta(beta))


def _one_beta(beta: str | float | Sequence[float]) -> float:
    """Read the β of all runs."""
    number = _json(beta) if isinstance(beta, str) else beta
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise UsageError(f"--beta is {beta!r}: beside --over it is one number, the β of all runs.")
    return float(number)


def _betas(beta: str | float | Sequence[float], points: int) -> tuple[float, ...]:
    """Read a range or a list of β, none of which may be negative."""
    if isinstance(beta, str):
        found = _values("--beta", beta, points)
    else:
        found = _listed("--beta", [beta] if isinstance(beta, int | float) else list(beta))
    for value in found:
        if not _is_number(value) or value < 0:
            raise UsageError(f"--beta: {word(value)!r} is no weight of the rate: it must be a number of at least 0.")
    return tuple(float(value) for value in found)


def _values(name: str, text: str, points: int) -> tuple[Any, ...]:
    """Read a range or a list."""
    low, dots, high = text.partition("..")
    if dots:
        return _range(name, low.strip(), high.strip(), points)
    try:
        found = json.loads(f"[{text}]")
    except json.JSONDecodeError:
        found = [_json(part.strip()) for part in text.split(",")]
    return _listed(name, found)


def _listed(name: str, found: list[Any]) -> tuple[Any, ...]:
    """Give a list's values, numbers ascending; raises UsageError where it is none of at least two that differ."""
    if "" in found or not found:
        raise UsageError(f"{name}: a value is missing. Write a range, such as 0.1..20, or a list, such as 0.1,1,4.")
    if len(found) == 1:
        raise UsageError(
            f"{name} has one value, {word(found[0])}: a sweep needs at least two, as a range (0.1..20) or a list "
            "(0.1,1,4). To train one run: lowerbound train."
        )
    for value in found:
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{name}: {value} is not finite.")
        if found.count(value) > 1:
            raise UsageError(f"{name}: {word(value)} is there twice; --seeds trains the same several times.")
    return tuple(sorted(found) if all(map(_is_number, found)) else found)


def _range(name: str, low: str, high: str, points: int) -> tuple[Any, ...]:
    """Give a geometric grid, rounded to three digits between its ends; of whole numbers whole ones, each once."""
    ends = _json(low), _json(high)
    if not all(map(_is_number, ends)) or not all(map(math.isfinite, ends)):
        raise UsageError(f"{name} {low}..{high}: both ends must be numbers, such as 0.1..20.")
    if min(ends) <= 0:
        raise UsageError(
            f"{name} {low}..{high}: a range is cut into equal ratios, so both ends must be above 0. "
            "Write others as a list, such as 0,0.1,1."
        )
    if ends[0] >= ends[1]:
        raise UsageError(f"{name} {low}..{high}: the first end must be the lower one.")
    if points < 2:
        raise UsageError(f"--points is {points}: a sweep needs at least two.")
    if name != "--beta" and all(isinstance(end, int) for end in ends):
        return tuple(sorted({round(value) for value in np.geomspace(*ends, points)}))
    inner = [float(f"{value:.3g}") for value in np.geomspace(*ends, points)[1:-1]]
    grid = (float(ends[0]), *inner, float(ends[1]))
    if any(a >= b for a, b in itertools.pairwise(grid)):
        raise UsageError(f"{name} {low}..{high} is too narrow for {points} points: fewer of them, or a wider range.")
    return grid


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
