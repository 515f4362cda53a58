"""Scores by votes: of images with one factor in common, which latent, or which linear classifier, tells the factor."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from lowerbound import rng
from lowerbound.errors import UsageError
from lowerbound.metrics.aggregate import active_units
from lowerbound.metrics.bounds import SEED
from lowerbound.metrics.disentanglement.base import DisentanglementScore, checked, halves
from lowerbound.metrics.disentanglement.probes import logistic

CHUNK = 500  # votes at a time


def factor_vae(
    codes: Float[Tensor, "N D"],
    factors: Int[Tensor, "N F"],
    *,
    votes: int = 5000,
    batch: int = 64,
    active: Bool[Tensor, "D"] | None = None,
    kept: Bool[Tensor, "N"] | None = None,
    seed: int = SEED,
) -> DisentanglementScore:
    r"""Give the FactorVAE score: how often the latent that varies least among images with one factor fixed tells which.

    .. math:: d = \arg\min_j \frac{\mathrm{Var}_l\, z_j^{(l)}}{\mathrm{Var}\, z_j}, \qquad
        v_k^{(1)} = \dots = v_k^{(L)}

    A vote is (d, k); each latent's factor is that of most of its votes in one half of the images, and the score is how
    many votes of the other half it gets right. Chance is 1/F. Latents that are not in use are left out: a collapsed
    one would seem the steadiest of all. A batch is drawn, with repetition, from the images with the same value, which
    stands for fixing the factor where factors are independent.

    Reference: Disentangling by factorising (Kim and Mnih, 2018).

    Arguments:
        codes, factors: a row for each image.
        votes: to learn from, and again as many to judge by.
        batch: L, images for each vote.
        active: which latents are in use; by default those whose code varies, see `active_units`.
        kept: which images count; by default all. The half of an image is the same whichever others do, and the votes
            that draw none of those left out are too.
        seed: of halves and votes.

    ``each`` is the share of right votes of each factor, and ``matrix`` counts the votes judged by.

    Raises UsageError where no latent is in use, or no two images of a half have a value in common.

    Example:
        >>> factors = torch.cartesian_prod(torch.arange(8), torch.arange(8)).repeat(4, 1)
        >>> factor_vae(factors.double(), factors, votes=200).value
        1.0
    """
    z, v = checked(codes, factors, least=1)
    _positive(votes=votes, batch=batch - 1)
    left = z if kept is None else z[kept]
    used = active_units(left) if active is None else active.cpu()
    if not bool(used.any()):
        raise UsageError("No latent is in use: all have collapsed to the prior, so none tells of a factor.")
    scale = left.var(0)

    def steadiest(some: Float64[Tensor, "B L D"]) -> Int64[Tensor, " B"]:
        ratio = some.var(1) / scale.clamp(min=1e-300)
        return ratio.where(used, torch.full_like(ratio, torch.inf)).argmin(1)

    counted = []
    for part, rows in zip(("train", "test"), halves(len(z), seed), strict=True):
        draw, there = partial(_Groups.batches, batch=batch), None if kept is None else kept[rows]
        k, d = _drawn(z[rows], v[rows], votes, draw, steadiest, seed=seed, purpose=f"factor-vae {part}", kept=there)
        counted.append((d * v.shape[1] + k).bincount(minlength=z.shape[1] * v.shape[1]).view(z.shape[1], -1))
    best = counted[0].argmax(1)
    right = torch.zeros_like(counted[1]).scatter_(1, best[:, None], counted[1].gather(1, best[:, None]))
    each = right.sum(0).double() / counted[1].sum(0).clamp(min=1)
    settings = {"votes": votes, "batch": batch, "active": int(used.sum()), "seed": seed, "images": len(left)}
    return DisentanglementScore(float(right.sum() / votes), each, counted[1].double(), settings)


def beta_vae(
    codes: Float[Tensor, "N D"],
    factors: Int[Tensor, "N F"],
    *,
    votes: int = 5000,
    batch: int = 64,
    seed: int = SEED,
) -> DisentanglementScore:
    r"""Give the β-VAE score: how often a linear classifier tells the factor that pairs of images have in common.

    .. math:: x = \frac1L \sum_{l=1}^L |z^{(l,1)} - z^{(l,2)}|, \qquad v_k^{(l,1)} = v_k^{(l,2)} \;\forall l

    The classifier is fitted to pairs within one half of the images and judged by pairs of the other. Chance is 1/F. It
    is generous: codes that are rotated among some factors, but whose differences shrink in a way of their own for
    each, are told apart as well. Needs scikit-learn.

    Reference: beta-VAE: Learning basic visual concepts with a constrained variational framework (Higgins et al., 2017).

    Arguments:
        codes, factors: a row for each image.
        votes: to fit the classifier to, and again as many to judge by.
        batch: L, pairs for each vote.
        seed: of halves and pairs.

    ``each`` is the accuracy for each factor; ``matrix`` holds the mean difference of each latent where a factor is in
    common, over its mean in all votes.

    Raises UsageError where no two images of a half have a value in common, or scikit-learn is missing.
    """
    z, v = checked(codes, factors, least=1)
    _positive(votes=votes, batch=batch)
    z = (z - z.mean(0)) / z.std(0).clamp(min=1e-300)
    data = []
    for part, rows in zip(("train", "test"), halves(len(z), seed), strict=True):
        draw = partial(_Groups.pairs, batch=batch)
        data.append(_drawn(z[rows], v[rows], votes, draw, _apart, seed=seed, purpose=f"beta-vae {part}"))
    (y, x), (truth, other) = data
    probe = logistic(x, y, other)
    right = (probe.guesses == truth).double()
    number = truth.bincount(minlength=v.shape[1])
    each = truth.bincount(right, minlength=v.shape[1]) / number.clamp(min=1)
    matrix = torch.stack([other[truth == k].mean(0) for k in range(v.shape[1])], 1) / other.mean(0)[:, None]
    settings = {"votes": votes, "batch": batch, "seed": seed, "images": len(z), **probe.settings}
    return DisentanglementScore(float(right.mean()), each, matrix.nan_to_num(1.0), settings)


def _positive(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise UsageError(f"There are too few {name}: give more.")


def _apart(z: Float64[Tensor, "B L D"]) -> Float64[Tensor, "B D"]:
    half = z.shape[1] // 2
    return (z[:, :half] - z[:, half:]).abs().mean(1)


@final
@dataclass(frozen=True)
class _Groups:
    """Rows sorted by the value of one factor: where the group of each begins, and how many are in it."""

    order: Int64[Tensor, " n"]
    first: Int64[Tensor, " n"]
    size: Int64[Tensor, " n"]
    shared: Int64[Tensor, " m"]  # positions whose value another row has too

    @classmethod
    def of(cls, values: Int64[Tensor, " n"]) -> "_Groups":
        order = values.argsort(stable=True)
        counts = values.bincount()
        first, size = (counts.cumsum(0) - counts)[values[order]], counts[values[order]]
        shared = (size > 1).nonzero()[:, 0]
        if not len(shared):
            raise UsageError("No two images have a value of some factor in common: give more images.")
        return cls(order, first, size, shared)

    def batches(self, n: int, batch: int) -> Int64[Tensor, "n batch"]:
        """Draw n batches of rows that all have one value."""
        at = self.shared[torch.randint(len(self.shared), (n, 1))]
        inside = (torch.rand(n, batch, dtype=torch.float64) * self.size[at]).long()
        return self.order[self.first[at] + inside]

    def pairs(self, n: int, batch: int) -> Int64[Tensor, "n two_batch"]:
        """Draw n batches of pairs of rows, each with a value of its own: all first rows, then all second ones."""
        at = self.shared[torch.randint(len(self.shared), (n, batch))]
        first, size = self.first[at], self.size[at]
        step = 1 + (torch.rand(n, batch, dtype=torch.float64) * (size - 1)).long()
        return self.order[torch.cat([at, first + (at - first + step) % size], 1)]


def _drawn(
    z: Float64[Tensor, "N D"],
    v: Int64[Tensor, "N F"],
    votes: int,
    draw: Callable[[_Groups, int], Tensor],
    reduce: Callable[[Tensor], Tensor],
    *,
    seed: int,
    purpose: str,
    kept: Bool[Tensor, " N"] | None = None,
) -> tuple[Int64[Tensor, " V"], Tensor]:
    """The factor of each vote, drawn evenly, and what the codes that are drawn for it give."""
    groups = [_Groups.of(column) for column in v.T]
    factors, found = [], []
    for i, start in enumerate(range(0, votes, CHUNK)):
        with rng.noise(seed, purpose, i):
            k = torch.randint(len(groups), (min(CHUNK, votes - start),)).sort().values
            rows = [draw(group, int((k == f).sum())) for f, group in enumerate(groups)]
            if kept is not None:
                rows = [_kept_only(some, column, kept) for some, column in zip(rows, v.T, strict=True)]
        factors.append(k)
        found.append(reduce(z[torch.cat(rows)]))
    return torch.cat(factors), torch.cat(found)


def _kept_only(
    rows: Int64[Tensor, "B L"], values: Int64[Tensor, " n"], kept: Bool[Tensor, " n"]
) -> Int64[Tensor, "B L"]:
    """Replace what batches of one value each have drawn of rows that are left out, as if these had never been there.

    Of a uniform draw from all, with a uniform draw from the kept in the place of each that is left out, every kept row
    is as likely as any other; what was drawn of kept rows stays. The first row of a batch decides its value.
    """
    left = kept.nonzero()[:, 0]
    left = left[values[left].argsort(stable=True)]
    size = values[left].bincount(minlength=int(values.max()) + 1)
    first, shared = size.cumsum(0) - size, left[size[values[left]] > 1]
    if not len(shared):
        raise UsageError("No two images have a value of some factor in common: give more images.")
    alone = ~kept[rows[:, 0]] | (size[values[rows[:, 0]]] < 2)
    value = values[rows[:, 0].where(~alone, shared[torch.randint(len(shared), (len(rows),))])][:, None]
    others = left[first[value] + (torch.rand(rows.shape, dtype=torch.float64) * size[value]).long()]
    return rows.where(kept[rows] & (values[rows] == value), others)
