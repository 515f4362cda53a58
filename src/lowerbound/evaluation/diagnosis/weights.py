"""Weights that are not what was asked for, or do not do what their number seems to say."""

import math
from typing import Any

from lowerbound.errors import UsageError
from lowerbound.evaluation.base import Subject
from lowerbound.evaluation.diagnosis.base import Finding, ended, ledger
from lowerbound.objective import KL, Capacity, Decomposed, Distortion, Elbo, FreeBits, Lagging
from lowerbound.objective.weight import GECO, ControlVAE
from lowerbound.train import LATE
from lowerbound.words import number

SIGNS = {"beta": "β", "lambda": "λ", "capacity": "C"}
SHORT = 0.01  # of what was asked for: a line that ends with the training is one step short of it
# a nat of rate for a fiftieth of a nat: published β lie above; those of codes that average over pixels, 0.00025, below
SMALL = 0.02
FACTOR = 4.0  # σ off by 2: less than that no one would notice in the pictures
TINY = 1e-12  # instead of a λ or an error of nothing
MISSED = 0.1  # of the target
ERRORS = 4  # standard errors: by chance once in 16,000 runs


def warmup(subject: Subject) -> Finding | None:
    """Look for a schedule that did not reach its end, or weights from before it."""
    known = ended(subject)
    for name, sign in SIGNS.items():
        schedule = known.get(name)
        if not schedule or schedule.get("adaptive"):
            continue
        asked, reached = schedule["asked"], schedule["reached"]
        chosen = schedule.get("chosen", reached)
        if all(math.isclose(asked, value, rel_tol=SHORT) for value in (reached, chosen)):
            continue
        short = not math.isclose(asked, reached, rel_tol=SHORT)
        says = f"The schedule of {sign} did not come to its end" if short else f"The weights are from before {sign} was"
        says += f": the model is one of {sign} = {chosen:.4g}." if short else f" {asked:.4g}: it was {chosen:.4g}."
        evidence = f"{asked:.4g} was asked for, and the last step had {reached:.4g}"
        evidence += f"; the weights are of step {known['weights']['step']:,}." if chosen != reached else "."
        advice = (
            "Train longer (--epochs), or let the schedule end sooner (its until, or middle and width, in fractions)."
        )
        return Finding("warm-up that never ended", says, evidence, advice, {"of": name, **schedule})
    return None


def seeming(subject: Subject) -> Finding | None:
    """Look for a β that acts as another one: beside other weights, or under a σ that is far from the errors made."""
    terms, known = _terms(subject), subject.known
    if ledger(subject).get("rate") is None:
        raise UsageError("q is a point mass: β weighs no rate.")
    if any(isinstance(term, Capacity | Decomposed) for term in terms):
        raise UsageError("the rate is not weighed by one β here.")
    shown, lam = known.get("beta"), known.get("lambda") or {"reached": 1.0}
    if shown is None:
        return _unweighed(subject)
    if shown.get("adaptive") or lam.get("adaptive"):
        return None  # moved until something else is reached, which is looked at by itself
    beta, others = float(shown.get("chosen", shown["reached"])), [t for t in terms if isinstance(t, KL | FreeBits)][1:]
    total = beta + sum(float(term.weight(LATE)) for term in others)
    noise = _noise(subject)
    acts = total / max(lam["reached"], TINY) * ((noise[0] / noise[1]) ** 2 if noise else 1.0)
    values = {"beta": beta, "acts_as": acts, "total": total, "lambda": lam["reached"], "sigma": noise and noise[0]}
    if beta > 0 and not 1 / FACTOR < acts / beta < FACTOR:
        return _acts(values, noise)
    return _small(subject, values) if acts < SMALL else None


