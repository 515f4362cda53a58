"""Anomaly scores of a user's images, with a threshold from normal ones that were held out."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lowerbound import metrics, rng
from lowerbound.errors import UsageError, nearest
from lowerbound.evaluation.base import Progress, silent
from lowerbound.job import likelihood_note
from lowerbound.metrics.anomaly import DRAWS
from lowerbound.metrics.bounds import SEED
from lowerbound.run import Run
from lowerbound.tasks.given import Given, given, labelled, own
from lowerbound.tasks.scores import Scores
from lowerbound.words import counted, noun, number

CALIBRATE = ("validation", "test", "none")
ENOUGH = {"importance": 1000, "regret": 1000}  # normal images that set the threshold of a slow score, at most
ABOUT = {
    "elbo": "The elbo finds what is odd within one kind of images; simpler images of another kind may have a better "
    "one than the model's own (Nalisnick et al., 2019): for those take the regret.",
    "importance": "log p(x) finds what is odd within one kind of images; simpler images of another kind may be more "
    "likely than the model's own (Nalisnick et al., 2019): for those take the regret.",
    "reconstruction": "The reconstruction finds what the decoder cannot draw, whatever the rate it costs; a model with "
    "many latents may draw what it has not seen.",
    "regret": "The regret finds images for which the encoder is far from the best posterior: those of a kind that it "
    "has not seen, simple ones too. It takes much longer than the others, and says little of images of a known kind.",
}


def score(
    run: Run,
    data: Any = None,
    *,
    method: str = "elbo",
    samples: int | None = None,
    images: int | None = None,
    false_alarms: float = 0.05,
    calibrate: str = "validation",
    anomalous: str | Sequence[int | str] | None = None,
    against: Any = None,
    seed: int = SEED,
    progress: Progress = silent,
) -> Scores:
    """Score how anomalous images are to a model, and flag those above a threshold: what ``lowerbound score`` does.

    Arguments:
        run: of `lowerbound.load` or `lowerbound.fit`.
        data: a known name, a folder, a file, a tensor or a `Source`; None, or the name of the run's own, is its test
            split.
        method: "elbo", "importance", "reconstruction" or "regret", see `lowerbound.metrics.score`.
        samples: latents of each image.
        images: only so many of the data, the first.
        false_alarms: the rate at which normal images may be flagged, see `lowerbound.metrics.threshold`.
        calibrate: the split of the run whose images are normal, and not scored here: all of them, or the first 1,000
            for importance and regret, which are slow; "none" sets no threshold.
        anomalous: labels of the data that are anomalous, such as "1,7".
        against: other data, all of them anomalous.
        seed: of the noise.
        progress: is told what is done, how much of it, of how much.

    Raises UsageError where a method has no meaning for the model, where there is no split to set the threshold by, or
    the rate is not between 0 and 1; UsageError or DataError where data are not of the run's shape or range.
    """
    _check(method, images, false_alarms)
    if isinstance(data, str) and data == run.spec["data"]["kind"]:  # the run's own, by its name
        data = None
    normal = _calibration(run, calibrate, data, method)
    parts = [given(run, which).first(images) for which in ([data] if against is None else [data, against])]
    odd = _odd(parts, anomalous)
    notes = [note for part in parts for note in part.notes] + [ABOUT[method], *_about_likelihood(run, method)]
    if normal and anomalous is not None and data is None:
        normal, more = _without(run, normal, labelled(parts[0], anomalous))
        notes += more

    def scored(part: Given, what: str) -> Tensor:
        return _scored(run, part, method, samples, rng.seed_of(seed, what), progress)

    scores = torch.cat([scored(part, what) for part, what in zip(parts, ("data", "against"), strict=False)])
    area = None if odd is None else metrics.area(scores, odd)
    if normal is None:
        return Scores(method, parts, scores, anomalous=odd, area=area, notes=notes)
    usual = scored(normal, "normal")
    limit, p = metrics.threshold(usual, false_alarms), metrics.p_values(scores, usual)
    notes += _about_threshold(run, limit, len(usual), false_alarms, calibrate)
    return Scores(method, parts, scores, usual, false_alarms, limit, p, odd, area, notes)


def _check(method: str, images: int | None, false_alarms: float) -> None:
    if method not in DRAWS:
        raise UsageError(f"There is no anomaly score {method!r}; {nearest(method, [*DRAWS])}")
    if images is not None and images < 1:
        raise UsageError(f"images is {images}: at least 1 is needed.")
    if not 0 < false_alarms < 1:
        raise UsageError(f"The rate of false alarms is {false_alarms:g}: it must be between 0 and 1.")


def _scored(run: Run, part: Given, method: str, samples: int | None, seed: int, progress: Progress) -> Tensor:
    """Score images block by block; those of a split are the same whatever else is scored."""
    found: list[Tensor] = []
    for b, x in enumerate(part.blocks(run)):
        before = sum(map(len, found))

        def tell(done: int, _: int, before: int = before) -> None:
            progress(f"scores of {part.name}", before + done, len(part))

        own_seed = rng.seed_of(seed, "block", b)
        found.append(metrics.score(run.model, x, method, samples=samples, seed=own_seed, progress=tell))
    return torch.cat(found)


def _about_likelihood(run: Run, method: str) -> list[str]:
    note = likelihood_note(run.model, run.source)["note"]
    return [f"What is scored is {note}: scores rank images, and are no −log p(x)."] if note else []


def _calibration(run: Run, calibrate: str, data: Any, method: str) -> Given | None:
    """Take the images that the threshold is set by; raises UsageError where there are none."""
    if calibrate not in CALIBRATE:
        raise UsageError(f"calibrate is {calibrate!r}: it must be one of {', '.join(CALIBRATE)}.")
    if calibrate == "none":
        return None
    if calibrate == "test" and data is None:
        raise UsageError(
            "The test split is scored, and cannot set its own threshold: calibrate by the validation split, or not."
        )
    if not run.data["images"][calibrate]:
        raise UsageError(
            f"{run.path} has no {calibrate} images, by which the threshold could be set. Calibrate by another split "
            "(test, where other data are scored), or by none, which gives scores and flags nothing."
        )
    return own(run, calibrate).first(ENOUGH.get(method))


def _odd(parts: list[Given], anomalous: str | Sequence[int | str] | None) -> Tensor | None:
    """Say which images are known to be anomalous, those of a second set all; None where nobody said it."""
    if anomalous is None and len(parts) < 2:
        return None
    odd = [torch.full((len(part),), i > 0) for i, part in enumerate(parts)]
    if anomalous is not None:
        kinds = torch.tensor(labelled(parts[0], anomalous))
        targets = parts[0].split.targets()
        assert targets is not None  # labelled has refused it
        odd[0] = torch.isin(targets.cpu(), kinds)
    return torch.cat(odd)


def _without(run: Run, normal: Given, kinds: list[int]) -> tuple[Given, list[str]]:
    """Leave anomalous labels out of the images that set the threshold, and say where the model has learned them."""
    targets, trained = normal.split.targets(), run.source.train.targets()
    assert targets is not None  # the scored split of the same data has labels
    assert trained is not None
    keep = ~torch.isin(targets.cpu(), torch.tensor(kinds))
    if not bool(keep.any()):
        raise UsageError(f"All of {normal.name} is anomalous by these labels: no normal image sets the threshold.")
    learned = int(torch.isin(trained.cpu(), torch.tensor(kinds)).sum())
    said = f"The model was trained on {counted(learned, 'image')} with these labels, and takes them as normal."
    return normal.rows(keep.to(normal.split.rows.device)), [said] if learned else []


def _about_threshold(run: Run, limit: float, n: int, rate: float, split: str) -> list[str]:
    what = noun(run.data["shape"])
    if math.isinf(limit):
        return [
            f"Of {n:,} normal {what} no threshold follows for a rate of {rate:g}: it takes {math.ceil(1 / rate) - 1:,} "
            f"or more. Nothing is flagged; ask for a rate of {1 / (n + 1):.2g} or more."
        ]
    spread = math.sqrt(rate * (1 - rate) / (n + 2))
    notes = [
        f"The threshold is {number(limit)}, the conformal quantile of {n:,} {split} {what}: of new ones like them at "
        f"most {100 * rate:.3g} % are flagged, on average over the choice of these {n:,}; with these {n:,} it may be "
        f"{100 * max(0.0, rate - 2 * spread):.1f} to {100 * (rate + 2 * spread):.1f} %."
    ]
    if split == "validation" and run.finished and run.metrics["weights"]["which"] == "best":
        notes.append("The validation split also chose the weights, so that alarms may be slightly more frequent.")
    return notes
