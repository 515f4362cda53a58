"""Missing pixels, drawn given those that were seen: Metropolis within Gibbs. Tensors in, tensors out."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Distribution, Independent

from lowerbound import rng
from lowerbound.dist import draw
from lowerbound.errors import UsageError
from lowerbound.vae import VAE, Model, evaluating

ROWS = 500  # chains at a time
T = TypeVar("T")
Steps = Generator[tuple[int, int], None, T]  # gives how many steps are done, of how many; returns what came of them


@final
@dataclass(frozen=True)
class Imputed:
    """Images whose missing pixels were drawn; the others are as they came.

    Arguments:
        draws: K of them for each image, each the end of its own chain.
        means: the same, with the mean of p(x|z) at each draw's z in the missing pixels, without its noise.
        mean: the mean of the missing pixels, over all chains and the later half of their steps.
        acceptance: the share of proposals that each image's chains accepted; None where nothing was corrected.
    """

    draws: Float[Tensor, "K N *X"]
    means: Float[Tensor, "K N *X"]
    mean: Float[Tensor, "N *X"]
    acceptance: Float[Tensor, "N"] | None


def impute(
    model: Model,
    x: Float[Tensor, "N *X"],
    missing: Bool[Tensor, "..."],
    *,
    draws: int = 5,
    steps: int = 1000,
    warmup: int = 50,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Imputed:
    r"""Draw the missing pixels of images from p(x_mis | x_obs), by chains that alternate between z and x_mis.

    .. math:: z' \sim q(z|x), \quad \text{accepted with probability }
        \min\left(1, \frac{p(x|z')\,p(z')\,/\,q(z'|x)}{p(x|z)\,p(z)\,/\,q(z|x)}\right), \qquad
        x_\mathrm{mis} \sim p(x_\mathrm{mis}|z)

    x is the image with its current missing pixels. The chain leaves p(z, x_mis | x_obs) as it is, whatever q is: a
    wrong q makes it slow, not wrong, and a low acceptance shows it. Each chain begins at a draw from the prior, and its
    ``warmup`` steps accept every proposal (the pseudo-Gibbs of Rezende et al.), which finds a fitting z soon. With
    ``steps=0`` they are all there is: as wrong as q, but the way where a corrected chain stands still.

    Pixels of a cross-entropy are drawn as 0 or 1. A prior that estimates its density without bias is taken with the
    estimate of each z kept, which is exact too.

    Raises UsageError where the model is no `VAE`, the posterior is a point mass, p(x|z) does not factorise into
    pixels, nothing is missing or an image entirely, a seen pixel is not a number, shapes differ, or the model gives
    NaN.

    Reference: Stochastic backpropagation and approximate inference in deep generative models (Rezende, Mohamed and
    Wierstra, 2014); Leveraging the exact likelihood of deep latent variable models (Mattei and Frellsen, 2018).

    Arguments:
        model: a `VAE`, which is put in evaluation mode for the while.
        x: the images; what stands in missing pixels is not read, and may be NaN.
        missing: which pixels are missing, of the images' shape.
        draws: K, the number of chains for each image.
        steps: corrected steps of each chain.
        warmup: steps before, which accept every proposal.
        seed: of the noise.
        progress: is told how many steps are done, of how many.

    Example:
        >>> from lowerbound.oracle import Linear
        >>> known = Linear(torch.tensor([[3.0], [4.0]], dtype=torch.float64), torch.zeros(2).double(), sigma=0.1)
        >>> x = torch.tensor([[3.0, torch.nan]]).double()
        >>> found = impute(known.vae(exact=True), x, x.isnan(), steps=50)
        >>> found.draws.shape, bool((found.mean[0, 1] - 4).abs() < 0.3)
        (torch.Size([5, 1, 2]), True)
    """
    return finished(imputing(model, x, missing, draws=draws, steps=steps, warmup=warmup, seed=seed), progress)


def imputing(
    model: Model,
    x: Float[Tensor, "N *X"],
    missing: Bool[Tensor, "..."],
    *,
    draws: int = 5,
    steps: int = 1000,
    warmup: int = 50,
    seed: int = 0,
) -> Steps[Imputed]:
    """Do what `impute` does, from step to step: between two of them the model can be used for something else."""
    vae = _possible(model, x, missing, draws, steps, warmup)
    size, parts, done = max(1, ROWS // draws), [], 0
    total = -(-len(x) // size) * (steps + warmup)
    for start in range(0, len(x), size):
        some = slice(start, start + size)
        chains = _Chains(vae, x[some], missing[some], draws, steps, warmup, rng.seed_of(seed, "impute", start))
        for t in range(steps + warmup):
            chains.move(t)
            yield (done := done + 1), total
        parts.append(chains.found())
    accepted = [part.acceptance for part in parts if part.acceptance is not None]
    return Imputed(
        torch.cat([part.draws for part in parts], 1),
        torch.cat([part.means for part in parts], 1),
        torch.cat([part.mean for part in parts]),
        torch.cat(accepted) if accepted else None,
    )


def finished(work: Steps[T], progress: Callable[[int, int], None] | None = None) -> T:
    """Take all steps of a work, tell how many are done, and give what came of them.

    Example:
        >>> def steps():
        ...     yield 1, 2
        ...     return "done"
        >>> finished(steps(), print)
        1 2
        'done'
    """
    while True:
        try:
            done, of = next(work)
        except StopIteration as end:
            found: T = end.value
            return found
        if progress:
            progress(done, of)


def _possible(model: Model, x: Tensor, missing: Tensor, draws: int, steps: int, warmup: int) -> VAE:
    """Give the model; raises UsageError where nothing can be imputed."""
    if draws < 1 or steps < 0 or warmup < 0 or steps + warmup < 1:
        raise UsageError(f"draws is {draws}, steps {steps} and warmup {warmup}: at least one draw and step are needed.")
    if not isinstance(model, VAE):
        raise UsageError(
            f"{type(model).__name__} does not say p(x|z) of any z: to impute needs a lowerbound.VAE, made of a "
            "posterior, a prior and a likelihood."
        )
    if not model.posterior.density:
        raise UsageError(
            "The posterior is a point mass, which has no density: no draw of it could be accepted or refused. Pixels "
            "are imputed by a variational autoencoder, not by an autoencoder."
        )
    if x.shape != missing.shape:
        raise UsageError(f"The images are of shape {tuple(x.shape)}, and what is missing of {tuple(missing.shape)}.")
    by_image = missing.flatten(1)
    if not bool(by_image.any()):
        raise UsageError("No pixel is missing: there is nothing to impute.")
    if bool(by_image.all(1).any()):
        i = int(by_image.all(1).nonzero()[0])
        raise UsageError(f"Of image {i} all is missing: that is a new image, see sample.")
    if not bool(x[~missing].isfinite().all()):
        raise UsageError("Some of the pixels that are not missing are not numbers: say that they are missing.")
    return model


@final
class _Chains:
    """K chains for each of some images, all at once."""

    def __init__(self, model: VAE, x: Tensor, missing: Tensor, draws: int, steps: int, warmup: int, seed: int) -> None:
        self.model, self.seed, self.shape, self.steps, self.warmup = model, seed, (draws, len(x)), steps, warmup
        self.missing = missing.repeat(draws, *[1] * (x.ndim - 1))
        with evaluating(model), torch.no_grad(), rng.noise(seed, "begin"):
            self.z = model.prior().sample((1, draws * len(x)))
            self.px = _factorised(model.likelihood(self.z))
            seen = torch.where(missing, torch.zeros_like(x), x).repeat(draws, *[1] * (x.ndim - 1))
            self.x = self._filled(seen, self._drawn())
            self.log_pz = model.prior().log_prob(self.z)
        self.kept = max(1, (steps or warmup) // 2)
        self.accepted, self.mean = 0.0 * self.log_pz[0], torch.zeros_like(self.x)

    def move(self, t: int) -> None:
        """Take step t, of which the first ones are not corrected."""
        with evaluating(self.model), torch.no_grad(), rng.noise(self.seed, "step", t):
            took = self._step(corrected=t >= self.warmup)
            self.accepted += took if t >= self.warmup else 0
            if t >= self.warmup + self.steps - self.kept:
                self.mean += self.px.mean[0]

    @torch.no_grad()
    def found(self) -> Imputed:
        """Give where the chains are, and what they have come by."""
        x, means, mean, missing = (
            part.unflatten(0, self.shape)
            for part in (self.x, self._filled(self.x, self.px.mean), self.mean / self.kept, self.missing)
        )
        share = (self.accepted / self.steps).unflatten(0, self.shape).mean(0) if self.steps else None
        return Imputed(x, means, torch.where(missing[0], mean.mean(0), x[0]), share)

    def _step(self, *, corrected: bool) -> Tensor:
        """Move z, then the missing pixels; gives which chains accepted."""
        q = self.model.posterior(self.x)
        z, log_q = draw(q, 1)
        log_pz = self.model.prior().log_prob(z)
        accepted = torch.ones_like(log_pz, dtype=torch.bool)
        if corrected:
            log_q = q.log_prob(z) if log_q is None else log_q
            new = self.model.likelihood(z).log_prob(self.x) + log_pz - log_q
            old = self.px.log_prob(self.x) + self.log_pz - q.log_prob(self.z)
            accepted = torch.rand_like(log_pz).log() < new - old
        self.z = torch.where(accepted[..., None], z, self.z)
        self.log_pz = torch.where(accepted, log_pz, self.log_pz)
        self.px = self.model.likelihood(self.z)
        self.x = self._filled(self.x, self._drawn())
        return accepted[0].to(self.x)

    def _drawn(self) -> Tensor:
        """Draw every pixel of p(x|z)."""
        if bool(self.px.mean.isnan().any()):
            raise UsageError("The model gives NaN for pixels that are missing: look at how the training went.")
        return self.px.sample()

    def _filled(self, x: Tensor, drawn: Tensor) -> Tensor:
        return torch.where(self.missing, drawn[0], x)


def _factorised(px: Distribution) -> Distribution:
    """Give p(x|z) itself; raises UsageError where its pixels are not independent given z."""
    axes = px.reinterpreted_batch_ndims if isinstance(px, Independent) and not px.base_dist.event_shape else None
    if axes == len(px.event_shape):
        return px
    raise UsageError(
        f"p(x|z) is a {type(px).__name__}, which does not factorise into pixels: some of them given the others is "
        "then not what it says of them alone. Take a likelihood of independent pixels."
    )
