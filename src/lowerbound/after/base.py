"""The codes of a split, what fits a prior to them, and a model whose prior is replaced."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound import rng
from lowerbound.data import Source
from lowerbound.dist import draw
from lowerbound.errors import UsageError
from lowerbound.prior import Prior
from lowerbound.vae import VAE, Model, evaluating

Blocks = Iterable[tuple[Float[Tensor, "..."], Any]]


@final
@dataclass(frozen=True, eq=False)
class Codes:
    r"""The aggregate posterior of a split, from which codes are drawn anew as often as they are asked for.

    .. math:: q(z) = \frac1N \sum_i q(z|x_i)

    Where q(z|x) is a point, it is the N codes themselves.

    Arguments:
        params: what the posterior's network says of each x.
        dist: makes q(z|x) of them.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> codes = Codes(torch.zeros(100, 2), lambda mu: Independent(Normal(mu, 1.0), 1))
        >>> codes.draw(seed=0).shape, bool((codes.batch(3, 8, seed=0) == codes.batch(3, 8, seed=0)).all())
        (torch.Size([100, 2]), True)
    """

    params: Float[Tensor, "N P"]
    dist: Callable[[Tensor], Distribution]

    def __len__(self) -> int:
        return len(self.params)

    def draw(self, seed: int) -> Float[Tensor, "N D"]:
        """Draw one z for each x."""
        with rng.noise(seed, "codes"):
            return self._draw(self.params)

    def batch(self, t: int, size: int, seed: int) -> Float[Tensor, "size D"]:
        """Draw the z of step t, each of an x chosen at random: a pure function of (seed, t)."""
        with rng.noise(seed, "codes of a step", t):
            rows = torch.randint(len(self), (size,)).to(self.params.device)
            return self._draw(self.params[rows])

    def _draw(self, params: Tensor) -> Tensor:
        with torch.no_grad():
            z, _ = draw(self.dist(params), 1)
        return z[0]


class Fit(ABC):
    """A way to fit a prior to codes once the model is trained.

    ``prior`` is of the right shapes from the start, so that saved weights find their place in it; ``fit`` puts the
    numbers in. ``exact`` says whether its log p(z) is a value, or a lower bound of it.
    """

    exact: ClassVar[bool] = True
    prior: Prior

    @abstractmethod
    def fit(self, codes: Codes, seed: int) -> None:
        """Put into the prior what fits the codes best; a pure function of codes and seed."""


def fit_prior(model: Model, source: Source, fit: Fit, *, seed: int = 0) -> VAE:
    """Fit a prior to the codes of the training split, and give the model that has it.

    The parts are shared: the given model keeps its own prior, and neither posterior nor likelihood is changed.

    Arguments:
        model: a trained `VAE`.
        source: the data it was trained on.
        fit: how, such as ``after.Mixture(latents=16)``.
        seed: of the codes that are drawn, and of the fit.

    Example:
        >>> from lowerbound import data, likelihood, nets, posterior, prior
        >>> model = VAE(posterior.Gaussian(nets.MLP((3,)), 2), prior.Standard(2),
        ...             likelihood.Gaussian(nets.MLP((2,), (3,)), sigma=0.1))
        >>> from lowerbound.after import Mixture
        >>> better = fit_prior(model, data.tensor(torch.rand(100, 3)), Mixture(2, components=3))
        >>> better.sample(5).shape
        torch.Size([5, 3])
    """
    replaced = with_prior(model, fit.prior)  # refused before the work is done
    fit.fit(codes_of(replaced, source.blocks("train")), seed)
    return replaced


def with_prior(model: Model, prior: Prior) -> VAE:
    """Give the model with another prior; posterior and likelihood are shared. Raises UsageError where none fits."""
    if not isinstance(model, VAE):
        raise UsageError(
            f"A prior can be fitted to the codes of a VAE, and {type(model).__name__} is none: leave out fit."
        )
    prior.to(next(model.parameters()))
    return VAE(model.posterior, prior, model.likelihood).train(model.training)


def codes_of(model: VAE, blocks: Blocks) -> Codes:
    """Encode every x once, in evaluation mode; raises UsageError where the codes are no vectors."""
    with evaluating(model), torch.no_grad():
        params = torch.cat([model.posterior.params(x) for x, _ in blocks])
    codes = Codes(params, model.posterior.dist)
    event = tuple(model.posterior.dist(params[:1]).event_shape)
    if len(event) != 1:
        raise UsageError(f"A prior can be fitted to codes that are vectors, and these have the shape {event}.")
    return codes


def log_density(prior: Prior, z: Float[Tensor, "N D"], *, seed: int, rows: int = 5000) -> Float[Tensor, "N"]:
    """Give log p(z) of each code, in nats, ``rows`` at a time, without gradients."""
    prior.eval()
    with torch.no_grad(), rng.noise(seed, "log density"):
        p = prior()
        return torch.cat([p.log_prob(part) for part in z.split(rows)])
