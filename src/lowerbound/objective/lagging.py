"""Aggressive training of the posterior, which else lags behind the model."""

from typing import Annotated, Literal, final

from annotated_types import Ge, Le

from lowerbound.errors import UsageError
from lowerbound.objective.base import Group, Loss, Objective
from lowerbound.objective.gradient import apart
from lowerbound.vae import Model, Trace


@final
class Lagging(Objective):
    r"""Another objective, for which the posterior alone is trained at first, and the rest at every n-th step only.

    .. math:: \text{the rest moves at step } t \text{ (from 0)} \iff t \ge u T \text{ or } n \mid t + 1

    So the posterior comes to its optimum before the model learns to do without it. The paper trains it until a
    minibatch's loss no longer falls, and ends that when the mutual information no longer rises; here both are functions
    of the step alone, so that a resumed training is the same. Critics, and other players than the model, are left to
    the objective. Units, bound and samples are the objective's.

    Raises UsageError for a model without a part ``posterior``, and for lagging in lagging.

    Reference: Lagging inference networks and posterior collapse in variational autoencoders (He et al., 2019).

    Arguments:
        objective: what is minimised.
        total: T, the steps of the training; filled in.
        inner: n, the steps of the posterior to one of the rest.
        until: u, the fraction of the training after which all moves at every step.

    Example:
        >>> from lowerbound.objective import Elbo
        >>> lagging = Lagging(Elbo(), total=100, inner=4, until=0.5)
        >>> [t for t in range(60) if lagging.moves(t)][:14]
        [3, 7, 11, 15, 19, 23, 27, 31, 35, 39, 43, 47, 50, 51]
    """

    bound: Literal["lower", "upper"] | None

    def __init__(
        self,
        objective: Objective,
        total: Annotated[int, Ge(1)],
        inner: Annotated[int, Ge(1)] = 10,
        until: Annotated[float, Ge(0), Le(1)] = 0.25,
    ) -> None:
        super().__init__()
        if inner < 1 or not 0 <= until <= 1:
            raise UsageError(f"inner is {inner} and until {until}: at least 1, and between 0 and 1.")
        if isinstance(objective, Lagging):
            raise UsageError("lagging holds another objective, not lagging itself: take elbo or importance in it.")
        self.objective, self.inner, self.until = objective, inner, until * total
        self.bound, self.samples = objective.bound, objective.samples
        self.weighs, self.comparable = objective.weighs, objective.comparable
        self.densities_only = objective.densities_only

    def moves(self, step: int) -> bool:
        """Say whether the rest of the model moves at a step."""
        return step >= self.until or (step + 1) % self.inner == 0

    def players(self, model: Model) -> dict[str, Group]:
        """Part the objective's player "model" into the posterior and the rest, unless that is done."""
        groups = dict(self.objective.players(model))
        if "posterior" not in groups:
            everyone = groups.pop("model")
            theirs = {id(p) for p in apart(model, self, "lagging")["posterior"].params}
            parts = {"posterior": True, "model": False}
            split = {k: [p for p in everyone.params if (id(p) in theirs) is mine] for k, mine in parts.items()}
            groups = {**{name: Group(params, everyone.options) for name, params in split.items()}, **groups}
        return groups

    def reduce(self, model: Model, trace: Trace, *, step: int = 0) -> Loss:
        """Give the objective's losses, without that of the model where it does not move."""
        loss = self.objective.reduce(model, trace, step=step)
        losses = {"posterior": loss.losses["model"], **loss.losses}
        if not self.moves(step):
            del losses["model"]
        return Loss(losses, loss.terms)
