"""Two numbers for how far two sets of features are from each other: Fréchet's distance and the kernel distance."""

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.metrics.sets import blocks, pair


def frechet(x: Float[Tensor, "N F"], y: Float[Tensor, "M _"]) -> float:
    r"""Give the Fréchet distance of the normal distributions that have the means and covariances of two sets.

    .. math:: \|\mu_x - \mu_y\|^2 + \mathrm{tr}\,\Sigma_x + \mathrm{tr}\,\Sigma_y
        - 2\,\mathrm{tr}\,(\Sigma_x^{1/2} \Sigma_y \Sigma_x^{1/2})^{1/2}

    The roots are taken of symmetric matrices, by their eigenvalues, in float64; a root of the plain product is what
    makes other programs give complex numbers. It is biased upwards, by about a constant over the number of examples:
    compare only figures of as many examples, and of the same features. It is called "Fréchet Inception distance" only
    where the features are Inception's.

    Raises UsageError where a set has not more examples than features: its covariance is then singular.

    Reference: GANs trained by a two time-scale update rule converge to a local Nash equilibrium (Heusel et al., 2017).

    Arguments:
        x, y: features of two sets of images.

    Example:
        >>> x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
        >>> round(frechet(x, x), 9) + 0.0, round(frechet(x, x + 2), 6)  # three means are 2 apart
        (0.0, 12.0)
    """
    x, y = pair(x, y)
    fewest, features = min(len(x), len(y)), x.shape[1]
    if fewest <= features:
        raise UsageError(
            f"A covariance of {features} features from {fewest} examples is singular, and a Fréchet distance of it "
            "means little: give more examples than there are features, or use kid."
        )
    shift = (x.mean(0) - y.mean(0)).square().sum()
    covariances = [torch.atleast_2d(some.T.cov()) for some in (x, y)]
    values, vectors = torch.linalg.eigh(covariances[0])
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    between = torch.linalg.eigvalsh(root @ covariances[1] @ root).clamp_min(0).sqrt().sum()
    traces = covariances[0].trace() + covariances[1].trace()
    return float(shift + traces - 2 * between)


def kid(x: Float[Tensor, "N F"], y: Float[Tensor, "M _"]) -> float:
    r"""Give the kernel distance of two sets: the unbiased estimate of MMD² under a cubic kernel, over all pairs.

    .. math:: \frac{\sum_{i \ne j} k(x_i, x_j)}{N (N - 1)} + \frac{\sum_{i \ne j} k(y_i, y_j)}{M (M - 1)}
        - \frac{2 \sum_{i, j} k(x_i, y_j)}{N M}, \qquad k(a, b) = (a^\top b / F + 1)^3

    Its mean does not depend on how many examples there are, and is 0 for two sets of one distribution: a figure below
    0 is no error. Where the features are not Inception's it is not the figure of other papers. Memory does not grow
    with N or M.

    Raises UsageError where a set has fewer than two examples.

    Reference: Demystifying MMD GANs (Bińkowski et al., 2018).

    Arguments:
        x, y: features of two sets of images.

    Example:
        >>> x = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
        >>> abs(kid(x[:250], x[250:])) < 0.05 < kid(x[:250], x[250:] + 1)
        True
    """
    x, y = pair(x, y, least=2)
    n, m = len(x), len(y)
    within = [(_kernel(some, some) - _own(some)) / (len(some) * (len(some) - 1)) for some in (x, y)]
    return sum(within) - 2 * _kernel(x, y) / (n * m)


def _kernel(x: Float[Tensor, "N F"], y: Float[Tensor, "M _"]) -> float:
    parts = (block @ y.T / x.shape[1] + 1 for block in blocks(x, len(y)))
    return sum(float((part.square() * part).sum()) for part in parts)


def _own(x: Float[Tensor, "N F"]) -> float:
    return float((x.square().mean(1) + 1).pow(3).sum())
