"""A prior that does not match the codes: what another one, fitted to them, would gain."""

import math
import shlex
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lowerbound import after, recipes
from lowerbound import spec as specs
from lowerbound.errors import DivergedError, UsageError
from lowerbound.evaluation.base import Subject
from lowerbound.evaluation.diagnosis.base import Finding, ledger, section
from lowerbound.prior import Prior
from lowerbound.process import program
from lowerbound.vae import VAE
from lowerbound.words import number, p_value, with_error

FITS: dict[str, dict[str, Any]] = {"mixture": {}, "flow": {}}  # kind -> arguments
P = 0.001  # of the two-sample test: below, codes and prior are told apart, and fitting is worth its time
# of the rate: in benchmarks/diagnosis.py the prior that gained most brought the Fréchet distance of samples to 0.51 of
# what it was or less in each run that gained more than this, and to 0.61 or more in each that gained less. The default
# model of MNIST, binarised dynamically, gains 13 % by a mixture (3.3 of 25 nats), and a well-trained one 8 % by a
# learned prior (Tomczak and Welling 2018)
GAIN = 0.15
LEAST = 0.5  # nats
ERRORS = 4  # standard errors
NEAR = 0.8  # of the gain that would be an illness
CODES = 10_000  # to which priors are fitted here: enough for what they gain, and seconds in place of minutes


def mismatch(subject: Subject) -> Finding | None:
    """Look for codes that lie elsewhere than the prior; then fit priors to them, and measure the gain."""
    if subject.split == "train":
        raise UsageError("the gain is that on held-out codes: take --split test or validation.")
    test = section(subject, "aggregate").get("two_sample") or {}
    if test.get("p") is None:
        raise UsageError("codes and prior were not compared by a test.")
    if test["p"] > P:
        return None
    needed = max(LEAST, GAIN * (ledger(subject).get("rate") or 0.0))
    gains = {kind: gain for kind, (_, gain) in others(subject, needed).items()}
    best = max(gains, key=lambda kind: gains[kind]["gain"])
    gain, error = gains[best]["gain"], gains[best]["standard_error"]
    if gain <= ERRORS * error or gain <= needed:
        if len(gains) < len(FITS) and gain < NEAR * needed:
            raise UsageError(_untried(gains, needed))
        return None
    return Finding(
        "prior that does not match the codes",
        f"The prior draws where no codes lie, and the decoder has seen nothing there{_pictures(subject)}.",
        f"A test tells codes from draws of the prior ({p_value(test['p'])}). {_words(subject, gains)}",
        f"{program()} resume {shlex.quote(str(subject.run.path))} --fit {best} replaces the prior, and nothing else.",
        {"priors": gains, "best": best},
    )


def _untried(gains: Mapping[str, Mapping[str, float]], needed: float) -> str:
    """Say which priors were tried, and that others were not."""
    tried = " and ".join(f"a {kind} ({with_error(g['gain'], g['standard_error'])} nats)" for kind, g in gains.items())
    left = " and ".join(f"a {kind}" for kind in FITS if kind not in gains)
    return (
        f"codes and prior are told apart, and of other priors {tried} gains little: less than {NEAR:.0%} of the "
        f"{number(needed)} nats that would be an illness. Therefore {left} was not fitted, which takes a minute."
    )


def others(subject: Subject, needed: float = 0.0) -> dict[str, tuple[Prior, dict[str, float]]]:
    """Fit priors to training codes; give each, and what it gains in log p(z) of the same held-out codes, in nats.

    A second one is not tried where the first is far from the gain that would be an illness: a flow takes a minute.
    """
    model, seed = subject.model, subject.settings.seed
    if not isinstance(model, VAE):
        raise UsageError("to the codes of an own model no prior can be fitted.")
    apart = -(-len(subject.source.train) // CODES)  # every so many, since data may be sorted
    codes = after.codes_of(model, ((x[::apart], y) for x, y in subject.source.blocks("train")))
    z = after.codes_of(model, subject.blocks()).draw(seed)
    own = after.log_density(model.prior, z, seed=seed).double()
    found: dict[str, tuple[Prior, dict[str, float]]] = {}
    for i, kind in enumerate(FITS):
        if found and max(gain["gain"] for _, gain in found.values()) < NEAR * needed:
            break
        subject.tell("fitting priors to the codes")(i, len(FITS))
        fitted = _fitted(subject, model, kind, codes)
        if fitted is not None:
            other = after.log_density(fitted, z, seed=seed).double()
            means = {"log_p": float(other.mean()), "log_p_before": float(own.mean())}
            found[kind] = fitted, _paired(other - own) | means
    if not found:
        raise UsageError("no prior could be fitted to the codes.")
    return found


def _fitted(subject: Subject, model: VAE, kind: str, codes: after.Codes) -> Prior | None:
    """Fit a prior as ``resume --fit`` does; None where it cannot be, as with fewer codes than components."""
    run, shape = subject.run, subject.source.shape
    node = {"kind": kind, **FITS[kind]}
    fit = specs.build_fit(
        specs.check(recipes.with_networks({**run.spec, "fit": node}, shape)), shape, subject.source.unit
    )
    if fit is None:
        return None
    try:
        prior = after.with_prior(model, fit.prior).prior
        fit.fit(codes, run.spec["seed"])
    except (UsageError, DivergedError):
        return None
    return prior


def _paired(difference: Tensor) -> dict[str, float]:
    if len(difference) < 2:
        raise UsageError("one held-out code has no standard error.")
    return {"gain": float(difference.mean()), "standard_error": float(difference.std()) / math.sqrt(len(difference))}


def _words(subject: Subject, gains: Mapping[str, Mapping[str, Any]]) -> str:
    before = next(iter(gains.values()))["log_p_before"]
    higher = " and ".join(f"{with_error(g['gain'], g['standard_error'])} nats ({kind})" for kind, g in gains.items())
    text = f"Of held-out codes log p(z) is {number(before)} nats, and higher by {higher} under priors fitted to "
    text += "training codes"
    elbo, most = ledger(subject).get("elbo"), max(found["gain"] for found in gains.values())
    return text + (f". The elbo would be {number(elbo + most)} instead of {number(elbo)}." if elbo is not None else ".")


def _pictures(subject: Subject) -> str:
    """Say whether samples are worse than reconstructions, where their Fréchet distances were measured."""
    known = subject.found["samples"].values if "samples" in subject.found else {}
    found = [(known.get(name) or {}).get("frechet") for name in ("samples", "reconstructions")]
    values = [float(each["value"]) for each in found if each]
    if len(values) < 2:
        return ""
    than = "worse" if values[0] > values[1] else "no worse"
    return f": samples are {than} than reconstructions (Fréchet distance {values[0]:.3g} and {values[1]:.3g})"
