"""Priors p(z)."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, final

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, Transform

from lowerbound import flows
from lowerbound.dist import Flow, Mixture
from lowerbound.errors import UsageError
from lowerbound.nets import Size, Sizes, unsteady
from lowerbound.posterior import Posterior

DARK = 0.05  # the grey of a new pseudo-input


class Prior(nn.Module, ABC):
    """A module whose forward gives p(z), with batch shape () or, given c, (B,)."""

    space: ClassVar[str] = "euclidean"
    density: ClassVar[bool] = True

    @abstractmethod
    def forward(self, c: Tensor | None = None) -> Distribution:
        """Give p(z)."""

    def attach(self, posterior: Posterior) -> None:
        """Learn of the model's posterior; a prior made of it keeps it, unregistered, and others do nothing."""


@final
class Standard(Prior):
    """The standard normal N(0, I).

    Example:
        >>> Standard(16)().sample((64,)).shape
        torch.Size([64, 16])
    """

    zero: Tensor
    one: Tensor

    def __init__(self, latents: Annotated[int, Ge(1)]) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(latents), persistent=False)
        self.register_buffer("one", torch.ones(latents), persistent=False)

    def forward(self, c: Tensor | None = None) -> Distribution:
        """Give N(0, I), with batch shape ()."""
        return _normal(self.zero, self.one)


def _normal(mu: Tensor, sigma: Tensor) -> Independent[Normal]:
    return Independent(Normal(mu, sigma, validate_args=False), 1, validate_args=False)


@final
class Scaled(Prior):
    r"""The Gaussian whose scale is learned for each latent, and whose mean may be.

    .. math:: p(z) = \mathcal N(z; m, \mathrm{diag}\,s^2), \qquad s = \exp(\log s), \quad m = 0 \text{ unless learned}

    Reference: Diagnosing and enhancing VAE models (Dai and Wipf, 2019) show what scales a decoder leaves free.

    Arguments:
        latents: the number of latents D.
        shift: whether the mean is learned too.

    Example:
        >>> Scaled(2)().variance.tolist()
        [1.0, 1.0]
    """

    mean: Tensor

    def __init__(self, latents: Annotated[int, Ge(1)], shift: bool = False) -> None:
        super().__init__()
        self.log_sigma = nn.Parameter(torch.zeros(latents))
        zero = torch.zeros(latents)
        if shift:
            self.mean = nn.Parameter(zero)
        else:
            self.register_buffer("mean", zero, persistent=False)

    def forward(self, c: Tensor | None = None) -> Distribution:
        """Give N(m, s²), with batch shape ()."""
        return _normal(self.mean, self.log_sigma.exp())


@final
class MixtureOfGaussians(Prior):
    r"""A mixture of diagonal Gaussians: means, scales and weights are learned.

    .. math:: p(z) = \sum_k w_k \, \mathcal N(z; m_k, \mathrm{diag}\,s_k^2), \qquad w = \mathrm{softmax}(l)

    Reference: VAE with a VampPrior (Tomczak and Welling, 2018), which compares it.

    Arguments:
        latents: the number of latents D.
        components: how many Gaussians.

    Example:
        >>> p = MixtureOfGaussians(16, components=3)()
        >>> p.sample((64,)).shape, p.components.batch_shape
        (torch.Size([64, 16]), torch.Size([3]))
    """

    def __init__(self, latents: Annotated[int, Ge(1)], components: Size = 10) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.randn(components, latents))
        self.log_sigma = nn.Parameter(torch.zeros(components, latents))
        self.logits = nn.Parameter(torch.zeros(components))

    def forward(self, c: Tensor | None = None) -> Distribution:
        """Give the mixture, with batch shape ()."""
        return Mixture(_normal(self.mu, self.log_sigma.exp()), self.logits, validate_args=False)


