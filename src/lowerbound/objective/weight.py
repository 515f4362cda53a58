"""Weights: numbers that may follow a schedule over the training steps. β is the weight of the KL term.

Schedules are written in fractions of the whole training (``total`` steps, filled in by the run), so that they go on to
their end however long it is; by hand, ``Linear(end=4, until=0.5, total=1000)`` is a warm-up of 500 steps. Steps are
counted from 0: the last is ``total - 1``, and a line with ``until=1.0`` is then one step short of its end.
"""

import math
from abc import ABC, abstractmethod
from typing import Annotated, final

from annotated_types import Ge, Gt, Le
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.errors import UsageError

NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
Total = Annotated[int, Ge(1)]


class Weight(nn.Module, ABC):
    """A non-negative number that may depend on the step and on what was observed (the weighted term's value).

    ``end`` is the value that was asked for, which a schedule approaches.
    """

    end: float

    @abstractmethod
    def forward(self, step: int, observed: Float[Tensor, ""] | None = None) -> float:
        """Give the weight at a step (counted from 0)."""

    def _check(self, **values: float) -> None:
        for name, value in values.items():
            if not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} is {value}: a weight (such as β) must be a number of at least 0.")


@final
class Constant(Weight):
    """The same number at every step.

    Arguments:
        value: the number.

    Example:
        >>> Constant(4)(step=100)
        4.0
    """

    def __init__(self, value: NonNegative) -> None:
        super().__init__()
        self._check(weight=value)
        self.end = float(value)

    def forward(self, step: int, observed: Float[Tensor, ""] | None = None) -> float:
        """Give the number."""
        return self.end


@final
class Linear(Weight):
    """From ``start`` to ``end`` in a straight line until a fraction of the training, then ``end``: a warm-up.

    Reference: Ladder variational autoencoders (Sønderby et al., 2016).

    Arguments:
        total: the steps of the training; filled in.
        end: the value that is asked for.
        start: the value at the first step.
        until: the fraction of the training at which the end is reached; 1.0 is one step after the last.

    Example:
        >>> beta = Linear(end=4.0, until=0.5, total=1000)
        >>> beta(0), beta(250), beta(500), beta(999)
        (0.0, 2.0, 4.0, 4.0)
        >>> Linear(end=4.0, until=1.0, total=1000)(999)
        3.996
    """

    def __init__(self, total: Total, end: NonNegative = 1.0, start: NonNegative = 0.0, until: Fraction = 0.5) -> None:
        super().__init__()
        self._check(end=end, start=start)
        self.end, self.start, self.steps = float(end), float(start), until * total

    def forward(self, step: int, observed: Float[Tensor, ""] | None = None) -> float:
        """Give the point of the line."""
        done = min(1.0, step / self.steps) if self.steps else 1.0
        return self.start + (self.end - self.start) * done


@final
class Cyclic(Weight):
    """Several cycles, each a straight line from 0 to ``end`` over a ``ratio`` of it and then ``end``.

    Reference: Cyclical annealing schedule: a simple approach to mitigating KL vanishing (Fu et al., 2019).

    Arguments:
        total: the steps of the training; filled in.
        end: the value at the top of each cycle.
        cycles: how many.
        ratio: the fraction of a cycle in which the line rises.

    Example:
        >>> beta = Cyclic(end=1.0, cycles=4, ratio=0.5, total=400)
        >>> [beta(t) for t in (0, 25, 50, 99, 100)]
        [0.0, 0.5, 1.0, 1.0, 0.0]
    """

    def __init__(
        self,
        total: Total,
        end: NonNegative = 1.0,
        cycles: Annotated[int, Ge(1)] = 4,
        ratio: Annotated[float, Gt(0), Le(1)] = 0.5,
    ) -> None:
        super().__init__()
        self._check(end=end)
        self.end, self.ratio, self.total, self.period = float(end), ratio, total, total / cycles

    def forward(self, step: int, observed: Float[Tensor, ""] | None = None) -> float:
        """Give the point of the cycle; when the training is over, its end."""
        if step >= self.total:
            return self.end
        return self.end * min(1.0, step % self.period / self.period / self.ratio)


@final
class Sigmoid(Weight):
    r"""From near 0 to near ``end`` along a logistic curve about ``middle``, with all but 3.6 % of it within ±4 widths.

    .. math:: \mathrm{end} / (1 + \exp(-(t - \mathrm{middle}) / \mathrm{width}))

    What lies beyond is 1.8 % on either side, so the last step of the default curve, at 10 widths, has all but 5e-5.

    Reference: Generating sentences from a continuous space (Bowman et al., 2016).

    Arguments:
        total: the steps of the training; filled in.
        end: the value that is approached.
        middle: the fraction of the training at which half of it is reached.
        width: of the curve, as a fraction of the training.

    Example:
        >>> beta = Sigmoid(end=2.0, total=1000)
        >>> beta(500), round(beta(1000), 2)
        (1.0, 2.0)
    """

    def __init__(
        self,
        total: Total,
        end: NonNegative = 1.0,
        middle: Fraction = 0.5,
        width: Annotated[float, Gt(0)] = 0.05,
    ) -> None:
        super().__init__()
        self._check(end=end)
        self.end, self.middle, self.width = float(end), middle * total, width * total

    def forward(self, step: int, observed: Float[Tensor, ""] | None = None) -> float:
        """Give the point of the curve."""
        u = max(-500.0, (step - self.middle) / self.width)  # where exp(-u) is still finite
        return self.end / (1 + math.exp(-u))


def as_weight(value: "float | Weight") -> Weight:
    """Take a number for a constant weight."""
    return value if isinstance(value, Weight) else Constant(value)
