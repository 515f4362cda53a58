"""Approximate posteriors q(z|x): a network, then a family."""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal, final

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import AffineTransform, Distribution, Independent, Normal, Transform
from torch.distributions import Laplace as LaplaceDistribution

from lowerbound import flows
from lowerbound.dist import Dirac as DiracDistribution
from lowerbound.dist import Flow, FullNormal
from lowerbound.errors import UsageError
from lowerbound.nets import Size, Sizes

DECAY = 0.9  # of a batch's weight in the running statistics of batch norm, with each batch after it


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
        features = _features(net, features, latents)
        self.net, self.latents = net, latents
        self.mu = nn.Linear(features, latents)
        self.logvar = nn.Linear(features, latents)

    def params(self, x: Float[Tensor, "B *X"], c: Tensor | None = None) -> Float[Tensor, "B 2*{self.latents}"]:
        """Give μ and log σ² side by side."""
        h = self.net(x)
        return _promoted(torch.cat([self.mu(h), self.logvar(h)], dim=-1))

    def dist(self, params: Float[Tensor, "*B P"]) -> Distribution:
        """Give N(μ, σ²) from μ and log σ² side by side."""
        return _normal(params)

    def centre(self, q: Distribution) -> Float[Tensor, "*B D"]:
        """Give μ."""
        return q.mean


def _features(net: nn.Module, features: int | None, latents: int) -> int:
    """Say how many features a network gives; raises UsageError where nobody said it."""
    if features is None:
        features = getattr(net, "features", None)
    if not isinstance(features, int):
        raise UsageError(
            f"How many features {type(net).__name__} gives is not known: "
            "set self.features = … in it, or pass features=… here."
        )
    if latents < 1:
        raise UsageError(f"latents is {latents}: at least 1 is needed.")
    return features


def _promoted(params: Tensor) -> Tensor:
    """Leave autocast: it may have made it bfloat16; the density needs float32 at least, and float64 stays."""
    return params.to(torch.promote_types(params.dtype, torch.float32))


def _normal(params: Tensor) -> Independent[Normal]:
    """Give N(μ, σ²) from μ and log σ² side by side."""
    mu, logvar = params.chunk(2, dim=-1)
    sigma = torch.exp(0.5 * logvar)
    return Independent(Normal(mu, sigma, validate_args=False), 1, validate_args=False)


class Headed(Posterior):
    """A posterior all of whose parameters are one linear head of a network's features."""

    def __init__(self, net: nn.Module, latents: int, features: int | None, size: int) -> None:
        super().__init__()
        self.net, self.latents = net, latents
        self.head = nn.Linear(_features(net, features, latents), size)

    def params(self, x: Float[Tensor, "B *X"], c: Tensor | None = None) -> Float[Tensor, "B P"]:
        """Give all parameters side by side."""
        return _promoted(self.head(self.net(x)))


