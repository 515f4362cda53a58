"""UDR: whether models of several seeds have found the same latents; it needs no factors."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.metrics.aggregate import active_units
from lowerbound.metrics.disentanglement.base import DisentanglementScore


def udr(
    codes: Sequence[Float[Tensor, "N _"]], *, active: Sequence[Bool[Tensor, " _"]] | None = None
) -> DisentanglementScore:
    r"""Give the unsupervised disentanglement ranking: how far the latents of models are one to one with each other.

    .. math:: \mathrm{UDR}_{ij} = \frac{1}{d_i + d_j} \Bigl(\sum_{b=1}^{d_j} \frac{\max_a R_{ab}^2}{\sum_a R_{ab}} +
        \sum_{a=1}^{d_i} \frac{\max_b R_{ab}^2}{\sum_b R_{ab}}\Bigr)

    R holds the absolute Spearman correlations of the latents in use of models i and j on the same images, which is the
    paper's UDR_S. It is 1 where the models' latents are the same but for order, sign and a monotone map. Of unrelated
    codes it is about the largest of the chance correlations of N images, over their number.

    Reference: Unsupervised model selection for variational disentangled representation learning (Duan et al., 2020).

    Arguments:
        codes: of each model, of the same images in the same order.
        active: which latents of each model are in use; by default those whose code varies, see `active_units`.

    ``each`` is of each model, the median over the others, and the value their mean; ``matrix`` holds UDR_ij.

    Raises UsageError where there are fewer than two models or three images, or a model has no latent in use.

    Example:
        >>> z = torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0))
        >>> udr([z, -z.flip(1)]).value
        1.0
    """
    if len(codes) < 2 or len({len(z) for z in codes}) > 1 or len(codes[0]) < 3:
        raise UsageError(
            f"UDR compares two models or more on the same images, three at least: it was given codes of shape "
            f"{', '.join(str(tuple(z.shape)) for z in codes)}."
        )
    used = [active_units(z).cpu() for z in codes] if active is None else list(active)
    for i, (z, mask) in enumerate(zip(codes, used, strict=True)):
        if not bool(mask.any()) or not bool(z.isfinite().all()):
            raise UsageError(f"Model {i} has no latent in use, or its codes are not finite, so it cannot be compared.")
    ranks = [_standard(_ranked(z.detach().cpu().double()[:, mask.cpu()])) for z, mask in zip(codes, used, strict=True)]
    matrix = torch.eye(len(codes), dtype=torch.float64)
    for i, a in enumerate(ranks):
        for j in range(i):
            matrix[i, j] = matrix[j, i] = _alike((a.T @ ranks[j]).abs())
    others = ~torch.eye(len(codes), dtype=torch.bool)
    each = torch.stack([row[mask].quantile(0.5) for row, mask in zip(matrix, others, strict=True)])
    settings = {"similarity": "spearman", "models": len(codes), "images": len(codes[0])}
    return DisentanglementScore(float(each.mean()), each, matrix, settings)


def _alike(r: Float64[Tensor, "a b"]) -> Float64[Tensor, ""]:
    """How far a matrix of absolute correlations is a permutation."""
    columns, rows = (r.max(d).values ** 2 / r.sum(d).clamp(min=1e-300) for d in (0, 1))
    return (columns.sum() + rows.sum()) / (r.shape[0] + r.shape[1])


def _ranked(z: Float64[Tensor, "N d"]) -> Float64[Tensor, "N d"]:
    """The rank of each code in its latent; equal ones share the mean of theirs."""
    columns = []
    for column in z.T:
        _, where, counts = column.unique(return_inverse=True, return_counts=True)
        columns.append((counts.cumsum(0) - (counts - 1) / 2.0)[where])
    return torch.stack(columns, 1).double()


def _standard(z: Float64[Tensor, "N d"]) -> Float64[Tensor, "N d"]:
    centred = z - z.mean(0)
    return centred / (centred**2).sum(0).sqrt().clamp(min=1e-300)
