"""Penalties on the moments of the codes."""

from typing import Literal, final

from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.dist import factors
from lowerbound.errors import UsageError
from lowerbound.objective.base import Loss
from lowerbound.objective.terms import Term, vector
from lowerbound.objective.weight import NonNegative
from lowerbound.vae import Trace

Variant = Literal["i", "ii"]


@final
class DIP(Term):
    r"""The distance of the codes' covariance from the identity, beside the elbo: DIP-VAE-I and -II.

    .. math:: \lambda_{od} \sum_{i \ne j} C_{ij}^2 + \lambda_d \sum_i (C_{ii} - 1)^2, \qquad
        C = \mathrm{Cov}_x[\mu(x)] \; (\mathrm{I}), \quad
        C = \mathrm{Cov}_x[\mu(x)] + \mathbb E_x[\mathrm{diag}\,\sigma^2(x)] \; (\mathrm{II})

    C of II is the covariance of q(z), the mean of q(z|x) over the images; both are taken over the batch, divided by its
    size. An evaluation averages the penalties of its blocks.

    Raises UsageError where q has no mean in closed form, for II where q does not factorise, and for several groups of
    latents.

    Reference: Variational inference of disentangled latent concepts from unlabeled observations (Kumar, Sattigeri and
    Balakrishnan, 2018).

    Arguments:
        variant: "i" looks at the means of q(z|x), "ii" at the samples.
        off_diagonal: λ_od, the weight of the squared covariances.
        diagonal: λ_d, the weight of the distances of the variances from 1; in the paper 10 λ_od for I and λ_od for II.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> from lowerbound.vae import Latent
        >>> mu = torch.tensor([[1.0, 2.0], [-1.0, -2.0]])  # covariance [[1, 2], [2, 4]]
        >>> q, p = Independent(Normal(mu, 1.0), 1), Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> px = Independent(Normal(torch.zeros(1, 2, 3), 1.0), 1)
        >>> DIP("i", 1.0, 10.0)(Trace(torch.zeros(2, 3), (Latent(mu[None], q, p),), px), 0).losses["model"]  # 8 + 90
        tensor(98.)
    """

    def __init__(self, variant: Variant = "i", off_diagonal: NonNegative = 10.0, diagonal: NonNegative = 100.0) -> None:
        super().__init__()
        self.variant, self.off_diagonal, self.diagonal = variant, off_diagonal, diagonal

    def forward(self, trace: Trace, step: int) -> Loss:
        """Give the weighted sum of both parts, and log each of them."""
        c = covariance(vector(trace, "DIP").q, self.variant)
        variances = c.diagonal()
        diagonal = (variances - 1).square().sum()
        off = (c - variances.diag_embed()).square().sum()
        terms = {"dip_off_diagonal": off.detach(), "dip_diagonal": diagonal.detach()}
        return Loss({"model": self.off_diagonal * off + self.diagonal * diagonal}, terms)


def covariance(q: Distribution, variant: Variant) -> Float[Tensor, "D D"]:
    """Give the covariance over a batch of the means of q(z|x) ("i"), or of q(z), the mean of q(z|x) ("ii").

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> covariance(Independent(Normal(torch.tensor([[1.0], [-1.0]]), 2.0), 1), "ii")
        tensor([[5.]])
    """
    spread = None
    try:
        mu = q.mean.flatten(0, -2)
        if variant == "ii":
            base = factors(q)
            spread = None if base is None else base.variance.flatten(0, -2)
    except NotImplementedError:
        raise UsageError(
            f"q(z|x) is a {type(q).__name__}, whose mean or variance has no closed form: DIP has nothing to read. "
            "Take another posterior, such as gaussian, or another term."
        ) from None
    if variant == "ii" and spread is None:
        raise UsageError(
            f"q(z|x) is a {type(q).__name__}, which does not factorise into its coordinates: DIP-VAE-II adds the "
            'variance of each. Take the variant "i", or a posterior that factorises, such as gaussian.'
        )
    centred = mu - mu.mean(0)
    # not a matrix product, which autocast would round to bfloat16
    c = (centred[:, :, None] * centred[:, None, :]).mean(0)
    return c if spread is None else c + spread.mean(0).diag_embed()
