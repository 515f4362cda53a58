"""Models of which everything is known: log p(x), the posterior and the elbo in closed form, or by enumeration.

They are what estimators are held against, in the tests and by ``lowerbound doctor``. Their formulas are written out
here, in float64, and use none of the library's densities.
"""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, OneHotCategorical

from lowerbound import likelihood, posterior, prior
from lowerbound.vae import VAE


@final
@dataclass(frozen=True)
class Linear:
    r"""The linear-Gaussian model, which is probabilistic PCA: every density is a Gaussian.

    .. math:: p(z) = \mathcal N(0, I), \quad p(x|z) = \mathcal N(Wz + b, \sigma^2 I), \quad
        p(x) = \mathcal N(b, WW^\top + \sigma^2 I), \quad
        p(z|x) = \mathcal N(M^{-1} W^\top (x - b), \sigma^2 M^{-1}), \quad M = W^\top W + \sigma^2 I

    Where the columns of W are orthogonal the posterior is diagonal.

    Reference: Probabilistic principal component analysis (Tipping and Bishop, 1999).

    Arguments:
        w: W, (D, L).
        b: the mean of x, (D,).
        sigma: σ, the standard deviation of what the latents do not tell.

    Example:
        >>> model = Linear(torch.tensor([[3.0], [4.0]], dtype=torch.float64), torch.zeros(2).double(), sigma=1.0)
        >>> x = model.draw(5, seed=0)
        >>> mu, cov = model.posterior(x)
        >>> bool(model.gap(x, mu, cov.diagonal().expand(5, 1)).abs().max() < 1e-12)
        True
    """

    w: Float[Tensor, "D L"]
    b: Float[Tensor, "D"]
    sigma: float

    def log_p(self, x: Float[Tensor, "N D"]) -> Float[Tensor, "N"]:
        """Give log p(x) of each row, in nats."""
        w, b, x = self.w.double(), self.b.double(), x.double()
        factor = torch.linalg.cholesky(w @ w.T + self.sigma**2 * torch.eye(len(w), dtype=w.dtype, device=w.device))
        white = torch.linalg.solve_triangular(factor, (x - b).T, upper=False)
        logdet = 2 * factor.diagonal().log().sum()
        found: Tensor = -0.5 * (len(w) * math.log(2 * math.pi) + logdet + white.square().sum(0))
        return found

    def posterior(self, x: Float[Tensor, "N D"]) -> tuple[Float[Tensor, "N L"], Float[Tensor, "L L"]]:
        """Give the mean of p(z|x) for each row, and its covariance, which is the same for all."""
        w = self.w.double()
        m = w.T @ w + self.sigma**2 * torch.eye(w.shape[1], dtype=w.dtype, device=w.device)
        return torch.linalg.solve(m, w.T @ (x.double() - self.b.double()).T).T, self.sigma**2 * torch.linalg.inv(m)

    def distortion(
        self, x: Float[Tensor, "N D"], mu: Float[Tensor, "N L"], var: Float[Tensor, "N L"]
    ) -> Float[Tensor, "N"]:
        """Give -E log p(x|z) under q = N(μ, diag σ²) of each row, in nats."""
        w, x, mu, var = self.w.double(), x.double(), mu.double(), var.double()
        missed = (x - self.b.double() - mu @ w.T).square().sum(1) + (var * w.square().sum(0)).sum(1)
        return 0.5 * (len(w) * math.log(2 * math.pi * self.sigma**2) + missed / self.sigma**2)

    def elbo(self, x: Float[Tensor, "N D"], mu: Float[Tensor, "N L"], var: Float[Tensor, "N L"]) -> Float[Tensor, "N"]:
        """Give the elbo of each row for q = N(μ, diag σ²), in nats."""
        return -self.distortion(x, mu, var) - standard_kl(mu, var)

    def gap(self, x: Float[Tensor, "N D"], mu: Float[Tensor, "N L"], var: Float[Tensor, "N L"]) -> Float[Tensor, "N"]:
        """Give log p(x) - elbo, which is KL(q(z|x) ‖ p(z|x)), of each row."""
        return self.log_p(x) - self.elbo(x, mu, var)

    def draw(self, n: int, seed: int) -> Float[Tensor, "n D"]:
        """Draw n rows of x, on the processor."""
        g = torch.Generator().manual_seed(seed)
        d, l = self.w.shape
        z, noise = (torch.randn(n, k, generator=g, dtype=torch.float64) for k in (l, d))
        return z @ self.w.cpu().double().T + self.b.cpu().double() + self.sigma * noise

    def vae(self, *, exact: bool) -> VAE:
        """Make the VAE, in float64, of which this is the decoder; its encoder is the exact posterior, or any other.

        The other one has the weights that torch's generator gives.
        """
        d, l = self.w.shape
        decoder = nn.Linear(l, d).double()
        decoder.weight.data, decoder.bias.data = self.w.double().clone(), self.b.double().clone()
        q = posterior.Gaussian(nn.Identity(), l, features=d).double()
        if exact:
            mu, cov = self.posterior(torch.cat([torch.eye(d).double(), torch.zeros(1, d).double()]).to(self.w.device))
            q.mu.bias.data, q.mu.weight.data = mu[-1].clone(), (mu[:-1] - mu[-1]).T.clone()
            q.logvar.weight.data.zero_()
            q.logvar.bias.data = cov.diagonal().log()
        return VAE(q, prior.Standard(l).double(), likelihood.Gaussian(decoder, sigma=self.sigma)).eval()


