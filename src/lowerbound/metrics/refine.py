"""Each image's own posterior: the parameters of q(z|x), optimised from what the encoder says of it."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound import optimisers, rng
from lowerbound.dist import draw
from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED
from lowerbound.vae import VAE, Latent, Model, Trace, evaluating

Progress = Callable[[int, int], None]  # how much is done, of how much


def refined(
    model: Model,
    x: Float[Tensor, "B *X"],
    *,
    steps: int = 100,
    samples: int = 8,
    lr: float = 0.1,
    seed: int = SEED,
    progress: Progress | None = None,
) -> Float[Tensor, "B P"]:
    r"""Give the parameters of each image's own posterior, found by Adam from those that the encoder gives.

    .. math:: \lambda^*(x) = \arg\max_\lambda \; \mathbb E_{q_\lambda} \log p(x|z) - \mathrm{KL}(q_\lambda \| p(z)),
        \qquad \lambda_0 = \mathrm{encoder}(x)

    The decoder and the prior stay as they are, and so do the weights of a posterior's flow. The noise is drawn anew in
    each step, so that q does not fit itself to a few samples; the step size falls to 0 along a cosine. Images do not
    influence one another but by the noise. Raises UsageError where the model is no `VAE`, or q cannot be optimised: a
    point mass, or a family without a reparameterised sample.

    Reference: Inference suboptimality in variational autoencoders (Cremer, Li and Duvenaud, 2018).

    Arguments:
        model: a `VAE`, which is put in evaluation mode for the while.
        x: the images.
        steps: of Adam.
        samples: latents drawn in each step.
        lr: the first step size.
        seed: of the noise.
        progress: is told how many steps are done, of how many.

    Example:
        >>> from lowerbound.oracle import Linear
        >>> known = Linear(torch.ones(3, 1).double(), torch.zeros(3).double(), sigma=1.0)
        >>> x = known.draw(5, seed=0)
        >>> mu, logvar = refined(known.vae(exact=False), x, steps=500).chunk(2, dim=1)
        >>> bool(known.gap(x, mu, logvar.exp()).max() < 0.05)  # nats; the random encoder leaves more
        True
    """
    vae = optimisable(model)
    with evaluating(vae), torch.inference_mode(False), torch.enable_grad():
        x = x.clone() if x.is_inference() else x
        params = vae.posterior.params(x).detach().clone().requires_grad_()
        if not vae.posterior.dist(params).has_rsample:  # its elbo would have the gradient of the KL alone
            raise UsageError(
                f"{type(vae.posterior).__name__} has no reparameterised sample, by which the posterior of one image "
                "could be optimised."
            )
        adam = optimisers.Adam([params], lr=lr)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        for t in range(steps):
            with rng.noise(seed, "refine", t):
                elbo = given(vae, x, params, samples)
            (params.grad,) = torch.autograd.grad(-elbo.sum(), params)
            adam.step()
            falling.step()
            if progress:
                progress(t + 1, steps)
    return params.detach()


def given(model: VAE, x: Float[Tensor, "B *X"], params: Float[Tensor, "B P"], samples: int) -> Float[Tensor, "B"]:
    """Give the elbo of each image under the posterior of these parameters, over so many latents of each, in nats."""
    q = model.posterior.dist(params)
    z, log_q = draw(q, samples)
    trace = Trace(x, (Latent(z, q, model.prior(), log_q),), model.likelihood(z))
    return (trace.log_px - trace.kl).mean(0)


def optimisable(model: Model) -> VAE:
    """Give the model itself; raises UsageError where its posterior has no parameters that could be optimised."""
    if not isinstance(model, VAE):
        raise UsageError(
            f"{type(model).__name__} has no posterior whose parameters could be optimised for one image: this needs "
            "a lowerbound.VAE, made of a posterior, a prior and a likelihood."
        )
    if not model.posterior.density:
        raise UsageError(
            "The posterior is a point mass, which has no density: there is no elbo that a posterior of an image's own "
            "could improve."
        )
    return model
