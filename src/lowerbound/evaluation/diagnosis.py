"""The diagnosis: what the figures of a run say in words, each finding with its evidence and what to try."""

from dataclasses import dataclass
from typing import final

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
    """

    name: str
    says: str
    evidence: str
    advice: str


def findings(subject: Subject) -> list[Finding]:
    """Look for each known illness in the sections that were measured."""
    return []
