"""Weights: numbers that may follow a schedule or what they observe. β is that of the KL, λ that of the distortion.

Schedules are written in fractions of the whole training (``total`` steps, filled in by the run), so that they go on to
their end however long it is; by hand, ``Linear(end=4, until=0.5, total=1000)`` is a warm-up of 500 steps. Steps are
counted from 0: the last is ``total - 1``, and a line with ``until=1.0`` is then one step short of its end.
"""

import math
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, final

import torch
from annotated_types import Ge, Gt, Le, Lt
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.errors import UsageError

NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
Total = Annotated[int, Ge(1)]


class Weight(nn.Module, ABC):
    """A non-negative number that may depend on the step and on what was observed (the weighted term's value).

    ``end`` is the value that was asked for, which a schedule approaches. A weight that is ``adaptive`` has none: it
    moves by what it observes, in training only, and its state is in buffers, saved with the objective.
    """

    end: float
    adaptive: ClassVar[bool] = False

    @abstractmethod
    def forward(self, step: int, observed: Float[Tensor, ""] | None = None) -> float | Float[Tensor, ""]:
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


@final
class GECO(Weight):
    r"""λ, the price of the distortion, raised while the distortion is above what was asked for, and lowered below it.

    .. math:: \bar C_t = a \bar C_{t - 1} + (1 - a) (D_t - \kappa), \qquad
        \lambda_{t + 1} = \lambda_t \exp(\nu \bar C_t), \qquad \lambda_0 = 1

    D is the distortion of the batch in nats per example, and the mean of C begins at the first one. It is the weight of
    a `Distortion`, beside a `KL` of weight 1: their sum is the Lagrangian of the least rate under D ≤ κ. The paper
    leaves ν open and λ unbounded; a limit keeps λ from piling up while the model is untrained and far above κ.

    Reference: Taming VAEs (Rezende and Viola, 2018).

    Arguments:
        distortion: κ, the nats that are asked for.
        speed: ν, by which log λ moves for each nat and step.
        decay: a, of the mean of C.
        limit: λ stays between 1 / limit and limit.

    Example:
        >>> lam = GECO(distortion=80.0, speed=0.01)
        >>> lam(0, torch.tensor(90.0)), lam(1, torch.tensor(90.0))  # 10 nats above: λ grows by exp(0.1)
        (tensor(1.), tensor(1.1052))
        >>> lam.eval()(2, torch.tensor(90.0)), lam.eval()(2)  # it moves in training only
        (tensor(1.2214), tensor(1.2214))
    """

    adaptive: ClassVar[bool] = True
    log_weight: Tensor
    average: Tensor
    seen: Tensor

    def __init__(
        self,
        distortion: float,
        speed: Annotated[float, Gt(0)] = 1e-3,
        decay: Annotated[float, Ge(0), Lt(1)] = 0.9,
        limit: Annotated[float, Gt(1)] = 10.0,
    ) -> None:
        super().__init__()
        if not (math.isfinite(distortion) and speed > 0 and 0 <= decay < 1 and limit > 1):
            raise UsageError(
                f"distortion is {distortion}, speed {speed}, decay {decay} and limit {limit}: the first is a number of "
                "nats, the others lie above 0, between 0 and 1, and above 1."
            )
        self.distortion, self.speed, self.decay, self.limit = distortion, speed, decay, math.log(limit)
        self.register_buffer("log_weight", torch.zeros(()))
        self.register_buffer("average", torch.zeros(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, step: int, observed: Float[Tensor, ""] | None = None) -> Float[Tensor, ""]:
        """Give λ, and in training move it by what was observed, for the next step."""
        weight = self.log_weight.exp()
        if self.training and observed is not None and observed.isfinite():
            c = observed.to(self.average) - self.distortion
            self.average.copy_(c if self.seen == 0 else self.decay * self.average + (1 - self.decay) * c)
            self.seen += 1
            self.log_weight.add_(self.speed * self.average).clamp_(-self.limit, self.limit)
        return weight


@final
class ControlVAE(Weight):
    r"""β, moved by a PI controller until the rate is what was asked for.

    .. math:: \beta_t = \frac{K_p}{1 + \exp(e_t)} + I_t + \beta_{\min}, \qquad
        I_t = I_{t - 1} - K_i e_t, \qquad e_t = R - \mathrm{rate}_t

    β is clipped to between β_min and β_max, and I to between 0 and β_max - β_min, so that β leaves a bound as soon as e
    turns. (The paper holds I while β is beyond its bounds, where it never is once it is clipped.) It is the weight of a
    `KL`, whose rate is in nats per example.

    Reference: ControlVAE: controllable variational autoencoder (Shao et al., 2020).

    Arguments:
        rate: R, the nats that are asked for.
        kp: K_p, of the proportional part.
        ki: K_i, of the integral, for each nat and step.
        least: β_min.
        most: β_max.

    Example:
        >>> beta = ControlVAE(rate=20.0, ki=0.01)
        >>> beta(0, torch.tensor(50.0))  # 30 nats above: 0.01 + 30 · 0.01
        tensor(0.3100)
        >>> beta(1, torch.tensor(50.0)), beta.eval()(2)  # it moves in training only
        (tensor(0.6100), tensor(0.6100))
    """

    adaptive: ClassVar[bool] = True
    integral: Tensor
    weight: Tensor

    def __init__(
        self,
        rate: NonNegative,
        kp: NonNegative = 0.01,
        ki: Annotated[float, Gt(0)] = 1e-4,
        least: NonNegative = 0.0,
        most: Annotated[float, Gt(0)] = 100.0,
    ) -> None:
        super().__init__()
        self._check(rate=rate, kp=kp, ki=ki, least=least, most=most)
        if ki == 0 or least >= most:
            raise UsageError(f"ki is {ki}, least {least} and most {most}: ki lies above 0, and most above least.")
        self.rate, self.kp, self.ki, self.least, self.most = rate, kp, ki, least, most
        self.register_buffer("integral", torch.zeros(()))
        self.register_buffer("weight", torch.full((), float(least)))

    @torch.no_grad()
    def forward(self, step: int, observed: Float[Tensor, ""] | None = None) -> Float[Tensor, ""]:
        """Give β, in training after it was moved by what was observed."""
        if self.training and observed is not None and observed.isfinite():
            e = self.rate - observed.to(self.integral)
            self.integral.sub_(self.ki * e).clamp_(0.0, self.most - self.least)
            proportional = self.kp * torch.sigmoid(-e)
            self.weight.copy_((proportional + self.integral + self.least).clamp(self.least, self.most))
        return self.weight.clone()


def as_weight(value: "float | Weight") -> Weight:
    """Take a number for a constant weight."""
    return value if isinstance(value, Weight) else Constant(value)
