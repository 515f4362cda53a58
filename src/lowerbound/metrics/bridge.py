"""The bridge of annealing: densities between a base and the posterior, and chains that cross it either way."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from lowerbound import rng
from lowerbound.dist import draw
from lowerbound.errors import UsageError
from lowerbound.metrics.hamiltonian import Place, look, transition
from lowerbound.metrics.support import refuse_outside, support_of
from lowerbound.vae import VAE, Model, evaluating

Progress = Callable[[int, int], None]
Chains = tuple[Float[Tensor, "C B"], Float[Tensor, "C B"]]  # log w, and the mean acceptance
SPREAD = 4.0  # the temperatures lie as a sigmoid's values between minus and plus this
ACCEPTED = 0.7  # of the steps, in the pilot run
PILOT = 4  # chains of the pilot run
GAIN = 0.5  # of log ε, for each unit of acceptance
WARM = 20  # steps of the pilot run at the first temperature
AHEAD = 8  # steps whose noise is drawn at once
SCALED = 256  # draws from which the scale of each latent is taken


@final
@dataclass(frozen=True)
class Annealing:
    r"""How chains go from a base that can be drawn from to the posterior.

    .. math:: f_t(z) = r(z)^{1 - b_t} \, (p(z) \, p(x|z))^{b_t}, \qquad
        b_t = \frac{s(t) - s(0)}{s(T) - s(0)}, \quad s(t) = \mathrm{sigmoid}\left(4 \, (2t/T - 1)\right)

    From the posterior the way is short: of a trained model with 50 latents the settings by default leave a gap of less
    than a tenth of a nat. From the prior it takes ten times the temperatures, and knows nothing of the encoder.

    Reference: On the quantitative analysis of decoder-based generative models (Wu, Burda, Salakhutdinov and Grosse,
    2017), whose spacing this is.

    Arguments:
        base: r, the "posterior" q(z|x) or the "prior" p(z).
        temperatures: T; between two of them is one step of Hamiltonian Monte Carlo.
        leaps: of each step, each with one gradient through the decoder.
        chains: C, for each image.
        rows: latents decoded at a time, which bounds the memory.

    Example:
        >>> [round(b, 3) for b in Annealing(temperatures=4).schedule()]
        [0.0, 0.105, 0.5, 0.895, 1.0]
    """

    base: str = "posterior"
    temperatures: int = 100
    leaps: int = 5
    chains: int = 16
    rows: int = 1024

    def __post_init__(self) -> None:
        if self.base not in ("prior", "posterior"):
            raise UsageError(f"base is {self.base!r}: chains begin at the 'prior' or at the 'posterior'.")
        for name, least in (("temperatures", 2), ("leaps", 1), ("chains", 2), ("rows", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}: at least {least} is needed.")

    def schedule(self) -> list[float]:
        """Give b from 0 to 1."""
        points = SPREAD * torch.linspace(-1, 1, self.temperatures + 1, dtype=torch.float64)
        s = torch.sigmoid(points)
        return [float(b) for b in (s - s[0]) / (s[-1] - s[0])]


@final
class Bridge:
    """Some images between base and posterior: the chains of all of them are moved together.

    Step sizes are found when it is made, in a pilot run under noise of its own, and stay as they are.

    Arguments:
        model: at rest, see `at_rest`.
        x: the images.
        first: the number of the first, by which each image has its own noise.
        how: see `Annealing`.
        seed: of the noise.
        tick: called after each temperature.
    """

    def __init__(
        self, model: VAE, x: Float[Tensor, "B *X"], first: int, how: Annealing, seed: int, tick: Callable[[], None]
    ) -> None:
        self.model, self.x, self.first, self.how, self.seed, self.tick = model, x.clone(), first, how, seed, tick
        self.b = how.schedule()
        with torch.no_grad(), rng.noise(seed, "annealed checks"):
            self.p, self.q = model.prior(), model.posterior(self.x)
            _suits(model, self.p, self.x, first)
        z, coded = self._drawn("annealed pilot", SCALED), self._drawn("annealed scale", SCALED, "posterior")
        with rng.noise(seed, "annealed checks"):
            self._differentiable(z[:2])
        self.scales = z.std(0), coded.std(0)
        self.steps = self._pilot(z[:PILOT])

    def densities(self, z: Float[Tensor, "C B D"]) -> tuple[Float[Tensor, "C B"], Float[Tensor, "C B"]]:
        """Give log r(z) and log p(z) p(x|z)."""
        log_p = self.p.log_prob(z)
        log_r = log_p if self.how.base == "prior" else self.q.log_prob(z)
        return log_r, log_p + self.model.likelihood(z).log_prob(self.x)

    def step(self, t: int) -> Float[Tensor, "B D"]:
        """Give the frozen step size of a temperature, for each image and latent."""
        return self.steps[t - 1][:, None] * self._scale(self.b[t])

    def forward(self) -> Chains:
        """Run chains from the base to the posterior; the mean of w is p(x)."""
        return self._crossed(lambda k, c: self._drawn(f"annealed start {k}", c), range(1, len(self.b)), "annealed")

    def reverse(self, z: Float[Tensor, "B D"]) -> Chains:
        """Run chains from exact samples of the posterior back to the base; the mean of 1/w is 1/p(x)."""
        order = range(len(self.b) - 1, 0, -1)
        return self._crossed(lambda k, c: z.expand(c, *z.shape), order, "annealed reverse")

    def _crossed(self, start: Callable[[int, int], Tensor], order: range, purpose: str) -> Chains:
        counts = chunks(self.how)
        found = [self._cross(start(k, c), order, f"{purpose} {k}") for k, c in enumerate(counts)]
        log_w, accepted = (torch.cat(parts) for parts in zip(*found, strict=True))
        return log_w, accepted

    def _cross(self, z: Tensor, order: range, purpose: str) -> Chains:
        """Take each temperature's part of log w, then move under the density that lies ahead."""
        noise, place = self._noise(purpose, z), self._look(z)
        log_w = torch.zeros(z.shape[:2], dtype=torch.float64)
        accepted = torch.zeros_like(log_w)
        for t in order:
            log_w += (self.b[t] - self.b[t - 1]) * (place.target - place.base).cpu().double()
            ahead = t if order.step > 0 else t - 1
            if 0 < ahead < len(self.b) - 1:
                place, chance = transition(
                    self.densities, place, self.b[ahead], self.step(ahead), self.how.leaps, next(noise)
                )
                accepted += chance.cpu().double()
            self.tick()
        return log_w, accepted / (len(self.b) - 2)

    def _pilot(self, z: Tensor) -> Float[Tensor, "T B"]:
        """Follow the acceptance of a few chains, from the base to the posterior, and give the step sizes on the way."""
        noise, place = self._noise("annealed pilot steps", z), self._look(z)
        log_step, steps = torch.full_like(z[0, :, 0], z.shape[-1] ** -0.25).log(), []
        for t in [1] * WARM + list(range(1, len(self.b) - 1)):
            step = log_step.exp()[:, None] * self._scale(self.b[t])
            place, chance = transition(self.densities, place, self.b[t], step, self.how.leaps, next(noise))
            log_step = log_step + GAIN * (chance.mean(0) - ACCEPTED)
            steps.append(log_step.exp())
        return torch.stack(steps[WARM:])

    def _scale(self, b: float) -> Float[Tensor, "B D"]:
        """Give the standard deviations of a Gaussian whose precision lies between those of base and posterior."""
        start, end = self.scales
        return ((1 - b) / start.square() + b / end.square()).rsqrt()

    def _differentiable(self, z: Tensor) -> None:
        """Raise UsageError where a density has no gradient in z, or is another number when asked again."""
        z = z.requires_grad_()
        log_px = self.model.likelihood(z).log_prob(self.x)
        for name, value in (("p(x|z)", log_px), ("p(z)", self.p.log_prob(z)), ("the base", self.densities(z)[0])):
            if not value.requires_grad:
                raise UsageError(
                    f"log of {name} has no gradient in z, by which Hamiltonian steps move: take importance sampling."
                )
        once, twice = self.p.log_prob(z), self.p.log_prob(z)
        if not torch.allclose(once, twice, rtol=1e-4, atol=1e-4, equal_nan=True):
            raise UsageError(
                f"log p(z) of {type(self.model.prior).__name__} is itself an estimate, another one each time, and "
                "annealing needs its value: give the model a prior with a density, or take importance sampling."
            )

    def _look(self, z: Tensor) -> Place:
        place = look(self.densities, z)
        if not (place.base.isfinite().all() and place.target.isfinite().all()):
            raise UsageError(
                "Where the chains begin, log p(z) p(x|z) or the density of the base is not a finite number: the model "
                "gives NaN or infinity there, and no log p(x) can be said of it."
            )
        return place

    def _drawn(self, purpose: str, chains: int, base: str = "") -> Float[Tensor, "C B D"]:
        """Draw latents from the base, or from q(z|x), each image's under noise of its own."""
        parts = []
        for i, image in enumerate(self.x, self.first):
            with torch.no_grad(), rng.noise(self.seed, purpose, i):
                q = self.p if (base or self.how.base) == "prior" else self.model.posterior(image[None])
                parts.append(draw(q, chains)[0].reshape(chains, -1))
        return torch.stack(parts, 1)

    def _noise(self, purpose: str, z: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Give momenta and uniform numbers for one step after the other, each image's from a generator of its own."""
        (chains, images, latents), seed = z.shape, self.seed
        own = [torch.Generator().manual_seed(rng.seed_of(seed, purpose, self.first + i)) for i in range(images)]
        while True:  # several steps at once, and one more number for each chain, since each call has its price
            normal = torch.stack([torch.randn(AHEAD, chains, latents + 1, generator=g, dtype=z.dtype) for g in own], 2)
            for step in normal.to(z.device):
                yield step[..., :-1], torch.special.ndtr(step[..., -1])


@contextmanager
def at_rest(model: Model) -> Iterator[VAE]:
    """Put a model in evaluation mode and keep its weights from gradients for the while.

    Raises UsageError where it is no VAE: annealing needs p(z) and p(x|z) at any z.
    """
    if not isinstance(model, VAE):
        raise UsageError(
            f"Annealing needs log p(z) and log p(x|z) at any z, and {type(model).__name__} gives them together at its "
            "own samples only: give a VAE, whose prior and likelihood are parts."
        )
    learning = [p for p in model.parameters() if p.requires_grad]
    try:
        for p in learning:
            p.requires_grad_(False)
        # a gradient in z, whatever the caller has switched off
        with evaluating(model), torch.inference_mode(False), torch.enable_grad():
            yield model
    finally:
        for p in learning:
            p.requires_grad_(True)


def blocks(images: int, how: Annealing) -> list[tuple[int, int]]:
    """Cut images into blocks whose chains fit into the rows."""
    size = max(1, how.rows // how.chains)
    return [(i, min(i + size, images)) for i in range(0, images, size)]


def chunks(how: Annealing) -> list[int]:
    """Cut the chains of an image, where even they do not fit."""
    return [min(how.rows, how.chains - k) for k in range(0, how.chains, how.rows)]


def ticks(progress: Progress | None, total: int) -> Callable[[], None]:
    """Count calls, and tell of them."""
    done = iter(range(1, total + 1))
    return lambda: progress(next(done), total) if progress else None


def _suits(model: VAE, p: Distribution, x: Tensor, first: int) -> None:
    """Raise UsageError where there is no likelihood of x, or where latents are no vectors of real numbers."""
    trace = model(x[:1])
    if not trace.density:
        raise UsageError(
            "The posterior is a point mass, which has no density: of an autoencoder the distortion can be measured, "
            "and no log p(x)."
        )
    support = support_of(p)
    each = getattr(support, "base_constraint", support)
    if len(p.event_shape) != 1 or each not in (constraints.real, constraints.real_vector):
        raise UsageError(
            "Hamiltonian steps move latents that are vectors of real numbers, and those of "
            f"{type(model.prior).__name__} are others: take importance sampling."
        )
    trace.log_px.sum()  # says where the shapes do not fit
    refuse_outside(trace.px, x, first)
