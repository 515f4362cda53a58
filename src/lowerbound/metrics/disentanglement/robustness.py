"""IRS: whether what a latent says stays as it is when all factors but its own change."""

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.metrics.disentanglement.base import DisentanglementScore, checked


def irs(codes: Float[Tensor, "N D"], factors: Int[Tensor, "N F"], *, quantile: float = 0.99) -> DisentanglementScore:
    r"""Give the interventional robustness score: 1 where one factor each fixes a latent, whatever the others do.

    .. math:: \mathrm{IRS}_{jk} = 1 - \frac{\mathbb E_v \max_{i: v_{ik} = v} |z_{ij} - \mathbb E[z_j | v_k = v]|}
        {\max_i |z_{ij} - \mathbb E[z_j]|}, \qquad
        \mathrm{IRS} = \sum_j w_j \max_k \mathrm{IRS}_{jk}, \quad w_j \propto \max_i |z_{ij} - \mathbb E[z_j]|

    Each maximum is taken as a quantile, since that of a few images of one value is lower than that of all for no other
    reason than their number; disentanglement_lib does so above only, and the paper, ``quantile=1``, in neither. Groups
    of equal value stand for an intervention where the factors are independent in these images. A latent counts by its
    reach, so the scale of each matters; one that does not vary counts nothing.

    Reference: Robustly disentangled causal mechanisms (Suter, Miladinović, Schölkopf and Bauer, 2019).

    Arguments:
        codes, factors: a row for each image.
        quantile: that stands for a maximum.

    ``each`` is of each latent, and ``matrix`` holds IRS_jk.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(4), torch.arange(8))
        >>> irs(factors.double(), factors).value
        1.0
    """
    if not 0 < quantile <= 1:
        raise UsageError(f"quantile is {quantile}: it lies above 0 and is at most 1.")
    z, v = checked(codes, factors, least=1)
    reach = _reach(z, quantile)
    if not bool((reach > 0).any()):
        raise UsageError("No latent varies over these images: all codes are one point, and nothing can be robust.")
    matrix = torch.zeros(z.shape[1], v.shape[1], dtype=z.dtype)
    for k, column in enumerate(v.T):
        deviations = torch.stack([_reach(z[column == value], quantile) for value in column.unique()])
        matrix[:, k] = torch.where(reach > 0, 1 - deviations.mean(0) / reach.clamp(min=1e-300), matrix[:, k])
    each = matrix.max(1).values
    settings = {"quantile": quantile, "images": len(z)}
    return DisentanglementScore(float((each * reach).sum() / reach.sum()), each, matrix, settings)


def _reach(z: Float64[Tensor, "n D"], quantile: float) -> Float64[Tensor, " D"]:
    """How far the codes lie from their mean at most, but for a few."""
    return (z - z.mean(0)).abs().quantile(quantile, dim=0)