@final
class Vamp(Prior):
    r"""The mixture of the posteriors of K learned pseudo-inputs.

    .. math:: p(z) = \frac1K \sum_k q(z | u_k), \qquad p(z|c) = \frac1K \sum_k q(z | u_k, c)

    The posterior is the model's own, of any family with a density, and its weights are trained through both roles; it
    is kept unregistered, so that they are saved once. Where the data lie in [0, 1], u is the sigmoid of what is
    learned: the paper cuts it off there, which would stop its gradient. Pseudo-inputs begin near the grey 0.05, or near
    0 where the data are any reals.

    Each density is one of every component: of K posteriors that are autoregressive flows it takes D passes for each
    of them, so few components are as many as one can afford.

    Raises UsageError for a posterior without a density, or with batch norm or dropout: q(z|u) is then not a function
    of u, and in training the pseudo-inputs would move the running statistics of the data.

    Reference: VAE with a VampPrior (Tomczak and Welling, 2018).

    Arguments:
        shape: of one input.
        unit: whether the data lie in [0, 1]; filled in.
        components: K, the number of pseudo-inputs.

    Example:
        >>> from lowerbound.nets import MLP
        >>> from lowerbound.posterior import Gaussian
        >>> vamp, q = Vamp((3,), components=5), Gaussian(MLP((3,)), latents=2)
        >>> vamp.attach(q)
        >>> vamp().sample((64,)).shape, list(vamp.state_dict())
        (torch.Size([64, 2]), ['u'])
    """

    def __init__(self, shape: Sequence[int], unit: bool = False, components: Size = 500) -> None:
        super().__init__()
        self.unit = unit
        self.u = nn.Parameter(torch.randn(components, *shape) + (math.log(DARK / (1 - DARK)) if unit else 0.0))
        self.of: tuple[Posterior, ...] = ()  # in a tuple, where torch does not look for modules; a deep copy follows it

    def attach(self, posterior: Posterior) -> None:
        """Keep the model's posterior; raises UsageError where no mixture can be made of it."""
        name = type(posterior).__name__
        if not posterior.density:
            raise UsageError(
                f"A VampPrior is a mixture of posteriors, and {name} has no density: take another posterior, or for "
                "this one a prior such as 'standard' or 'mixture'."
            )
        if what := unsteady(posterior):
            raise UsageError(
                f"A VampPrior sends pseudo-inputs through the posterior's network, and {name} with {what} does not "
                "give each input its own density in training: take a posterior without, or another prior."
            )
        self.of = (posterior,)

    def inputs(self) -> Float[Tensor, "K *X"]:
        """Give the pseudo-inputs, as inputs of the posterior."""
        return self.u.sigmoid() if self.unit else self.u

    def forward(self, c: Tensor | None = None) -> Distribution:
        """Give the mixture, with batch shape () or, given c, (B,)."""
        if not self.of:
            raise UsageError("A VampPrior is made of a model's posterior: build a VAE with it, or call attach first.")
        (posterior,), u = self.of, self.inputs()
        if c is None:
            params = posterior.params(u)
        else:  # each of the B conditions with each of the K inputs
            pairs = u.expand(len(c), *u.shape).flatten(0, 1)
            params = posterior.params(pairs, c.repeat_interleave(len(u), dim=0)).unflatten(0, (len(c), len(u)))
        return Mixture(posterior.dist(params), params.new_zeros(len(u)), validate_args=False)


class FlowPrior(Prior):
    """Standard noise sent through autoregressive maps, in the direction in which a density is one pass."""

    zero: Tensor
    one: Tensor

    def __init__(self, latents: Annotated[int, Ge(1)], transforms: Size = 3, hidden: Sizes = (64, 64)) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(latents), persistent=False)
        self.register_buffer("one", torch.ones(latents), persistent=False)
        self.flow = flows.Autoregressive(latents, 0, transforms, hidden, self.kind)

    @property
    @abstractmethod
    def kind(self) -> Literal["affine", "spline"]:
        """What each map does to a coordinate."""

    def forward(self, c: Tensor | None = None) -> Distribution:
        """Give the flow, with batch shape ()."""
        maps: list[Transform] = [f.inv for f in reversed(self.flow(None))]  # from z to noise is their direction
        return Flow(_normal(self.zero, self.one), maps, validate_args=False)


@final
class MAF(FlowPrior):
    r"""A masked autoregressive flow: each coordinate is affine in its noise, given those before it.

    .. math:: \varepsilon_i = \exp(a_i) \, z_i + b_i, \qquad (a_i, b_i) = \mathrm{net}_i(z_1, \dots, z_{i - 1}),
        \quad \varepsilon \sim \mathcal N(0, I)

    and so on for each map, in alternating orders. A density is one pass a map, a draw D.

    Reference: Masked autoregressive flow for density estimation (Papamakarios, Pavlakou and Murray, 2017).

    Arguments:
        latents: the number of latents D.
        transforms: the number of maps.
        hidden: the widths of each map's hidden layers.

    Example:
        >>> MAF(16)().sample((64,)).shape
        torch.Size([64, 16])
    """

    kind: ClassVar[Literal["affine", "spline"]] = "affine"


@final
class NSF(FlowPrior):
    r"""A neural spline flow: each coordinate is a monotone spline of its noise, given those before it.

    .. math:: \varepsilon_i = f(z_i; \phi_i), \qquad \phi_i = \mathrm{net}_i(z_1, \dots, z_{i - 1}),
        \quad \varepsilon \sim \mathcal N(0, I)

    f is a rational-quadratic spline on [-5, 5] and the identity outside. A density is one pass a map, a draw D.

    Reference: Neural spline flows (Durkan, Bekasov, Murray and Papamakarios, 2019).

    Arguments:
        latents: the number of latents D.
        transforms: the number of maps.
        hidden: the widths of each map's hidden layers.

    Example:
        >>> NSF(16)().sample((64,)).shape
        torch.Size([64, 16])
    """

    kind: ClassVar[Literal["affine", "spline"]] = "spline"
