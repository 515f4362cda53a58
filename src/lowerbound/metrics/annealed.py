"""log p(x) by annealed importance sampling, and between two bounds by bidirectional Monte Carlo."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound import rng
from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED
from lowerbound.metrics.bridge import Annealing, Bridge, Progress, at_rest, blocks, chunks, ticks
from lowerbound.vae import Model

LIMIT = 0.975


@final
@dataclass(frozen=True)
class Annealed:
    r"""Log weights of C independent chains for each of N images, and how the chains moved.

    Arguments:
        log_w: in nats, in float64; the mean of w is p(x), or 1/p(x) where the chains ran in reverse.
        accepted: the mean acceptance of each image's steps.
        steps: the frozen ε of each temperature and image, before the scale of each latent.

    Example:
        >>> found = Annealed(torch.tensor([[0.0], [2.0]]).double(), torch.ones(1), torch.ones(0, 1))
        >>> found.log_mean, found.effective
        (tensor([1.4338], dtype=torch.float64), tensor([1.2658], dtype=torch.float64))
    """

    log_w: Float[Tensor, "C N"]
    accepted: Float[Tensor, "N"]
    steps: Float[Tensor, "T N"]

    @property
    def log_mean(self) -> Float[Tensor, "N"]:
        r"""Give the log of the mean weight: on average at most log p(x), or -log p(x) in reverse.

        .. math:: \log \hat p = \log \frac1C \sum_c w_c
        """
        return self.log_w.logsumexp(0) - math.log(len(self.log_w))

    @property
    def error(self) -> Float[Tensor, "N"]:
        r"""Give the Monte Carlo error of log p̂ over the chains, by the delta method.

        .. math:: \mathrm{sd}(w) \, / \, (\sqrt C \, \bar w)

        It is of the mean weight, which a few chains with great weights carry: where `effective` is small, it is too.
        """
        found: Tensor = (self.log_w - self.log_mean).exp().std(0) / len(self.log_w) ** 0.5
        return found

    @property
    def effective(self) -> Float[Tensor, "N"]:
        r"""Give the effective number of chains, between 1 and C.

        .. math:: \mathrm{ESS} = \left(\sum_c w_c\right)^2 / \sum_c w_c^2
        """
        return (2 * self.log_w.logsumexp(0) - (2 * self.log_w).logsumexp(0)).exp()


@final
@dataclass(frozen=True)
class Bracket:
    r"""Two ends between which log p(x) lies, for images that the model has drawn itself.

    The forward chains' p̂ has the mean p(x), and the reverse chains' r̂, from the one exact sample of the posterior that
    there is, the mean 1/p(x). So do products over images. By Markov's inequality a number above 0 exceeds 40 times its
    mean with probability 1/40 at most, which gives one-sided limits of 97.5 % that hold for any number of chains,
    however badly they mix, without a normal approximation:

    .. math:: \frac1N \sum_i \log \hat p_i - \frac{\log 40}{N} \;\le\;
        \frac1N \sum_i \log p(x_i) \;\le\; -\frac1N \sum_i \log \hat r_i + \frac{\log 40}{N}

    and for a single image, whose C forward chains are independent and whose reverse chains are not, since they begin
    at the same sample,

    .. math:: \frac1C \sum_c \log w_c - \frac{\log 40}{C} \;\le\; \log p(x) \;\le\; -\log \hat r + \log 40

    Each end fails with probability 2.5 % at most, over chains and the posterior's sample; those of single images hold
    one by one, not all at once. A t-limit over the reverse chains of one image would not hold: it knows nothing of what
    the sample z* has added.

    Reference: Sandwiching the marginal likelihood using bidirectional Monte Carlo (Grosse, Ghahramani and Adams, 2015).

    Arguments:
        forward: chains from the base to the posterior.
        reverse: chains from the exact sample back, of which -log w are kept.
        x: the images.
        z: the latents from which they were drawn.
    """

    forward: Annealed
    reverse: Annealed
    x: Float[Tensor, "N *X"]
    z: Float[Tensor, "N D"]

    @property
    def lower(self) -> Float[Tensor, "N"]:
        """Give the point estimate that is at most log p(x) on average, in nats."""
        return self.forward.log_mean

    @property
    def upper(self) -> Float[Tensor, "N"]:
        """Give the point estimate that is at least log p(x) on average, in nats."""
        return -self.reverse.log_mean

    @property
    def gap(self) -> Float[Tensor, "N"]:
        """Give upper - lower, the point estimates' distance, which is not negative on average."""
        return self.upper - self.lower

    def limits(self, level: float = LIMIT) -> tuple[Float[Tensor, "N"], Float[Tensor, "N"]]:
        """Give for each image its lower and its upper limit, each one-sided at this level."""
        odds = -math.log(1 - level)
        return self.forward.log_w.mean(0) - odds / len(self.forward.log_w), self.upper + odds

    def mean_limits(self, level: float = LIMIT) -> tuple[float, float]:
        """Give a lower and an upper limit of the mean of log p(x) over the images, each one-sided at this level."""
        margin = -math.log(1 - level) / self.x.shape[0]
        return float(self.lower.mean()) - margin, float(self.upper.mean()) + margin


