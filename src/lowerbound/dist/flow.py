"""A base distribution sent through invertible maps."""

from collections.abc import Callable, Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Transform, constraints

from lowerbound.dist.normal import Shape
from lowerbound.dist.tools import full_precision, tempered


@final
class Flow(Distribution):
    r"""z = f(ε) for an ε of the base and an invertible f, the composition of several.

    .. math:: \log q(z) = \log q_0(\varepsilon) - \log \left| \det \frac{\partial f}{\partial \varepsilon} \right|,
        \qquad \varepsilon = f^{-1}(z)

    Its own samples are scored while they are drawn (``rsample_and_log_prob``), without inverting f. It has no mean in
    closed form; ``centre`` is f at the mean of the base. Whatever networks f consists of run in the precision of ε,
    under autocast too, since f and its Jacobian are the density itself.

    Reference: Variational inference with normalizing flows (Rezende and Mohamed, 2015).

    Arguments:
        base: the distribution of ε, of vectors.
        transforms: f, the first one first, each from vectors to vectors.

    Example:
        >>> from torch.distributions import AffineTransform, Independent, Normal
        >>> base = Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> q = Flow(base, [AffineTransform(torch.ones(2), torch.tensor([2.0, 0.5]), event_dim=1)])
        >>> z, log_q = q.rsample_and_log_prob((3,))
        >>> bool(torch.allclose(q.log_prob(z), log_q)), q.centre
        (True, tensor([1., 1.]))
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012 - as torch declares it
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, base: Distribution, transforms: Sequence[Transform], validate_args: bool | None = None) -> None:
        self.base, self.transforms = base, list(transforms)
        super().__init__(base.batch_shape, base.event_shape, validate_args=validate_args)

    def expand(self, batch_shape: Shape, _instance: None = None) -> "Flow":
        """Expand the batch, as every torch distribution does."""
        return Flow(self.base.expand(torch.Size(batch_shape)), self.transforms, validate_args=False)

    def rsample_and_log_prob(
        self,
        sample_shape: Shape = torch.Size(),  # noqa: B008
    ) -> tuple[Float[Tensor, "... D"], Float[Tensor, "..."]]:
        """Draw z, and give log q(z) with it."""
        epsilon = self.base.rsample(torch.Size(sample_shape))
        z, ladj = _through(self.transforms, epsilon)
        return z, self.base.log_prob(epsilon) - ladj

    def rsample(self, sample_shape: Shape = torch.Size()) -> Float[Tensor, "... D"]:  # noqa: B008
        """Draw z."""
        return self.image(self.base.rsample(torch.Size(sample_shape)))

    def log_prob(self, value: Float[Tensor, "... D"]) -> Float[Tensor, "..."]:
        """Give the log density of any z, by inverting f."""
        # a network within f joins z to its context along the last axis: they need the same leading ones
        batch = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        back: list[Transform] = [t.inv for t in reversed(self.transforms)]
        epsilon, ladj = _through(back, value.expand(*batch, *self.event_shape))
        found: Tensor = self.base.log_prob(epsilon) + ladj
        return found

    def image(self, epsilon: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
        """Give f(ε)."""
        with full_precision(epsilon):
            for transform in self.transforms:
                epsilon = transform(epsilon)
        return epsilon

    @torch.no_grad()
    def tempered(self, sample_shape: Shape, temperature: float) -> Float[Tensor, "... D"]:
        """Draw samples whose ε is stretched about the mean of the base."""
        return self.image(tempered(self.base, torch.Size(sample_shape), temperature))

    @property
    def centre(self) -> Float[Tensor, "... D"]:
        """Give f at the mean of the base: not the mean of z, unless f is linear."""
        return self.image(self.base.mean)


def _through(transforms: Sequence[Transform], x: Tensor) -> tuple[Tensor, Tensor]:
    """Send x through, and add up the logs of the Jacobians' determinants."""
    total = x.new_zeros(x.shape[:-1])
    with full_precision(x):
        for transform in transforms:
            x, ladj = _with_jacobian(transform, x)
            total = total + ladj
    return x, total


def _with_jacobian(transform: Transform, x: Tensor) -> tuple[Tensor, Tensor]:
    """Give y and log |det dy/dx|: at once where the transform can, since its network would else run twice."""
    at_once: Callable[[Tensor], tuple[Tensor, Tensor]] | None = getattr(transform, "call_and_ladj", None)
    if at_once is not None:
        return at_once(x)
    y: Tensor = transform(x)
    return y, transform.log_abs_det_jacobian(x, y)
