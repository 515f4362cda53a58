"""The inference gap log p(x) − elbo: what the family of the posterior costs, and what the encoder costs."""

from typing import Any

from lowerbound import figures, metrics
from lowerbound.evaluation.base import Drawn, Section, Subject
from lowerbound.metrics.gap import Gap
from lowerbound.metrics.weights import few_images
from lowerbound.words import counted, with_error

ESTIMATES = (
    "These are estimates. log p(x) is a lower one, so that the approximation gap is too; each image's own posterior is "
    "a local optimum, so that the amortisation gap is a lower estimate, and the approximation gap too large by as much."
)
ROWS = {
    "log_likelihood": ("log p(x)", ", from each image's own posterior"),
    "best": ("elbo of each image's own posterior", ""),
    "elbo": ("elbo of the encoder's posterior", ""),
    "gap": ("inference gap", ""),
    "approximation": ("… of the posterior's family", " (approximation)"),
    "amortisation": ("… of the encoder", " (amortisation)"),
}


def measure(subject: Subject) -> Section:
    """Split the inference gap of the first images, see `lowerbound.metrics.inference_gap`.

    The values are those of `lowerbound.metrics.Gap.summary`: "log_likelihood", "best", "elbo", "gap", "approximation"
    and "amortisation", each with "mean", "standard_error" over images and "monte_carlo_error" (None where it is not
    given); and "images", "samples", "k_hat", "no_tail", "k_hat_limit", "doubtful" and "effective_samples" of the
    weights of each image's own posterior.
    """
    settings = subject.settings
    subject.blocks()  # without images there is nothing to measure
    found = metrics.inference_gap(
        subject.model,
        subject.images(settings.images),
        samples=settings.importance,
        seed=settings.seed,
        progress=subject.tell("inference gap"),
    )
    values = {"split": subject.split, **found.summary()}
    return Section("Inference gap", values, _rows(subject, values), _notes(values), _pictures(found))


def _rows(subject: Subject, values: dict[str, Any]) -> list[tuple[str, str]]:
    n = values["images"]
    some = counted(n, "image") if n == subject.size else f"the first {n:,} of {subject.size:,} images"
    rows = [("estimated from", f"{counted(values['samples'], 'sample')} of each of {some}")]
    for name, (what, more) in ROWS.items():
        figure = values[name]
        rows.append((what, f"{with_error(figure['mean'], figure['standard_error'])} nats{more}"))
    return rows


def _notes(values: dict[str, Any]) -> list[str]:
    notes, doubtful = [ESTIMATES, *few_images(values["images"])], values["doubtful"]
    if doubtful:
        notes.append(
            f"For {doubtful} of {counted(values['images'], 'image')} log p(x) is not to be trusted, even from their "
            f"own posterior (k̂ above {values['k_hat_limit']:.2f}): it may be too low, and so the approximation gap."
        )
    return notes


def _pictures(found: Gap) -> list[Drawn]:
    if len(found.elbo) < 2:
        return []
    caption = (
        "log p(x) − elbo of each image: what the best posterior of the family leaves (approximation), and what the "
        "encoder's falls short of it (amortisation)."
    )
    return [Drawn("parts", "The two parts of the gap", caption, figures.gaps(found.approximation, found.amortisation))]
