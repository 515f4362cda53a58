"""What an illness is looked for with: the figures that were measured, and what a finding is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

from lowerbound.errors import UsageError
from lowerbound.evaluation.base import Subject


@final
@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a run, or may be.

    Arguments:
        name: of the illness, such as "collapsed latents".
        says: what it is, in a sentence.
        evidence: the figures that show it.
        advice: what to try.
        values: the figures as JSON takes them.
    """

    name: str
    says: str
    evidence: str
    advice: str
    values: Mapping[str, Any] = field(default_factory=dict)


# gives what it found, or None; raises UsageError where it cannot be looked for, and says why
Illness = Callable[[Subject], Finding | None]


def ledger(subject: Subject) -> Mapping[str, Any]:
    """Give the figures of the split: the ledger's, or those that the training ended with."""
    if "ledger" in subject.found:
        return subject.found["ledger"].values
    known: Mapping[str, Any] | None = subject.known.get(subject.split)
    if known is None:
        raise UsageError("the ledger of this split was not measured.")
    return known


def section(subject: Subject, name: str) -> Mapping[str, Any]:
    """Give what another measure found; raises UsageError where it was not taken."""
    if name not in subject.found:
        raise UsageError(f"{name} was not measured, or has no meaning here.")
    return subject.found[name].values


def ended(subject: Subject) -> Mapping[str, Any]:
    """Give what was recorded when the training ended; raises UsageError before."""
    if not subject.run.finished:
        raise UsageError("the training has not ended.")
    return subject.known


def beta_of(subject: Subject) -> float | None:
    """Give the β that the weights were trained with last, where there is one."""
    known = subject.known.get("beta")
    return float(known.get("chosen", known["reached"])) if known else None
