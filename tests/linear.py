"""The linear-Gaussian model (probabilistic PCA), in which log p(x), the posterior and the elbo have closed forms.

p(z) = N(0, I), p(x|z) = N(Wz + b, σ² I); then p(x) = N(b, WWᵀ + σ² I) and p(z|x) = N(M⁻¹Wᵀ(x - b), σ² M⁻¹) with
M = WᵀW + σ² I (Tipping and Bishop, 1999). W has orthogonal columns, so that the exact posterior is diagonal.
"""

import math

import torch
from torch import Tensor, nn

from lowerbound import likelihood, posterior, prior
from lowerbound.vae import VAE

D, L, SIGMA = 5, 2, 0.7


def loadings() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(3)
    q, _ = torch.linalg.qr(torch.randn(D, L, generator=g, dtype=torch.float64))
    return q * torch.tensor([1.5, 0.6], dtype=torch.float64), torch.randn(D, generator=g, dtype=torch.float64)


class Identity(nn.Module):
    features = D

    def forward(self, x: Tensor) -> Tensor:
        return x


def model(exact: bool) -> VAE:
    """A VAE of the parts whose decoder is this model's; the encoder is the exact posterior, or a wrong one."""
    w, b = loadings()
    decoder = nn.Linear(L, D).double()
    decoder.weight.data, decoder.bias.data = w.clone(), b.clone()
    q = posterior.Gaussian(Identity(), L).double()
    m = w.T @ w + SIGMA**2 * torch.eye(L, dtype=torch.float64)
    if exact:
        q.mu.weight.data = torch.linalg.inv(m) @ w.T
        q.mu.bias.data = -q.mu.weight.data @ b
        q.logvar.weight.data.zero_()
        q.logvar.bias.data = torch.log(SIGMA**2 / m.diagonal())
    return VAE(q, prior.Standard(L).double(), likelihood.Gaussian(decoder, sigma=SIGMA)).eval()


def data(n: int = 50) -> Tensor:
    w, b = loadings()
    g = torch.Generator().manual_seed(4)
    z = torch.randn(n, L, generator=g, dtype=torch.float64)
    return z @ w.T + b + SIGMA * torch.randn(n, D, generator=g, dtype=torch.float64)


def log_p(x: Tensor) -> Tensor:
    """The exact log p(x), by the density of a multivariate normal, written out with NumPy's linear algebra."""
    w, b = loadings()
    cov = (w @ w.T + SIGMA**2 * torch.eye(D, dtype=torch.float64)).numpy()
    import numpy as np

    residual = (x - b).numpy()
    _, logdet = np.linalg.slogdet(cov)
    quadratic = (residual @ np.linalg.inv(cov) * residual).sum(1)
    return torch.from_numpy(-0.5 * (D * math.log(2 * math.pi) + logdet + quadratic))


def elbo(x: Tensor, mu: Tensor, var: Tensor) -> Tensor:
    """The exact elbo of a diagonal Gaussian q: E_q log p(x|z) and the KL have closed forms."""
    w, b = loadings()
    residual = x - b - mu @ w.T
    spread = (var * (w**2).sum(0)).sum(1)
    expected = -0.5 * (D * math.log(2 * math.pi * SIGMA**2) + ((residual**2).sum(1) + spread) / SIGMA**2)
    return expected + 0.5 * (1 + var.log() - mu**2 - var).sum(1)
