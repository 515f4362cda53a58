"""The inference gap log p(x) − elbo: what the posterior's family costs, and what the encoder costs beyond it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound import rng
from lowerbound.dist import draw
from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED
from lowerbound.metrics.refine import optimisable, refined
from lowerbound.metrics.support import supported
from lowerbound.metrics.weights import Estimates, known, over_images
from lowerbound.vae import VAE, Latent, Model, Trace, evaluating

Moved = Callable[[int], None]
CHOICE = 500  # samples by which each image's own posterior is chosen


@final
@dataclass(frozen=True)
class Gap:
    r"""The inference gap of each of N images, and its two parts, in nats.

    .. math:: \underbrace{\log p(x) - \mathcal L(q^*)}_{\text{approximation}} +
        \underbrace{\mathcal L(q^*) - \mathcal L(q_{\text{encoder}})}_{\text{amortisation}}, \qquad
        \mathcal L(q) = \mathbb E_q \log w

    log p̂(x) and both elbos are means of the same K draws each, ε in z = μ + σ ⊙ ε, so that most of their noise
    cancels, and the approximation gap of an exact q* is 0 to rounding.

    Reference: Inference suboptimality in variational autoencoders (Cremer, Li and Duvenaud, 2018).

    Arguments:
        estimates: log p(x), from the weights of q*.
        best: the elbo of q*.
        elbo: that of the encoder's q.
        approximation: log p̂ − best.
        amortisation: best − elbo.
        approximation_error, amortisation_error: Monte Carlo standard errors; NaN of one sample.

    Example:
        >>> best, first = torch.tensor([[-2.0], [-1.0]]).double(), torch.tensor([[-4.0], [-3.0]]).double()
        >>> found = Gap.of(best, first)
        >>> found.amortisation, found.approximation.round(decimals=3)
        (tensor([2.], dtype=torch.float64), tensor([0.1200], dtype=torch.float64))
    """

    estimates: Estimates
    best: Float[Tensor, "N"]
    elbo: Float[Tensor, "N"]
    approximation: Float[Tensor, "N"]
    amortisation: Float[Tensor, "N"]
    approximation_error: Float[Tensor, "N"]
    amortisation_error: Float[Tensor, "N"]

    @classmethod
    def of(cls, best: Float[Tensor, "K N"], first: Float[Tensor, "K N"], number: int = 0) -> "Gap":
        """Read the gaps from the log weights of q* and of the encoder's q; ``number`` is that of the first image."""
        estimates = Estimates.of(best, number)
        Estimates.of(first, number)  # refuses what is not finite
        # how each draw moves log p̂ - the mean of log w, to first order
        moves = len(best) * best.softmax(0) - best
        return cls(
            estimates=estimates,
            best=best.mean(0),
            elbo=first.mean(0),
            approximation=estimates.log_p - best.mean(0),
            amortisation=(best - first).mean(0),
            approximation_error=_error(moves),
            amortisation_error=_error(best - first),
        )

    @classmethod
    def joined(cls, parts: Sequence["Gap"]) -> "Gap":
        """Give the gaps of several images, all of the same number of samples, as one."""
        names = [field.name for field in fields(cls) if field.name != "estimates"]
        columns = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
        return cls(estimates=Estimates.joined([part.estimates for part in parts]), **columns)

    def summary(self) -> dict[str, Any]:
        """Give the means over the images, as JSON takes them: what has no value is None.

        Of each figure the standard error is that over images, and the Monte Carlo error what of it is due to the
        samples alone.
        """
        log_p, n = self.estimates.summary(), len(self.elbo)
        figures = {
            "gap": (self.approximation + self.amortisation, None),
            "approximation": (self.approximation, self.approximation_error),
            "amortisation": (self.amortisation, self.amortisation_error),
            "best": (self.best, None),
            "elbo": (self.elbo, None),
        }
        found: dict[str, Any] = {
            name: {
                "mean": known(values.mean()),
                "standard_error": over_images(values),
                "monte_carlo_error": None if errors is None else known(errors.square().sum().sqrt() / n),
            }
            for name, (values, errors) in figures.items()
        }
        found["log_likelihood"] = {
            "mean": log_p["log_likelihood"],
            "standard_error": log_p["standard_error"],
            "monte_carlo_error": log_p["monte_carlo_error"],
        }
        kept = ("images", "samples", "k_hat", "no_tail", "k_hat_limit", "doubtful", "effective_samples")
        return found | {name: log_p[name] for name in kept}


