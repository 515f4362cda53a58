"""Measures of the codes of a whole split."""

from jaxtyping import Bool, Float
from torch import Tensor

from lowerbound.errors import UsageError

ACTIVE = 0.01


def active_units(codes: Float[Tensor, "N D"], threshold: float = ACTIVE) -> Bool[Tensor, "D"]:
    r"""Say which latents are in use: those whose posterior mean varies over the data.

    .. math:: \mathrm{Var}_x \, \mathbb E_{q(z_j|x)}[z_j] > 0.01

    A latent that is not has collapsed: its posterior is the prior whatever x is.

    Reference: Importance weighted autoencoders (Burda, Grosse and Salakhutdinov, 2016).

    Example:
        >>> import torch
        >>> active_units(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
        tensor([False,  True])
    """
    if len(codes) < 2:
        raise UsageError(
            f"Whether latents vary over the data cannot be told from {len(codes)} codes: give two or more."
        )
    return codes.var(dim=0) > threshold
