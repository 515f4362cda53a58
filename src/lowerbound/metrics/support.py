"""Whether p(x|z) gives images a probability or a density: whether what it says of them is a likelihood."""

from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from lowerbound import rng
from lowerbound.errors import UsageError
from lowerbound.vae import Model


def support_of(d: Distribution) -> constraints.Constraint | None:
    """Give where a distribution lives; None where it does not say, as an own one need not.

    Example:
        >>> from torch.distributions import Normal
        >>> support_of(Normal(0.0, 1.0)), support_of(Distribution(validate_args=False))
        (Real(), None)
    """
    try:
        support: constraints.Constraint | None = d.support
    except NotImplementedError:
        return None
    return support


def inside(px: Distribution, x: Float[Tensor, "B *X"]) -> Bool[Tensor, "B"] | None:
    """Say of each image whether all of it lies in the support of p(x|z); None where p(x|z) does not say.

    Example:
        >>> import torch
        >>> from lowerbound.dist import CrossEntropy
        >>> inside(CrossEntropy(logits=torch.zeros(2)), torch.tensor([[0.0, 1.0], [0.0, 0.5]]))
        tensor([ True, False])
    """
    support = support_of(px)
    return None if support is None else support.check(x).reshape(len(x), -1).all(1)


def refuse_outside(px: Distribution, x: Float[Tensor, "B *X"], first: int = 0) -> None:
    """Raise UsageError where an image is outside the support of p(x|z); ``first`` is the number of the first one."""
    there = inside(px, x)
    if there is not None and not bool(there.all()):
        raise UsageError(
            f"Image {first + int(there.int().argmin())} has values outside the support of p(x|z), such as grey pixels "
            "under a Bernoulli: what is scored is a cross-entropy and not a likelihood, so that there is no log p(x). "
            "Binarise the data (--binarise dynamic), or take a likelihood of such pixels "
            "(--set model.likelihood.kind=continuous-bernoulli), and train anew."
        )


def supported(model: Model, x: Float[Tensor, "B *X"], seed: int) -> None:
    """Raise UsageError where p(x|z) is no likelihood of an image, or there is none."""
    if not len(x):
        raise UsageError("There is no image of which log p(x) could be estimated.")
    with rng.noise(seed, "support"):
        px = model(x[:1]).px
    refuse_outside(px, x)
