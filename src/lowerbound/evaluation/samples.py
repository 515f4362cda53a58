"""Samples: how far new images, reconstructions and held-out images are from others that were held out; and copies."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound import figures, metrics, rng
from lowerbound.data.source import SPLITS
from lowerbound.errors import UsageError
from lowerbound.evaluation.base import Drawn, Section, Subject
from lowerbound.metrics.features import SHAPE, SHIPPED, Shipped
from lowerbound.metrics.sets import GROUPS
from lowerbound.words import noun, number

SIZE = 2000  # of each kind: more would take longer than this section may
LEAST = 50
SEARCHED = 2**26  # values of training and held-out images that are searched for neighbours: 256 MiB
PAIRS = 16
ALARM = 0.001  # p of memorisation below which it is said
BATCH = 500
KINDS = {"samples": "samples", "reconstructions": "reconstructions", "floor": "held-out"}
LINES = {
    "frechet": ("Fréchet distance", "lower is nearer"),
    "kid": ("KID", "lower is nearer"),
    "precision": ("precision", "higher is better"),
    "recall": ("recall", "higher is better"),
    "density": ("density", "about 1 is best"),
    "coverage": ("coverage", "higher is better"),
    "c2st": ("told apart", "0.5 is best"),
}
NO_FEATURES = (
    "Fréchet distance, KID, precision, recall, density and coverage are measured on features, which came with "
    "lowerbound for MNIST and Fashion-MNIST only, and these data are {name}. Give a function that turns images into "
    'features: lowerbound.evaluate(run, measures=["samples"], features=…) in Python.'
)


@final
@dataclass(frozen=True, eq=False)
class Sets:
    """The images that are compared, as many of each: each kind with ``reference``, which it has nothing to do with."""

    reference: Float[Tensor, "N *X"]
    samples: Float[Tensor, "N *X"]
    reconstructions: Float[Tensor, "N *X"]
    floor: Float[Tensor, "N *X"]


def measure(subject: Subject) -> Section:
    """Measure samples, reconstructions and held-out images against other images of the split, and look for copies.

    Values: "n" (images of each kind), "split", "seed", "drawn" (whether x was drawn from p(x|z), as for binarised data,
    or its mean is shown), "features" (name, sha256, size; None without), and for each of "samples", "reconstructions"
    and "floor" (None without features) "frechet" (None where there are too few images for as many features), "kid",
    "precision", "recall", "density", "coverage", each with value, low, high and bias, and "c2st" with value, low, high
    and p; "expected_coverage"; "memorisation" (None without held-out images): share, expected, p, excess, low, high
    (see `lowerbound.metrics.Memorisation`), trained, held_out, median_distance.

    Raises UsageError where the split has fewer than a hundred images, or the model gives values that are not finite.
    """
    sets, features = _sets(subject), _features(subject)
    n, source = len(sets.samples), subject.source
    values: dict[str, Any] = {"n": n, "split": subject.split, "seed": subject.settings.seed, "drawn": _drawn(subject)}
    values |= _compared(subject, sets, features) if features else dict.fromkeys(["features", *KINDS])
    values |= {"expected_coverage": metrics.expected_coverage(n, n), "memorisation": None}
    rows, notes, pictures = [], [], []
    if features:
        rows, pictures = _table(values), [_picture(values)]
        notes += [_what(values, noun(source.shape)), *_read(values)]
    else:
        notes.append(NO_FEATURES.format(name=source.name))
    if len(source.validation) + len(source.test):
        values["memorisation"], found = _memorisation(subject, sets.samples)
        rows += _copied(values["memorisation"])
        notes.append(_warned(values["memorisation"]))
        pictures += found
    return Section("Samples", values, rows, notes, pictures)


def _sets(subject: Subject) -> Sets:
    part, settings, model = getattr(subject.source, subject.split), subject.settings, subject.model
    n = min(SIZE, len(part) // 2)
    if n < LEAST:
        raise UsageError(
            f"The {subject.split} split has too few {noun(subject.source.shape)} ({len(part)}): {2 * LEAST} are needed "
            "at least, since one half is compared with the other, as the floor of what samples can reach."
        )
    order = _order(len(part), settings.seed, "samples")
    reference, floor = (_images(subject, subject.split, rows) for rows in (order[:n], order[n : 2 * n]))
    tell = subject.tell("samples: drawing")
    with torch.inference_mode():
        made = {"samples": _sampled(subject, n), "reconstructions": _reconstructed(subject, floor, tell)}
    for name, some in made.items():
        if bad := int((~some.flatten(1).isfinite()).any(1).sum()):
            raise UsageError(f"{bad} of {n} {name} of {type(model).__name__} have values that are not finite.")
    if subject.source.unit:  # as any file of an image would hold them
        made = {name: some.clamp(0, 1) for name, some in made.items()}
    return Sets(reference, floor=floor, **made)


def _order(n: int, seed: int, purpose: str) -> Int[Tensor, "n"]:
    return torch.randperm(n, generator=torch.Generator().manual_seed(rng.seed_of(seed, purpose)))


def _images(subject: Subject, split: str, rows: Int[Tensor, "n"]) -> Float[Tensor, "n *X"]:
    """Give rows of a split as evaluation sees them."""
    part = subject.source.part(split)
    return replace(part, rows=part.rows[rows.to(part.rows.device)]).images().cpu()


def _drawn(subject: Subject) -> bool:
    """Whether images are drawn from p(x|z): the mean of a binarised image is grey, and no image of such data."""
    return subject.source.binarise != "none"


def _sampled(subject: Subject, n: int) -> Float[Tensor, "n *X"]:
    try:
        return subject.model.sample(n, seed=subject.settings.seed, noise=_drawn(subject)).cpu()
    except UsageError as error:
        if not _drawn(subject):
            raise
        raise UsageError(f"These data are binarised, and so must samples be, by a draw from p(x|z). {error}") from error


def _reconstructed(
    subject: Subject, x: Float[Tensor, "n *X"], tell: Callable[[int, int], None]
) -> Float[Tensor, "n *X"]:
    model, device, found = subject.model, next(subject.model.parameters()).device, []
    for start in range(0, len(x), BATCH):
        part = x[start : start + BATCH].to(device)
        with rng.noise(subject.settings.seed, "reconstructions", start):
            y = model(part).px.sample()[0] if _drawn(subject) else model.reconstruct(part)
        found.append(y.cpu())
        tell(start + len(part), len(x))
    return torch.cat(found)


def _features(subject: Subject) -> Callable[[Tensor], Tensor] | None:
    """Give the user's features, or those that came for these data."""
    own, source = subject.settings.features, subject.source
    kind = str(source.info.get("kind"))
    return own or (metrics.shipped(kind) if kind in SHIPPED and source.shape == SHAPE else None)


