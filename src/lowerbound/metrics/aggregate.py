"""Measures of the codes of a whole split."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.errors import UsageError

ACTIVE = 0.01
# a latent's mean KL is at least what it tells of an input on average: below this, a fourteenth of a bit at most
FLOOR = 0.05


def active_units(
    codes: Float[Tensor, "N D"], threshold: float = ACTIVE, unit: float | Float[Tensor, "D"] = 1.0
) -> Bool[Tensor, "D"]:
    r"""Say which latents are in use: those whose posterior mean varies over the data.

    .. math:: \mathrm{Var}_x \, \mathbb E_{q(z_j|x)}[z_j] > 0.01 \, u_j

    Of one that is not, the KL tells whether it has collapsed to the prior or costs rate all the same: see `usage`.
    Raises UsageError of fewer than two codes, and of codes that are not finite.

    Reference: Importance weighted autoencoders (Burda, Grosse and Salakhutdinov, 2016), where the prior has variance 1.

    Arguments:
        codes: the posterior means of a split.
        threshold: the share of u.
        unit: u, the variance that makes a latent large, see `unit_variance`.

    Example:
        >>> import torch
        >>> active_units(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
        tensor([False,  True])
    """
    if len(codes) < 2:
        raise UsageError(
            f"Whether latents vary over the data cannot be told from {len(codes)} codes: give two or more."
        )
    codes = codes.detach().cpu().double()
    if not bool(codes.isfinite().all()):
        raise UsageError(
            "The codes are not all finite, so which latents are in use cannot be told: the model gives NaN. Look at "
            "how the training went."
        )
    u = unit.detach().cpu().double() if isinstance(unit, Tensor) else unit
    return codes.var(dim=0) > threshold * u


def unit_variance(
    codes: Float[Tensor, "N D"], prior: Distribution | None = None, *, density: bool = True
) -> Float[Tensor, "D"]:
    r"""Give the variance that makes a latent large: that of the prior, or of a point mass the largest of any latent.

    .. math:: u_j = \mathrm{Var}_{p(z)} z_j, \qquad \text{or for all } j \quad u = \max_k \mathrm{Var}_x \, z_k

    Latents that are all stretched, and their prior with them, are in use as before. A prior whose variance is not known
    counts as 1. Codes of a point mass are of whatever size the decoder takes, since no KL ties them to the prior: they
    are held against the widest of them, and all are out of use where none varies beyond rounding.

    Arguments:
        codes: the codes of a split.
        prior: p(z), where it is known.
        density: whether q(z|x) has one; a point mass has none.

    Example:
        >>> import torch
        >>> codes = torch.tensor([[1e-3, 3e-3, 0.0], [-1e-3, -3e-3, 0.0]])
        >>> active_units(codes), active_units(codes, unit=unit_variance(codes, density=False))
        (tensor([False, False, False]), tensor([ True,  True, False]))
    """
    one = torch.ones(codes.shape[1], dtype=torch.float64)
    if density:
        try:
            return one if prior is None else prior.variance.detach().cpu().double().reshape(-1, len(one))[0]
        except NotImplementedError:  # a flow has no variance in closed form
            return one
    z = codes.detach().cpu().double()
    rounding = 100 * torch.finfo(codes.dtype).eps * z.abs().max()
    return one * torch.maximum(z.var(dim=0).max(), rounding.square())


def usage(
    codes: Float[Tensor, "N D"], kl: Sequence[float] | None, unit: float | Float[Tensor, "D"] = 1.0
) -> dict[str, Any]:
    """Count the latents in use, and list those that have collapsed to the prior and those that are constant.

    A latent is in use where its posterior mean varies over the data and its KL is 0.05 nats or more. It has collapsed
    where its KL is lower: its posterior is the prior. It is constant where its KL is not, but its mean does not vary:
    it costs rate and says nothing of the input. Without the KL of each, a latent whose mean does not vary is listed
    as collapsed.

    Arguments:
        codes: the posterior means of a split; fewer than two do not vary, and "active" is then None.
        kl: the mean KL of each latent in nats, where it is known.
        unit: the variance that makes a latent large, see `unit_variance`.

    Example:
        >>> import torch
        >>> usage(torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]]), [0.001, 1.2, 3.0])
        {'latents': 3, 'active': 1, 'collapsed': [0], 'constant': [2]}
    """
    latents = codes.shape[1]
    if len(codes) < 2:
        return {"latents": latents, "active": None, "collapsed": [], "constant": []}
    varies = active_units(codes, unit=unit).tolist()
    # groups of latents, or an own model, may have codes that are not one to a KL
    known = kl if kl is not None and len(kl) == latents else [FLOOR if v else 0.0 for v in varies]
    collapsed = [i for i, nats in enumerate(known) if nats < FLOOR]
    constant = [i for i, nats in enumerate(known) if nats >= FLOOR and not varies[i]]
    active = latents - len(collapsed) - len(constant)
    return {"latents": latents, "active": active, "collapsed": collapsed, "constant": constant}