def standard_kl(mu: Float[Tensor, "N L"], var: Float[Tensor, "N L"]) -> Float[Tensor, "N"]:
    r"""Give the rate of a diagonal Gaussian against the standard normal, in nats.

    .. math:: \mathrm{KL} = -\tfrac12 \sum_j 1 + \log \sigma_j^2 - \mu_j^2 - \sigma_j^2

    Example:
        >>> standard_kl(torch.ones(1, 2), torch.ones(1, 2))
        tensor([1.], dtype=torch.float64)
    """
    mu, var = mu.double(), var.double()
    return -0.5 * (1 + var.log() - mu.square() - var).sum(1)


def principal(x: Float[Tensor, "N D"], latents: int) -> Linear:
    r"""Give the linear-Gaussian model of greatest likelihood: its log p(x) is what no linear VAE can exceed.

    .. math:: W = U_L (\Lambda_L - \sigma^2 I)^{1/2}, \qquad \sigma^2 = \frac{1}{D - L} \sum_{j > L} \lambda_j

    λ are the eigenvalues of the covariance of x, the largest first, and U its eigenvectors.

    Reference: Probabilistic principal component analysis (Tipping and Bishop, 1999).

    Example:
        >>> x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> best = principal(x, 1)
        >>> worse = Linear(best.w, best.b, 1.1 * best.sigma)
        >>> bool(worse.log_p(x).mean() < best.log_p(x).mean())
        True
    """
    x = x.double()
    b = x.mean(0)
    values, vectors = torch.linalg.eigh((x - b).T @ (x - b) / len(x))
    sigma = values[:-latents].mean()
    w = vectors[:, -latents:] * (values[-latents:] - sigma).clamp_min(0).sqrt()
    return Linear(w.flip(1), b, float(sigma.sqrt()))


