"""What the scores have in common: what they give, what they refuse, halves for probes, and a standard error."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from lowerbound import rng
from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED
from lowerbound.metrics.sets import left_out, left_out_variance


@final
@dataclass(frozen=True)
class DisentanglementScore:
    """A score, what it is the mean of, and the settings of its estimator.

    Arguments:
        value: the score; higher is better.
        each: of each factor, latent or model, as its function says.
        matrix: what it was read off, (latents, factors) unless its function says otherwise.
        settings: the estimator's, as JSON has them.
    """

    value: float
    each: Float64[Tensor, " _"]
    matrix: Float64[Tensor, "_ _"]
    settings: Mapping[str, Any]


def checked(
    codes: Float[Tensor, "N D"], factors: Int[Tensor, "N F"], least: int = 2
) -> tuple[Float64[Tensor, "N D"], Int64[Tensor, "N F"]]:
    """Give codes in float64 and factors whose values count from 0, both on the processor.

    Raises UsageError where a score of them would mean nothing.
    """
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors):
        raise UsageError(
            f"The codes are {tuple(codes.shape)} and the factors {tuple(factors.shape)}: (N, D) and (N, F) are needed, "
            "a row for each image in both."
        )
    if len(codes) < 20 or codes.shape[1] < least or factors.shape[1] < 2:
        raise UsageError(
            f"{len(codes)} images, {codes.shape[1]} latents and {factors.shape[1]} factors are too few: this score "
            f"takes at least 20 images, {least} latents and 2 factors."
        )
    if not bool(codes.isfinite().all()):
        raise UsageError("The codes are not all finite: the model that gave them has diverged.")
    dense = torch.stack([column.unique(return_inverse=True)[1] for column in factors.detach().cpu().T], 1)
    for f, highest in enumerate(dense.max(0).values.tolist()):
        if highest == 0:
            raise UsageError(f"Factor {f} has the same value in all {len(codes)} images, so nothing can be said of it.")
    return codes.detach().cpu().double(), dense


def halves(
    n: int, seed: int, kept: Bool[Tensor, " n"] | None = None
) -> tuple[Int64[Tensor, " t"], Int64[Tensor, " e"]]:
    """Part n rows by chance into those a probe is fitted on and those it is judged by.

    Those that are not ``kept`` are in neither, and no other row changes sides for that.
    """
    with rng.noise(seed, "halves"):
        order = torch.randperm(n)
    parts = order[: n // 2], order[n // 2 :]
    return parts if kept is None else (parts[0][kept[parts[0]]], parts[1][kept[parts[1]]])


def learnable(factors: Int64[Tensor, "t F"]) -> None:
    """Raise UsageError where the rows that a probe is fitted to have one value of a factor only: it learns nothing."""
    for f, column in enumerate(factors.T):
        if len(column.unique()) < 2:
            raise UsageError(
                f"Factor {f} has the same value in all {len(column)} images that its probe is fitted to: give more "
                "images, or leave it out."
            )


def gap(matrix: Float64[Tensor, "D F"]) -> Float64[Tensor, " F"]:
    """Give for each factor how far its best latent is above its second best."""
    best = matrix.topk(2, dim=0).values
    return best[0] - best[1]


def error_over_images(
    score: Callable[..., DisentanglementScore],
    codes: Float[Tensor, "N D"],
    factors: Int[Tensor, "N F"],
    *,
    groups: int = 10,
    seed: int = SEED,
) -> float:
    r"""Give the standard error of a score over images, by leaving out a tenth of them at a time.

    .. math:: \mathrm{s.e.}^2 = \frac{G - 1}{G} \sum_{g=1}^G (s_{-g} - \bar s)^2

    It is that of this model on other images; models of other seeds differ by more. A score that can be asked with
    ``kept`` (`sap`, `factor_vae`) parts images and draws votes alike whichever are left out, so that what these change
    is not mixed with the noise of other votes. Some of that stays: a vote that drew an image draws another in its
    place, by which the error is too large: by little of thousands of votes, by half and more of a few hundred. Of
    scores that part images anew each time (`beta_vae`, `explicitness`) the error holds all of that noise.

    Raises UsageError where there are fewer than two groups or than two images for each.

    Reference: The jackknife and bootstrap (Shao and Tu, 1995).

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(10), torch.arange(10))
        >>> from lowerbound.metrics.disentanglement import mig
        >>> error_over_images(mig, factors.double(), factors) < 0.01
        True
    """
    n = len(codes)
    if groups < 2 or n < 2 * groups:
        raise UsageError(f"{groups} groups of {n} images: at least 2 groups are needed, and 2 images in each.")
    with rng.noise(seed, "jackknife"):
        labels = torch.empty(n, dtype=torch.int64).scatter(0, torch.randperm(n), torch.arange(n) * groups // n)
    keeps = "kept" in inspect.signature(score).parameters
    found = [
        score(codes, factors, kept=kept) if keeps else score(codes[kept], factors[kept]) for (kept,) in left_out(labels)
    ]
    return float(left_out_variance(torch.tensor([each.value for each in found], dtype=torch.float64)).sqrt())
