"""The ledger: what was measured on what, β asked and reached, elbo, distortion and rate with their standard errors."""

import math
from typing import Any

from lowerbound import begin, metrics
from lowerbound.errors import UsageError
from lowerbound.evaluation.base import Section, Subject
from lowerbound.metrics.bits import DENSITY, DISCRETE
from lowerbound.words import counted, noun, with_error

SCHEDULES = {"beta": "β", "lambda": "λ", "capacity": "C"}
BINARISED = {
    "none": "none",
    "dynamic": "dynamic: drawn anew each time in training, once in evaluation",
    "static": "static: drawn once",
    "threshold": "cut at ½",
}
DEQUANTISED = "(x + u) / 256, u uniform: the bits count log 256 more for each dimension than the density"
COMMON = ("squares", "pixel-mean")  # of the conventions that β is written in
POINT = "The posterior is a point mass, which has no density: there is no rate, no elbo, and no bits per dimension."
SCORE = "Bits per dimension are of a probability, and the distortion here is {note}."
OWN = "Of this model's own p(x|z) it is not known whether it gives these pixels a probability."


def measure(subject: Subject) -> Section:
    """Measure elbo, distortion and rate of the split, see `lowerbound.metrics.evaluate`, and say what they are of.

    The values are those of `lowerbound.metrics.evaluate` and beside them: "split"; "data" (name, shape, noun);
    "binarise" and "dequantise"; "likelihood" (name, density, note: see `lowerbound.job.likelihood_note`); "schedules"
    (beta, lambda and capacity: asked, reached, and chosen where the weights are of another step; None where there is
    none); "unfinished" (step and steps, or None where the training has ended); "prior" (the kind of fit, or None for
    that of the training); "conventions" (name, loss, factor, beta of each, see `lowerbound.metrics.conventions`; none
    without a β); and "bits_refused", in words, where there are no "bits_per_dimension".

    Raises UsageError where a figure is not finite, as of a model that gives NaN.
    """
    run, settings = subject.run, subject.settings
    found = metrics.evaluate(
        subject.model,
        subject.objective,
        subject.blocks(),
        step=begin.total(run),
        samples=settings.samples,
        width=subject.source.width,
        seed=settings.seed,
    )
    _finite(found, subject)
    known = {
        "split": subject.split,
        "data": {"name": run.data["name"], "shape": run.data["shape"], "noun": noun(run.data["shape"])},
        "binarise": run.data["binarise"],
        "dequantise": run.data.get("dequantise", False),
        "likelihood": subject.known["likelihood"],
        "schedules": {name: subject.known.get(name) for name in SCHEDULES},
        "unfinished": None if run.finished else {"step": subject.known["weights"]["step"], "steps": begin.total(run)},
        "prior": (run.spec["fit"] or {}).get("kind") if run.finished else None,
    }
    values = {**found, **known}
    values["conventions"] = [vars(each) for each in _conventions(subject, values)]
    if "bits_per_dimension" not in values:
        values["bits_refused"] = _no_bits(values)
    return Section("Ledger", values, [*_what(values), *_figures(values), *_elsewhere(values)], _notes(values))


def _finite(found: dict[str, Any], subject: Subject) -> None:
    """Raise UsageError where a figure is no number: neither a table nor JSON has a place for it."""
    wrong = [name for name in metrics.headline(found) if not math.isfinite(found[name])]
    if wrong:
        raise UsageError(
            f"Of the {subject.split} split {', '.join(f'{name} is {found[name]}' for name in wrong)}: the model gives "
            "NaN or infinity, and there are no figures of it. Look at how the training went."
        )


def _conventions(subject: Subject, values: dict[str, Any]) -> list[metrics.Convention]:
    beta, run = values["schedules"]["beta"], subject.run
    if beta is None or values.get("rate") is None:
        return []
    sigma = subject.known.get("sigma")
    return metrics.conventions(
        beta["reached"],
        dimensions=math.prod(run.data["shape"]),
        latents=run.spec["latents"],
        batch=run.spec["train"]["batch"],
        images=run.data["images"]["train"],
        sigma=sigma["value"] if sigma else None,
    )


def _no_bits(values: dict[str, Any]) -> str:
    density, note = values["likelihood"]["density"], values["likelihood"]["note"]
    if values.get("elbo") is None:
        return POINT
    if density is None:
        return OWN
    advice = f" {DISCRETE}" if values["data"]["noun"] == "images" else ""
    return DENSITY + advice if density else SCORE.format(note=note)


def _what(values: dict[str, Any]) -> list[tuple[str, str]]:
    data, likelihood = values["data"], values["likelihood"]
    shape = "×".join(map(str, data["shape"]))
    probability = "bits_per_dimension" in values and not values["dequantise"]
    normalised = f"normalised, a {'probability' if probability else 'density'}"
    kind = {True: normalised, False: likelihood["note"], None: "an own model, not known to be normalised"}
    rows = [
        ("data", f"{data['name']}, {values['split']}: {counted(values['images'], data['noun'][:-1])} of {shape}"),
        ("binarisation", BINARISED[values["binarise"]]),
        ("likelihood", f"{likelihood['name']}: {kind[likelihood['density']]}"),
    ]
    rows += [("prior", f"fitted to the codes afterwards ({values['prior']})")] if values["prior"] else []
    rows[2:2] = [("dequantisation", DEQUANTISED)] if values["dequantise"] else []
    for name, sign in SCHEDULES.items():
        if schedule := values["schedules"][name]:
            rows.append((sign, _asked(schedule, values["unfinished"])))
    return rows


def _asked(schedule: dict[str, Any], unfinished: dict[str, int] | None) -> str:
    """Say what was asked for and what was reached."""
    asked, reached = f"{schedule['asked']:.4g}", f"{schedule['reached']:.4g}"
    if schedule.get("adaptive"):
        return f"moved to {reached} by the training"
    when = f" by step {unfinished['step']:,} of {unfinished['steps']:,}" if unfinished else ""
    text = asked if asked == reached else f"{asked} asked for, {reached} reached{when}"
    return text + (f"; {schedule['chosen']:.4g} at the step of these weights" if "chosen" in schedule else "")


def _figures(values: dict[str, Any]) -> list[tuple[str, str]]:
    errors = values["standard_error"]
    rows = [(name, f"{with_error(values[name], errors.get(name))} nats") for name in metrics.headline(values)]
    if "bits_per_dimension" in values:
        bits, size = values["bits_per_dimension"], math.prod(values["data"]["shape"]) * math.log(2)
        error = errors["elbo"]
        rows.append(("−elbo", with_error(bits, None if error is None else error / size) + " bits per dimension"))
    return rows


def _elsewhere(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Give the weight of the KL in the commonest codes that minimise something else; the values have all."""
    others = [each for each in values["conventions"] if each["name"] in COMMON]
    words = [f"{each['beta']:.4g} beside {each['loss']}" for each in others]
    rest = len(values["conventions"]) - 1 - len(others)
    return [("β elsewhere", f"{'; '.join(words)}; --json has {rest} more")] if words else []


def _notes(values: dict[str, Any]) -> list[str]:
    notes = metrics.fitted_note(values, values["prior"]) if values["prior"] else []
    return [*notes, *([values["bits_refused"]] if "bits_refused" in values else [])]
