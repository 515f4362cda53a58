"""The rate taken apart by the aggregate posterior: what codes tell of images, how they depend, where they lie."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound import rng
from lowerbound.dist import factors
from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED
from lowerbound.metrics.mixture import Aggregate, Draws, scored, scored_each
from lowerbound.vae import Latent

DRAWS = 2000  # of z, where q(z|x) factorises and its density is cheap
FEW = 200  # of z, where it does not


@final
@dataclass(frozen=True)
class Estimate:
    """A mean over draws of z, and the standard error of this mean, in nats."""

    value: float
    standard_error: float


@final
@dataclass(frozen=True)
class Decomposition:
    """The rate of a split and its parts, in nats per example; see `decompose`.

    Arguments:
        images: N, over which q(z) is the mixture.
        draws: of z.
        rate: E KL(q(z|x) ‖ p(z)), estimated from the same draws as its parts.
        exact_rate: the same in closed form, where there is one.
        mutual_information: I(x; z).
        kl_q_p: KL(q(z) ‖ p(z)).
        total_correlation: KL(q(z) ‖ Π q(z_j)), or None where q(z|x) does not factorise.
        dimension_wise_kl: Σ KL(q(z_j) ‖ p(z_j)), or None where q(z|x) or p(z) does not factorise.
        kl_by_dim: the mean KL(q(z_j|x) ‖ p(z_j)) of each latent, or None as before.
        marginal_kl: KL(q(z_j) ‖ p(z_j)) of each latent, or None as before.
        refused: why a figure that is None is not given.
    """

    images: int
    draws: int
    rate: Estimate
    exact_rate: float | None
    mutual_information: Estimate
    kl_q_p: Estimate
    total_correlation: Estimate | None
    dimension_wise_kl: Estimate | None
    kl_by_dim: list[float] | None
    marginal_kl: list[float] | None
    refused: dict[str, str]


@torch.no_grad()
def decompose(
    aggregate: Aggregate,
    *,
    draws: int | None = None,
    seed: int = SEED,
    progress: Callable[[int, int], None] | None = None,
) -> Decomposition:
    r"""Take the rate apart: mutual information, total correlation and dimension-wise KL, in nats per example.

    .. math:: \underbrace{\mathbb E_x \mathrm{KL}(q(z|x) \| p(z))}_\text{rate}
        = I(x; z) + \mathrm{KL}(q(z) \| p(z))
        = I(x; z) + \mathrm{KL}\Bigl(q(z) \Big\| \prod_j q(z_j)\Bigr) + \sum_j \mathrm{KL}(q(z_j) \| p(z_j))

    where :math:`q(z) = \frac1N \sum_i q(z|x_i)` is the mixture over the N images itself, of which every component is
    summed: nothing is wrong with the figures but that means are taken over so many draws z of q(z), which are
    independent. So each is unbiased for these N images, and its standard error is that of the mean. Where nearly all
    images are told apart, the few draws that are not decide the mutual information, and its error is known less well.
    The last equation holds where p(z) factorises.

    As estimates for what the images were drawn from they are biased: I(x; z) is at most log N and in expectation too
    small, and KL(q(z) ‖ p(z)) is too large by as much, since the rate is not biased. Dimension-wise KL is too large
    too, by little, since a mixture of N covers one axis well; the total correlation takes the rest.

    Raises UsageError where q(z|x) is a point mass, for one image, and where a density is not finite.

    Reference: ELBO surgery (Hoffman and Johnson, 2016); Isolating sources of disentanglement in variational
    autoencoders (Chen et al., 2018). That log N bounds it: On variational bounds of mutual information (Poole et al.,
    2019).

    Arguments:
        aggregate: q(z) and p(z), see `lowerbound.metrics.aggregate_posterior`.
        draws: of z; 2,000 if not said, or 200 where q(z|x) does not factorise, since its density costs more.
        seed: of the draws.
        progress: is told how many of the draws are done, and of how many.

    Example:
        >>> import math
        >>> from torch.distributions import Independent, Normal
        >>> q = Independent(Normal(torch.tensor([[-9.0], [9.0]]), 1.0), 1)  # two images, far from each other
        >>> found = decompose(Aggregate((q,), Independent(Normal(torch.zeros(1), 1.0), 1)))
        >>> round(found.mutual_information.value, 4), round(math.log(2), 4), found.exact_rate
        (0.6931, 0.6931, 40.5)
    """
    _check(aggregate, draws)
    apart = factors(aggregate.parts[0]) is not None
    drawn = aggregate.draw(draws or (DRAWS if apart else FEW), seed)
    joint, each = aggregate.scores(drawn, progress)
    p, p_each = _prior(aggregate, drawn, seed)
    own = drawn.log_q.cpu().double()
    product = None if each is None else each.sum(1)
    marginal = None if each is None or p_each is None else each - p_each
    by_dim, exact = _closed(aggregate, seed)
    if by_dim is None and drawn.each is not None and p_each is not None:
        by_dim = (drawn.each.cpu().double() - p_each).mean(0)
    return Decomposition(
        images=len(aggregate),
        draws=len(own),
        rate=_estimate(own - p),
        exact_rate=exact,
        mutual_information=_estimate(own - joint),
        kl_q_p=_estimate(joint - p),
        total_correlation=None if product is None else _estimate(joint - product),
        dimension_wise_kl=None if marginal is None else _estimate(marginal.sum(1)),
        kl_by_dim=None if by_dim is None else by_dim.tolist(),
        marginal_kl=None if marginal is None else marginal.mean(0).tolist(),
        refused=_refused(aggregate, product is None, marginal is None),
    )


def _check(aggregate: Aggregate, draws: int | None) -> None:
    if draws is not None and draws < 2:
        raise UsageError(f"draws is {draws}: at least 2 are needed, or the error of their mean is not known.")
    if len(aggregate) < 2:
        raise UsageError(
            "What codes tell of images is what tells one image from the others, and there is one: give two or more."
        )
    if not aggregate.density:
        raise UsageError(
            "The posterior is a point mass: an exact code tells every image from every other to any precision, so that "
            "the mutual information is infinite, and q(z) has no density. The two-sample test works on codes."
        )


def _estimate(values: Float[Tensor, "M"]) -> Estimate:
    if not bool(values.isfinite().all()):
        raise UsageError(
            "The densities of q(z|x), q(z) or p(z) are not all finite at draws of q(z): the model gives NaN, or the "
            "prior gives codes the probability 0, and a KL is infinite. Look at how the training went."
        )
    return Estimate(float(values.mean()), float(values.std() / len(values) ** 0.5))


def _prior(aggregate: Aggregate, drawn: Draws, seed: int) -> tuple[Tensor, Tensor | None]:
    """Give log p(z) and the log p(z_j), under fixed noise: a density may itself be estimated from samples."""
    p, apart = aggregate.prior, factors(aggregate.prior)
    with rng.noise(seed, "prior of the aggregate"):
        whole = torch.cat([scored(p, z)[:, 0] for z in drawn.z.split(256)])
    each = None if apart is None else scored_each(apart, drawn.z)[:, 0]
    return whole.cpu().double(), None if each is None else each.cpu().double()


def _closed(aggregate: Aggregate, seed: int) -> tuple[Tensor | None, float | None]:
    """Give the mean KL of each latent and of all together over the images, as far as they have a closed form."""
    by_dim, whole = [], []
    for z, q in zip(aggregate.one_each(seed).split(aggregate.sizes), aggregate.parts, strict=True):
        latent = Latent(z[None], q, aggregate.prior)
        if latent.closed_kl is None:
            return None, None
        whole.append(latent.closed_kl.reshape(-1).cpu().double())
        by_dim.append(None if latent.kl_by_dim is None else latent.kl_by_dim.reshape(len(z), -1).cpu().double())
    known = [part for part in by_dim if part is not None]
    return torch.cat(known).mean(0) if known else None, float(torch.cat(whole).mean())


def _refused(aggregate: Aggregate, no_tc: bool, no_dim: bool) -> dict[str, str]:
    q, p = type(aggregate.parts[0]).__name__, type(aggregate.prior).__name__
    why = {}
    if no_tc:
        why["total_correlation"] = f"q(z|x) is a {q}, without a density of each single coordinate."
        why["dimension_wise_kl"] = why["total_correlation"]
    elif no_dim:
        why["dimension_wise_kl"] = (
            f"p(z) is a {p}, which does not factorise: the densities of its single coordinates have no closed form."
        )
    return why