def annealed_importance_sampling(
    model: Model,
    x: Float[Tensor, "N *X"],
    how: Annealing = Annealing(),  # noqa: B008 - it is frozen
    *,
    seed: int = SEED,
    progress: Progress | None = None,
) -> Annealed:
    r"""Estimate log p(x) of each image by annealed importance sampling with Hamiltonian transitions, in nats.

    .. math:: \log w = \sum_{t=1}^T (b_t - b_{t-1}) \left(\log p(z_{t-1}) \, p(x|z_{t-1}) - \log r(z_{t-1})\right),
        \qquad \mathbb E\, w = p(x)

    z₀ is drawn from the base r, and z_t comes from z_{t-1} by a step that leaves f_t as it is. So the log of the mean
    weight is on average at most log p(x): a lower estimate, and by itself no bracket of it.

    The step size of each temperature and image is found in a pilot run with noise of its own, and frozen: one that
    followed the chain that it moves would leave no f_t as it is. It is scaled for each latent by the standard
    deviations of draws of the pilot from r and q(z|x). Each image has its own noise, whatever stands beside it. Model
    and weights are as before afterwards.

    Raises UsageError where there is no p(z) and p(x|z) apart, x is outside the support of p(x|z), the posterior is a
    point mass, a density has no gradient in z, is itself an estimate, or is not a number, or there is no image.

    Reference: Annealed importance sampling (Neal, 2001); Hamiltonian annealed importance sampling for partition
    function estimation (Sohl-Dickstein and Culpepper, 2012).

    Arguments:
        model: a `VAE`.
        x: the images.
        how: base, temperatures, leaps and chains.
        seed: of the noise.
        progress: is told how many temperatures of how many are done.

    Example:
        >>> from lowerbound.oracle import Linear
        >>> known = Linear(torch.tensor([[3.0], [4.0]], dtype=torch.float64), torch.zeros(2).double(), sigma=1.0)
        >>> x = known.draw(3, seed=0)
        >>> found = annealed_importance_sampling(known.vae(exact=True), x, Annealing(temperatures=4, chains=2))
        >>> bool((found.log_mean - known.log_p(x)).abs().max() < 1e-10)  # from the exact posterior
        True
    """
    if not len(x):
        raise UsageError("There is no image of which log p(x) could be estimated.")
    with at_rest(model) as vae:
        cut = blocks(len(x), how)
        tick = ticks(progress, len(cut) * len(chunks(how)) * how.temperatures)
        bridges = (Bridge(vae, x[i:j], i, how, seed, tick) for i, j in cut)
        return _joined([(bridge.forward(), bridge.steps) for bridge in bridges])


def simulated(model: Model, n: int, *, seed: int = SEED) -> tuple[Float[Tensor, "n *X"], Float[Tensor, "n D"]]:
    """Draw n images x from p(x|z) at z from the prior, and give x and z: z is an exact sample of p(z|x).

    Row i depends on the seed and i only. Raises UsageError where the model is no `VAE`.

    Example:
        >>> from lowerbound.oracle import Linear
        >>> known = Linear(torch.tensor([[3.0], [4.0]], dtype=torch.float64), torch.zeros(2).double(), sigma=1.0)
        >>> x, z = simulated(known.vae(exact=True), 5)
        >>> x.shape, z.shape
        (torch.Size([5, 2]), torch.Size([5, 1]))
    """
    with at_rest(model) as vae, torch.no_grad():
        z = vae.draw_latents(-(-n // rng.BLOCK) * rng.BLOCK, seed=seed)
        parts = []
        for b, some in enumerate(z.split(rng.BLOCK)):
            with rng.noise(seed, "simulated", b):
                parts.append(vae.likelihood(some).sample())
    return torch.cat(parts)[:n], z[:n]


def bidirectional(
    model: Model,
    images: int,
    how: Annealing = Annealing(),  # noqa: B008 - it is frozen
    *,
    seed: int = SEED,
    progress: Progress | None = None,
) -> Bracket:
    r"""Bracket log p(x) of images that the model draws itself, by chains from both sides.

    z* ~ p(z) and x ~ p(x|z*) make z* an exact sample of p(z|x). Chains that run from there to the base, through the
    same densities and with the same frozen step sizes in the opposite order, have weights whose inverse has the mean
    1/p(x): minus the log of their mean is on average at least log p(x).

    Raises what `annealed_importance_sampling` does.

    Reference: Sandwiching the marginal likelihood using bidirectional Monte Carlo (Grosse, Ghahramani and Adams, 2015).

    Arguments:
        model: a `VAE`.
        images: how many it shall draw.
        how, seed, progress: see `annealed_importance_sampling`.

    Example:
        >>> from lowerbound.oracle import Linear
        >>> known = Linear(torch.tensor([[3.0], [4.0]], dtype=torch.float64), torch.zeros(2).double(), sigma=1.0)
        >>> found = bidirectional(known.vae(exact=False), 20, Annealing(temperatures=30, chains=4))
        >>> low, high = found.mean_limits()
        >>> low < float(known.log_p(found.x).mean()) < high
        True
    """
    if images < 1:
        raise UsageError(f"images is {images}: at least 1 is needed.")
    x, z = simulated(model, images, seed=seed)
    there, back = [], []
    with at_rest(model) as vae:
        cut = blocks(len(x), how)
        tick = ticks(progress, 2 * len(cut) * len(chunks(how)) * how.temperatures)
        for i, j in cut:
            bridge = Bridge(vae, x[i:j], i, how, seed, tick)
            there.append((bridge.forward(), bridge.steps))
            log_w, accepted = bridge.reverse(z[i:j])
            back.append(((-log_w, accepted), bridge.steps))
    return Bracket(_joined(there), _joined(back), x, z)


def _joined(found: Sequence[tuple[tuple[Tensor, Tensor], Tensor]]) -> Annealed:
    log_w = torch.cat([w for (w, _), _ in found], 1)
    accepted = torch.cat([a for (_, a), _ in found], 1).mean(0)
    return Annealed(log_w, accepted, torch.cat([steps for _, steps in found], 1).cpu())