@final
@dataclass(frozen=True)
class Finite:
    r"""A model of N states and P binary pixels, in which every sum is finite.

    .. math:: p(x) = \sum_{z = 1}^N p(z) \prod_i p(x_i|z), \qquad p(x_i = 1|z) = \mathrm{sigmoid}(l_{iz})

    z stands as a vector of zeros and one 1. q(z|x) is a table with a row for each of the 2^P images.

    Arguments:
        prior: log p(z) up to a constant, (N,).
        pixels: l, the logits of the pixels for each state, (P, N).
        table: log q(z|x) up to a constant, (2^P, N).

    Example:
        >>> model = Finite.draw(states=3, pixels=2, seed=0)
        >>> model.images()
        tensor([[0., 0.],
                [0., 1.],
                [1., 0.],
                [1., 1.]])
        >>> bool((model.log_p().exp().sum() - 1).abs() < 1e-12)
        True
    """

    prior: Float[Tensor, "N"]
    pixels: Float[Tensor, "P N"]
    table: Float[Tensor, "I N"]

    @classmethod
    def draw(cls, states: int, pixels: int, seed: int) -> "Finite":
        """Draw the tables of a model."""
        g = torch.Generator().manual_seed(seed)
        shapes = ((states,), (pixels, states), (2**pixels, states))
        return cls(*(torch.randn(shape, generator=g, dtype=torch.float64) for shape in shapes))

    def images(self) -> Float[Tensor, "I P"]:
        """Give every image; row i is i in binary, the first pixel first."""
        return _bits(len(self.pixels)).to(self.pixels.device)

    def log_joint(self) -> Float[Tensor, "I N"]:
        """Give log p(x, z) of every image and state."""
        x, l = self.images().double(), self.pixels
        ones, zeros = -torch.log1p(torch.exp(-l)), -torch.log1p(torch.exp(l))
        return x @ ones + (1 - x) @ zeros + self.prior.log_softmax(0)

    def log_p(self) -> Float[Tensor, "I"]:
        """Give log p(x) of every image."""
        return self.log_joint().logsumexp(1)

    def bound(self, samples: int = 1) -> Float[Tensor, "I"]:
        r"""Give the importance-weighted bound of K samples for every image: with one it is the elbo.

        .. math:: \mathcal L_K = \mathbb E_{z_1, \dots, z_K \sim q} \log \frac1K \sum_k \frac{p(x, z_k)}{q(z_k|x)}

        Reference: Importance weighted autoencoders (Burda, Grosse and Salakhutdinov, 2016).
        """
        log_q = self.table.log_softmax(1)
        log_w = self.log_joint() - log_q
        states = torch.cartesian_prod(*[torch.arange(len(self.prior), device=log_q.device)] * samples)
        states = states.reshape(-1, samples)  # one alone comes as a vector
        chance = log_q[:, states].sum(-1).exp()
        return (chance * (log_w[:, states].logsumexp(-1) - math.log(samples))).sum(1)

    def vae(self) -> VAE:
        """Make the VAE of these tables, in float64."""
        decoder = nn.Linear(len(self.prior), len(self.pixels), bias=False)
        decoder.weight.data = self.pixels.clone()
        return VAE(_Table(self.table), _States(self.prior), likelihood.Bernoulli(decoder)).eval()


def _bits(pixels: int) -> Tensor:
    rows = torch.arange(2**pixels)
    return torch.stack([rows >> shift & 1 for shift in reversed(range(pixels))], 1).float()


class _States(prior.Prior):
    """A probability for each state."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits.clone())

    def forward(self, c: Tensor | None = None) -> Distribution:
        return OneHotCategorical(logits=self.logits, validate_args=False)


class _Table(posterior.Posterior):
    """A row of probabilities for each image."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits.clone())

    def params(self, x: Float[Tensor, "B *X"], c: Tensor | None = None) -> Float[Tensor, "B P"]:
        places = 2 ** torch.arange(x[0].numel() - 1, -1, -1, device=x.device)
        return self.logits[(x.flatten(1).long() * places).sum(1)]

    def dist(self, params: Float[Tensor, "*B P"]) -> Distribution:
        return OneHotCategorical(logits=params, validate_args=False)

    def centre(self, q: Distribution) -> Float[Tensor, "*B D"]:
        return q.mean