def inference_gap(
    model: Model,
    x: Float[Tensor, "B *X"],
    *,
    samples: int = 5000,
    steps: int = 300,
    draws: int = 16,
    rows: int = 1000,
    seed: int = SEED,
    progress: Callable[[int, int], None] | None = None,
) -> Gap:
    r"""Split log p(x) − elbo of each image into what the family of q costs and what the encoder costs.

    .. math:: q^* = \arg\max_{q \text{ of the family}} \mathcal L(q), \qquad
        \log p(x) - \mathcal L(q_{\text{encoder}}) =
        \underbrace{\log p(x) - \mathcal L(q^*)}_{\text{approximation}} +
        \underbrace{\mathcal L(q^*) - \mathcal L(q_{\text{encoder}})}_{\text{amortisation}}

    q* is the better of the encoder's q and the one that Adam finds from there (`refined`), chosen by 500 samples and
    measured by others, so that the choice does not flatter it. Both parts are estimates: log p̂ is one from below, so
    that the approximation gap is too; q* is a local optimum, so that the amortisation gap is a lower estimate, and the
    approximation gap is too large by as much.

    Of an image only the noise, and not the optimum, depends on the others. Memory holds two numbers for each sample of
    some images, and ``rows`` decoded ones. Raises UsageError where the model is no `VAE`, q has no density or no
    reparameterised sample, an image lies outside the support of p(x|z), or the model gives NaN.

    Reference: Inference suboptimality in variational autoencoders (Cremer, Li and Duvenaud, 2018).

    Arguments:
        model: a `VAE`, which is put in evaluation mode for the while.
        x: the images.
        samples: K, by which log p(x) and both elbos are estimated.
        steps: of Adam.
        draws: latents of each image in each step.
        rows: latents decoded at a time.
        seed: of the noise.
        progress: is told how many images' worth of the work is done, of how many images.

    Example:
        >>> from lowerbound.oracle import Linear
        >>> known = Linear(torch.tensor([[3.0], [4.0]], dtype=torch.float64), torch.zeros(2).double(), sigma=1.0)
        >>> found = inference_gap(known.vae(exact=True), known.draw(3, seed=0), samples=50, steps=10)
        >>> bool(found.approximation.abs().max() < 1e-10), bool(found.amortisation.abs().max() < 1e-10)
        (True, True)
    """
    if min(samples, steps, draws, rows) < 1:
        raise UsageError(
            f"samples is {samples}, steps {steps}, draws {draws} and rows {rows}: at least 1 is needed of each."
        )
    vae, parts, size = optimisable(model), [], max(1, rows // draws)
    moved = _meter(progress, len(x), 3 * steps * draws + 2 * (CHOICE + samples))
    with evaluating(vae), torch.no_grad():
        supported(vae, x, seed)
        for start in range(0, len(x), size):
            part, own = x[start : start + size], rng.seed_of(seed, "gap", start)
            stepped = partial(lambda n, done, total: moved(3 * draws * n), len(part))  # a gradient is two passes more
            best = refined(vae, part, steps=steps, samples=draws, seed=own, progress=stepped)
            first = vae.posterior.params(part)
            chosen = _better(vae, part, best, first, rows, own, moved)
            weights = [_log_w(vae, part, params, samples, rows, own, "measure", moved) for params in (chosen, first)]
            parts.append(Gap.of(weights[0], weights[1], start))
    return Gap.joined(parts)


def _meter(progress: Callable[[int, int], None] | None, images: int, work: int) -> Moved:
    """Give what is told of each decoded latent, and says how many images' worth of them are done."""
    done = 0

    def moved(latents: int) -> None:
        nonlocal done
        done += latents
        if progress is not None:
            progress(done // work, images)

    return moved


def _better(model: VAE, x: Tensor, best: Tensor, first: Tensor, rows: int, seed: int, moved: Moved) -> Tensor:
    """Choose the parameters with the higher elbo, for each image; those of the encoder where the others are NaN."""
    gain = [_log_w(model, x, params, CHOICE, rows, seed, "choose", moved).mean(0) for params in (best, first)]
    return torch.where((gain[0] > gain[1]).to(best.device)[:, None], best, first)


def _log_w(
    model: VAE, x: Tensor, params: Tensor, samples: int, rows: int, seed: int, purpose: str, moved: Moved
) -> Float[Tensor, "K B"]:
    """Give log w of samples of the q of these parameters: the same noise for all of one seed and purpose."""
    q, p, size = model.posterior.dist(params), model.prior(), max(1, rows // len(x))
    parts = []
    with rng.noise(seed, purpose):
        for start in range(0, samples, size):
            z, log_q = draw(q, min(size, samples - start))
            trace = Trace(x, (Latent(z, q, p, log_q),), model.likelihood(z))
            parts.append(trace.log_w.cpu().double())
            moved(trace.log_w.numel())
    return torch.cat(parts)


def _error(values: Tensor) -> Tensor:
    """Give the standard error of the mean over the first axis; NaN of one value."""
    return values.std(0) / len(values) ** 0.5 if len(values) > 1 else torch.full_like(values[0], torch.nan)
