"""log p(x) by importance sampling: what it is of the first images of the split, and how far that can be trusted."""

import math
from typing import Any

import torch

from lowerbound import figures, metrics, rng
from lowerbound.evaluation.base import Drawn, Section, Subject
from lowerbound.metrics.bits import bits_per_dimension, counts
from lowerbound.metrics.weights import Estimates, few_images
from lowerbound.words import counted, with_error

LOWER = (
    "Importance sampling is a lower estimate: in expectation it is below log p(x), and it rises to it with the samples."
)


def measure(subject: Subject) -> Section:
    """Estimate log p(x) of the first images, see `lowerbound.metrics.importance_sampling`.

    The values are those of `lowerbound.metrics.Estimates.summary`, and beside them: "split"; "elbo", of the same images
    and samples; "bits_per_dimension", where p(x|z) gives them a probability; "whole_split" (images, log_likelihood,
    standard_error: see `lowerbound.metrics.mean_of_split`), None where all images were examined.
    """
    settings = subject.settings
    subject.blocks()  # without images there is nothing to measure
    x = subject.images(settings.images)
    found = metrics.importance_sampling(
        subject.model, x, samples=settings.importance, seed=settings.seed, progress=subject.tell("log p(x)")
    )
    values = {"split": subject.split, **found.summary(), "elbo": float(found.curve[0].mean())}
    with torch.inference_mode(), rng.noise(settings.seed, "support"):
        px = subject.model(x[:1]).px
    if counts(px, x, width := subject.source.width):
        values["bits_per_dimension"] = bits_per_dimension(-values["log_likelihood"], px, width=width)
    values["whole_split"] = _whole(subject, found)
    return Section("log p(x)", values, _rows(subject, values), _notes(values), _pictures(found, values))


def _whole(subject: Subject, found: Estimates) -> dict[str, Any] | None:
    if len(found.log_p) == subject.size:
        return None
    samples = subject.settings.samples or subject.objective.samples
    elbo = metrics.elbos(subject.model, subject.blocks(), samples=samples, seed=subject.settings.seed)
    value, error = metrics.mean_of_split(elbo, found.log_p)
    return {"images": len(elbo), "log_likelihood": value, "standard_error": error}


def _rows(subject: Subject, values: dict[str, Any]) -> list[tuple[str, str]]:
    n, samples = values["images"], values["samples"]
    mean, error, whole = values["log_likelihood"], values["standard_error"], values["whole_split"]
    some = counted(n, "image") if n == subject.size else f"the first {n:,} of {subject.size:,} images"
    rows = [
        ("estimated from", f"{counted(samples, 'sample')} of each of {some}"),
        ("log p(x)", f"{with_error(mean, error)} nats over images"),
    ]
    if values["monte_carlo_error"] is not None:
        rows.append(("… of these images", f"{with_error(mean, values['monte_carlo_error'])} nats over samples"))
    if values["jackknife"] is not None and values["jackknife_error"] is not None:
        words = with_error(values["jackknife"], values["jackknife_error"])
        rows.append(("… corrected for its bias", f"{words} nats over samples (jackknife)"))
    last = values["curve"][-1]
    rows.append(("… above their elbo", f"{with_error(last['gain'], last['gain_error'])} nats"))
    if "bits_per_dimension" in values:
        size = math.prod(subject.run.data["shape"]) * math.log(2)
        bits = with_error(values["bits_per_dimension"], None if error is None else error / size)
        rows.append(("−log p(x)", f"{bits} bits per dimension"))
    if whole:
        words = with_error(whole["log_likelihood"], whole["standard_error"])
        rows.append((f"log p(x), all {whole['images']:,} images", f"{words} nats, by the elbo of all"))
    effective = values["effective_samples"]
    rows.append(("effective samples", f"median {effective['median']:,.1f}, least {effective['least']:,.1f}"))
    if values["k_hat"] is not None:
        rows.append(("k̂", f"above {values['k_hat_limit']:.2f} for {values['doubtful']} of {counted(n, 'image')}"))
    return rows


def _notes(values: dict[str, Any]) -> list[str]:
    n, doubtful = values["images"], values["doubtful"]
    notes = [LOWER, *few_images(n)]
    if doubtful is None:
        notes.append(
            f"The tail of {counted(values['samples'], 'weight')} cannot be fitted: k̂, which tells whether an estimate "
            "is to be trusted, takes 21 samples or more."
        )
    elif doubtful:
        notes.append(
            f"Do not trust the estimate of {doubtful} of {counted(n, 'image')}: the tail of their weights is so heavy "
            f"(k̂ above {values['k_hat_limit']:.2f}) that samples which were not drawn may count for more than those "
            "that were. It may be too low by more than any error stated here. Annealed importance sampling (--measure "
            "annealed) does not rest on these weights, and those of each image's own posterior (--measure gap) vary "
            "less."
        )
    if values["whole_split"]:
        notes.append(
            "The figure of all images is that of those examined, carried over to the rest by the elbo of all: it holds "
            "as far as log p(x) goes with the elbo in the rest as it does here."
        )
    return notes


def _pictures(found: Estimates, values: dict[str, Any]) -> list[Drawn]:
    drawn = []
    if found.samples > 1:
        caption = (
            "Mean over images, for each number of samples over disjoint groups of the same draws; with one it is the "
            "elbo. The band is the standard error of the height above the elbo."
        )
        curve = figures.bound_curve(values["curve"])
        drawn.append(Drawn("curve", "log p(x) over the samples", caption, curve))
    if found.k_hat is not None and len(found.log_p) > 1 and bool(found.k_hat.isfinite().any()):
        without, unknown = len(values["no_tail"]), int(found.k_hat.isnan().sum())
        others = [f"{without} have no tail"] if without else []
        others += [f"of {unknown} it cannot be told"] if unknown else []
        caption = "; ".join(["The tail index of each image's importance weights", *others]) + "."
        drawn.append(Drawn("tail", "k̂ of the images", caption, figures.tail(found.k_hat, values["k_hat_limit"])))
    return drawn
