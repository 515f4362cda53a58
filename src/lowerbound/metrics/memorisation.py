"""Whether samples are copies of training images: how near they lie to these, and to images that were held out."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.metrics.search import tiles
from lowerbound.metrics.sets import wilson


@final
@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest of some images to each sample.

    Arguments:
        index: which image is nearest; of several as near, the first.
        distance: the Euclidean distance to it.
        claims: for how many samples each image is the nearest; where t are as near, each of them has 1/t of the sample.
    """

    index: Int[Tensor, "S"]
    distance: Float[Tensor, "S"]
    claims: Float[Tensor, "N"]


@final
@dataclass(frozen=True)
class Memorisation:
    """Whether samples lie nearer to training images than to images that were held out.

    Arguments:
        share: of the samples, those whose nearest image is a training image.
        expected: what the share would be on average if a model knew nothing of which images were trained on.
        p: the probability of such a share or a higher one under that, one-sided.
        excess: the share of samples beyond what is expected, as a fraction of what could be: 0 to 1 for copies of
            training images, about 0 without memorisation; negative where held-out images are nearer.
        low, high: its 95 % interval.
    """

    share: float
    expected: float
    p: float
    excess: float
    low: float
    high: float


def neighbours(
    samples: Float[Tensor, "S *X"],
    images: Float[Tensor, "N ..."],
    progress: Callable[[int, int], None] | None = None,
) -> Neighbours:
    """Give the nearest image to each sample, by the Euclidean distance of pixels, or of features.

    They are compared in float32, by products, which are exact for binary images; the distance to the nearest is taken
    anew, so that of a copy it is 0. Memory does not grow with the number of distances. Raises UsageError where the
    shapes differ, where a set is empty, or where a value is not finite.

    Arguments:
        samples, images: of one shape.
        progress: is told how many of the images are done.

    Example:
        >>> found = neighbours(torch.tensor([[0.75], [0.25]]), torch.tensor([[0.0], [1.0], [1.0]]))
        >>> found.index, found.distance, found.claims
        (tensor([1, 0]), tensor([0.2500, 0.2500]), tensor([1.0000, 0.5000, 0.5000]))
    """
    a, b = _flat(samples, images)
    sample, image = _as_near(a, b, progress)
    claims = torch.zeros(len(b)).index_add_(0, image, 1 / torch.bincount(sample)[sample].float())
    found = torch.full((len(a),), len(b)).scatter_reduce(0, sample, image, "amin")
    return Neighbours(found, (a - b[found]).norm(dim=1), claims)


def memorised(found: Neighbours, trained: Bool[Tensor, "N"]) -> Memorisation:
    r"""Test whether samples lie nearer to the images that a model was trained on than to others like them.

    .. math:: \mathrm{share} = \frac1S \sum_t c_t [t \text{ trained}], \qquad
        \mathrm{Var} = \frac{n_1 n_0}{n (n - 1)} \, \frac{\sum_t c_t^2 - S^2 / n}{S^2}, \qquad
        \mathrm{excess} = \frac{\mathrm{share} - n_1 / n}{1 - n_1 / n}

    c_t samples have image t as their nearest of all n = n_1 + n_0, trained and held out. If both are draws of one
    distribution and the model knows nothing of which are which, every way to call n_1 of the n "trained" is as likely:
    that gives mean and variance exactly, whatever the samples are. That samples are blurred, and so near to every
    image, changes nothing; that a distance to training images alone is small would say nothing.

    The interval of the excess is for other samples and other images, and does not suppose that nothing is copied. It is
    Wilson's, for S / d samples: an image that is the nearest to many makes a sample count for less,

    .. math:: d = (1 - \mathrm{share}) \, d_1 + \mathrm{share} \, d_0, \qquad
        d_i = \max(1, \mathrm{Var}(c_t) / \bar c_t) \text{ over the trained, and the held-out, images}

    Raises UsageError where all images are trained, or none.

    Reference: Holdout-based empirical assessment of mixed-type synthetic data (Platzer and Reutterer, 2021); A
    non-parametric test to detect data-copying in generative models (Meehan, Chaudhuri and Dasgupta, 2020); Survey
    sampling (Kish, 1965), of the design effect d.

    Arguments:
        found: the nearest of all images to each sample.
        trained: which of the images were trained on.

    Example:
        >>> images = torch.rand(100, 5, generator=torch.Generator().manual_seed(0))
        >>> copies = memorised(neighbours(images[:40], images), torch.arange(100) < 50)
        >>> copies.share, copies.expected, copies.excess, copies.p < 1e-6
        (1.0, 0.5, 1.0, True)
    """
    claims, n, ours = found.claims.double(), len(trained), int(trained.sum())
    if not 0 < ours < n:
        raise UsageError(
            f"{ours} of {n} images were trained on: copies show only where there are held-out images to compare with."
        )
    samples, expected = float(claims.sum()), ours / n
    share = float(claims[trained].sum()) / samples
    spread = float(claims.square().sum()) - samples**2 / n
    error = math.sqrt(max(spread, 0.0) * ours * (n - ours) / (n * (n - 1))) / samples
    p = 0.5 * math.erfc((share - expected) / (error * math.sqrt(2))) if error else 0.5
    excess, low, high = ((some - expected) / (1 - expected) for some in (share, *_ends(claims, trained, share)))
    return Memorisation(share, expected, p, excess, low, high)