def target(subject: Subject) -> Finding | None:
    """Look for a rate or a distortion that was asked for and not reached."""
    figures, known = ledger(subject), ended(subject)
    asked: list[tuple[str, float, str]] = []
    for term in _terms(subject):
        if isinstance(term, KL) and isinstance(term.weight, ControlVAE):
            asked.append(("rate", term.weight.rate, "ki (the speed of β) or most (its limit)"))
        if isinstance(term, Distortion) and isinstance(term.weight, GECO):
            asked.append(("distortion", term.weight.distortion, "speed (of λ) or limit"))
        if isinstance(term, Capacity):
            asked.append(("rate", float(known["capacity"]["reached"]), "weight (γ) of the capacity"))
    for name, wanted, setting in asked:
        value, error = figures.get(name), (figures.get("standard_error") or {}).get(name) or 0.0
        if value is None or abs(value - wanted) <= max(MISSED * abs(wanted), ERRORS * error):
            continue
        return Finding(
            "target that was not reached",
            f"The {name} is {number(value)} nats, and {number(wanted)} were asked for.",
            f"They are {abs(value - wanted):.2f} nats apart, with a standard error of {error:.2f}.",
            f"Train longer (--epochs), ask for something nearer, or raise the {setting}.",
            {"of": name, "asked": wanted, "reached": value},
        )
    return None


def _terms(subject: Subject) -> list[Any]:
    objective = subject.objective
    objective = objective.objective if isinstance(objective, Lagging) else objective
    if not isinstance(objective, Elbo):
        raise UsageError("what is minimised has no terms with a weight.")
    return list(objective.terms.values())


def _noise(subject: Subject) -> tuple[float, float] | None:
    """Give σ where it is a fixed one of a Gaussian, and the root mean square error of the reconstructions under q."""
    known = subject.known.get("sigma")
    if not known or known["kind"] != "fixed":
        return None
    sigma, size = float(known["value"]), math.prod(subject.run.data["shape"])
    constant = 0.5 * size * math.log(2 * math.pi * sigma**2)
    squares = 2 * sigma**2 * (ledger(subject)["distortion"] - constant)  # -log p(x|z) = squares / 2σ² + constant
    return sigma, math.sqrt(max(squares, TINY) / size)


def _acts(values: dict[str, Any], noise: tuple[float, float] | None) -> Finding:
    parts, beta, acts = [], values["beta"], values["acts_as"]
    parts += [f"terms weigh the rate by {values['total']:.4g} together"] if values["total"] != beta else []
    parts += [f"the distortion is weighed by {values['lambda']:.4g}"] if values["lambda"] != 1 else []
    advice = "Count all weights, or leave the other terms out of objective.terms."
    if noise:
        sigma, error = noise
        parts.append(f"σ is fixed at {sigma:.3g}, and reconstructions are off by {error:.3g} (root mean square)")
        advice = "Let σ be found (--recipe sigma-vae, or --set model.likelihood.sigma=learned)"
        advice += f", or set it to about {error:.2g}: β is then what it says."
    return Finding(
        "β that is not what it seems",
        f"β = {beta:.4g} acts as β = {acts:.3g} would with nothing else in the way.",
        f"Of it: {'; '.join(parts)}.",
        advice,
        values,
    )


def _small(subject: Subject, values: dict[str, Any]) -> Finding:
    size, beta = math.prod(subject.run.data["shape"]), values["beta"]
    there = f"take --beta {beta * size:.3g}; if it was meant, fit a prior to the codes afterwards (--fit)."
    return Finding(
        "β that is not what it seems",
        f"β = {beta:.4g} hardly weighs the rate: this is nearly an autoencoder, and samples from its prior are poor.",
        f"A nat of rate costs {values['acts_as']:.2g} nats. Here errors are summed over the {size:,} numbers of an "
        f"example; in a code that takes their mean, {beta:.4g} is what β = {beta * size:.3g} is here.",
        f"If it is from such a code, {there}" if beta else "Give the rate a weight, such as --beta 1.",
        values,
    )


def _unweighed(subject: Subject) -> Finding | None:
    if len(_terms(subject)) > 1:
        raise UsageError("other terms stand in place of the KL.")
    return Finding(
        "β that is not what it seems",
        "Nothing that is minimised weighs the rate: β is 0.",
        f"The rate is {ledger(subject)['rate']:.2f} nats, and no term of the objective has it.",
        "Add the KL: --set objective.terms.kl.kind=kl.",
        {"beta": 0.0},
    )
