"""Priors that are fitted without a gradient: a Gaussian at once, a mixture of Gaussians by expectation-maximisation."""

import math
from typing import Annotated, final

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound import dist, rng
from lowerbound.after.base import Codes, Fit
from lowerbound.errors import UsageError
from lowerbound.prior import Prior

FLOOR = (
    1e-6  # of a variance, as a part of the codes' mean variance: a component on one code would have density infinity
)
LLOYD = 20  # rounds of k-means before the first step of EM, which needs only a start


@final
class Components(Prior):
    r"""K Gaussians, each with its full covariance, whose numbers were fitted and are not trained.

    .. math:: p(z) = \sum_k \pi_k \, \mathcal N(z; \mu_k, L_k L_k^\top)

    Arguments:
        latents: D.
        components: K.

    Example:
        >>> Components(16, components=10)().sample((64,)).shape
        torch.Size([64, 16])
    """

    logits: Tensor
    loc: Tensor
    scale_tril: Tensor

    def __init__(self, latents: Annotated[int, Ge(1)], components: Annotated[int, Ge(1)] = 1) -> None:
        super().__init__()
        self.register_buffer("logits", torch.zeros(components))
        self.register_buffer("loc", torch.zeros(components, latents))
        self.register_buffer("scale_tril", torch.eye(latents).repeat(components, 1, 1))

    def forward(self, c: Tensor | None = None) -> Distribution:
        """Give the Gaussian, or the mixture, with batch shape ()."""
        if len(self.logits) == 1:
            return dist.FullNormal(self.loc[0], scale_tril=self.scale_tril[0], validate_args=False)
        parts = dist.FullNormal(self.loc, scale_tril=self.scale_tril, validate_args=False)
        return dist.Mixture(parts, self.logits, validate_args=False)

    def put(self, weights: Float[Tensor, "K"], loc: Float[Tensor, "K D"], scale_tril: Float[Tensor, "K D D"]) -> None:
        """Put the numbers in, in the buffers' own precision."""
        self.logits.copy_(weights.log())
        self.loc.copy_(loc)
        self.scale_tril.copy_(scale_tril)


@final
class Gaussian(Fit):
    r"""One Gaussian with the codes' own mean and covariance, which have the highest likelihood.

    .. math:: \mu = \frac1N \sum_i z_i, \qquad \Sigma = \frac1N \sum_i (z_i - \mu)(z_i - \mu)^\top

    Reference: From variational to deterministic autoencoders (Ghosh et al., 2020), who compare it with a mixture.

    Arguments:
        latents: D.

    Example:
        >>> fit = Gaussian(2)
        >>> fit.fit(Codes(torch.tensor([[0.0, 1.0], [4.0, -1.0], [2.0, 3.0]]), dist.Dirac), seed=0)
        >>> fit.prior().mean
        tensor([2., 1.])
    """

    prior: Components

    def __init__(self, latents: Annotated[int, Ge(1)]) -> None:
        self.prior = Components(latents)

    def fit(self, codes: Codes, seed: int) -> None:
        """Take mean and covariance; where a code never varies, its variance is a millionth of the others' mean."""
        z, floor = _drawn(codes, seed)
        self.prior.put(*_maximised(z, z.new_ones(len(z), 1), 0.0, floor))


