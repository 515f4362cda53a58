"""One image's way through the model: x → q(z|x) → ε → z → p(x|z) → distortion and rate. Tensors in, tensors out."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from lowerbound import rng
from lowerbound.dist import factors
from lowerbound.errors import UsageError
from lowerbound.vae import VAE, Latent, Model, Trace, evaluating


@final
@dataclass(frozen=True, eq=False)
class Walk:
    r"""Every quantity between an image and its elbo, at one z; costs are in nats.

    Arguments:
        mu: μ, the posterior's centre.
        sigma: σ = exp(½ log σ²), its standard deviation.
        eps: ε.
        z: μ + σ ⊙ ε.
        image: the mean of p(x|z).
        costs: -log p(x_i|z) of each pixel, where p(x|z) factorises into them; they sum to the distortion.
        distortion: -log p(x|z).
        rates: KL(q(z_j|x) ‖ p(z_j)) of each latent, where both factorise; they sum to the rate.
        rate: KL(q(z|x) ‖ p(z)), or log q(z|x) - log p(z) where the prior has no closed form.
    """

    mu: Float[Tensor, "D"]
    sigma: Float[Tensor, "D"]
    eps: Float[Tensor, "D"]
    z: Float[Tensor, "D"]
    image: Float[Tensor, "*X"]
    costs: Float[Tensor, "*P"] | None
    distortion: Float[Tensor, ""]
    rates: Float[Tensor, "D"] | None
    rate: Float[Tensor, ""]

    @property
    def elbo(self) -> Float[Tensor, ""]:
        """-(distortion + rate), of this one z."""
        return -(self.distortion + self.rate)

    @property
    def heat(self) -> Float[Tensor, "1 H W"] | None:
        """The costs of an image's pixels, summed over channels and brought to [0, 1]: which of them cost most."""
        if self.costs is None or self.costs.ndim not in (2, 3):
            return None
        costs = self.costs.sum(0) if self.costs.ndim == 3 else self.costs
        low = costs.min().clamp_max(0)  # a density may be above 1, and its cost below 0
        return ((costs - low) / (costs.max() - low).clamp_min(torch.finfo(costs.dtype).tiny))[None]


def walk(model: Model, x: Float[Tensor, "*X"], eps: Float[Tensor, "D"]) -> Walk:
    r"""Take one image through the model with noise that is given.

    .. math:: z = \mu(x) + \sigma(x) \odot \varepsilon, \qquad
        \mathrm{elbo} = -\big(\underbrace{-\log p(x|z)}_{\text{distortion}}
        + \underbrace{\mathrm{KL}(q(z|x) \| p(z))}_{\text{rate}}\big)

    Raises UsageError where the posterior is no diagonal Gaussian, which alone is reached by μ + σ ⊙ ε, or ε is of
    another number of latents.

    Reference: Auto-encoding variational Bayes (Kingma and Welling, 2014), section 2.4.

    Example:
        >>> from lowerbound import likelihood, nets, posterior, prior
        >>> model = VAE(posterior.Gaussian(nets.MLP((3,)), 2), prior.Standard(2),
        ...             likelihood.Gaussian(nets.MLP((2,), (3,))))
        >>> step = walk(model, torch.zeros(3), torch.tensor([1.0, -1.0]))
        >>> bool((step.z == step.mu + step.sigma * step.eps).all()), step.costs.shape
        (True, torch.Size([3]))
    """
    if not isinstance(model, VAE):
        raise UsageError(f"{type(model).__name__} does not say its q(z|x) and p(x|z): only a lowerbound.VAE does.")
    with evaluating(model), torch.no_grad():
        q = model.posterior(x[None])
        normal = factors(q)
        if not isinstance(normal, Normal):
            raise UsageError(
                f"The posterior is no diagonal Gaussian but {type(model.posterior).__name__}: its z is not μ + σ ⊙ ε."
            )
        mu, sigma = normal.loc[0], normal.scale[0]
        if eps.shape != mu.shape:
            raise UsageError(f"ε has {len(eps)} numbers, and the model {len(mu)} latents.")
        z = mu + sigma * eps.to(mu)
        latent = Latent(z[None, None], q, model.prior())
        px = model.likelihood(z[None, None])
        costs = _costs(px, x)
        rates = latent.kl_by_dim
        return Walk(
            mu, sigma, eps.to(mu), z, px.mean[0, 0], costs,
            -px.log_prob(x[None])[0, 0], None if rates is None else rates[0, 0], latent.kl[0, 0],
        )  # fmt: skip


