"""Distances between the codes of a batch and as many draws from the prior."""

from collections.abc import Sequence
from typing import Annotated, Literal, final

import torch
from annotated_types import Ge, Gt, MinLen
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from lowerbound.dist import full_precision
from lowerbound.errors import UsageError
from lowerbound.objective.base import Loss
from lowerbound.objective.terms import Term, vector, weighed
from lowerbound.objective.weight import NonNegative, Weight, as_weight
from lowerbound.vae import Latent, Trace

Kernel = Literal["imq", "rbf"]
Scales = Annotated[Sequence[Annotated[float, Gt(0)]], MinLen(1)]


@final
class MMD(Term):
    r"""The squared maximum mean discrepancy between q(z) and p(z), of InfoVAE and the WAE-MMD.

    .. math:: \frac{\lambda}{n (n - 1)} \sum_{i \ne j} \big[ k(z_i, z_j) + k(z'_i, z'_j) \big]
        - \frac{2 \lambda}{n^2} \sum_{i, j} k(z_i, z'_j), \qquad z' \sim p(z)

    .. math:: k_\mathrm{imq}(a, b) = \sum_s \frac{C_s}{C_s + |a - b|^2}, \quad
        k_\mathrm{rbf}(a, b) = \sum_s \exp(-|a - b|^2 / C_s), \qquad C_s = 2 D s

    This is the unbiased estimate, over the n images of a batch (K samples of them are K estimates, averaged); it may be
    below 0. 2 D is the mean squared distance of two draws from N(0, I). An evaluation averages the estimates of its
    blocks, with draws of its own; a last block of a single image has no pairs and counts as 0.

    Raises UsageError for several groups of latents, and in training on batches of one image.

    Reference: Wasserstein auto-encoders (Tolstikhin et al., 2018); InfoVAE: balancing learning and inference in
    variational autoencoders (Zhao, Song and Ermon, 2019).

    Arguments:
        kernel: "imq" (inverse multiquadratic) or "rbf" (Gaussian).
        scales: s, one kernel each, which are added up.
        weight: λ, a number or a schedule; 10 in the WAE's experiments.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> q, p = Independent(Normal(torch.full((5, 2), 9.0), 1.0), 1), Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> px = Independent(Normal(torch.zeros(1, 5, 3), 1.0), 1)
        >>> trace = Trace(torch.zeros(5, 3), (Latent(torch.full((1, 5, 2), 99.0), q, p),), px)
        >>> loss = MMD("rbf", scales=[1.0], weight=2.0)(trace, 0)  # the codes are one point, far away
        >>> bool(1 < loss.terms["mmd"] < 2), bool(loss.losses["model"] == 2 * loss.terms["mmd"])
        (True, True)
    """

    def __init__(
        self,
        kernel: Kernel = "imq",
        scales: Scales = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
        weight: NonNegative | Weight = 10.0,
    ) -> None:
        super().__init__()
        self.kernel, self.scales, self.weight = kernel, scales, as_weight(weight)

    def forward(self, trace: Trace, step: int) -> Loss:
        """Give λ MMD², and log it."""
        latent = vector(trace, "MMD")
        if self.training and latent.z.shape[1] == 1:
            raise UsageError("MMD compares pairs of codes, and this batch has one: set train.batch to 2 or more.")
        value = mmd(latent.z, like(latent), self.kernel, self.scales)
        return weighed("mmd", value, self.weight, step)


@final
class Sliced(Term):
    r"""The sliced Wasserstein distance between q(z) and p(z), squared: the sliced-Wasserstein autoencoder.

    .. math:: \frac{\lambda}{L n} \sum_{l=1}^L \sum_{i=1}^n
        \big( (\theta_l \cdot z)_{(i)} - (\theta_l \cdot z')_{(i)} \big)^2, \qquad z' \sim p(z)

    (i) is the i-th smallest: on a line the cheapest transport of one set of n points to another keeps their order. The
    directions θ are drawn anew each time, uniformly from the unit sphere. In expectation it is above the distance of
    q(z) and p(z), and falls to it with n: an evaluation, which averages it over its blocks, depends on their size.

    Raises UsageError for several groups of latents.

    Reference: Sliced-Wasserstein autoencoder: an embarrassingly simple generative model (Kolouri et al., 2018).

    Arguments:
        projections: L, the number of directions.
        weight: λ, a number or a schedule.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> q, p = Independent(Normal(torch.zeros(5, 1), 1.0), 1), Independent(Normal(torch.zeros(1), 1e-9), 1)
        >>> px = Independent(Normal(torch.zeros(1, 5, 3), 1.0), 1)
        >>> trace = Trace(torch.zeros(5, 3), (Latent(torch.full((1, 5, 1), 3.0), q, p),), px)
        >>> round(float(Sliced(weight=2.0)(trace, 0).losses["model"]), 4)  # from 3 to 0 is a squared distance of 9
        18.0
    """

    def __init__(self, projections: Annotated[int, Ge(1)] = 50, weight: NonNegative | Weight = 10.0) -> None:
        super().__init__()
        self.projections, self.weight = projections, as_weight(weight)

    def forward(self, trace: Trace, step: int) -> Loss:
        """Give λ times the squared distance, and log it."""
        latent = vector(trace, "The sliced Wasserstein distance")
        z = latent.z
        theta = F.normalize(torch.randn(z.shape[-1], self.projections, dtype=z.dtype, device=z.device), dim=0)
        value = transport(z, like(latent), theta)
        return weighed("sliced_wasserstein", value, self.weight, step)


def like(latent: Latent) -> Float[Tensor, "K B D"]:
    """Draw from the prior as many samples as there are codes, with a gradient to the prior where its family has one."""
    p = latent.p
    shape = latent.z.shape[: 2 - len(p.batch_shape)]
    drawn: Tensor = p.rsample(shape) if p.has_rsample else p.sample(shape)
    return drawn


def mmd(
    a: Float[Tensor, "K n D"], b: Float[Tensor, "K n D"], kernel: Kernel, scales: Sequence[float]
) -> Float[Tensor, ""]:
    """Estimate MMD² between the distributions of two samples of n points, without bias, and average over K."""
    n = a.shape[1]
    if n == 1:
        return a.new_zeros(())
    within = _off_diagonal(gram(a, a, kernel, scales)) + _off_diagonal(gram(b, b, kernel, scales))
    return within / (n * (n - 1)) - 2 * gram(a, b, kernel, scales).mean()


def gram(
    a: Float[Tensor, "K n D"], b: Float[Tensor, "K m D"], kernel: Kernel, scales: Sequence[float]
) -> Float[Tensor, "K n m"]:
    """Give the kernel between each point of a and each of b, summed over its scales."""
    # differences, not a matrix product: autocast would round that to bfloat16, and near points would cancel
    distance = (a[:, :, None] - b[:, None]).square().sum(-1) / (2 * a.shape[-1])
    each = [1 / (1 + distance / s) if kernel == "imq" else torch.exp(-distance / s) for s in scales]
    return torch.stack(each).sum(0)


def _off_diagonal(k: Tensor) -> Tensor:
    return (k.sum((1, 2)) - k.diagonal(dim1=1, dim2=2).sum(-1)).mean()


def transport(a: Float[Tensor, "K n D"], b: Float[Tensor, "K n D"], theta: Float[Tensor, "D L"]) -> Float[Tensor, ""]:
    """Give the squared Wasserstein-2 distance of two samples along each direction, averaged over directions and K."""
    with full_precision(a):
        first, second = a @ theta, b @ theta
    return (first.sort(1).values - second.sort(1).values).square().mean()
