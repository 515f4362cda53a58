"""How the training went: whether it ended, and well; overfitting, and gradients that exploded."""

import math
import shlex
import statistics
from collections.abc import Iterator
from typing import Any

from lowerbound import begin, metrics
from lowerbound.errors import UsageError
from lowerbound.evaluation.base import Subject
from lowerbound.evaluation.diagnosis.base import Finding, ledger
from lowerbound.process import program
from lowerbound.words import number, with_error

ERRORS = 4  # standard errors of the difference: by chance once in 30,000 runs
# of the deviation between images: a gap of a quarter of it is small beside what images differ by anyway
EFFECT = 0.25
BLOCK = 500
# times the usual norm: of the largest of 50 steps healthy trainings have up to 3 times the mean
EXPLODED = 10.0
BEFORE = 10  # rows of the history that say what is usual
FIRST = 3  # rows that are not judged: the first steps from random weights have the steepest loss


def unended(subject: Subject) -> Finding | None:
    """Look for a training that was stopped, or is still going on."""
    run = subject.run
    if run.finished:
        return None
    step, steps = subject.known["weights"]["step"], begin.total(run)
    return Finding(
        "training that has not ended",
        f"This training has not ended: all figures are those of step {step:,} of {steps:,}.",
        "They are of the newest checkpoint; the weights that do best on validation are chosen at the end.",
        f"{program()} resume {shlex.quote(str(run.path))} goes on with it.",
        {"step": step, "steps": steps},
    )


def unfinite(subject: Subject) -> Finding | None:
    """Look for weights or codes that are NaN or infinite: of such a model nothing can be measured."""
    bad = [name for name, tensor in subject.model.state_dict().items() if not bool(tensor.isfinite().all())]
    codes = int((~subject.codes[0].flatten(1).isfinite()).any(1).sum())
    if not bad and not codes:
        return None
    more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
    where = [f"the weights {', '.join(bad[:3])}{more}"] if bad else []
    where += [f"the codes of {codes:,} of {subject.size:,} inputs"] if codes else []
    return Finding(
        "values that are not finite",
        "The model has values that are NaN or infinite, and what is measured of it means nothing.",
        f"Not finite are {' and '.join(where)}.",
        f"Go back to a checkpoint from before ({program()} resume {shlex.quote(str(subject.run.path))} --at STEP), or "
        "train anew with a lower --set train.lr or with --set train.clip=1.",
        {"weights": bad, "codes": codes},
    )


def overfitting(subject: Subject) -> Finding | None:
    """Look for an elbo (of a point: a distortion) that is better on as many training images."""
    if subject.split == "train":
        raise UsageError("the split is that of the training: take --split test or validation.")
    held = ledger(subject)
    name, sign = ("elbo", 1.0) if held.get("elbo") is not None else ("distortion", -1.0)
    seen = _of_training(subject)
    errors = [found["standard_error"][name] for found in (seen, held)]
    if None in errors:
        raise UsageError("one image has no standard error.")
    gap, error = sign * (seen[name] - held[name]), math.hypot(*errors)
    deviation = errors[0] * math.sqrt(seen["images"])
    if gap <= ERRORS * error or gap <= EFFECT * deviation:
        return None
    return Finding(
        "overfitting",
        f"The model knows its training images better than others: the {name} is {with_error(gap, error)} nats "
        f"{'higher' if sign > 0 else 'lower'} on them.",
        f"{number(seen[name])} on {seen['images']:,} of the training, {number(held[name])} on the {subject.split} "
        f"split; the gap is {gap / error:.0f} standard errors, and {gap / deviation:.2f} of the deviation between "
        "images.",
        "Train shorter (--epochs, or --set train.patience=3), on more data, with fewer or narrower layers, with "
        "dropout (--set model.posterior.net.dropout=0.1), or with a higher β.",
        {"gap": gap, "standard_error": error, "of": name, "deviation": deviation},
    )


def _of_training(subject: Subject) -> dict[str, Any]:
    """Measure as many training images as the split has, binarised as in training."""
    run, source = subject.run, subject.source
    count = min(subject.size, len(source.train))

    def blocks() -> Iterator[tuple[Any, Any]]:
        for start in range(0, count, BLOCK):  # one epoch of the stream has each image once
            subject.tell("training images, for comparison")(start, count)
            yield source.batch(start, min(BLOCK, count - start), seed=run.spec["seed"])

    return metrics.evaluate(
        subject.model,
        subject.objective,
        blocks(),
        step=begin.total(run),
        samples=subject.settings.samples,
        seed=subject.settings.seed,
    )


def exploding(subject: Subject) -> Finding | None:
    """Look for a step whose gradient was many times those before it, where it was not clipped."""
    rows = [row for row in subject.run.history if row.get("split") == "train"]
    norms = [(row["step"], row["gradient"], row["gradient_max"]) for row in rows if "gradient_max" in row]
    if len(norms) <= FIRST:
        raise UsageError("the history has too few rows with the gradient's norm.")
    clip = subject.run.spec["train"]["clip"]
    spikes = []
    for i in range(FIRST, len(norms)):
        usual = statistics.median(mean for _, mean, _ in norms[max(0, i - BEFORE) : i])
        step, _, most = norms[i]
        if usual > 0 and most > EXPLODED * usual:
            spikes.append((most / usual, step, most, usual))
    if not spikes or clip is not None:  # clipped, a steep gradient is a step as long as any other
        return None
    times, step, most, usual = max(spikes)
    return Finding(
        "exploding gradients",
        f"The gradient exploded: its norm came to {times:,.0f} times what was usual, by step {step:,}.",
        f"{most:.3g} where the mean of the rows before was {usual:.3g}; {len(spikes)} of {len(norms)} rows of the "
        f"history have more than {EXPLODED:.0f} times it.",
        "Clip it (--set train.clip, at about the usual norm) or take a lower --set train.lr; look for outliers in the "
        "data.",
        {"times": times, "step": step, "norm": most, "usual": usual, "rows": len(spikes)},
    )
