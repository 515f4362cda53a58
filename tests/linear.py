"""A linear-Gaussian model (probabilistic PCA), and the closed forms of its log p(x) and elbo, written out once more.

The model is `lowerbound.oracle.Linear`; the references below are the tests' own. W has orthogonal columns, so that the
exact posterior is diagonal.
"""

import math

import torch
from torch import Tensor, nn

from lowerbound import oracle
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


def known() -> oracle.Linear:
    return oracle.Linear(*loadings(), SIGMA)


def model(exact: bool) -> VAE:
    """A VAE of the parts whose decoder is this model's; the encoder is the exact posterior, or a wrong one."""
    return known().vae(exact=exact)


def data(n: int = 50) -> Tensor:
    return known().draw(n, seed=4)


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


class Probe(nn.Module):
    """A decoder that notes how many latents it is given at once."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.rows = net, list[int]()

    def forward(self, z: Tensor) -> Tensor:
        self.rows.append(z[..., 0].numel())
        y: Tensor = self.net(z)
        return y