def _ends(claims: Float[Tensor, "N"], trained: Bool[Tensor, "N"], share: float) -> tuple[float, float]:
    """Give the interval of the share; what is not known of images that nothing is near to is that of the others."""
    effects = [_effect(claims[trained]), _effect(claims[~trained])]
    of_trained, of_held = effects[0] or effects[1] or 1.0, effects[1] or effects[0] or 1.0
    return wilson(share, float(claims.sum()) / ((1 - share) * of_trained + share * of_held))


def _effect(claims: Float[Tensor, "n"]) -> float | None:
    mean = float(claims.mean())
    return max(1.0, float(claims.var()) / mean) if mean and len(claims) > 1 else None


def _flat(samples: Tensor, images: Tensor) -> tuple[Float[Tensor, "S D"], Float[Tensor, "N D"]]:
    if samples.shape[1:] != images.shape[1:]:
        raise UsageError(f"A sample has the shape {tuple(samples.shape[1:])}, an image {tuple(images.shape[1:])}.")
    if not len(samples) or not len(images):
        raise UsageError(f"There are {len(samples)} samples and {len(images)} images: of each at least 1 is needed.")
    parts = [some.detach().cpu().float().flatten(1) for some in (samples, images)]
    for name, some in zip(("samples", "images"), parts, strict=True):
        if not bool(some.isfinite().all()):
            raise UsageError(f"Some of the {name} have values that are not finite: they have no nearest neighbour.")
    # products of values far from 0 lose digits; whole numbers stay whole
    middle = parts[1].mean(0).round()
    return (parts[0] - middle, parts[1] - middle) if bool(middle.any()) else (parts[0], parts[1])


def _as_near(
    samples: Float[Tensor, "S D"], images: Float[Tensor, "N D"], progress: Callable[[int, int], None] | None
) -> tuple[Int[Tensor, "P"], Int[Tensor, "P"]]:
    """Give (sample, image) of each pair that is as near as any image is to the sample: more than one where they tie."""
    least, pairs = torch.full((len(samples),), math.inf), []
    for rows, first, d in tiles(samples, images, _by_products):
        near = d.min(1).values
        sample, image = (d == near[:, None]).nonzero(as_tuple=True)
        pairs.append((sample + rows.start, image + first, near[sample]))
        least[rows] = torch.minimum(least[rows], near)
        if progress and rows.stop == len(samples):
            progress(first + d.shape[1], len(images))
    sample, image, distance = (torch.cat(part) for part in zip(*pairs, strict=True))
    kept = distance == least[sample]
    return sample[kept], image[kept]


def _by_products(rows: Float[Tensor, "R D"], images: Float[Tensor, "N D"]) -> Float[Tensor, "R N"]:
    """Give squared distances less |row|², which all of a row have in common."""
    return torch.addmm(images.square().sum(1), rows, images.T, alpha=-2)
