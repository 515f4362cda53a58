"""Approximate posteriors q(z|x): a network, then a family."""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, final

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from lowerbound.errors import UsageError


class Posterior(nn.Module, ABC):
    """A module whose forward gives q(z|x), in two steps: what the network says, and the distribution made of it.

    ``space`` is where z lives; ``density`` says whether q has one (a point mass has none).
    """

    space: ClassVar[str] = "euclidean"
    density: ClassVar[bool] = True

    @abstractmethod
    def params(self, x: Float[Tensor, "B *X"], c: Tensor | None = None) -> Float[Tensor, "B P"]:
        """Give the family's parameters for each x, so that one image's own q can be optimised from them."""

    @abstractmethod
    def dist(self, params: Float[Tensor, "*B P"]) -> Distribution:
        """Make the distribution of these parameters."""

    @abstractmethod
    def centre(self, q: Distribution) -> Float[Tensor, "*B D"]:
        """Give the code that stands for q: the mean where there is one."""

    def forward(self, x: Float[Tensor, "B *X"], c: Tensor | None = None) -> Distribution:
        """Give q(z|x), with batch shape (B,)."""
        return self.dist(self.params(x, c))


@final
class Gaussian(Posterior):
    r"""The diagonal Gaussian: a network and two linear heads.

    .. math:: q(z|x) = \mathcal N(z; \mu(x), \mathrm{diag}\,\sigma^2(x)), \qquad \sigma = \exp(\tfrac12 \log \sigma^2)

    Reference: Auto-encoding variational Bayes (Kingma and Welling, 2014).

    Arguments:
        net: maps (B, \*shape) to (B, features).
        latents: the number of latents D.
        features: what the network gives; read from ``net.features`` when not said.

    Example:
        >>> from lowerbound.nets import ConvEncoder
        >>> q = Gaussian(ConvEncoder((1, 28, 28)), latents=16)(torch.zeros(5, 1, 28, 28))
        >>> q.batch_shape, q.event_shape
        (torch.Size([5]), torch.Size([16]))
    """

    def __init__(self, net: nn.Module, latents: Annotated[int, Ge(1)], features: int | None = None) -> None:
        super().__init__()
        if features is None:
            features = getattr(net, "features", None)
        if not isinstance(features, int):
            raise UsageError(
                f"How many features {type(net).__name__} gives is not known: "
                "set self.features = … in it, or pass features=… here."
            )
        if latents < 1:
            raise UsageError(f"latents is {latents}: at least 1 is needed.")
        self.net, self.latents = net, latents
        self.mu = nn.Linear(features, latents)
        self.logvar = nn.Linear(features, latents)

    def params(self, x: Float[Tensor, "B *X"], c: Tensor | None = None) -> Float[Tensor, "B 2*{self.latents}"]:
        """Give μ and log σ² side by side."""
        h = self.net(x)
        params = torch.cat([self.mu(h), self.logvar(h)], dim=-1)
        # autocast may have made it bfloat16; the density needs float32 at least, and float64 stays
        return params.to(torch.promote_types(params.dtype, torch.float32))

    def dist(self, params: Float[Tensor, "*B P"]) -> Distribution:
        """Give N(μ, σ²) from μ and log σ² side by side."""
        mu, logvar = params.chunk(2, dim=-1)
        sigma = torch.exp(0.5 * logvar)
        return Independent(Normal(mu, sigma, validate_args=False), 1, validate_args=False)

    def centre(self, q: Distribution) -> Float[Tensor, "*B D"]:
        """Give μ."""
        return q.mean
