"""Latents that say nothing of the input, or a code that says hardly anything."""

import math
from typing import Any

from lowerbound import metrics
from lowerbound.errors import UsageError
from lowerbound.evaluation.base import Subject
from lowerbound.evaluation.diagnosis.base import Finding, beta_of, ledger
from lowerbound.metrics.aggregate import ACTIVE, FLOOR
from lowerbound.words import counted

SPARE = 0.25  # of the latents: fewer that are not in use are the slack that data of unknown dimension need
MOST = 0.5
RATE = math.log(2)  # nats: below it a code does not even tell one half of the images from the other


def collapsed(subject: Subject) -> Finding | None:
    """Look for latents whose posterior is the prior, or whose code does not vary where there is no KL."""
    figures, usage = ledger(subject), _usage(subject)
    lost, latents = usage["collapsed"], usage["latents"]
    share = len(lost) / latents
    if share < SPARE:
        return None
    one = len(lost) == 1
    how = f"{'has' if one else 'have'} collapsed to the prior"
    if figures.get("kl_by_dim") is None:
        how = f"{'does' if one else 'do'} not vary over the inputs"
    if share == 1:
        which = "The one latent tells nothing" if latents == 1 else f"None of the {latents} latents tells anything"
        says = f"{which} of the input: the decoder gives every code the same answer."
    elif share > MOST:
        says = f"Most latents, {len(lost)} of {latents}, {how}."
    else:
        says = f"{len(lost)} of {latents} latents {how}."
    if figures.get("kl_by_dim") is None:
        evidence = f"The variance of their code is at most {ACTIVE}: {_names(lost)}."
    else:
        evidence = f"A KL below {FLOOR} nats each: {_names(lost)}; the rate of all is {figures['rate']:.2f} nats."
    values = {"latents": latents, "collapsed": lost, "share": share}
    return Finding("collapsed latents", says, evidence, _more(subject, share, latents - len(lost)), values)


def constant(subject: Subject) -> Finding | None:
    """Look for latents that cost rate and whose mean is the same for every input."""
    usage = _usage(subject)
    flat, latents = usage["constant"], usage["latents"]
    if not flat or len(flat) / latents < SPARE:
        return None
    paid = sum(ledger(subject)["kl_by_dim"][i] for i in flat)
    return Finding(
        "constant latents",
        f"{len(flat)} of {latents} latents cost rate and are the same for every input.",
        f"Together {paid:.2f} nats, with a variance of the mean of at most {ACTIVE} each: {_names(flat)}.",
        "A term that asks for a rate whatever it carries brings this about: give it less weight, or train longer.",
        {"constant": flat, "nats": paid},
    )


def rate(subject: Subject) -> Finding | None:
    """Look for a rate that is next to nothing, where not all latents have collapsed (which says more)."""
    value = ledger(subject).get("rate")
    if value is None:
        raise UsageError("q is a point mass, and has no rate.")
    usage = _usage(subject)
    if value >= RATE or len(usage["collapsed"]) == usage["latents"]:
        return None
    return Finding(
        "rate near zero",
        f"The code says hardly anything of the input: {value:.2f} nats.",
        f"With less than log 2 = {RATE:.2f} nats it cannot even tell one half of the images from the other.",
        _more(subject, 1.0, usage["active"]),
        {"rate": value},
    )


def _usage(subject: Subject) -> dict[str, Any]:
    usage = metrics.usage(subject.codes[0], ledger(subject).get("kl_by_dim"))
    if usage["active"] is None:
        raise UsageError("one image does not tell which latents vary.")
    return usage


def _more(subject: Subject, share: float, active: int) -> str:
    """Say what brings latents into use."""
    beta, capacity = beta_of(subject), subject.known.get("capacity")
    if capacity:
        return "Ask for a higher capacity C, which gives more of them something to carry."
    ways = ["a β that rises from 0 (--recipe cyclic-vae)", "free bits (--recipe free-bits)"]
    lower = [f"a lower β (--beta {max(1.0, beta / 4):g})"] if beta is not None and beta > 1 else []
    text = f"Try {', '.join([*lower, *ways])}, or a longer training (--epochs)."
    few = f" It may be all that the data need: {counted(active, 'latent')} would then do (--latents {active})."
    return text + (few if share < 1 and active else "")


def _names(latents: list[int]) -> str:
    return ", ".join(f"z{i}" for i in latents[:12]) + (f" and {len(latents) - 12} more" if len(latents) > 12 else "")
