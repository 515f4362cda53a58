"""Priors that are trained on codes: a flow (or any prior with a density), and a second VAE."""

import math
from collections.abc import Callable
from typing import Annotated, ClassVar, final

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from lowerbound import likelihood, nets, optimisers, posterior, rng
from lowerbound.after.base import Codes, Fit
from lowerbound.dist import Affine, tempered
from lowerbound.dist.normal import Shape
from lowerbound.errors import DivergedError, UsageError
from lowerbound.nets import Sizes
from lowerbound.prior import Prior, Standard
from lowerbound.train import Plan
from lowerbound.vae import VAE

Count = Annotated[int, Ge(1)]
Rate = Annotated[float, Gt(0)]
# γ at the start, of standardised codes: at 1, where it explains nothing of them, the second VAE begins as collapsed as
# it can be, and stays so
START = 0.2
NARROW = 1e-6  # the least scale of a latent, as a part of the widest: one that never varies would be divided by 0


@final
class Rescaled(Prior):
    """A prior of standardised codes, moved to where the codes are and stretched to their size.

    Arguments:
        inner: the prior of (z - mean) / deviation.
        latents: D.

    Example:
        >>> Rescaled(Standard(16), 16)().sample((64,)).shape
        torch.Size([64, 16])
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, inner: Prior, latents: Count) -> None:
        super().__init__()
        self.inner = inner
        self.register_buffer("loc", torch.zeros(latents))
        self.register_buffer("scale", torch.ones(latents))

    def forward(self, c: Tensor | None = None) -> Distribution:
        """Give the inner distribution of the standardised code, as one of the code."""
        return Affine(self.inner(c), self.loc, self.scale)

    def measure(self, z: Float[Tensor, "N D"]) -> None:
        """Take mean and deviation of the codes; raises UsageError where they are all the same."""
        scale = z.std(0, correction=0)
        widest = float(scale.max())
        if not math.isfinite(widest) or widest == 0:
            raise UsageError(
                f"The {len(z)} codes {'are all the same' if widest == 0 else 'are not all finite'}: "
                "no prior can be fitted to them. Look at how the training went, or leave out fit."
            )
        self.loc.copy_(z.mean(0))
        self.scale.copy_(scale.clamp_min(NARROW * widest))


@final
class Flow(Fit):
    r"""A prior with parameters, such as a flow, trained to give the codes a high density.

    .. math:: \max_\theta \; \mathbb E_{q(z)} \log p_\theta(z)

    The codes are standardised first, and drawn anew for each step.

    Reference: Masked autoregressive flow for density estimation (Papamakarios, Pavlakou and Murray, 2017).

    Arguments:
        latents: D.
        prior: which prior, with its own arguments; one that needs nothing of the posterior.
        steps: of Adam.
        batch: codes a step.
        lr: the highest learning rate; it falls to 0 along a cosine.

    Example:
        >>> Flow(2, Standard(2))
        Traceback (most recent call last):
        ...
        lowerbound.errors.UsageError: fit.prior: Standard has no parameters, and nothing to fit. Take a flow.
    """

    prior: Rescaled

    def __init__(self, latents: Count, prior: Prior, steps: Count = 2000, batch: Count = 256, lr: Rate = 0.002) -> None:
        if not any(p.requires_grad for p in prior.parameters()):
            raise UsageError(f"fit.prior: {type(prior).__name__} has no parameters, and nothing to fit. Take a flow.")
        self.steps, self.batch, self.lr = steps, batch, lr
        self.prior = Rescaled(prior, latents)

    def fit(self, codes: Codes, seed: int) -> None:
        """Standardise, and maximise the mean log density."""
        self.prior.measure(codes.draw(seed))
        descend(self.prior, lambda z: -self.prior().log_prob(z).mean(), codes, self.steps, self.batch, self.lr, seed)


@final
class Generated(Distribution):
    r"""What a VAE generates, scored by an importance estimate whose mean is the density.

    .. math:: z \sim p(z|u), \; u \sim p(u), \qquad
        \log \hat p(z) = \log \frac1K \sum_k \frac{p(z|u_k) \, p(u_k)}{r(u_k|z)}, \quad u_k \sim r(u|z)

    E p̂(z) = p(z), so that log p̂(z) is on average at most log p(z), and a bound of log p(x) that is made of it stays a
    lower one.

    Arguments:
        vae: of vectors; r is its posterior.
        latents: D, of z.
        samples: K.

    Example:
        >>> p = TwoStage(2).prior.inner()
        >>> p.sample((3,)).shape, p.log_prob(torch.zeros(4, 3, 2)).shape
        (torch.Size([3, 2]), torch.Size([4, 3]))
    """

    arg_constraints = {}  # noqa: RUF012 - torch's own declaration
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, vae: VAE, latents: int, samples: int) -> None:
        self.vae, self.samples = vae, samples
        super().__init__(torch.Size(), torch.Size([latents]), validate_args=False)

    def log_prob(self, value: Float[Tensor, "*B D"]) -> Float[Tensor, "*B"]:
        """Give log p̂(z), in nats."""
        log_w = self.vae(value.reshape(-1, value.shape[-1]), samples=self.samples).log_w
        found: Tensor = log_w.logsumexp(0) - math.log(self.samples)
        return found.reshape(value.shape[:-1])

    def rsample(self, sample_shape: Shape = torch.Size()) -> Float[Tensor, "*B D"]:  # noqa: B008
        """Draw u, then z of p(z|u): its noise belongs to it."""
        z: Tensor = self.vae.likelihood(self.vae.prior().rsample(torch.Size(sample_shape))).rsample()
        return z

    @torch.no_grad()
    def tempered(self, sample_shape: Shape, temperature: float) -> Float[Tensor, "*B D"]:
        """Draw u, and z given u, each stretched about its own mean: at 0 it is what u = 0 gives."""
        u = tempered(self.vae.prior(), sample_shape, temperature)
        return tempered(self.vae.likelihood(u), (), temperature)


@final
class Generator(Prior):
    """What a VAE of vectors generates, as a prior.

    Arguments:
        vae: the VAE.
        latents: D, of what it generates.
        samples: over which its density is estimated.

    Example:
        >>> TwoStage(16).prior.inner().sample((64,)).shape
        torch.Size([64, 16])
    """

    def __init__(self, vae: VAE, latents: Count, samples: Count) -> None:
        super().__init__()
        self.vae, self.latents, self.samples = vae, latents, samples

    def forward(self, c: Tensor | None = None) -> Distribution:
        """Give the distribution of what it generates, with batch shape ()."""
        return Generated(self.vae, self.latents, self.samples)


@final
class TwoStage(Fit):
    r"""A second VAE, trained on the codes of the first: its likelihood is a Gaussian whose γ is learned.

    .. math:: \max \; \mathbb E_{q(z)} \bigl[ \mathbb E_{r(u|z)} \log \mathcal N(z; \mu(u), \gamma^2 I)
        - \mathrm{KL}(r(u|z) \| \mathcal N(0, I)) \bigr]

    The two together are a model x ← z ← u: its density has no closed form, and what is reported as elbo under this
    prior is a lower bound of log p(x), as an elbo is.

    Reference: Diagnosing and enhancing VAE models (Dai and Wipf, 2019).

    Arguments:
        latents: D.
        second: the latents u of the second VAE; as many as the first has where null.
        hidden: the widths of its hidden layers.
        samples: over which log p(z) is estimated where it is evaluated.
        steps: of Adam.
        batch: codes a step.
        lr: the highest learning rate; it falls to 0 along a cosine.

    Example:
        >>> TwoStage(16).prior().sample((64,)).shape
        torch.Size([64, 16])
    """

    exact: ClassVar[bool] = False
    prior: Rescaled

    def __init__(
        self,
        latents: Count,
        second: Count | None = None,
        hidden: Sizes = (256, 256),
        samples: Count = 8,
        steps: Count = 3000,
        batch: Count = 256,
        lr: Rate = 0.003,
    ) -> None:
        u = second or latents
        pz = likelihood.Gaussian(nets.MLP((u,), (latents,), hidden), sigma="learned")
        pz.log_sigma.data.fill_(math.log(START))
        self.vae = VAE(posterior.Gaussian(nets.MLP((latents,), None, hidden), u), Standard(u), pz)
        self.steps, self.batch, self.lr = steps, batch, lr
        self.prior = Rescaled(Generator(self.vae, latents, samples), latents)

    def fit(self, codes: Codes, seed: int) -> None:
        """Standardise, and maximise the second VAE's own elbo."""
        prior = self.prior
        prior.measure(codes.draw(seed))

        def loss(z: Float[Tensor, "B D"]) -> Float[Tensor, ""]:
            trace = self.vae((z - prior.loc) / prior.scale)
            value: Tensor = (trace.kl - trace.log_px).mean()
            return value

        descend(prior, loss, codes, self.steps, self.batch, self.lr, seed)


def descend(
    prior: Prior,
    loss: Callable[[Float[Tensor, "B D"]], Float[Tensor, ""]],
    codes: Codes,
    steps: int,
    batch: int,
    lr: float,
    seed: int,
) -> None:
    """Minimise a loss of drawn codes by Adam; the noise of step t is a pure function of (seed, t).

    Raises DivergedError where the loss is not finite.
    """
    plan = Plan(lr=lr, warmup=0.05)
    optimizer = optimisers.Adam([p for p in prior.parameters() if p.requires_grad], lr=lr)
    prior.train()
    for t in range(steps):
        z = codes.batch(t, batch, seed)
        with rng.noise(seed, "fit", t):
            value = loss(z)
        if not math.isfinite(float(value.detach())):
            raise DivergedError(
                f"Step {t} of the fit of a prior: the loss is not finite. The model itself is whole, and its "
                "checkpoints stay. The likely cause is a learning rate that is too high: try a lower fit.lr."
            )
        optimizer.zero_grad()
        value.backward()
        for group in optimizer.param_groups:
            group["lr"] = lr * plan.factor(t, steps)
        optimizer.step()
    prior.eval()
