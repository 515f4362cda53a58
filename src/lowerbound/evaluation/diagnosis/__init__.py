"""The diagnosis: what the figures of a run say in words, each finding with its evidence and what to try."""

from dataclasses import dataclass
from typing import final

from lowerbound.errors import UsageError
from lowerbound.evaluation.base import Subject
from lowerbound.evaluation.diagnosis import estimate, latents, likelihoods, prior, training, weights
from lowerbound.evaluation.diagnosis.base import Finding as Finding
from lowerbound.evaluation.diagnosis.base import Illness as Illness
from lowerbound.report import BEGUN
from lowerbound.words import counted

ILLNESSES: dict[str, Illness] = {
    "training that has not ended": training.unended,
    "values that are not finite": training.unfinite,
    "exploding gradients": training.exploding,
    "likelihood that does not fit the data": likelihoods.unfit,
    "log p(x) of too few effective samples": estimate.effective,
    "collapsed latents": latents.collapsed,
    "constant latents": latents.constant,
    "rate near zero": latents.rate,
    "warm-up that never ended": weights.warmup,
    "β that is not what it seems": weights.seeming,
    "target that was not reached": weights.target,
    "variance collapse": likelihoods.variance,
    "overfitting": training.overfitting,
    "prior that does not match the codes": prior.mismatch,
}
EARLY = 5  # the first of them hold however short the training


@final
@dataclass(frozen=True)
class Diagnosis:
    """What was found, and what could not be looked for, with the reason: of that nothing is said.

    Arguments:
        findings: what is wrong, or may be.
        unlooked: "illness: why it could not be looked for".
    """

    findings: list[Finding]
    unlooked: list[str]


def diagnose(subject: Subject) -> Diagnosis:
    """Look for each known illness in the sections that were measured, and in the course of the training."""
    steps, unlooked = _steps(subject), []
    found = [_hardly_begun(steps)] if steps < BEGUN and subject.run.finished else []
    for name, illness in list(ILLNESSES.items())[: EARLY if steps < BEGUN else None]:
        try:
            finding = illness(subject)
        except UsageError as error:
            unlooked.append(f"{name}: {error}")
            continue
        found += [] if finding is None else [finding]
    if steps < BEGUN:
        later = ", ".join(list(ILLNESSES)[EARLY:])
        unlooked.append(f"{later}: the model has hardly begun, with {counted(steps, 'step')}; {BEGUN} are the least.")
    return Diagnosis(found, unlooked)


def _steps(subject: Subject) -> int:
    """Give the steps that the model was trained for."""
    if not subject.run.finished:
        return int(subject.known["weights"]["step"])
    return max((row["step"] for row in subject.run.history), default=0)


def _hardly_begun(steps: int) -> Finding:
    return Finding(
        "hardly begun",
        "The model has hardly begun: what its figures will come to cannot be told yet.",
        f"It was trained for {counted(steps, 'step')}, and {BEGUN} are the least.",
        "Train longer first, with more --epochs.",
        {"steps": steps},
    )
