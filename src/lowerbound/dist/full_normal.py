"""The normal distribution with any covariance, and its divergence from a diagonal one."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, register_kl

from lowerbound.dist.normal import Shape
from lowerbound.dist.tools import full_precision


@final
class FullNormal(MultivariateNormal):
    r"""torch's multivariate normal, z = μ + Lε with Σ = LLᵀ, which keeps its precision under autocast.

    Example:
        >>> q = FullNormal(torch.zeros(2), scale_tril=torch.tensor([[1.0, 0.0], [3.0, 2.0]]))
        >>> q.variance
        tensor([ 1., 13.])
    """

    def rsample(self, sample_shape: Shape = torch.Size()) -> Float[Tensor, "... D"]:  # noqa: B008
        """Draw z = μ + Lε; the product would else be rounded to bfloat16 there."""
        with full_precision(self.loc):
            z: Tensor = super().rsample(torch.Size(sample_shape))
        return z


@register_kl(MultivariateNormal, Independent)  # type: ignore[untyped-decorator]
def _full_from_diagonal(q: MultivariateNormal, p: Independent[Distribution]) -> Float[Tensor, "..."]:
    """KL(N(μ, LLᵀ) ‖ N(m, diag s²)) = ½ Σ_i (Σ_j L_ij² + (μ_i - m_i)²) / s_i² - 1 - 2 log (L_ii / s_i)."""
    normal = p.base_dist
    if not isinstance(normal, Normal) or p.event_shape != q.event_shape:
        raise NotImplementedError
    mu, L = q.loc, q.scale_tril
    m, s = normal.loc, normal.scale
    spread = (L.square().sum(-1) + (mu - m).square()) / s.square()
    return 0.5 * (spread - 1 - 2 * torch.log(L.diagonal(dim1=-2, dim2=-1) / s)).sum(-1)
