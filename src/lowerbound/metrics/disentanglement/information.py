"""Scores that are read off the mutual information of each latent and each factor: MIG and modularity."""

import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.metrics.disentanglement.base import DisentanglementScore, checked, gap

BINS = 20  # those of disentanglement_lib, so that figures compare


def mutual_information(
    codes: Float[Tensor, "N D"], factors: Int[Tensor, "N F"], *, bins: int = BINS
) -> Float64[Tensor, "D F"]:
    r"""Estimate I(z_j; v_k) of each latent and factor, in nats, from a histogram of each latent.

    .. math:: \hat I(z_j; v_k) = \sum_{b, v} \hat p(b, v) \log \frac{\hat p(b, v)}{\hat p(b)\, \hat p(v)}

    The bins are of equal width, from the least to the highest code of a latent. It is too high by about
    (B - 1)(V - 1) / 2N nats where latent and factor are independent (Miller, 1955), and it misses what differs within
    a bin. Raises UsageError where the codes have no meaning, or a factor has one value only.

    Arguments:
        codes, factors: a row for each image.
        bins: B, for each latent.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(4), torch.arange(8))
        >>> mutual_information(factors.double(), factors).exp().round(decimals=6)
        tensor([[4., 1.],
                [1., 8.]], dtype=torch.float64)
    """
    if bins < 2:
        raise UsageError(f"{bins} bins: at least 2 are needed.")
    z, v = checked(codes, factors, least=1)
    low, wide = z.min(0).values, z.max(0).values - z.min(0).values
    cells = ((z - low) / wide.where(wide > 0, torch.ones_like(wide)) * bins).long().clamp(max=bins - 1)
    return torch.stack([torch.stack([_discrete(a, b) for b in v.T]) for a in cells.T])


def _discrete(a: Int64[Tensor, " N"], b: Int64[Tensor, " N"]) -> Float64[Tensor, ""]:
    """The mutual information of two columns of whole numbers, of their frequencies."""
    rows, columns = int(a.max()) + 1, int(b.max()) + 1
    p = (a * columns + b).bincount(minlength=rows * columns).view(rows, columns).double() / len(a)
    return p.xlogy(p).sum() - p.sum(0).xlogy(p.sum(0)).sum() - p.sum(1).xlogy(p.sum(1)).sum()


def entropies(factors: Int[Tensor, "N F"]) -> Float64[Tensor, " F"]:
    r"""Give the entropy of each factor's frequencies, in nats.

    .. math:: \hat H(v_k) = -\sum_v \hat p(v) \log \hat p(v)

    Example:
        >>> entropies(torch.tensor([[0, 0], [0, 1], [0, 2], [0, 3]])).exp()
        tensor([1., 4.], dtype=torch.float64)
    """
    dense = [column.unique(return_inverse=True)[1] for column in factors.cpu().T]
    return torch.stack([_discrete(column, column) for column in dense])


def mig(codes: Float[Tensor, "N D"], factors: Int[Tensor, "N F"], *, bins: int = BINS) -> DisentanglementScore:
    r"""Give the mutual information gap: how much more of each factor its best latent says than the second best.

    .. math:: \mathrm{MIG} = \frac1F \sum_{k=1}^F \frac{1}{H(v_k)} \Bigl(I(z_{j(k)}; v_k) -
        \max_{j \ne j(k)} I(z_j; v_k)\Bigr), \qquad j(k) = \arg\max_j I(z_j; v_k)

    It is 1 where each factor is told by one latent and by no other, and near 0 where two latents say the same. The
    paper takes codes drawn from q(z|x); of the means, which are mostly given, the information of a latent that is
    unused is higher, since a histogram does not see how small its spread is. A factor with more values than bins
    cannot reach 1.

    Reference: Isolating sources of disentanglement in variational autoencoders (Chen et al., 2018).

    Arguments:
        codes, factors: a row for each image, and two latents at least.
        bins: for each latent, see `mutual_information`.

    ``each`` is of each factor, and ``matrix`` holds I(z_j; v_k) / H(v_k).

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(4), torch.arange(8))
        >>> round(mig(-3 * factors.double(), factors).value, 6)
        1.0
    """
    checked(codes, factors)
    share = mutual_information(codes, factors, bins=bins) / entropies(factors)
    each = gap(share)
    settings = {"estimator": "histogram", "bins": bins, "images": len(codes)}
    return DisentanglementScore(float(each.mean()), each, share, settings)


def modularity(codes: Float[Tensor, "N D"], factors: Int[Tensor, "N F"], *, bins: int = BINS) -> DisentanglementScore:
    r"""Say how far each latent tells of one factor only.

    .. math:: \frac1D \sum_{j=1}^D \Bigl(1 - \frac{\sum_{k \ne k(j)} I(z_j; v_k)^2}{(F - 1)\, I(z_j; v_{k(j)})^2}\Bigr),
        \qquad k(j) = \arg\max_k I(z_j; v_k)

    A latent that says nothing counts 0. What a histogram sees in noise is in proportion to a factor's number of
    values, so codes that say nothing score well above 0 where these numbers differ: read it beside explicitness. Two
    latents that say the same of one factor are both modular.

    Reference: Learning deep disentangled embeddings with the F-statistic loss (Ridgeway and Mozer, 2018).

    Arguments:
        codes, factors: a row for each image.
        bins: for each latent, see `mutual_information`.

    ``each`` is of each latent, and ``matrix`` holds I(z_j; v_k) in nats.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(4), torch.arange(8))
        >>> round(modularity(factors.double(), factors).value, 6)
        1.0
    """
    information = mutual_information(codes, factors, bins=bins).clamp(min=0)
    squares = information**2
    best = squares.max(1).values
    others = (squares.sum(1) - best) / (factors.shape[1] - 1)
    each = torch.where(information.max(1).values > 1e-12, 1 - others / best.clamp(min=1e-300), torch.zeros_like(best))
    settings = {"estimator": "histogram", "bins": bins, "images": len(codes)}
    return DisentanglementScore(float(each.mean()), each, information, settings)