@final
class FullGaussian(Headed):
    r"""The Gaussian with any covariance, by its Cholesky factor.

    .. math:: q(z|x) = \mathcal N(z; \mu, LL^\top), \qquad
        L_{ii} = \exp(\tfrac12 l_i), \quad L_{ij} \in \mathbb R \text{ for } i > j

    Reference: An introduction to variational autoencoders (Kingma and Welling, 2019), section 2.5.1.

    Arguments:
        net: maps (B, \*shape) to (B, features).
        latents: the number of latents D; the head has D (D + 3) / 2 outputs.
        features: what the network gives; read from ``net.features`` when not said.

    Example:
        >>> from lowerbound.nets import MLP
        >>> q = FullGaussian(MLP((3,)), latents=2)(torch.zeros(5, 3))
        >>> q.scale_tril.shape, bool((q.scale_tril.diagonal(dim1=1, dim2=2) > 0).all())
        (torch.Size([5, 2, 2]), True)
    """

    def __init__(self, net: nn.Module, latents: Annotated[int, Ge(1)], features: int | None = None) -> None:
        super().__init__(net, latents, features, latents * (latents + 3) // 2)

    def dist(self, params: Float[Tensor, "*B P"]) -> Distribution:
        """Give N(μ, LLᵀ) from μ, the log of the squared diagonal of L, and what stands below it, row by row."""
        D = self.latents
        mu, l, below = params.split([D, D, params.shape[-1] - 2 * D], dim=-1)
        L = torch.diag_embed(torch.exp(0.5 * l))
        i, j = torch.tril_indices(D, D, -1, device=params.device)
        L[..., i, j] = below
        return FullNormal(mu, scale_tril=L, validate_args=False)

    def centre(self, q: Distribution) -> Float[Tensor, "*B D"]:
        """Give μ."""
        return q.mean


@final
class Laplace(Headed):
    r"""Independent Laplace latents, with heavier tails than a Gaussian's.

    .. math:: \log q(z|x) = -\sum_i \frac{|z_i - \mu_i|}{b_i} + \log 2 b_i, \qquad b = \exp(\log b)

    Reference: Auto-encoding variational Bayes (Kingma and Welling, 2014), section 2.4, which names the family.

    Arguments:
        net: maps (B, \*shape) to (B, features).
        latents: the number of latents D.
        features: what the network gives; read from ``net.features`` when not said.

    Example:
        >>> from lowerbound.nets import MLP
        >>> Laplace(MLP((3,)), latents=2)(torch.zeros(5, 3)).rsample((7,)).shape
        torch.Size([7, 5, 2])
    """

    def __init__(self, net: nn.Module, latents: Annotated[int, Ge(1)], features: int | None = None) -> None:
        super().__init__(net, latents, features, 2 * latents)

    def dist(self, params: Float[Tensor, "*B P"]) -> Distribution:
        """Give independent Laplace variables from μ and log b side by side."""
        mu, log_b = params.chunk(2, dim=-1)
        return Independent(LaplaceDistribution(mu, log_b.exp(), validate_args=False), 1, validate_args=False)

    def centre(self, q: Distribution) -> Float[Tensor, "*B D"]:
        """Give μ."""
        return q.mean


@final
class Dirac(Headed):
    r"""A point, by which the model is an autoencoder: no density, so no rate and no elbo.

    .. math:: z = f(x), \qquad \text{and } -\log p(z) \text{ stands where the KL would}

    With the standard prior that is ½‖z‖² and a constant: the penalty of the regularised autoencoder.

    Reference: From variational to deterministic autoencoders (RAE; Ghosh et al., 2020).

    Arguments:
        net: maps (B, \*shape) to (B, features).
        latents: the number of latents D.
        features: what the network gives; read from ``net.features`` when not said.

    Example:
        >>> from lowerbound.nets import MLP
        >>> q = Dirac(MLP((3,)), latents=2)(torch.zeros(5, 3))
        >>> bool((q.rsample((7,)) == q.mean).all())
        True
    """

    density: ClassVar[bool] = False

    def __init__(self, net: nn.Module, latents: Annotated[int, Ge(1)], features: int | None = None) -> None:
        super().__init__(net, latents, features, latents)

    def dist(self, params: Float[Tensor, "*B P"]) -> Distribution:
        """Give the point mass at the parameters."""
        return DiracDistribution(params, validate_args=False)

    def centre(self, q: Distribution) -> Float[Tensor, "*B D"]:
        """Give the point."""
        return q.mean


@final
class BatchNormGaussian(Headed):
    r"""The diagonal Gaussian whose means are normalised over the batch, so that the KL cannot vanish.

    .. math:: \mu_i = \gamma \frac{m_i(x) - \mathrm{mean}\,m_i}{\mathrm{sd}\,m_i} + \beta_i, \qquad
        \mathbb E_x \mathrm{KL}(q(z|x) \| \mathcal N(0, I)) \ge
        \tfrac12 \sum_i (\gamma^2 + \beta_i^2) \ge \tfrac12 D \gamma^2

    γ is fixed and β learned. The bound is that of the mean over a batch in training, against the standard normal, and
    up to the 1e-5 that batch norm adds to each variance. In evaluation running means of the statistics take the batch's
    place, and the bound holds as far as they are the data's.

    In training the q of one example depends on the rest of its batch: the elbo is then one of the batch, and an
    estimator that weighs or pairs single examples, or that sends something else than data through the network, is not
    what its formula says (`lowerbound.nets.unsteady`): `lowerbound.prior.Vamp` refuses this family. Raises UsageError
    for a batch of one in training.

    Reference: A batch normalized inference network keeps the KL vanishing away (Zhu et al., 2020).

    Arguments:
        net: maps (B, \*shape) to (B, features).
        latents: the number of latents D.
        gamma: γ, the standard deviation of each mean over a batch.
        features: what the network gives; read from ``net.features`` when not said.

    Example:
        >>> from lowerbound.nets import MLP
        >>> mu = BatchNormGaussian(MLP((3,)), latents=2, gamma=0.5)(torch.randn(100, 3)).mean
        >>> torch.allclose(mu.std(0, correction=0), torch.tensor(0.5), atol=1e-3)
        True
    """

    def __init__(
        self,
        net: nn.Module,
        latents: Annotated[int, Ge(1)],
        gamma: Annotated[float, Gt(0)] = 0.7,
        features: int | None = None,
    ) -> None:
        super().__init__(net, latents, features, 2 * latents)
        if not gamma > 0:
            raise UsageError(f"gamma is {gamma}: it must be above 0, or every mean would be the same.")
        self.gamma = gamma
        self.norm = nn.BatchNorm1d(latents, affine=False)
        self.beta = nn.Parameter(torch.zeros(latents))

    def params(self, x: Float[Tensor, "B *X"], c: Tensor | None = None) -> Float[Tensor, "B P"]:
        """Give μ and log σ² side by side."""
        m, logvar = super().params(x, c).chunk(2, dim=-1)
        if self.training and len(m) < 2:
            raise UsageError("A batch of one has no spread to normalise by: train a bn-gaussian on larger batches.")
        if self.training:  # the weights of a mean without bias, so that nothing is left of where the buffers began
            assert self.norm.num_batches_tracked is not None
            n = int(self.norm.num_batches_tracked) + 1
            self.norm.momentum = (1 - DECAY) / (1 - DECAY**n)
        return torch.cat([self.gamma * self.norm(m) + self.beta, logvar], dim=-1)

    def dist(self, params: Float[Tensor, "*B P"]) -> Distribution:
        """Give N(μ, σ²) from μ and log σ² side by side."""
        return _normal(params)

    def centre(self, q: Distribution) -> Float[Tensor, "*B D"]:
        """Give μ."""
        return q.mean


class FlowPosterior(Headed):
    """A posterior that sends noise through invertible maps."""

    def centre(self, q: Distribution) -> Float[Tensor, "*B D"]:
        """Give the image of the mean of the base: a flow's own mean has no closed form."""
        assert isinstance(q, Flow)
        return q.centre


@final
class Planar(FlowPosterior):
    r"""A diagonal Gaussian bent by planar maps, whose parameters the network gives for each x.

    .. math:: z = f_T \circ \dots \circ f_1(\varepsilon), \quad \varepsilon \sim \mathcal N(\mu, \sigma^2), \quad
        f_t(z) = z + \hat u_t \tanh(w_t^\top z + b_t)

    Reference: Variational inference with normalizing flows (Rezende and Mohamed, 2015).

    Arguments:
        net: maps (B, \*shape) to (B, features).
        latents: the number of latents D.
        transforms: T, the number of maps.
        features: what the network gives; read from ``net.features`` when not said.

    Example:
        >>> from lowerbound.nets import MLP
        >>> z, log_q = Planar(MLP((3,)), latents=2)(torch.zeros(5, 3)).rsample_and_log_prob((7,))
        >>> z.shape, log_q.shape
        (torch.Size([7, 5, 2]), torch.Size([7, 5]))
    """

    def __init__(
        self, net: nn.Module, latents: Annotated[int, Ge(1)], transforms: Size = 8, features: int | None = None
    ) -> None:
        super().__init__(net, latents, features, 2 * latents + transforms * (2 * latents + 1))

    def dist(self, params: Float[Tensor, "*B P"]) -> Distribution:
        """Give the flow from μ, log σ², and u, w and b of each map, side by side."""
        D = self.latents
        maps: list[Transform] = []
        for part in params[..., 2 * D :].split(2 * D + 1, dim=-1):
            u, w, b = part.split([D, D, 1], dim=-1)
            maps.append(flows.Planar(u, w, b))
        return Flow(_normal(params[..., : 2 * D]), maps, validate_args=False)


@final
class Householder(FlowPosterior):
    r"""A diagonal Gaussian reflected in planes that the network gives for each x: a Gaussian with correlations.

    .. math:: z = H_T \cdots H_1 \varepsilon, \quad \varepsilon \sim \mathcal N(\mu, \sigma^2), \quad
        H_t = I - 2 \frac{v_t v_t^\top}{\|v_t\|^2}

    The maps are linear, so that the centre is the mean.

    Reference: Improving variational auto-encoders using Householder flow (Tomczak and Welling, 2016).

    Arguments:
        net: maps (B, \*shape) to (B, features).
        latents: the number of latents D.
        transforms: T, the number of reflections.
        features: what the network gives; read from ``net.features`` when not said.

    Example:
        >>> from lowerbound.nets import MLP
        >>> z, log_q = Householder(MLP((3,)), latents=2)(torch.zeros(5, 3)).rsample_and_log_prob((7,))
        >>> z.shape, log_q.shape
        (torch.Size([7, 5, 2]), torch.Size([7, 5]))
    """

    def __init__(
        self, net: nn.Module, latents: Annotated[int, Ge(1)], transforms: Size = 4, features: int | None = None
    ) -> None:
        super().__init__(net, latents, features, (2 + transforms) * latents)

    def dist(self, params: Float[Tensor, "*B P"]) -> Distribution:
        """Give the flow from μ, log σ² and the v of each reflection, side by side."""
        D = self.latents
        maps: list[Transform] = [flows.Householder(v) for v in params[..., 2 * D :].split(D, dim=-1)]
        return Flow(_normal(params[..., : 2 * D]), maps, validate_args=False)


class AutoregressivePosterior(FlowPosterior):
    """A flow of T autoregressive maps that know x by a context h(x); ``kind`` says what each does to a coordinate."""

    kind: ClassVar[Literal["affine", "spline"]]

    def __init__(
        self,
        net: nn.Module,
        latents: Annotated[int, Ge(1)],
        transforms: Size = 2,
        hidden: Sizes = (64,),
        context: Size = 16,
        features: int | None = None,
    ) -> None:
        super().__init__(net, latents, features, 2 * latents + context)
        self.flow = flows.Autoregressive(latents, context, transforms, hidden, self.kind)


@final
class IAF(AutoregressivePosterior):
    r"""A diagonal Gaussian sent through inverse autoregressive maps, in the direction in which drawing is one pass.

    .. math:: z_{t, i} = \exp(a_i) \, z_{t - 1, i} + b_i, \qquad
        (a_i, b_i) = \mathrm{net}_{t, i}(z_{t - 1, 1}, \dots, z_{t - 1, i - 1}, h(x)), \quad
        z_0 \sim \mathcal N(\mu, \sigma^2)

    Its own samples are scored at once; the density of another z takes D passes.

    Reference: Improved variational inference with inverse autoregressive flow (Kingma et al., 2016).

    Arguments:
        net: maps (B, \*shape) to (B, features).
        latents: the number of latents D.
        transforms: T, the number of maps.
        hidden: the widths of each map's hidden layers.
        context: the length of h, by which the maps know x.
        features: what the network gives; read from ``net.features`` when not said.

    Example:
        >>> from lowerbound.nets import MLP
        >>> z, log_q = IAF(MLP((3,)), latents=2)(torch.zeros(5, 3)).rsample_and_log_prob((7,))
        >>> z.shape, log_q.shape
        (torch.Size([7, 5, 2]), torch.Size([7, 5]))
    """

    kind: ClassVar[Literal["affine", "spline"]] = "affine"

    def dist(self, params: Float[Tensor, "*B P"]) -> Distribution:
        """Give the flow from μ, log σ² and h side by side."""
        maps = self.flow(params[..., 2 * self.latents :])
        return Flow(_normal(params[..., : 2 * self.latents]), maps, validate_args=False)


@final
class Spline(AutoregressivePosterior):
    r"""Standard noise bent by autoregressive splines, then scaled and shifted: a Gaussian of any shape within ±5 σ.

    .. math:: z = \mu + \sigma \odot f_T \circ \dots \circ f_1(\varepsilon), \quad \varepsilon \sim \mathcal N(0, I)

    Each f is a monotone rational-quadratic spline of its coordinate, whose knots a network gives from the coordinates
    before it and from h(x). Drawing is one pass a map; the density of another z takes D.

    Reference: Neural spline flows (Durkan et al., 2019).

    Arguments:
        net: maps (B, \*shape) to (B, features).
        latents: the number of latents D.
        transforms: T, the number of maps.
        hidden: the widths of each map's hidden layers.
        context: the length of h, by which the maps know x.
        features: what the network gives; read from ``net.features`` when not said.

    Example:
        >>> from lowerbound.nets import MLP
        >>> z, log_q = Spline(MLP((3,)), latents=2)(torch.zeros(5, 3)).rsample_and_log_prob((7,))
        >>> z.shape, log_q.shape
        (torch.Size([7, 5, 2]), torch.Size([7, 5]))
    """

    kind: ClassVar[Literal["affine", "spline"]] = "spline"

    def dist(self, params: Float[Tensor, "*B P"]) -> Distribution:
        """Give the flow from μ, log σ² and h side by side."""
        mu, logvar, h = params.split([self.latents, self.latents, params.shape[-1] - 2 * self.latents], dim=-1)
        noise = _normal(torch.zeros_like(params[..., : 2 * self.latents]))
        stretch = AffineTransform(mu, torch.exp(0.5 * logvar), event_dim=1)
        return Flow(noise, [*self.flow(h), stretch], validate_args=False)