def _compared(subject: Subject, sets: Sets, features: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    given = {
        name: metrics.extract(features, some, progress=subject.tell(f"samples: features of {name}"))
        for name, some in vars(sets).items()
    }
    reference, seed = given["reference"], subject.settings.seed
    n, size = reference.shape
    enough = n - math.ceil(n / GROUPS) > size

    def numbers(x: Tensor, y: Tensor) -> Mapping[str, float]:
        found = {"kid": metrics.kid(x, y), **asdict(metrics.prdc(x, y))}
        return {"frechet": metrics.frechet(x, y), **found} if enough else found

    name = features.name if isinstance(features, Shipped) else getattr(features, "__name__", type(features).__name__)
    sha256 = features.sha256 if isinstance(features, Shipped) else None
    values: dict[str, Any] = {"features": {"name": name, "sha256": sha256, "size": size}}
    for kind in KINDS:
        tell = subject.tell(f"samples: measures of {kind}")
        intervals = metrics.jackknife(numbers, reference, given[kind], seed=seed, progress=tell)
        told = metrics.told_apart(reference, given[kind], seed=seed)
        values[kind] = {"frechet": None, **{name: _bounded(name, found) for name, found in intervals.items()}}
        values[kind]["c2st"] = {"value": told.accuracy, "low": told.low, "high": told.high, "p": told.p}
    return values


def _bounded(name: str, found: metrics.Interval) -> dict[str, float]:
    """Cut an interval where the measure ends: KID alone may be negative, and shares are at most 1."""
    low = -math.inf if name == "kid" else 0.0
    high = 1.0 if name in ("precision", "recall", "coverage") else math.inf
    return asdict(found) | {"low": max(low, found.low), "high": min(high, found.high)}


def _memorisation(subject: Subject, samples: Float[Tensor, "N *X"]) -> tuple[dict[str, Any], list[Drawn]]:
    trained, others = _searched(subject)
    images = torch.cat([trained, others])
    found = metrics.neighbours(samples, images, subject.tell("samples: nearest training images"))
    test = metrics.memorised(found, torch.arange(len(images)) < len(trained))
    values = asdict(test) | {
        "trained": len(trained),
        "held_out": len(others),
        "median_distance": float(found.distance.median()),
    }
    if samples.ndim != 4:
        return values, []
    beside = found.distance / metrics.neighbours(samples, others).distance.clamp_min(1e-6)
    beside[found.index >= len(trained)] = math.inf
    first = beside.argsort()[: min(PAIRS, int(beside.isfinite().sum()))]
    return values, [_pairs(samples[first], images[found.index[first]], found.distance[first])] if len(first) else []


def _searched(subject: Subject) -> tuple[Float[Tensor, "T *X"], Float[Tensor, "H *X"]]:
    """Give training images, and those of both other splits, as many of each as memory allows, chosen at random."""
    source = subject.source
    sizes = {split: len(getattr(source, split)) for split in SPLITS}
    share = min(1.0, SEARCHED / math.prod(source.shape) / sum(sizes.values()))
    parts = {
        split: _images(subject, split, _order(size, subject.settings.seed, split)[: math.ceil(share * size)])
        for split, size in sizes.items()
    }
    return parts["train"], torch.cat([parts["validation"], parts["test"]])


def _table(values: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("", *KINDS.values())]
    for key, (name, _) in LINES.items():
        if values["samples"][key]:
            rows.append((name, *(_figure(values[kind][key]) for kind in KINDS)))
    return rows


def _figure(found: Mapping[str, float]) -> str:
    """Write a figure and its interval to two digits of what the interval leaves open."""
    half = (found["high"] - found["low"]) / 2
    digits = min(6, max(2, 1 - math.floor(math.log10(half)))) if half > 0 else 3
    value, low, high = (number(found[end], digits) for end in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _what(values: Mapping[str, Any], name: str) -> str:
    how = "x drawn from p(x|z), since the data are binarised" if values["drawn"] else "the mean of p(x|z)"
    return (
        f"{values['n']:,} {name} of each kind are compared with {values['n']:,} others of the {values['split']} split. "
        f"Samples and reconstructions are {how}. Reconstructions are of the held-out {name}: a model that loses "
        "nothing has the figures of held-out."
    )


def _read(values: Mapping[str, Any]) -> list[str]:
    features, frechet = values["features"], values["samples"]["frechet"]
    origin = f"lowerbound's classifier of {features['name']}" if features["sha256"] else f"{features['name']}"
    mark = f", SHA-256 {features['sha256'][:12]}…" if features["sha256"] else ""
    notes = [
        f"Features: {features['size']} numbers of {origin}{mark}. This is no Inception-FID: the figures compare only "
        "with figures of the same features, of as many images, binarised alike.",
        "In brackets: 95 % intervals for other images of the same number, by leaving out a tenth of both sets in turn.",
        "Of two sets of one distribution density is 1 on average, coverage "
        f"{values['expected_coverage']:.3f}, told apart 0.5, KID 0; for the others held-out says what can be reached.",
    ]
    if frechet is None:
        return [
            *notes,
            f"No Fréchet distance: a covariance of {features['size']} features takes more images than that.",
        ]
    return [
        *notes,
        f"The Fréchet distance of samples is about {number(frechet['bias'])} higher than of endless images.",
    ]


def _copied(found: Mapping[str, Any]) -> list[tuple[str, ...]]:
    low, excess, high = (f"{found[end]:.1%}".replace("-", "−") for end in ("low", "excess", "high"))
    return [
        (
            "nearest is a training image",
            f"{found['share']:.1%} of samples; {found['expected']:.1%} without memorisation",
        ),
        ("excess, 100% if all are copies", f"{excess} ({low} to {high}), p = {found['p']:.2g}"),
    ]


def _warned(found: Mapping[str, Any]) -> str:
    judged = "They are nearer to the first" if found["p"] < ALARM else "They are not nearer to the first"
    if found["p"] > 1 - ALARM:
        judged = "They are nearer to the second, as samples unlike any of the data may be, and not to the first"
    return (
        f"Copies: each sample was compared, by its pixels, with {found['trained']:,} training images and "
        f"{found['held_out']:,} that were held out. {judged} than the numbers of both explain. A small distance to "
        "training images alone would say nothing: blurred images are near to all."
    )


def _picture(values: Mapping[str, Any]) -> Drawn:
    panels = {
        name: (hint, {title: values[kind][key] for kind, title in KINDS.items()})
        for key, (name, hint) in LINES.items()
        if values["samples"][key]
    }
    others = f"as many others of the {values['split']} split"
    caption = f"{values['n']:,} images of each kind against {others}, with 95 % intervals."
    return Drawn("measures", "Samples, reconstructions and held-out images", caption, figures.measures(panels))


def _pairs(samples: Tensor, images: Tensor, distances: Tensor) -> Drawn:
    caption = (
        "Above, the samples whose nearest training image is nearest, measured by how near the nearest held-out image "
        "is; below each, that training image; under them their distance in pixels."
    )
    return Drawn(
        "copies", "The samples most like a training image", caption, figures.copies(samples, images, distances)
    )
