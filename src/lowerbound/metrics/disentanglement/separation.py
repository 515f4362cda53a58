"""SAP: how much better the best latent alone predicts a factor than the second best."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED
from lowerbound.metrics.disentanglement.base import DisentanglementScore, checked, gap, halves

CELLS = 20  # intervals of a latent that a value is guessed from, or twice the values where these are more


def sap(
    codes: Float[Tensor, "N D"],
    factors: Int[Tensor, "N F"],
    *,
    unordered: Sequence[int] = (),
    kept: Bool[Tensor, "N"] | None = None,
    seed: int = SEED,
) -> DisentanglementScore:
    r"""Give the separated attribute predictability.

    .. math:: \mathrm{SAP} = \frac1F \sum_{k=1}^F (S_{(1)k} - S_{(2)k}), \qquad
        S_{jk} = \frac{\mathrm{Cov}(z_j, v_k)^2}{\mathrm{Var}(z_j)\, \mathrm{Var}(v_k)}

    The score of an ordered factor is the R² of a line. That of an unordered one is the balanced accuracy of a guess
    from the interval that z_j falls into, by thresholds fitted on one half of the images and judged by the other; its
    gap is at most 1 - 1/V, as the second best latent guesses too. disentanglement_lib takes a linear support vector
    machine for all factors, which cannot tell the values in the middle apart: its figures are lower.

    Reference: Variational inference of disentangled latent concepts from unlabeled observations (Kumar, Sattigeri and
    Balakrishnan, 2018).

    Arguments:
        codes, factors: a row for each image, and two latents at least.
        unordered: which factors are names or angles, so that a line means nothing.
        kept: which images count; by default all. The half of an image is the same whichever others do.
        seed: of the halves.

    ``each`` is of each factor, and ``matrix`` holds S.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(4), torch.arange(8))
        >>> round(sap(5 - factors.double(), factors).value, 6)
        1.0
    """
    z, v = checked(codes, factors)
    if any(not 0 <= k < v.shape[1] for k in unordered):
        raise UsageError(f"unordered is {list(unordered)}, and the factors are 0 to {v.shape[1] - 1}.")
    train, test = halves(len(z), seed, kept)
    rows = slice(None) if kept is None else kept
    matrix = _squared_correlation(z[rows], v[rows].double())
    for k in unordered:
        guesses = [_guessed(column[train], v[train, k], column[test], v[test, k]) for column in z.T]
        matrix[:, k] = torch.stack(guesses)
    each = gap(matrix)
    settings = {"unordered": list(unordered), "cells": CELLS, "seed": seed, "images": len(z[rows])}
    return DisentanglementScore(float(each.mean()), each, matrix, settings)


def _squared_correlation(z: Float64[Tensor, "N D"], v: Float64[Tensor, "N F"]) -> Float64[Tensor, "D F"]:
    z, v = z - z.mean(0), v - v.mean(0)
    scale = (z**2).sum(0)[:, None] * (v**2).sum(0)
    return torch.where(scale > 0, (z.T @ v) ** 2 / scale.clamp(min=1e-300), torch.zeros_like(scale))


def _guessed(
    z: Float64[Tensor, " t"], v: Int64[Tensor, " t"], other: Float64[Tensor, " e"], truth: Int64[Tensor, " e"]
) -> Float64[Tensor, ""]:
    """The balanced accuracy on ``other`` of the value that is most over-represented in each interval of z."""
    values = int(max(v.max(), truth.max())) + 1
    cells = max(CELLS, 2 * values)
    edges = z.quantile(torch.linspace(0, 1, cells + 1, dtype=z.dtype)[1:-1])
    counts = (torch.searchsorted(edges, z) * values + v).bincount(minlength=cells * values).view(cells, values)
    guess = (counts / counts.sum(0).clamp(min=1)).argmax(1)
    right = (guess[torch.searchsorted(edges, other)] == truth).double()
    seen = truth.bincount(minlength=values)
    recall = truth.bincount(right, minlength=values)[seen > 0] / seen[seen > 0]
    return recall.mean()
