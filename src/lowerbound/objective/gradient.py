"""What the posterior's parameters are told: estimators of one gradient, under which no value changes.

A player "posterior" is the inference network's parameters; the rest of the model is the player "model".
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.dist import factors
from lowerbound.errors import UsageError
from lowerbound.objective.base import Group, Objective
from lowerbound.vae import Latent, Model, Trace


def weights(trace: Trace, who: str) -> Float[Tensor, "K B"]:
    """Give log w, with its total gradient; raises UsageError for a q without a density, or draws without a gradient."""
    for latent in trace.latents:
        if not latent.density:
            raise UsageError(
                f"{who} weighs samples by p(x, z) / q(z|x), and the posterior is a point mass, which has no density: "
                "take a posterior with one, such as gaussian, or the objective elbo."
            )
        if torch.is_grad_enabled() and not (latent.q.has_rsample or latent.scored is not None):
            raise UsageError(
                f"{who} differentiates through the draws of q(z|x), and {type(latent.q).__name__} has no "
                "reparameterised ones: take the objective wake-sleep, which needs none."
            )
    return trace.log_w


def single(trace: Trace, who: str) -> Latent:
    """Give the one group of latents; raises UsageError where there are several."""
    if len(trace.latents) != 1:
        raise UsageError(
            f"{who} is there for one group of latents, and this model has {len(trace.latents)}: "
            "the gradient 'total' of the objectives elbo and importance is there for any number."
        )
    return trace.latents[0]


def score(latent: Latent, who: str) -> Float[Tensor, "K B"]:
    """Give log q at the drawn z held fixed: its gradient is the score; raises UsageError where q cannot say it."""
    if not latent.density:
        raise UsageError(f"{who} needs the density of q(z|x), and a point mass has none: take another posterior.")
    try:
        found: Tensor = latent.q.log_prob(latent.z.detach())
    except NotImplementedError:
        raise UsageError(
            f"{who} needs log q(z|x) at a given z, and {type(latent.q).__name__} scores its own draws only: "
            "take another posterior, or the gradient 'total'."
        ) from None
    return found


def pathwise(trace: Trace, who: str, *, through: bool = False) -> Trace:
    r"""Give the trace with a log q whose gradient goes by way of z alone: the score's is taken away, the value stays.

    .. math:: \nabla_\phi \log q_\phi(z_\phi|x) - \nabla_\phi \log q_\phi(z|x) |_{z = z_\phi}
        = \nabla_z \log q_\phi(z|x) \, \nabla_\phi z_\phi

    The KL is then the sampled one, log q - log p. What is taken away has mean zero, and at the exact posterior what is
    left is nothing: its gradient vanishes for each draw.

    Reference: Sticking the landing: simple, lower-variance gradient estimators for variational inference
    (Roeder, Wu and Duvenaud, 2017).

    Arguments:
        trace: of a model with one group of latents.
        who: asks for it, for the error's words.
        through: whether log q is scored anew at z, so that all of its gradient passes z, where a hook can be; a family
            that scores its own draws (a flow) may know it without.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> mu = torch.ones(5, 2, requires_grad=True)
        >>> q, p = Independent(Normal(mu, 1.0), 1), Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> px = Independent(Normal(torch.zeros(1, 5, 3), 1.0), 1)
        >>> trace = Trace(torch.zeros(5, 3), (Latent(q.rsample((1,)), q, p),), px)
        >>> found = pathwise(trace, "this")
        >>> bool((found.log_w == trace.log_w).all())
        True
    """
    latent = single(trace, who)
    weights(trace, who)
    held = score(latent, who)
    # a view, lest a family that remembers its draw answers by that graph and not through z
    log_q = latent.q.log_prob(latent.z.view_as(latent.z)) if through else latent.log_q
    log_q = log_q - (held - held.detach())
    found = Latent(latent.z, latent.q, latent.p, log_q)
    vars(found).update(log_p=latent.log_p, kl=log_q - latent.log_p, kl_by_dim=_by_dim(latent))
    seen = Trace(trace.x, (found,), trace.px, trace.c)
    vars(seen).update(log_px=trace.log_px)  # scored once: scoring may move a buffer
    return seen


def _by_dim(latent: Latent) -> Tensor | None:
    q, p = factors(latent.q), factors(latent.p)
    if q is None or p is None:
        return None
    held: Tensor = q.log_prob(latent.z.detach())
    found: Tensor = q.log_prob(latent.z) - (held - held.detach()) - p.log_prob(latent.z)
    return found


def scale(z: Float[Tensor, "K B *event"], factor: Float[Tensor, "K B"]) -> None:
    """Multiply the gradient that reaches z, and with it the posterior's parameters, by a factor for each draw."""
    if z.requires_grad:
        factor = factor.reshape(*factor.shape, *[1] * (z.ndim - 2))
        z.register_hook(lambda gradient: gradient * factor)


def apart(model: Model, objective: Objective, who: str) -> dict[str, Group]:
    """Name two players, the posterior and the rest; raises UsageError where the model has no part of that name."""
    part = getattr(model, "posterior", None)
    if not isinstance(part, nn.Module):
        raise UsageError(
            f"{who} trains the posterior apart from the rest, and {type(model).__name__} has no part `posterior`."
        )
    theirs = list(part.parameters())
    known = {id(p) for p in theirs}
    rest = [p for p in [*model.parameters(), *objective.parameters()] if id(p) not in known]
    return {"posterior": Group(theirs), "model": Group(rest)}


def log_mean_exp(x: Float[Tensor, "..."], dim: int, power: float = 1.0) -> Float[Tensor, "..."]:
    r"""Give the power mean of exp(x) in the log domain; where the power is 0, the mean of x, which is its limit.

    .. math:: \frac1a \log \frac1K \sum_k \exp(a x_k)

    Near a = 0 it is r + log1p(mean expm1(a (x - r))) / a, in which nothing cancels; r is the greatest x, or where a < 0
    the least, so that nothing overflows.

    Example:
        >>> log_mean_exp(torch.tensor([1.0, 5.0]).log(), 0)  # log 3
        tensor(1.0986)
        >>> log_mean_exp(torch.tensor([1.0, 3.0]), 0, power=0.0)
        tensor(2.)
    """
    if power == 0:
        return x.mean(dim)
    if abs(power) > 0.1:
        return (torch.logsumexp(power * x, dim) - math.log(x.shape[dim])) / power
    fixed = x.detach()
    r = fixed.amax(dim, keepdim=True) if power > 0 else fixed.amin(dim, keepdim=True)
    return r.squeeze(dim) + torch.log1p(torch.expm1(power * (x - r)).mean(dim)) / power
