"""What the scores have in common: what they give, what they refuse, halves for probes, and a standard error."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from lowerbound import rng
from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED


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


def halves(n: int, seed: int) -> tuple[Int64[Tensor, " t"], Int64[Tensor, " e"]]:
    """Part n rows by chance into those a probe is fitted on and those it is judged by."""
    with rng.noise(seed, "halves"):
        order = torch.randperm(n)
    return order[: n // 2], order[n // 2 :]


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
    score: Callable[[Tensor, Tensor], DisentanglementScore],
    codes: Float[Tensor, "N D"],
    factors: Int[Tensor, "N F"],
    *,
    groups: int = 10,
    seed: int = SEED,
) -> float:
    r"""Give the standard error of a score over images, by leaving out a tenth of them at a time.

    .. math:: \mathrm{s.e.}^2 = \frac{G - 1}{G} \sum_{g=1}^G (s_{-g} - \bar s)^2

    It is that of this model on other images; models of other seeds differ by more. Raises UsageError where there are
    fewer than two groups or than two images for each.

    Reference: The jackknife and bootstrap (Shao and Tu, 1995).

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(10), torch.arange(10))
        >>> from lowerbound.metrics.disentanglement import mig
        >>> error_over_images(mig, factors.double(), factors) < 0.01
        True
    """
    if groups < 2 or len(codes) < 2 * groups:
        raise UsageError(f"{groups} groups of {len(codes)} images: at least 2 groups are needed, and 2 images in each.")
    with rng.noise(seed, "jackknife"):
        order = torch.randperm(len(codes))
    left = [torch.cat([part for i, part in enumerate(order.chunk(groups)) if i != g]) for g in range(groups)]
    found = torch.tensor([score(codes[rows], factors[rows]).value for rows in left], dtype=torch.float64)
    return float(((groups - 1) * found.var(correction=0)).sqrt())
