"""The ledger: what was measured on what, and elbo, distortion and rate with their standard errors."""

from lowerbound import begin, metrics
from lowerbound.evaluation.base import Section, Subject
from lowerbound.words import with_error


def measure(subject: Subject) -> Section:
    """Measure elbo, distortion and rate of the split, see `lowerbound.metrics.evaluate`."""
    settings = subject.settings
    found = metrics.evaluate(
        subject.model,
        subject.objective,
        subject.blocks(),
        step=begin.total(subject.run),
        samples=settings.samples,
        seed=settings.seed,
    )
    errors = found["standard_error"]
    rows = [(name, f"{with_error(found[name], errors.get(name))} nats") for name in metrics.headline(found)]
    return Section("Ledger", found, rows)
