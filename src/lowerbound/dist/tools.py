"""What a model asks of a distribution besides its log density: `draw`, `factors`, `has_density`, `tempered`."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent

from lowerbound.dist.normal import Shape


def draw(q: Distribution, samples: int) -> tuple[Float[Tensor, "K *rest"], Tensor | None]:
    """Draw z = μ + σ ⊙ ε (or the family's own reparameterisation) and, where it is cheaper at once, log q(z).

    The second value is None unless the distribution scores its own samples (``rsample_and_log_prob``), as
    normalising flows do, which would otherwise have to be inverted.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> z, log_q = draw(Independent(Normal(torch.zeros(5, 2), 1.0), 1), 3)
        >>> z.shape, log_q
        (torch.Size([3, 5, 2]), None)
    """
    shape = (samples,)
    if hasattr(q, "rsample_and_log_prob"):
        z, log_q = q.rsample_and_log_prob(shape)
        return z, log_q
    return (q.rsample(shape) if q.has_rsample else q.sample(shape)), None


def factors(d: Distribution) -> Distribution | None:
    """Give the distribution of the single coordinates if they are independent, else None.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Normal
        >>> factors(Independent(Normal(torch.zeros(5, 2), 1.0), 1)).batch_shape
        torch.Size([5, 2])
    """
    if isinstance(d, Independent) and d.reinterpreted_batch_ndims == len(d.event_shape) == 1:
        base: Distribution = d.base_dist
        return base
    return None


def has_density(d: Distribution) -> bool:
    """Say whether a distribution has a density with respect to its space's volume: a point mass has none.

    A family without one says so by a class attribute ``density = False``.

    Example:
        >>> from torch.distributions import Normal
        >>> has_density(Normal(0.0, 1.0))
        True
    """
    return bool(getattr(d, "density", True))


def full_precision(like: Tensor) -> torch.autocast:
    """Leave autocast: what is a density, and not a network before one, is computed in its own precision.

    Example:
        >>> x = torch.ones(2, 2)
        >>> with torch.autocast("cpu", torch.bfloat16), full_precision(x):
        ...     (x @ x).dtype
        torch.float32
    """
    return torch.autocast(like.device.type, enabled=False)


def tempered(d: Distribution, sample_shape: Shape, temperature: float) -> Float[Tensor, "..."]:
    """Draw samples stretched about the mean by the temperature; a family with a better way has a method of this name.

    Raises NotImplementedError where there is no mean and no such method.

    Example:
        >>> from torch.distributions import Normal
        >>> tempered(Normal(torch.tensor(5.0), 1.0), (2,), 0.0)
        tensor([5., 5.])
    """
    shape = torch.Size(sample_shape)
    if temperature == 1.0:
        return d.sample(shape)
    own: Callable[[torch.Size, float], Tensor] | None = getattr(d, "tempered", None)
    if own is not None:
        return own(shape, temperature)
    mean: Tensor = d.mean
    return mean + temperature * (d.sample(shape) - mean)
