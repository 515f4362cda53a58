"""The model: it turns x into a Trace, from which an objective or a measure reads what it needs."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from lowerbound import rng
from lowerbound.dist import draw, factors, has_density, tempered
from lowerbound.errors import UsageError
from lowerbound.likelihood import Likelihood
from lowerbound.posterior import Posterior
from lowerbound.prior import Prior


@final
@dataclass(frozen=True)
class Latent:
    r"""One group of latents: K samples z of q(z|x) for each of B examples, and their densities.

    Everything beyond z, q and p is computed when it is first asked for; all of it is in nats.

    Arguments:
        z: the samples.
        q: the posterior, with batch shape (B,) or (K, B).
        p: the prior, with batch shape (), (B,) or (K, B).
        scored: log q(z|x) where drawing gave it, else None.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> q, p = Independent(Normal(torch.ones(5, 2), 1.0), 1), Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> latent = Latent(q.rsample((3,)), q, p)
        >>> latent.kl.shape, latent.kl[0, 0], latent.kl_by_dim[0, 0]
        (torch.Size([3, 5]), tensor(1.), tensor([0.5000, 0.5000]))
    """

    z: Float[Tensor, "K B *event"]
    q: Distribution
    p: Distribution
    scored: Float[Tensor, "K B"] | None = None

    def __post_init__(self) -> None:
        if self.q.event_shape != self.p.event_shape:  # torch would broadcast the smaller one
            q, p = tuple(self.q.event_shape), tuple(self.p.event_shape)
            raise UsageError(
                f"The posterior has latents of shape {q} and the prior of {p}: their divergence has no meaning. "
                "Give both the same number of latents."
            )

    @cached_property
    def density(self) -> bool:
        """Whether q has a density: without one there is no KL and no elbo, and ``kl`` is -log p(z), a penalty."""
        return has_density(self.q)

    @cached_property
    def log_q(self) -> Float[Tensor, "K B"]:
        """log q(z|x)."""
        return self.q.log_prob(self.z) if self.scored is None else self.scored

    @cached_property
    def log_p(self) -> Float[Tensor, "K B"]:
        """log p(z)."""
        return self.p.log_prob(self.z)

    @cached_property
    def closed_kl(self) -> Float[Tensor, "K B"] | None:
        """KL(q(z|x) ‖ p(z)) in closed form where one is registered, else None."""
        try:
            return kl_divergence(self.q, self.p).expand(self.z.shape[:2])
        except NotImplementedError:
            return None

    @cached_property
    def kl(self) -> Float[Tensor, "K B"]:
        """KL(q(z|x) ‖ p(z)): the closed form where one is registered, else the estimate log q - log p."""
        return self.log_q - self.log_p if self.closed_kl is None else self.closed_kl

    @cached_property
    def kl_by_dim(self) -> Float[Tensor, "K B D"] | None:
        """The KL of each coordinate where q and p both factorise into them, else None."""
        q, p = factors(self.q), factors(self.p)
        if q is None or p is None:
            return None
        try:
            return kl_divergence(q, p).expand(self.z.shape)
        except NotImplementedError:
            return q.log_prob(self.z) - p.log_prob(self.z)


@final
@dataclass(frozen=True)
class Trace:
    r"""What the model says about a batch: latents (top group first), p(x|z), and the densities, in nats.

    .. math:: \log w = \log p(x|z) + \log p(z) - \log q(z|x)

    Arguments:
        x: the batch.
        latents: the groups of latents.
        px: p(x|z), with batch shape (K, B).
        c: what all of them were given, if anything.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> q, p = Independent(Normal(torch.zeros(5, 2), 1.0), 1), Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> px = Independent(Normal(torch.zeros(3, 5, 4), 1.0), 1)
        >>> trace = Trace(torch.zeros(5, 4), (Latent(q.rsample((3,)), q, p),), px)
        >>> trace.log_w.shape, bool((trace.log_w == trace.log_px).all())  # q is the prior
        (torch.Size([3, 5]), True)
    """

    x: Float[Tensor, "B *X"]
    latents: tuple[Latent, ...]
    px: Distribution
    c: Tensor | None = None

    @cached_property
    def density(self) -> bool:
        """Whether every q has a density, so that there is an elbo."""
        return all(latent.density for latent in self.latents)

    @cached_property
    def log_px(self) -> Float[Tensor, "K B"]:
        """log p(x|z)."""
        if self.px.event_shape != self.x.shape[1:]:  # torch would broadcast the smaller one
            raise UsageError(
                f"The decoder gives examples of shape {tuple(self.px.event_shape)}, and the data have "
                f"{tuple(self.x.shape[1:])}: give the network of the likelihood the shape of the data."
            )
        return self.px.log_prob(self.x)

    @cached_property
    def kl(self) -> Float[Tensor, "K B"]:
        """The rate of each example: the KL summed over the groups."""
        return torch.stack([latent.kl for latent in self.latents]).sum(0)

    @cached_property
    def log_w(self) -> Float[Tensor, "K B"]:
        """log p(x, z) - log q(z|x): the log of the importance weight."""
        ratios = [latent.log_p - latent.log_q for latent in self.latents]
        return self.log_px + torch.stack(ratios).sum(0)


def pooled(traces: Sequence[Trace]) -> Trace:
    """Give the traces of several batches as one in which log_px, kl and kl_by_dim can be read, and nothing else.

    These are small, and they are what a loss over a whole split is made of: x, z and the distributions are not kept,
    since a split of them need not fit into memory. In float64, on the processor (MPS has no float64).

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> q, p = Independent(Normal(torch.ones(4, 2), 1.0), 1), Independent(Normal(torch.zeros(2), 1.0), 1)
        >>> px = Independent(Normal(torch.zeros(1, 4, 3), 1.0), 1)
        >>> trace = Trace(torch.zeros(4, 3), (Latent(q.sample((1,)), q, p),), px)
        >>> pooled([trace, trace]).kl.shape, pooled([trace, trace]).kl.mean()
        (torch.Size([1, 8]), tensor(1., dtype=torch.float64))
    """
    unread = Distribution(validate_args=False)  # whatever is asked of it raises NotImplementedError
    log_px = _joined([trace.log_px for trace in traces])
    nothing = log_px.new_empty(*log_px.shape, 0)
    latents = []
    for groups in zip(*(trace.latents for trace in traces), strict=True):
        by_dim = [group.kl_by_dim for group in groups]
        latent = Latent(nothing, unread, unread)
        whole = None if any(part is None for part in by_dim) else _joined([p for p in by_dim if p is not None])
        vars(latent).update(  # as if computed before
            kl=_joined([group.kl for group in groups]), kl_by_dim=whole, density=groups[0].density
        )
        latents.append(latent)
    trace = Trace(nothing[0], tuple(latents), unread)
    vars(trace).update(log_px=log_px)
    return trace


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat([part.detach().cpu().double() for part in parts], dim=1)


class Model(nn.Module, ABC):
    """What objectives, measures, the command line and the page see: a Trace, and verbs that give tensors."""

    @abstractmethod
    def forward(self, x: Float[Tensor, "B *X"], c: Tensor | None = None, *, samples: int = 1) -> Trace:
        """Encode x, draw ``samples`` latents for each example, and decode them."""

    @abstractmethod
    def encode(self, x: Float[Tensor, "B *X"], c: Tensor | None = None) -> Float[Tensor, "B *event"]:
        """Give the code of each x: the posterior's centre."""

    @abstractmethod
    def decode(self, z: Float[Tensor, "*B D"], c: Tensor | None = None) -> Float[Tensor, "*rest"]:
        """Give the mean image of p(x|z)."""

    @abstractmethod
    def draw_latents(self, n: int, *, seed: int, temperature: float = 1.0) -> Float[Tensor, "n *event"]:
        """Draw n latents from the prior; row i depends on the seed and i only."""

    def reconstruct(self, x: Float[Tensor, "B *X"], c: Tensor | None = None) -> Float[Tensor, "B *X"]:
        """Give the mean image at the code of each x."""
        return self.decode(self.encode(x, c), c)

    def sample(
        self,
        n: int,
        *,
        seed: int | None = None,
        temperature: float = 1.0,
        noise: bool = False,
        batch: int = 500,
    ) -> Float[Tensor, "n *X"]:
        """Draw n new images: z from the prior, then the mean image of p(x|z), or x itself where ``noise``; no gradient.

        Arguments:
            n: how many; image i is the same whatever n and batch are.
            seed: of the draw; without one it is taken from torch's generator.
            temperature: stretches the prior's samples about its mean (of a mixture: each about its component's; of
                a flow: its noise).
            noise: draw x from p(x|z) instead of showing its mean.
            batch: how many images are decoded at once.
        """
        if n < 0 or batch < 1:
            raise UsageError(f"n is {n} and batch {batch}: at least 0 images can be drawn, at least 1 at once.")
        seed = int(torch.randint(2**62, ())) if seed is None else seed
        some = max(n, 1)  # of no image at all, one is drawn for its shape
        z = self.draw_latents(some, seed=seed, temperature=temperature)
        parts = [(z[i : i + batch], i) for i in range(0, some, batch)]
        with torch.no_grad():
            return torch.cat([self.draw(z, seed=seed, first=i) if noise else self.decode(z) for z, i in parts])[:n]

    def draw(self, z: Float[Tensor, "B D"], *, seed: int, first: int = 0) -> Float[Tensor, "B *X"]:
        """Draw x from p(x|z), once for each z: that of row i depends on its z, the seed and ``first`` + i only.

        Raises:
            UsageError: if the model has no single p(x|z).
        """
        raise UsageError(f"{type(self).__name__} has no single p(x|z) to draw from: leave out noise.")


