"""Disentanglement: whether each factor that made an image is one latent of its code, by ten scores."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from lowerbound import explore, figures, rng
from lowerbound import spec as specs
from lowerbound.errors import UsageError
from lowerbound.evaluation.base import Drawn, Section, Subject
from lowerbound.metrics import disentanglement as scores
from lowerbound.metrics.aggregate import active_units, unit_variance
from lowerbound.run import Run
from lowerbound.vae import Model
from lowerbound.words import counted, number, with_error

IMAGES = 5000  # at most, drawn by chance where the split has more
# what is quick enough to be measured ten times more for its error
QUICK = ("mig", "sap", "factor_vae", "modularity", "irs")
BY_LATENT = ("modularity", "irs")  # the others are means over factors
TITLES = {
    "mig": "MIG",
    "sap": "SAP",
    "factor_vae": "FactorVAE score",
    "beta_vae": "β-VAE score",
    "modularity": "modularity",
    "explicitness": "explicitness",
    "irs": "IRS",
    "dci": "DCI",
    "infomec": "InfoMEC",
    "udr": "UDR",
}
SEVERAL = "it compares runs that differ in the seed only: lowerbound train … --seeds 5, then evaluate one of them."


@final
@dataclass(frozen=True)
class Known:
    """Codes of some images of a split, and the factors that made them.

    Arguments:
        codes: the centre of q(z|x) of each image.
        factors: of each image.
        names: of the factors.
        unordered: those that are names or angles.
        rows: which images of the split they are.
        active: which latents are in use.
    """

    codes: Float[Tensor, "N D"]
    factors: Int64[Tensor, "N F"]
    names: list[str]
    unordered: list[int]
    rows: Int64[Tensor, " N"]
    active: Bool[Tensor, " D"]

    @classmethod
    def of(cls, subject: Subject) -> "Known":
        """Encode images whose factors are known; raises UsageError where they are not."""
        part, info = getattr(subject.source, subject.split), subject.source.info
        if part.factors is None:
            raise UsageError(
                f"Of the images of {subject.source.name} the factors that made them are not known, so whether latents "
                "are factors cannot be measured. Those of shapes are: lowerbound train shapes"
            )
        codes, _ = subject.codes
        if codes.ndim != 2:
            raise UsageError(f"A code has the shape {tuple(codes.shape[1:])}, and these scores take a list of latents.")
        with rng.noise(subject.settings.seed, "disentanglement"):
            rows = torch.randperm(len(codes))[:IMAGES].sort().values
        names = list(info.get("factors") or [f"factor {k}" for k in range(part.factors.shape[1])])
        unordered = [k for k, name in enumerate(names) if name in info.get("unordered", ())]
        factors = part.factors[part.rows].cpu()[rows]
        active = _active(subject, subject.model, codes)
        return cls(codes.cpu()[rows], factors, names, unordered, rows, active)


def _active(subject: Subject, model: Model, codes: Float[Tensor, "N D"]) -> Bool[Tensor, " D"]:
    """Say which latents of a model are in use, as the section of the aggregate posterior does."""
    with torch.inference_mode(), rng.noise(subject.settings.seed, "disentanglement prior"):
        trace = model(subject.images(2))
    prior = trace.latents[0].p if len(trace.latents) == 1 else None
    return active_units(codes, unit=unit_variance(codes, prior, density=trace.density))


def measure(subject: Subject) -> Section:
    """Measure disentanglement, see `lowerbound.metrics.disentanglement`.

    The values: "split", "images", "latents", "active" (how many latents are in use), "factors" (name: values in these
    images); for each of mig, sap, factor_vae, beta_vae, modularity, explicitness and irs its "value", "each" (by
    factor's name; of modularity and irs a list over latents) and, where it is quick to have, its "error" over images
    (None of too few); "dci" (disentanglement, completeness, informativeness, accuracy by factor's name, importance);
    "infomec" (modularity, compactness, explicitness, each by factor's name, information, active); "udr" (value: this
    run's, each, runs) where the run is one of several seeds; "settings" of each estimator; "refused": why one has no
    value, which then is None.
    """
    known = Known.of(subject)
    found, refused = _found(subject, known)
    values: dict[str, Any] = {
        "split": subject.split,
        "images": len(known.codes),
        "latents": known.codes.shape[1],
        "active": int(known.active.sum()),
        "factors": {name: len(column.unique()) for name, column in zip(known.names, known.factors.T, strict=True)},
        **{key: _plain(key, found[key], known.names) if key in found else None for key in TITLES},
        "settings": {key: dict(score.settings) for key, score in found.items()},
        "refused": refused,
    }
    for key in QUICK:
        if key in found:
            values[key]["error"] = _error(_functions(subject, known)[key], known)
    return Section("Disentanglement", values, _rows(values), _notes(values), _pictures(found, known))


def _functions(subject: Subject, known: Known) -> dict[str, Callable[[Tensor, Tensor], Any]]:
    seed = subject.settings.seed
    return {
        "mig": scores.mig,
        "sap": partial(scores.sap, unordered=known.unordered, seed=seed),
        "factor_vae": partial(scores.factor_vae, active=known.active, seed=seed),
        "beta_vae": partial(scores.beta_vae, seed=seed),
        "modularity": scores.modularity,
        "explicitness": partial(scores.explicitness, seed=seed),
        "irs": scores.irs,
        "dci": partial(scores.dci, seed=seed),
        "infomec": partial(scores.infomec, seed=seed),
        "udr": lambda codes, factors: _udr(subject, known),
    }


def _found(subject: Subject, known: Known) -> tuple[dict[str, Any], dict[str, str]]:
    found, refused = {}, {}
    functions = _functions(subject, known)
    progress = subject.tell("disentanglement")
    for i, (key, function) in enumerate(functions.items()):
        progress(i, len(functions))
        try:
            found[key] = function(known.codes, known.factors)
        except UsageError as error:  # scikit-learn is missing, or all latents have collapsed
            refused[key] = str(error)
    return found, refused


def _error(function: Callable[[Tensor, Tensor], scores.DisentanglementScore], known: Known) -> float | None:
    try:
        return scores.error_over_images(function, known.codes, known.factors)
    except UsageError:  # nine tenths of the images are too few
        return None


def _udr(subject: Subject, known: Known) -> scores.DisentanglementScore:
    """Compare a run with those of other seeds beside it; this one is the first."""
    others = _siblings(subject.run)
    if not others:
        raise UsageError(SEVERAL)
    codes, active = [known.codes], [known.active]
    for other in others:
        model = other.model.to(next(subject.model.parameters()).device)
        found, _ = explore.embed(model, subject.blocks())
        codes.append(found.cpu()[known.rows])
        active.append(_active(subject, model, found))
    return scores.udr(codes, active=active)


def _siblings(run: Run) -> list[Run]:
    """Find the finished runs beside a run whose specs differ in the seed only."""
    found = []
    for spec in sorted(run.path.resolve().parent.glob("*/spec.json")):
        other = Run.open(spec.parent)
        same = {**other.spec, "seed": None} == {**run.spec, "seed": None} and other.spec["seed"] != run.spec["seed"]
        if same and other.finished and run.spec["model"] != specs.OWN:
            found.append(other)
    return found


def _plain(key: str, score: Any, names: list[str]) -> dict[str, Any]:
    """Give a score in JSON's types."""
    if isinstance(score, scores.DCIScores):
        plain = {name: getattr(score, name) for name in ("disentanglement", "completeness", "informativeness")}
        accuracy = dict(zip(names, score.accuracy.tolist(), strict=True))
        return {**plain, "accuracy": accuracy, "importance": score.importance.tolist()}
    if isinstance(score, scores.InfoMECScores):
        plain = {name: getattr(score, name) for name in ("modularity", "compactness", "explicitness")}
        each = dict(zip(names, score.each.tolist(), strict=True))
        return {**plain, "each": each, "information": score.information.tolist(), "active": score.active.tolist()}
    each = score.each.tolist()
    if key == "udr":
        return {"value": each[0], "each": each, "runs": len(each)}
    return {"value": score.value, "each": each if key in BY_LATENT else dict(zip(names, each, strict=True))}


def _rows(values: dict[str, Any]) -> list[tuple[str, str]]:
    chance = number(1 / len(values["factors"]))
    beside = {"factor_vae": f" ({chance} by chance)", "beta_vae": f" ({chance} by chance)"}
    beside["explicitness"] = " (0.50 by chance)"
    sizes = ", ".join(f"{name} ({size})" for name, size in values["factors"].items())
    rows = [("measured on", f"{counted(values['images'], 'image')} of {values['split']}; factors: {sizes}")]
    rows.append(("latents in use", f"{values['active']} of {values['latents']}"))
    for key, title in TITLES.items():
        score = values[key]
        if score and "value" in score:
            words = with_error(score["value"], score.get("error"))
            runs = f", the median over {counted(score['runs'] - 1, 'other seed')}" if key == "udr" else ""
            rows.append((title, words + beside.get(key, "") + runs))
        elif score:
            parts = {name: value for name, value in score.items() if isinstance(value, float)}
            rows.append((title, ", ".join(f"{name} {number(value)}" for name, value in parts.items())))
        if score and key == "dci":
            each = score["accuracy"].items()
            rows.append(("… accuracy of its forests", ", ".join(f"{name} {number(value)}" for name, value in each)))
    return rows


def _notes(values: dict[str, Any]) -> list[str]:
    notes = [
        "All scores are of the centres of q(z|x); 1 is the best that one may be. ± is over images: models of other "
        "seeds differ by more, so compare several (--seeds) before one method is called better than another. That of "
        "the FactorVAE score is rather too large: without some images some of its votes are others.",
        "Probes are fitted to half of the images and judged by the other. A histogram sees information in noise: here "
        f"up to {number(_noise(values))} nats, which is for the factor of most values.",
    ]
    unused = values["latents"] - values["active"]
    if unused:
        notes.append(
            f"Not in use: {counted(unused, 'latent')}. MIG, SAP, DCI, modularity and the information see no scale, so "
            "what little their centres vary counts there all the same."
        )
    told: dict[str, list[str]] = {}
    for key, words in values["refused"].items():
        told.setdefault(words, []).append(TITLES[key])
    return notes + [f"No {' or '.join(titles)}: {words}" for words, titles in told.items()]


def _noise(values: dict[str, Any]) -> float:
    """What a histogram gives for independent codes and the factor with most values, in nats (Miller, 1955)."""
    bins = values["settings"].get("mig", {}).get("bins", 2)
    return float((bins - 1) * (max(values["factors"].values()) - 1) / (2 * values["images"]))


def _pictures(found: dict[str, Any], known: Known) -> list[Drawn]:
    panels = {"share of information": found["mig"].matrix} if "mig" in found else {}
    caption = "Left: I(z; v) / H(v) of each latent and factor, by a histogram."
    if "dci" in found:
        panels["importance to a forest"] = found["dci"].importance
        caption += " Right: how much each latent matters to a random forest that predicts the factor; columns sum to 1."
    if not panels:
        return []
    unused = (~known.active).nonzero()[:, 0].tolist()
    caption += " Latents that are not in use are set pale." if unused else ""
    figure = figures.latents_by_factors(panels, known.names, unused)
    return [Drawn("latents", "Latents and factors", caption, figure)]
