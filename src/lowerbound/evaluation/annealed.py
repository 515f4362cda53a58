"""log p(x) by annealing: a lower estimate on the split's images, and a bracket on images that the model draws."""

import math
from dataclasses import asdict
from typing import Any

from lowerbound import figures
from lowerbound.errors import UsageError
from lowerbound.evaluation.base import Drawn, Section, Subject
from lowerbound.metrics import Annealed, Annealing, Bracket, annealed_importance_sampling, bidirectional
from lowerbound.metrics.annealed import LIMIT
from lowerbound.metrics.weights import few_images, over_images
from lowerbound.words import counted, number, with_error

LOWER = (
    "On the split's images annealing gives a lower estimate: on average at most log p(x), by how much is not known, "
    "since no exact sample of their posterior is."
)
SIMULATED = (
    "The bracket is of images that the model drew itself, and tells how near annealing comes to log p(x) there. How "
    "near it comes on the data is like it only as far as these look like the model's images."
)
LIMITS = (
    "Each end is a one-sided 97.5 % limit of the mean over these images, over chains and the posterior's samples, by "
    "Markov's inequality: it holds however badly chains mix. The gap is that of the two point estimates; it may be "
    "negative by chance."
)


def measure(subject: Subject, how: Annealing = Annealing()) -> Section:  # noqa: B008 - it is frozen
    """Anneal to the first images of the split, and from both sides for as many images that the model draws.

    Values: ``how`` (base, temperatures, leaps, chains, rows), ``seed``; of the split ``images``, ``log_likelihood``,
    ``standard_error`` (of the mean over images), ``monte_carlo_error`` (what chains add to it), ``effective_chains``,
    ``accepted``, ``each`` (log p̂ of each image), ``above_importance`` (how much more it finds than the section
    "likelihood" on the same images) and its ``above_importance_error`` (over chains and samples), or ``refused``, why
    there are none; and ``simulated``:
    ``images``, ``lower``, ``upper``, ``gap``, ``gap_standard_error``, ``limits``, ``level``, ``accepted`` (each way),
    ``lower_each``, ``upper_each``. What is not known is None.

    Where p(x|z) is no likelihood of the data, as a cross-entropy on grey pixels is none, there is no log p(x) of them,
    and the split is refused in words. Images drawn from p(x|z) are in its support: the bracket is still given.

    Raises UsageError where neither has a meaning: a model that is no VAE, a posterior without a density, latents that
    are no real vectors, densities without a gradient or known by an estimate only.
    """
    settings = subject.settings
    bracket = bidirectional(
        subject.model, settings.images, how, seed=settings.seed, progress=subject.tell("annealing from both sides")
    )
    values: dict[str, Any] = {"how": asdict(how), "seed": settings.seed, **_nothing(), "simulated": _bracket(bracket)}
    words = f"{how.chains} chains from the {how.base}, {how.temperatures} temperatures, {how.leaps} leaps each"
    rows = _bracket_rows(values["simulated"])
    try:
        x = subject.images(settings.images)
        found = annealed_importance_sampling(
            subject.model, x, how, seed=settings.seed, progress=subject.tell("annealing to the data")
        )
    except UsageError as error:  # not the model's, of which the bracket was made: these images have no log p(x)
        values["refused"] = str(error)
    else:
        values |= _lower(found)
        values |= _above(subject, values)
        rows = _rows(values, subject.split) + rows
    notes = [values["refused"] or LOWER, SIMULATED, LIMITS, *few_images(len(bracket.gap))]
    return Section("log p(x) by annealing", values, [("estimated by", words), *rows], notes, [_picture(bracket)])


def _nothing() -> dict[str, Any]:
    names = ("images", "log_likelihood", "standard_error", "monte_carlo_error", "effective_chains", "accepted", "each")
    return dict.fromkeys((*names, "above_importance", "above_importance_error", "refused"))


def _lower(found: Annealed) -> dict[str, Any]:
    return {
        "images": found.log_mean.shape[0],
        "log_likelihood": float(found.log_mean.mean()),
        "standard_error": over_images(found.log_mean),
        "monte_carlo_error": float(found.error.square().sum().sqrt() / len(found.error)),
        "effective_chains": {"median": float(found.effective.median()), "least": float(found.effective.min())},
        "accepted": float(found.accepted.mean()),
        "each": found.log_mean.tolist(),
    }


def _bracket(found: Bracket) -> dict[str, Any]:
    return {
        "images": found.gap.shape[0],
        "lower": float(found.lower.mean()),
        "upper": float(found.upper.mean()),
        "gap": float(found.gap.mean()),
        "gap_standard_error": over_images(found.gap),
        "limits": list(found.mean_limits()),
        "level": LIMIT,
        "accepted": [float(way.accepted.mean()) for way in (found.forward, found.reverse)],
        "lower_each": found.lower.tolist(),
        "upper_each": found.upper.tolist(),
    }


def _above(subject: Subject, values: dict[str, Any]) -> dict[str, float]:
    """Compare with importance sampling where it was measured: the same images, noise of its own."""
    other = subject.found.get("likelihood")
    error = None if other is None else other.values["monte_carlo_error"]
    if other is None or error is None or other.values["images"] != values["images"]:
        return {}
    return {
        "above_importance": values["log_likelihood"] - other.values["log_likelihood"],
        "above_importance_error": math.hypot(values["monte_carlo_error"], error),
    }


def _rows(values: dict[str, Any], split: str) -> list[tuple[str, str]]:
    estimate = with_error(values["log_likelihood"], values["standard_error"])
    images = counted(values["images"], f"{split} image")
    rows = [
        (f"log p(x) of {images}, a lower estimate", f"{estimate} nats"),
        ("of the error, from the chains", f"{values['monte_carlo_error']:.2g} nats"),
    ]
    if values["above_importance"] is not None:
        more = with_error(values["above_importance"], values["above_importance_error"])
        rows.append(("above importance sampling", f"{more} nats"))
    return rows


def _bracket_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    low, high = found["limits"]
    return [
        (
            f"log p(x) of {counted(found['images'], 'image')} drawn by the model",
            f"lower {number(found['lower'])}, upper {number(found['upper'])} nats",
        ),
        ("gap of these two", f"{with_error(found['gap'], found['gap_standard_error'])} nats"),
        ("97.5 % limits on either side", f"{number(low)} to {number(high)} nats"),
    ]


def _picture(bracket: Bracket) -> Drawn:
    error = (bracket.forward.error.square() + bracket.reverse.error.square()).sqrt()
    caption = "The gap between the two estimates of each image; bars are the Monte Carlo error over chains."
    return Drawn("bracket", "Annealing", caption, figures.bracket(bracket.gap.tolist(), error.tolist()))