@contextmanager
def in_mode(training: bool, *modules: nn.Module) -> Iterator[None]:
    """Put modules in the mode of training, or of evaluation, for a while, and then back, whatever happens in it.

    Example:
        >>> part = nn.Dropout()
        >>> with in_mode(False, part):
        ...     part.training
        False
        >>> part.training
        True
    """
    modes = [module.training for module in modules]
    for module in modules:
        module.train(training)
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.train(mode)


def evaluating(*modules: nn.Module) -> AbstractContextManager[None]:
    """Put modules in evaluation mode for a while, see `in_mode`."""
    return in_mode(False, *modules)


@final
class VAE(Model):
    r"""The variational autoencoder: any posterior, prior and likelihood.

    .. math:: z = \mu + \sigma \odot \varepsilon \sim q(z|x), \qquad
        \log p(x) \ge \mathbb E_q \log p(x|z) - \mathrm{KL}(q(z|x) \| p(z))

    Reference: Auto-encoding variational Bayes (Kingma and Welling, 2014).

    Arguments:
        posterior: gives q(z|x).
        prior: gives p(z), in the same space.
        likelihood: gives p(x|z).

    Example:
        >>> from lowerbound import likelihood, nets, posterior, prior
        >>> model = VAE(
        ...     posterior.Gaussian(nets.ConvEncoder((1, 28, 28)), latents=16),
        ...     prior.Standard(16),
        ...     likelihood.Bernoulli(nets.ConvDecoder(16, (1, 28, 28))),
        ... )
        >>> model.decode(torch.randn(64, 16)).shape
        torch.Size([64, 1, 28, 28])
        >>> model(torch.rand(5, 1, 28, 28), samples=3).log_w.shape
        torch.Size([3, 5])
    """

    def __init__(self, posterior: Posterior, prior: Prior, likelihood: Likelihood) -> None:
        super().__init__()
        if posterior.space != prior.space:
            raise UsageError(
                f"The posterior lives in {posterior.space} space and the prior in {prior.space} space: "
                "their divergence has no meaning. Take two of the same space."
            )
        self.posterior, self.prior, self.likelihood = posterior, prior, likelihood
        prior.attach(posterior)

    def forward(self, x: Float[Tensor, "B *X"], c: Tensor | None = None, *, samples: int = 1) -> Trace:
        """Encode x, draw ``samples`` latents for each example, and decode them."""
        q = self.posterior(x, c)
        p = self.prior(c)
        z, log_q = draw(q, samples)
        return Trace(x, (Latent(z, q, p, log_q),), self.likelihood(z, c), c)

    def encode(self, x: Float[Tensor, "B *X"], c: Tensor | None = None) -> Float[Tensor, "B *event"]:
        """Give the code of each x: the posterior's centre."""
        return self.posterior.centre(self.posterior(x, c))

    def decode(self, z: Float[Tensor, "*B D"], c: Tensor | None = None) -> Float[Tensor, "*rest"]:
        """Give the mean image of p(x|z), in [0, 1] where the data are."""
        mean: Tensor = self.likelihood(z, c).mean
        return mean

    def draw_latents(self, n: int, *, seed: int, temperature: float = 1.0) -> Float[Tensor, "n *event"]:
        """Draw n latents from the prior; row i depends on the seed and i only."""
        with torch.no_grad():
            p = self.prior()
            try:
                return rng.blockwise(lambda: tempered(p, (rng.BLOCK,), temperature), seed, "latents", 0, n)
            except NotImplementedError:
                raise UsageError(
                    f"The prior {type(self.prior).__name__} has no mean about which its samples could be stretched: "
                    f"leave temperature at 1 instead of {temperature}."
                ) from None

    def draw(self, z: Float[Tensor, "B D"], *, seed: int, first: int = 0) -> Float[Tensor, "B *X"]:
        """Draw x from p(x|z), once for each z: that of row i depends on its z, the seed and ``first`` + i only."""
        return torch.stack([self._draw(row, seed, first + i) for i, row in enumerate(z)])

    def _draw(self, z: Tensor, seed: int, i: int) -> Tensor:
        with rng.noise(seed, "pixels", i):
            x: Tensor = self.likelihood(z).sample()
            return x
