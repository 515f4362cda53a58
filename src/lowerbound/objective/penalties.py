"""Penalties that make a decoder smooth, in place of the noise of q(z|x)."""

from typing import ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.dist import full_precision
from lowerbound.errors import UsageError
from lowerbound.nets import unsteady
from lowerbound.objective.base import Loss
from lowerbound.objective.terms import Term, vector, weighed
from lowerbound.objective.weight import NonNegative, Weight, as_weight
from lowerbound.vae import Latent, Model, Trace


@final
class DecoderL2(Term):
    r"""The squared norm of the decoder's weights: the RAE-L2.

    .. math:: \lambda \sum_k \theta_k^2, \qquad \theta \text{ the parameters of } p_\theta(x|z)

    It reads the model and nothing of a trace, so that evaluation gives it exactly.

    Raises UsageError for a model without a likelihood of its own, and where it is called without a model.

    Reference: From variational to deterministic autoencoders (Ghosh et al., 2020).

    Arguments:
        weight: λ, a number or a schedule; the authors' MNIST setting is 1e-4 in nats at σ² = ½ on 32 × 32 pixels.

    Example:
        >>> from lowerbound import likelihood, nets, posterior, prior, vae
        >>> decoder = nn.Sequential(nn.Linear(2, 3))
        >>> model = vae.VAE(posterior.Gaussian(nets.MLP((3,)), 2), prior.Standard(2), likelihood.Bernoulli(decoder))
        >>> _ = nn.init.ones_(decoder[0].weight), nn.init.ones_(decoder[0].bias)
        >>> DecoderL2(weight=0.5).reduce(model, model(torch.rand(5, 3)), 0).losses["model"].detach()  # nine ones
        tensor(4.5000)
    """

    densities_only: ClassVar[bool] = True

    def __init__(self, weight: NonNegative | Weight = 1e-4) -> None:
        super().__init__()
        self.weight = as_weight(weight)

    def forward(self, trace: Trace, step: int) -> Loss:
        """Refuse: a trace has no weights of the decoder."""
        raise UsageError("decoder-l2 reads the weights of the model: call reduce(model, trace, step).")

    def reduce(self, model: Model, trace: Trace, step: int) -> Loss:
        """Give λ times the squared norm, and log it."""
        decoder = getattr(model, "likelihood", None)
        if not isinstance(decoder, nn.Module):
            raise UsageError(
                f"{type(model).__name__} has no part called likelihood, whose weights decoder-l2 could read: "
                "take this term out of objective.terms."
            )
        squares = torch.stack([p.square().sum() for p in decoder.parameters()]).sum()
        return weighed("decoder_l2", squares.to(trace.log_px), self.weight, step)  # of a whole split: float64


@final
class GradientPenalty(Term):
    r"""The squared norm of the gradient of the decoder's mean in the code: the RAE-GP.

    .. math:: \lambda \, \mathbb E \Big\| \frac{\partial \mu(z)}{\partial z} \Big\|_F^2
        = \lambda \, \mathbb E \, \mathbb E_v \Big| \Big( \frac{\partial \mu(z)}{\partial z} \Big)^{\!\top} v \Big|^2,
        \qquad v_i = \pm 1

    μ is the mean of p(x|z). One random v for each code makes one backward pass of it, without bias (the gradient of the
    sum of all pixels, which is v = 1, is another number). The pass goes through the graph by which the trace was made;
    where there is none, as in an evaluation, the codes are decoded once more.

    Raises UsageError where p(x|z) has no mean in closed form, for several groups of latents, and in training where
    batch norm in the decoder connects the examples: the estimate would then hold the slopes of one's image in another's
    code too.

    Reference: From variational to deterministic autoencoders (Ghosh et al., 2020); the estimate is that of A stochastic
    estimator of the trace of the influence matrix for Laplacian smoothing splines (Hutchinson, 1990).

    Arguments:
        weight: λ, a number or a schedule.

    Example:
        >>> from lowerbound import likelihood, nets, posterior, prior, vae
        >>> decoder = nn.Linear(2, 1, bias=False)
        >>> _ = nn.init.constant_(decoder.weight, 3.0)
        >>> px = likelihood.Gaussian(decoder, sigma=1.0)
        >>> model = vae.VAE(posterior.Gaussian(nets.MLP((1,)), 2), prior.Standard(2), px)
        >>> GradientPenalty(0.5).reduce(model, model(torch.rand(5, 1)), 0).terms["gradient_penalty"]  # 3² + 3²
        tensor(18.)
    """

    def __init__(self, weight: NonNegative | Weight = 0.01) -> None:
        super().__init__()
        self.weight = as_weight(weight)

    def forward(self, trace: Trace, step: int) -> Loss:
        """Refuse: without the model there may be no graph."""
        raise UsageError("gradient-penalty decodes with the model: call reduce(model, trace, step).")

    def reduce(self, model: Model, trace: Trace, step: int) -> Loss:
        """Give λ times the mean squared norm, and log it."""
        latent = vector(trace, "The gradient penalty")
        if model.training and "batch norm" in unsteady(getattr(model, "likelihood", model)):
            raise UsageError(
                "The gradient penalty is of each code's own image, and while training, batch norm in the decoder makes "
                "an image depend on the other codes of a batch: set norm of the likelihood's net to none or layer, or "
                "take decoder-l2."
            )
        learns = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad(), full_precision(latent.z):
            z, mu = _graph(model, trace, latent, learns)
            v = torch.empty_like(mu).bernoulli_().mul_(2).sub_(1)
            (g,) = torch.autograd.grad(mu, z, v, create_graph=learns)
            value = g.square().sum(-1).mean()
        return weighed("gradient_penalty", value if learns else value.detach(), self.weight, step)


def _graph(
    model: Model, trace: Trace, latent: Latent, learns: bool
) -> tuple[Float[Tensor, "K B D"], Float[Tensor, "K B *X"]]:
    """Give codes and the mean images that were made of them: the trace's own, or decoded anew where it has no graph."""
    try:
        if learns and latent.z.requires_grad:
            return latent.z, trace.px.mean
        z = latent.z.clone().requires_grad_()
        return z, model.decode(z, trace.c)
    except NotImplementedError:
        raise UsageError(
            f"p(x|z) is a {type(trace.px).__name__} without a mean in closed form: there is no gradient to penalise. "
            "Take another likelihood, or decoder-l2."
        ) from None
