"""Likelihoods of real pixels: a location and a scale."""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, final

import torch
from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch.distributions import Laplace as LaplaceDistribution
from torch.distributions import StudentT as StudentTDistribution

from lowerbound.dist import HyperbolicSecant as HyperbolicSecantDistribution
from lowerbound.dist import OptimalNormal
from lowerbound.errors import UsageError
from lowerbound.likelihood.base import LocationScale, Scale

LEAST_DF = 1.001  # a float32 just above 1 would be 1, where there is no mean


@final
class Gaussian(LocationScale):
    r"""Real pixels around a mean, with one σ for all of them or with several.

    .. math:: \log p(x|z) = -\sum_i \frac{(x_i - \mu_i(z))^2}{2 \sigma^2} + \log \sigma + \tfrac12 \log 2\pi

    Reference: Simple and effective VAE training with calibrated decoders (σ-VAE; Rybkin, Daniilidis and Levine, 2021).

    Arguments:
        net: maps (N, D) to (N, \*shape); with sigma "image" or "each" to twice the channels.
        sigma: a number (fixed), "learned" (one scalar parameter, log σ), "optimal": in training σ² is the batch's
            mean squared error and updates a buffer, the exponential mean of these; in evaluation σ² is the buffer, a
            proper density; or "pixel" (a parameter for each position), "image" (the network gives one for each image)
            or "each" (the network gives one for each pixel), see `LocationScale`.
        unit: whether the mean passes a sigmoid, for pixels in [0, 1]; filled in from the data.
        shape: of one example, which "pixel" needs; filled in from the data.

    Example:
        >>> from lowerbound.nets import MLP
        >>> px = Gaussian(MLP((2,), (3,)), sigma=0.5)(torch.zeros(5, 2))
        >>> px.base_dist.scale.unique()
        tensor([0.5000])
    """

    real: ClassVar[bool] = True
    words: ClassVar[tuple[str, ...]] = (*LocationScale.words, "optimal")
    variance: Tensor
    scored: Tensor

    def __init__(
        self,
        net: nn.Module,
        sigma: Scale | Literal["optimal"] = "optimal",
        unit: bool = False,
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(net, sigma, unit, shape)
        if sigma == "optimal":
            self.register_buffer("variance", torch.ones(()))
            self.register_buffer("scored", torch.zeros((), dtype=torch.int64))  # batches that are in it

    def scale(self, mu: Float[Tensor, "..."], s: Float[Tensor, "..."] | None, event: int) -> Float[Tensor, "..."]:
        """Give σ; the optimal one is the buffer's."""
        return self.variance.sqrt().to(mu) if self.sigma == "optimal" else super().scale(mu, s, event)

    def family(self, mu: Float[Tensor, "..."], sigma: Float[Tensor, "..."]) -> Distribution:
        """Give N(μ, σ²)."""
        if self.sigma == "optimal" and self.training:
            return OptimalNormal(mu, self.variance, self.scored)
        return Normal(mu, sigma, validate_args=False)


@final
class Laplace(LocationScale):
    r"""Real pixels whose error costs its absolute value, the L1 loss, and not its square.

    .. math:: \log p(x|z) = -\sum_i \frac{|x_i - \mu_i(z)|}{\sigma} + \log 2 \sigma

    Its standard deviation is √2 σ.

    Reference: The Laplace distribution and generalizations (Kotz, Kozubowski and Podgórski, 2001).

    Arguments:
        net: maps (N, D) to (N, \*shape); with sigma "image" or "each" to twice the channels.
        sigma: a number (fixed), "learned" (one scalar parameter, log σ), "pixel" (a parameter for each position),
            "image" (the network gives one for each image) or "each" (the network gives one for each pixel).
        unit: whether μ passes a sigmoid, for pixels in [0, 1]; filled in from the data.
        shape: of one example, which "pixel" needs; filled in from the data.

    Example:
        >>> from lowerbound.nets import MLP
        >>> px = Laplace(MLP((2,), (3,)), sigma=0.5)(torch.zeros(5, 2))
        >>> px.log_prob(px.mean)  # the height of each is 1 / 2σ = 1
        tensor([0., 0., 0., 0., 0.], grad_fn=<SumBackward1>)
    """

    real: ClassVar[bool] = True

    def __init__(
        self, net: nn.Module, sigma: Scale = "learned", unit: bool = False, shape: Sequence[int] | None = None
    ) -> None:
        super().__init__(net, sigma, unit, shape)

    def family(self, mu: Float[Tensor, "..."], sigma: Float[Tensor, "..."]) -> Distribution:
        """Give the Laplace distribution."""
        return LaplaceDistribution(mu, sigma, validate_args=False)


@final
class HyperbolicSecant(LocationScale):
    r"""Real pixels under the log-cosh loss: quadratic near μ, linear far from it, and normalised.

    .. math:: \log p(x|z) = -\sum_i \log \cosh \frac{\pi (x_i - \mu_i(z))}{2 \sigma} + \log 2 \sigma

    Its standard deviation is σ.

    Reference: Statistical properties of the log-cosh loss function used in machine learning (Saleh and Saleh, 2022).

    Arguments:
        net: maps (N, D) to (N, \*shape); with sigma "image" or "each" to twice the channels.
        sigma: a number (fixed), "learned" (one scalar parameter, log σ), "pixel" (a parameter for each position),
            "image" (the network gives one for each image) or "each" (the network gives one for each pixel).
        unit: whether μ passes a sigmoid, for pixels in [0, 1]; filled in from the data.
        shape: of one example, which "pixel" needs; filled in from the data.

    Example:
        >>> from lowerbound.nets import MLP
        >>> HyperbolicSecant(MLP((2,), (2, 8, 8)), sigma="image")(torch.zeros(5, 2)).mean.shape
        torch.Size([5, 1, 8, 8])
    """

    real: ClassVar[bool] = True

    def __init__(
        self, net: nn.Module, sigma: Scale = "learned", unit: bool = False, shape: Sequence[int] | None = None
    ) -> None:
        super().__init__(net, sigma, unit, shape)

    def family(self, mu: Float[Tensor, "..."], sigma: Float[Tensor, "..."]) -> Distribution:
        """Give the hyperbolic secant distribution."""
        return HyperbolicSecantDistribution(mu, sigma, validate_args=False)


@final
class StudentT(LocationScale):
    r"""Real pixels with heavy tails: a pixel that is far off costs the logarithm of its distance.

    .. math:: \log p(x|z) = \sum_i \log \frac{\Gamma(\frac{\nu + 1}{2})}{\Gamma(\frac \nu 2) \sqrt{\pi \nu} \, \sigma}
        - \frac{\nu + 1}{2} \log \left(1 + \frac{(x_i - \mu_i(z))^2}{\nu \sigma^2}\right)

    Its standard deviation is σ √(ν / (ν - 2)) where ν > 2, else infinite. ν > 1, so that μ is the mean.

    Reference: Student-t variational autoencoder for robust density estimation (Takahashi et al., 2018).

    Arguments:
        net: maps (N, D) to (N, \*shape); with sigma "image" or "each" to twice the channels.
        df: ν, the degrees of freedom, a number (fixed) or "learned" (one parameter, begun at ν = 5).
        sigma: a number (fixed), "learned" (one scalar parameter, log σ), "pixel" (a parameter for each position),
            "image" (the network gives one for each image) or "each" (the network gives one for each pixel).
        unit: whether μ passes a sigmoid, for pixels in [0, 1]; filled in from the data.
        shape: of one example, which "pixel" needs; filled in from the data.

    Example:
        >>> from lowerbound.nets import MLP
        >>> px = StudentT(MLP((2,), (3,)), df="learned")(torch.zeros(5, 2))
        >>> round(float(px.base_dist.df.detach().max()), 4)
        5.0
    """

    real: ClassVar[bool] = True

    def __init__(
        self,
        net: nn.Module,
        df: Annotated[float, Gt(1)] | Literal["learned"] = 5.0,
        sigma: Scale = "learned",
        unit: bool = False,
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__(net, sigma, unit, shape)
        if df != "learned" and (isinstance(df, str) or not df > 1):
            raise UsageError(f"df is {df!r}: give a number above 1, below which there is no mean, or 'learned'.")
        self.df = df
        if df == "learned":
            self.log_excess = nn.Parameter(torch.tensor(math.log(5 - LEAST_DF)))

    def family(self, mu: Float[Tensor, "..."], sigma: Float[Tensor, "..."]) -> Distribution:
        """Give Student's t."""
        df = mu.new_tensor(self.df) if not isinstance(self.df, str) else LEAST_DF + self.log_excess.exp().to(mu)
        return StudentTDistribution(df, mu, sigma, validate_args=False)
