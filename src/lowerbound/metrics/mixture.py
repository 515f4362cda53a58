"""The aggregate posterior of a split: the mixture of the posteriors of its images, with its exact density."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Distribution

from lowerbound import rng
from lowerbound.dist import draw, factors, has_density
from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED
from lowerbound.vae import VAE, Model, evaluating

Blocks = Iterable[tuple[Float[Tensor, "..."], Any]]
SIZE = 500  # images encoded at a time, whatever the blocks are, on which the draws would else depend
HELD = 2**17  # numbers of a density held at a time: they stay in a processor's cache
LEAST = -60.0  # a component's share of a sum below e^-60 is none; the exponential of much less is slow


@final
@dataclass(frozen=True, eq=False)
class Draws:
    """Independent draws z of q(z), and the density of the component that each was drawn from.

    Arguments:
        z: the draws.
        log_q: log q(z|x) of the image that it was drawn for, in nats.
        each: log q(z_j|x) of each coordinate, where q(z|x) factorises.
    """

    z: Float[Tensor, "M D"]
    log_q: Float[Tensor, "M"]
    each: Float[Tensor, "M D"] | None


@final
@dataclass(frozen=True, eq=False)
class Aggregate:
    r"""The aggregate posterior of a split, a mixture of N components, and the prior that it is held against.

    .. math:: q(z) = \frac1N \sum_{i = 1}^N q(z|x_i)

    Arguments:
        parts: q(z|x) of some images each, over vectors, with batch shape (B,) or (1, B).
        prior: p(z), one for all images.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> q = Independent(Normal(torch.tensor([[-9.0], [9.0]]), 1.0), 1)
        >>> aggregate = Aggregate((q,), Independent(Normal(torch.zeros(1), 9.0), 1))
        >>> len(aggregate), aggregate.log_prob(torch.tensor([[-9.0], [9.0]]))  # log ½ - ½ log 2π
        (2, tensor([-1.6121, -1.6121], dtype=torch.float64))
    """

    parts: tuple[Distribution, ...]
    prior: Distribution

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def sizes(self) -> list[int]:
        """How many images each part has."""
        return [part.batch_shape.numel() for part in self.parts]

    @property
    def latents(self) -> int:
        """D, how many latents there are."""
        return self.prior.event_shape.numel()

    def first(self, images: int) -> "Aggregate":
        """Give the mixture of the first images only: so many, up to where a part ends."""
        ends = torch.tensor(self.sizes).cumsum(0)
        return Aggregate(self.parts[: int((ends < images).sum()) + 1], self.prior)

    @property
    def density(self) -> bool:
        """Whether q(z|x) has a density."""
        return all(has_density(part) for part in self.parts)

    def one_each(self, seed: int = SEED) -> Float[Tensor, "N D"]:
        """Draw one z for each image; where q(z|x) is a point mass that is its code."""
        found = []
        for b, q in enumerate(self.parts):
            with rng.noise(seed, "one of each", b), torch.no_grad():
                found.append(draw(q, 1)[0].reshape(-1, self.latents))
        return torch.cat(found)

    def draw(self, n: int, seed: int = SEED) -> Draws:
        """Draw n independent z of q(z): an image at random for each, and then z of its q(z|x)."""
        with rng.noise(seed, "which of the aggregate"):
            which = torch.randint(len(self), (n,)).sort().values
        found, start = [], 0
        for b, (q, size) in enumerate(zip(self.parts, self.sizes, strict=True)):
            rows = which[(which >= start) & (which < start + size)] - start
            start += size
            if len(rows):
                with rng.noise(seed, "aggregate", b), torch.no_grad():
                    found.append(_drawn(q, rows))
        z, log_q, each = zip(*((d.z, d.log_q, d.each) for d in found), strict=True)
        return Draws(torch.cat(z), torch.cat(log_q), torch.cat(each) if each[0] is not None else None)

    @torch.no_grad()
    def log_prob(self, z: Float[Tensor, "M D"]) -> Float[Tensor, "M"]:
        """Give log q(z), over all N components, in nats; in float64, on the processor."""
        found = [_over([scored(q, some).logsumexp(1) for q in self.parts]) for some in z.split(self._rows)]
        return torch.cat(found) - math.log(len(self))

    @torch.no_grad()
    def scores(
        self, drawn: Draws, progress: Callable[[int, int], None] | None = None
    ) -> tuple[Float[Tensor, "M"], Float[Tensor, "M D"] | None]:
        """Give log q(z) at draws of it and, where q(z|x) factorises, log q(z_j) of each coordinate, in nats.

        In float64, on the processor. Memory grows with the draws and with the images, not with their product.
        """
        joint, each = [], []
        owns = drawn.z.split(self._rows) if drawn.each is None else drawn.each.split(self._rows)
        for z, own in zip(drawn.z.split(self._rows), owns, strict=True):
            if drawn.each is None:
                joint.append(self.log_prob(z))
            else:
                pairs = [_factorised(q, z, own) for q in self.parts]
                joint.append(_over([whole for whole, _ in pairs]) - math.log(len(self)))
                sums = torch.stack([part.cpu().double() for _, part in pairs]).sum(0)
                each.append(sums.log() + own.cpu().double() - math.log(len(self)))
            if progress:
                progress(sum(map(len, joint)), len(drawn.z))
        return torch.cat(joint), torch.cat(each) if each else None

    @property
    def _rows(self) -> int:
        """How many z are scored at a time."""
        return max(1, HELD // (max(self.sizes) * self.latents))


def aggregate_posterior(model: Model, blocks: Blocks) -> Aggregate:
    """Encode every image of a split once; the model is in evaluation mode for the while, and keeps no gradient.

    Raises UsageError where a model has several groups of latents, latents that are no vectors, or a prior that is
    another one for each image.

    Arguments:
        model: any `Model`; of one that is no `VAE` the trace is read, which decodes too.
        blocks: (x, labels), as `Source.blocks` gives them; how they are cut changes nothing.

    Example:
        >>> from lowerbound import likelihood, nets, posterior, prior
        >>> model = VAE(posterior.Gaussian(nets.MLP((3,)), 2), prior.Standard(2),
        ...             likelihood.Gaussian(nets.MLP((2,), (3,))))
        >>> len(aggregate_posterior(model, [(torch.rand(30, 3), None), (torch.rand(12, 3), None)]))
        42
    """
    with evaluating(model), torch.inference_mode(), rng.noise(SEED, "aggregate posterior"):
        found, first = [], None
        for x in _cut(blocks):
            first = _parts(model, x[:1]) if first is None else first
            found.append(_parts(model, x))
        if first is None:
            raise UsageError("There is no image to encode.")
        _check_prior(first[1], [p for _, p in found])
    return Aggregate(tuple(q for q, _ in found), first[1])


def scored(d: Distribution, z: Float[Tensor, "M D"]) -> Float[Tensor, "M B"]:
    """Give the log density of each z under each of a batch of distributions; a lone one counts as a batch of one.

    Example:
        >>> from torch.distributions import Independent, Normal
        >>> scored(Independent(Normal(torch.zeros(5, 2), 1.0), 1), torch.zeros(7, 2)).shape
        torch.Size([7, 5])
    """
    ones = [1] * len(d.batch_shape)
    found: Tensor = d.log_prob(z.reshape(len(z), *ones, *z.shape[1:]))
    return found.reshape(len(z), -1)


def scored_each(d: Distribution, z: Float[Tensor, "M D"]) -> Float[Tensor, "M B D"]:
    """Give the log density of each coordinate of each z, for factors as `lowerbound.dist.factors` gives them.

    Example:
        >>> from torch.distributions import Normal
        >>> scored_each(Normal(torch.zeros(5, 2), 1.0), torch.zeros(7, 2)).shape
        torch.Size([7, 5, 2])
    """
    ones = [1] * (len(d.batch_shape) - 1)
    found: Tensor = d.log_prob(z.reshape(len(z), *ones, z.shape[1]))
    return found.reshape(len(z), -1, z.shape[1])


def _factorised(q: Distribution, z: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """Sum the densities of some components: log of the joint one, and of each coordinate in units of its own q(z_j|x).

    In these units no sum overflows: where z is of q(z|x), the chance that another density is c times higher is 1/c.
    """
    base = factors(q)
    assert base is not None
    log_q = scored_each(base, z)
    return log_q.sum(-1).logsumexp(1), (log_q - own[:, None]).clamp_min_(LEAST).exp_().sum(1)


def _over(parts: list[Tensor]) -> Float[Tensor, "M"]:
    return torch.stack([part.cpu().double() for part in parts]).logsumexp(0)


def _drawn(q: Distribution, rows: Int[Tensor, "M"]) -> Draws:
    """Draw z of one part for each of these rows, which are sorted: the n-th time that one stands there, its n-th z."""
    z, log_q = draw(q, int(rows.bincount().max()))
    k, base = len(z), factors(q)
    at = torch.arange(len(rows)) - torch.searchsorted(rows, rows), rows
    log_q = q.log_prob(z) if log_q is None else log_q
    each = None if base is None else base.log_prob(z).reshape(k, -1, z.shape[-1])[at]
    return Draws(z.reshape(k, -1, z.shape[-1])[at], log_q.reshape(k, -1)[at], each)


def _parts(model: Model, x: Tensor) -> tuple[Distribution, Distribution]:
    """Give q(z|x) and p(z); the trace of a model of one's own decodes too, a VAE need not."""
    if isinstance(model, VAE):
        q, p = model.posterior(x), model.prior()
    else:
        latents = model(x).latents
        if len(latents) != 1:
            raise UsageError(
                f"{type(model).__name__} has {len(latents)} groups of latents: the aggregate posterior is that of one."
            )
        q, p = latents[0].q, latents[0].p
    if len(q.event_shape) != 1 or q.event_shape != p.event_shape:
        raise UsageError(
            f"q(z|x) is over shapes {tuple(q.event_shape)} and p(z) over {tuple(p.event_shape)}: the aggregate "
            "posterior is measured where both are over vectors of the same length."
        )
    return q, p


def _check_prior(first: Distribution, priors: list[Distribution]) -> None:
    """Raise UsageError where a model of one's own has another prior for each image."""
    if not any(p.batch_shape for p in priors):
        return
    z = first.sample(torch.Size((8,))).reshape(8, -1)
    want = scored(first, z)[:, :1]
    if not all(torch.allclose(scored(p, z), want, rtol=1e-4, atol=1e-4) for p in priors):
        raise UsageError(
            "The prior is another one for each image: q(z), which is that of all images, is held against one p(z)."
        )


def _cut(blocks: Blocks) -> Iterator[Tensor]:
    """Cut images anew, so that it does not matter how they come."""
    held: list[Tensor] = []
    for x, _ in blocks:
        held.append(x)
        if sum(map(len, held)) >= SIZE:
            *whole, rest = torch.cat(held).split(SIZE)
            yield from whole
            held = [rest]
    if held and sum(map(len, held)):
        yield torch.cat(held)