@final
class Mixture(Fit):
    r"""A mixture of Gaussians with full covariances, fitted by expectation-maximisation in float64.

    .. math:: r_{ik} \propto \pi_k \, \mathcal N(z_i; \mu_k, \Sigma_k), \qquad
        \mu_k = \frac{\sum_i r_{ik} z_i}{\sum_i r_{ik}}, \quad
        \Sigma_k = \frac{\sum_i r_{ik} (z_i - \mu_k)(z_i - \mu_k)^\top}{\sum_i r_{ik}} + \epsilon I

    Reference: From variational to deterministic autoencoders (Ghosh et al., 2020), who take 10 components.

    Arguments:
        latents: D.
        components: K.
        rounds: the most steps that are taken.
        tolerance: the gain of the mean log density, in nats, below which the steps end.

    Example:
        >>> fit = Mixture(1, components=2)
        >>> fit.fit(Codes(torch.tensor([[0.0], [0.1], [5.0], [5.1]]), dist.Dirac), seed=0)
        >>> [round(mean, 2) for mean in sorted(fit.prior.loc.flatten().tolist())]
        [0.05, 5.05]
    """

    prior: Components

    def __init__(
        self,
        latents: Annotated[int, Ge(1)],
        components: Annotated[int, Ge(1)] = 10,
        rounds: Annotated[int, Ge(1)] = 200,
        tolerance: Annotated[float, Gt(0)] = 1e-3,
    ) -> None:
        self.rounds, self.tolerance = rounds, tolerance
        self.prior = Components(latents, components)

    def fit(self, codes: Codes, seed: int) -> None:
        """Start from k-means, and step until the likelihood rises no more."""
        z, floor = _drawn(codes, seed)
        k = len(self.prior.logits)
        if len(z) < k:
            raise UsageError(f"fit.components is {k}, and there are {len(z)} codes: give at most one to a code.")
        with rng.noise(seed, "k-means"):
            r = _grouped(z, k)
        last = -math.inf
        for _ in range(self.rounds):
            found = _maximised(z, r, floor, floor)
            joint = _joint(z, *found)
            total = joint.logsumexp(1, keepdim=True)
            r, value = (joint - total).exp(), float(total.mean())
            if value - last < self.tolerance:
                break
            last = value
        self.prior.put(*found)


Numbers = tuple[Float[Tensor, "K"], Float[Tensor, "K D"], Float[Tensor, "K D D"]]


def _drawn(codes: Codes, seed: int) -> tuple[Float[Tensor, "N D"], float]:
    """Draw the codes in float64, on the processor (MPS has no float64), and give the floor of a variance."""
    z = codes.draw(seed).cpu().double()
    spread = float(z.var(0, correction=0).mean())
    if not math.isfinite(spread) or spread == 0:
        raise UsageError(
            f"The {len(z)} codes {'are all the same' if spread == 0 else 'are not all finite'}: "
            "no prior can be fitted to them. Look at how the training went, or leave out fit."
        )
    return z, FLOOR * spread


def _maximised(z: Float[Tensor, "N D"], r: Float[Tensor, "N K"], added: float, floor: float) -> Numbers:
    """Give weights, means and Cholesky factors that maximise the expected log density (the M step)."""
    n = r.sum(0) + torch.finfo(r.dtype).eps  # a component without codes has weight and mean next to 0
    loc = (r.T @ z) / n[:, None]
    eye = torch.eye(z.shape[1], dtype=z.dtype)
    factors = []
    for k in range(len(n)):
        d = z - loc[k]
        cov = (r[:, k : k + 1] * d).T @ d / n[k] + added * eye
        factor, failed = torch.linalg.cholesky_ex(cov)
        factors.append(torch.linalg.cholesky(cov + floor * eye) if failed else factor)
    return n / n.sum(), loc, torch.stack(factors)


def _joint(
    z: Float[Tensor, "N D"], weights: Float[Tensor, "K"], loc: Float[Tensor, "K D"], factors: Float[Tensor, "K D D"]
) -> Float[Tensor, "N K"]:
    """Give log of weight times density of each component at each code."""
    parts = []
    for weight, mu, factor in zip(weights, loc, factors, strict=True):
        y = torch.linalg.solve_triangular(factor, (z - mu).T, upper=False)
        constant = -0.5 * z.shape[1] * math.log(2 * math.pi) - factor.diagonal().log().sum() + weight.log()
        parts.append(constant - 0.5 * y.square().sum(0))
    return torch.stack(parts, dim=1)


def _grouped(z: Float[Tensor, "N D"], k: int) -> Float[Tensor, "N K"]:
    """Assign each code to one of k groups: k-means from far-apart starts (Arthur and Vassilvitskii, 2007)."""
    centres = z[torch.randint(len(z), (1,))]
    for _ in range(k - 1):
        far = torch.cdist(z, centres).square().amin(1) + torch.finfo(z.dtype).tiny
        centres = torch.cat([centres, z[torch.multinomial(far, 1)]])
    for _ in range(LLOYD):
        groups = torch.nn.functional.one_hot(torch.cdist(z, centres).argmin(1), k).to(z.dtype)
        filled = groups.sum(0)[:, None]
        centres = torch.where(filled > 0, groups.T @ z / filled.clamp_min(1), centres)
    return groups
