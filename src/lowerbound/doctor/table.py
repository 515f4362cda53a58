"""Rows of quantities whose exact value is known, and the verdict on all of them together."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist
from typing import Any, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound import rng

FALSE_ALARM = 1e-4  # that any row of the table fails though all is right, were the seed drawn anew
SEED = 20131220
ROUNDING = 2e-5  # of float32, relative, after sums of some dozens of terms


@final
@dataclass(frozen=True)
class Setting:
    """Where and how a check computes: the device, the precision of a training step, and how long it may take."""

    device: torch.device
    bfloat16: bool = False
    quick: bool = False
    seed: int = SEED

    @property
    def exact(self) -> torch.device:
        """The device for what needs float64, which MPS lacks."""
        return torch.device("cpu") if self.device.type == "mps" else self.device

    def many(self, number: int) -> int:
        """Give how many draws are made where ``number`` are in a whole examination: a fifth, if it shall be quick."""
        return max(2, number // 5) if self.quick else number


@final
@dataclass(frozen=True)
class Row:
    """One quantity: its exact value and what the library says, in nats where it is a density or a divergence.

    Arguments:
        quantity: in words.
        exact: the value it must have, or the bound it must keep.
        estimate: the value that was found.
        tolerance: what rounding, a bias that is known, or a training that ends may take.
        deviation: the standard error of the estimate, where it was drawn.
        sense: whether the estimate equals the exact value, or stays at most or at least there.
        note: what else is to be known, above all where the row fails.
        told: whether it is said only, and fails nothing.
        check: which check gave it.

    Example:
        >>> Row("a bound", exact=-3.0, estimate=-3.5, sense="at most").error, Row("a value", -3.0, -3.5).error
        (0.0, 0.5)
    """

    quantity: str
    exact: float
    estimate: float
    tolerance: float = 0.0
    deviation: float | None = None
    sense: Literal["equal", "at most", "at least"] = "equal"
    note: str = ""
    told: bool = False
    check: str = ""

    @property
    def error(self) -> float:
        """How far the estimate is from where it must be; a number that is not finite never is there."""
        if not math.isfinite(self.estimate):
            return math.inf
        d = self.estimate - self.exact
        return {"equal": abs(d), "at most": max(d, 0.0), "at least": max(-d, 0.0)}[self.sense]


Check = Callable[[Setting], Iterable[Row]]


@final
@dataclass(frozen=True)
class Table:
    """All rows of an examination, and the verdict on each.

    A drawn row may be z standard errors off. z is chosen so that with probability 1 - `FALSE_ALARM` no row of the
    whole table fails where all is right (Bonferroni's bound, errors being normal):

    .. math:: z = \\Phi^{-1}(1 - \\alpha / 2n), \\qquad n \\text{ drawn rows}

    Example:
        >>> table = Table([Row("a mean", 0.0, 0.1, deviation=0.03), Row("a sum", 2.0, 2.1)])
        >>> round(table.z, 2), [table.passed(row) for row in table.rows]
        (3.89, [True, False])
    """

    rows: Sequence[Row]

    @cached_property
    def z(self) -> float:
        """How many standard errors a drawn row may be off."""
        drawn = sum(row.deviation is not None for row in self.rows)
        return NormalDist().inv_cdf(1 - FALSE_ALARM / (2 * max(1, drawn)))

    def allowed(self, row: Row) -> float:
        """Give how large the error of a row may be."""
        return row.tolerance + self.z * (row.deviation or 0.0)

    def passed(self, row: Row) -> bool:
        """Say whether a row is as it must be; one that is said only always is."""
        return row.told or row.error <= self.allowed(row)

    @property
    def failed(self) -> list[Row]:
        """The rows that are not as they must be."""
        return [row for row in self.rows if not self.passed(row)]

    def plain(self) -> dict[str, Any]:
        """Give the table as JSON has it; what is not finite is null."""
        rows = [
            {
                "check": row.check,
                "quantity": row.quantity,
                "sense": row.sense,
                **{name: _finite(getattr(row, name)) for name in ("exact", "estimate", "error")},
                "allowed": _finite(self.allowed(row)),
                "standard_error": None if row.deviation is None else _finite(row.deviation),
                "verdict": verdict(self, row),
                "note": row.note,
            }
            for row in self.rows
        ]
        return {"rows": rows, "failed": len(self.failed), "false_alarm": FALSE_ALARM, "z": self.z}


def verdict(table: Table, row: Row) -> str:
    """Give the verdict on a row of a table in a word.

    Example:
        >>> row = Row("a sum", 2.0, 2.1)
        >>> verdict(Table([row]), row)
        'wrong'
    """
    return "said" if row.told else "right" if table.passed(row) else "wrong"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def perform(name: str, check: Check, setting: Setting) -> list[Row]:
    """Run a check under its own noise; what it could not do is a row that fails, with the reason.

    Example:
        >>> perform("one", lambda setting: [Row("a sum", 2.0, 2.0)], Setting(torch.device("cpu")))[0].check
        'one'
    """
    with rng.noise(setting.seed, f"doctor {name}"):
        return [replace(row, check=name) for row in tried("the check", lambda: check(setting))]


def tried(what: str, rows: Callable[[], Iterable[Row]]) -> Iterator[Row]:
    """Give rows as they come; what fails on the way is one more row, with the reason, and hinders no other.

    Example:
        >>> [row.quantity for row in tried("division", lambda: [Row("a half", 0.5, 1 / 0)])]
        ['division runs to its end']
    """
    try:
        yield from rows()
    except Exception as error:  # whatever it is: a member that fails must not hide the others
        yield Row(f"{what} runs to its end", 1.0, math.nan, note=f"{type(error).__name__}: {error}")


def mean_of(draws: Float[Tensor, "..."]) -> tuple[float, float]:
    """Give the mean of independent draws, and its standard error.

    Example:
        >>> mean_of(torch.tensor([0.0, 2.0]))
        (1.0, 1.0)
    """
    values = draws.detach().cpu().double().flatten()
    return float(values.mean()), float(values.std() / len(values) ** 0.5)


def drawn(quantity: str, exact: float, draws: Float[Tensor, "..."], *, tolerance: float = 0.0, note: str = "") -> Row:
    """Give the row of a mean over independent draws."""
    mean, error = mean_of(draws)
    return Row(quantity, exact, mean, tolerance + rounding(exact), error, note=note)


def computed(quantity: str, exact: float | Tensor, estimate: float | Tensor, *, tolerance: float | None = None) -> Row:
    """Give the row of a value that is the same at every draw, but for rounding in float32."""
    exact, estimate = _number(exact), _number(estimate)
    return Row(quantity, exact, estimate, rounding(exact) if tolerance is None else tolerance)


def worst(quantity: str, exact: Tensor, estimate: Tensor, *, tolerance: float | None = None) -> Row:
    """Give the row of that one of several values which is the farthest off."""
    estimate = estimate.detach().cpu().double()
    exact = exact.detach().cpu().double().expand(estimate.shape)
    off = (estimate - exact).abs().nan_to_num(nan=math.inf)
    i = int(off.argmax())
    return computed(quantity, exact.flatten()[i], estimate.flatten()[i], tolerance=tolerance)


def rounding(value: float) -> float:
    """Give how much rounding in float32 may take from a value that is a sum of some dozens."""
    return ROUNDING * (1 + abs(value)) if math.isfinite(value) else 0.0


def _number(value: float | Tensor) -> float:
    return float(value.detach()) if isinstance(value, Tensor) else float(value)