def _costs(px: Distribution, x: Tensor) -> Tensor | None:
    """Give -log p of each pixel; of its channels together where they depend on each other."""
    if not isinstance(px, Independent) or px.reinterpreted_batch_ndims == 0:
        return None
    found: Tensor = -px.base_dist.log_prob(x[None])[0, 0]
    return found


def noise(latents: int, seed: int, strength: float = 1.0) -> Float[Tensor, "D"]:
    """Draw ε from N(0, I) by a seed, and stretch it: strength 0 is the posterior's centre.

    Example:
        >>> noise(16, seed=0).shape, bool((noise(16, seed=0, strength=0.0) == 0).all())
        (torch.Size([16]), True)
    """
    with rng.noise(seed, "walk"):
        return strength * torch.randn(latents)


@final
@dataclass(frozen=True, eq=False)
class Seen:
    r"""What a model says of one image, in nats; distortion and rate are means over K samples of q(z|x).

    Arguments:
        mu: the posterior's centre.
        sigma: its standard deviation in each latent.
        exact: whether σ is the posterior's own, and not that of its samples.
        reconstruction: the mean of p(x|z) at the centre.
        z: samples of q(z|x).
        images: the means of p(x|z) at them.
        distortion: -log p(x|z).
        rate: KL(q(z|x) ‖ p(z)); None where q has no density.
        rates: that of each latent, where q and p factorise.
    """

    mu: Float[Tensor, "D"]
    sigma: Float[Tensor, "D"]
    exact: bool
    reconstruction: Float[Tensor, "*X"]
    z: Float[Tensor, "K D"]
    images: Float[Tensor, "K *X"]
    distortion: Float[Tensor, ""]
    rate: Float[Tensor, ""] | None
    rates: Float[Tensor, "D"] | None

    @property
    def elbo(self) -> Float[Tensor, ""] | None:
        """-(distortion + rate)."""
        return None if self.rate is None else -(self.distortion + self.rate)


def seen(model: Model, x: Float[Tensor, "*X"], *, samples: int = 32, seed: int = 0) -> Seen:
    r"""Say what a model sees in an image: its posterior, what it decodes to, and what it costs.

    .. math:: \text{distortion} = -\frac 1K \sum_k \log p(x|z_k), \qquad z_k \sim q(z|x)

    Arguments:
        model: any.
        x: the image.
        samples: K, at least 2 where the spread must be that of the samples.
        seed: of the samples.

    Example:
        >>> from lowerbound import likelihood, nets, posterior, prior
        >>> model = VAE(posterior.Dirac(nets.MLP((3,)), 2), prior.Standard(2),
        ...             likelihood.Gaussian(nets.MLP((2,), (3,))))
        >>> found = seen(model, torch.zeros(3))
        >>> found.rate is None, found.sigma
        (True, tensor([0., 0.]))
    """
    with evaluating(model), torch.no_grad(), rng.noise(seed, "seen"):
        trace = model(x[None], samples=samples)
        mu = model.encode(x[None])[0]
        last = trace.latents[-1]
        own = _spread(last.q)
        sigma = last.z[:, 0].std(0, correction=0) if own is None else own
        return Seen(
            mu, sigma, own is not None, model.decode(mu[None])[0], last.z[:, 0], trace.px.mean[:, 0],
            -trace.log_px.mean(), trace.kl.mean() if trace.density else None, _rates(trace),
        )  # fmt: skip


def _spread(q: Distribution) -> Tensor | None:
    try:
        found: Tensor = q.stddev[0]
    except (NotImplementedError, AttributeError):
        return None
    return found


def _rates(trace: Trace) -> Tensor | None:
    by_dim = [latent.kl_by_dim for latent in trace.latents]
    if not trace.density or len(by_dim) != 1 or by_dim[0] is None:
        return None
    return by_dim[0][:, 0].mean(0)
