"""A mixture of any distributions of one family."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Categorical, Distribution, constraints

from lowerbound.dist.normal import Shape
from lowerbound.dist.tools import tempered


@final
class Mixture(Distribution):
    r"""One of several components, drawn at random with its weight.

    .. math:: p(z) = \sum_k w_k \, p_k(z), \qquad w = \mathrm{softmax}(\mathrm{logits})

    torch's own ``MixtureSameFamily`` asks for components whose moments are known; these may be flows.

    Arguments:
        components: any distribution with a density, whose last batch axis counts the components.
        logits: of the weights, one for each component.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> two = Independent(Normal(torch.tensor([[-5.0], [5.0]]), 1.0), 1)
        >>> p = Mixture(two, torch.zeros(2))
        >>> p.sample((3,)).shape, p.mean, p.variance
        (torch.Size([3, 1]), tensor([0.]), tensor([26.]))
    """

    arg_constraints = {"logits": constraints.real_vector}  # noqa: RUF012 - torch's own declaration
    has_rsample = False

    def __init__(
        self, components: Distribution, logits: Float[Tensor, "... C"], validate_args: bool | None = None
    ) -> None:
        self.components = components
        self.logits = logits.expand(components.batch_shape)
        super().__init__(components.batch_shape[:-1], components.event_shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint | None:
        """Give the components' support."""
        return self.components.support

    def expand(self, batch_shape: Shape, _instance: None = None) -> "Mixture":
        """Expand the batch, as every torch distribution does."""
        whole = torch.Size((*batch_shape, self.logits.shape[-1]))
        return Mixture(self.components.expand(whole), self.logits.expand(whole), validate_args=False)

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Give the log density, in nats."""
        log_p = self.components.log_prob(value.unsqueeze(-1 - len(self.event_shape)))
        return torch.logsumexp(self.logits.log_softmax(-1) + log_p, -1)

    def sample(self, sample_shape: Shape = torch.Size()) -> Float[Tensor, "..."]:  # noqa: B008
        """Draw a component by its weight for each sample, and then from it; without gradient."""
        return self.tempered(sample_shape, 1.0)

    @torch.no_grad()
    def tempered(self, sample_shape: Shape, temperature: float) -> Float[Tensor, "..."]:
        """Draw samples that are stretched about the mean of the component each is from."""
        shape = torch.Size(sample_shape)
        which = Categorical(logits=self.logits, validate_args=False).sample(shape)
        z = tempered(self.components, shape, temperature)
        axis = which.ndim
        index = which.reshape(*which.shape, 1, *[1] * len(self.event_shape))
        return z.gather(axis, index.expand(*which.shape, 1, *self.event_shape)).squeeze(axis)

    @property
    def mean(self) -> Float[Tensor, "..."]:
        """Give the weighted mean of the components' means."""
        return self._average(self.components.mean)

    @property
    def variance(self) -> Float[Tensor, "..."]:
        """Give the mean of the components' variances and the variance of their means together."""
        means = self.components.mean
        second = self._average(self.components.variance + means.square())
        return second - self._average(means).square()

    def _average(self, values: Tensor) -> Tensor:
        w = self.logits.softmax(-1)
        return (w.reshape(*w.shape, *[1] * len(self.event_shape)) * values).sum(-1 - len(self.event_shape))
