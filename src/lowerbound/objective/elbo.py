"""The evidence lower bound as a sum of terms."""

from collections.abc import Mapping
from typing import Annotated, Literal, cast, final

from annotated_types import Ge
from torch import nn

from lowerbound.errors import UsageError
from lowerbound.objective.base import Group, Loss, Objective, ledger
from lowerbound.objective.gradient import pathwise
from lowerbound.objective.terms import KL, Distortion, Term
from lowerbound.objective.weight import Weight
from lowerbound.vae import Model, Trace


@final
class Elbo(Objective):
    r"""Distortion plus weighted terms; with ``KL(weight=1)`` it is -elbo, and with β that of the β-VAE.

    .. math:: -\mathrm{elbo} = \mathbb E_{q(z|x)}[-\log p(x|z)] + \mathrm{KL}(q(z|x) \| p(z)) \ge -\log p(x)

    What is logged as elbo is -(distortion + rate) whatever β is; what is minimised is logged as loss. The gradient
    "stl" takes the score of q out of the sampled KL, which in training then stands for the closed form: the gradient of
    the posterior is the same in expectation (but with free bits, which are not linear in the KL), and zero for each
    draw at the exact posterior. An evaluation has no gradient, and reads the closed form.

    Raises UsageError with "stl" for several groups of latents, or for a posterior whose draws have no gradient or that
    has no density at a given z.

    Reference: Auto-encoding variational Bayes (Kingma and Welling, 2014); Sticking the landing: simple, lower-variance
    gradient estimators for variational inference (Roeder, Wu and Duvenaud, 2017).

    Arguments:
        terms: name -> `Term`; by default Distortion() and KL(weight=1).
        samples: K, over which the terms are averaged.
        gradient: of the posterior's parameters, "total" or "stl".

    Example:
        >>> Elbo({"distortion": Distortion(), "kl": KL(weight=4.0)}).samples
        1
    """

    bound: Literal["lower", "upper"] | None = "lower"

    def __init__(
        self,
        terms: Mapping[str, Term] | None = None,
        samples: Annotated[int, Ge(1)] = 1,
        gradient: Literal["total", "stl"] = "total",
    ) -> None:
        super().__init__()
        if samples < 1:
            raise UsageError(f"samples is {samples}: at least 1 is needed.")
        if terms is not None and not terms:
            raise UsageError("The elbo has no terms, and nothing to minimise: give at least one.")
        if gradient not in ("total", "stl"):
            raise UsageError(f"gradient is {gradient!r}: it is 'total' or 'stl', and 'dreg' of importance only.")
        self.samples, self.gradient, self.weighs = samples, gradient, gradient == "stl"
        self.terms = nn.ModuleDict({"distortion": Distortion(), "kl": KL()} if terms is None else terms)
        self.densities_only = all(getattr(term, "densities_only", False) for term in self.terms.values())
        names = [name for term in self._terms() for name in term.players()]
        if len(set(names)) < len(names):
            raise UsageError(f"Two terms bring players of the same name ({', '.join(names)}): leave one of them out.")
        adapts = any(isinstance(part, Weight) and part.adaptive for part in self.terms.modules())
        self.comparable = not adapts and not names  # what two critics say of two steps is no order of them

    def players(self, model: Model) -> dict[str, Group]:
        """Name the model, and beside it the players that terms bring along."""
        others = {name: group for term in self._terms() for name, group in term.players().items()}
        theirs = {id(p) for group in others.values() for p in group.params}
        return {"model": Group([p for p in [*model.parameters(), *self.parameters()] if id(p) not in theirs]), **others}

    def reduce(self, model: Model, trace: Trace, *, step: int = 0) -> Loss:
        """Add up the terms, and log the ledger beside them."""
        total = Loss({}, ledger(trace))
        read = pathwise(trace, "gradient 'stl'") if self.gradient == "stl" and self.training else trace
        for term in self._terms():
            total = total + term.reduce(model, read, step)
        return total + Loss({}, {"loss": total.losses["model"].detach()})

    def _terms(self) -> list[Term]:
        return cast("list[Term]", list(self.terms.values()))
