"""log p(x) by importance sampling, of each image and of a whole split."""

import math
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound import rng
from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED
from lowerbound.metrics.support import supported
from lowerbound.metrics.weights import Estimates
from lowerbound.vae import Model, Trace, evaluating

ROWS = 2500  # latents decoded at a time


def log_likelihood(
    model: Model,
    x: Float[Tensor, "B *X"],
    *,
    samples: int = 5000,
    rows: int = ROWS,
    bfloat16: bool = False,
    seed: int = SEED,
) -> Float[Tensor, "B"]:
    r"""Estimate log p(x) of each image by importance sampling from its posterior, in nats.

    .. math:: \log \hat p(x) = \log \frac1K \sum_{k=1}^K \frac{p(x, z_k)}{q(z_k|x)}, \qquad z_k \sim q(z|x)

    In expectation it is at most log p(x), and rises to it with K. An image is encoded once for some ``rows`` samples,
    which are decoded together and reduced as they come: memory does not grow with K, but for a number a sample. Image
    i is the same whatever images stand beside it. `importance_sampling` gives the errors too. Raises UsageError where q
    is a point mass, which has no density to weigh samples by, where an image lies outside the support of p(x|z), as
    grey pixels under a Bernoulli do, and where the model gives NaN.

    Reference: Importance weighted autoencoders (Burda, Grosse and Salakhutdinov, 2016).

    Arguments:
        model: the model, which is put in evaluation mode for the while.
        x: the images.
        samples: K.
        rows: latents decoded at a time.
        bfloat16: whether the networks run in bfloat16; densities stay in float32.
        seed: of the noise; image i has its own.
    """
    _countable(samples, rows)
    with evaluating(model), torch.inference_mode(), torch.autocast(x.device.type, torch.bfloat16, enabled=bfloat16):
        supported(model, x, seed)
        return log_mean_weights(model, x, samples, rows, seed)


def log_mean_weights(
    model: Model, x: Float[Tensor, "B *X"], samples: int, rows: int = ROWS, seed: int = SEED
) -> Float[Tensor, "B"]:
    """Give the estimate of `log_likelihood`, and of pixels that p(x|z) gives no probability what it is of them.

    That is a cross-entropy in the place of log p(x|z), which may rank images and is no log p(x).
    """
    with evaluating(model), torch.inference_mode():
        drawn = (_log_weights(model, image[None], samples, rows, seed, i) for i, image in enumerate(x))
        sums = [torch.stack([part.logsumexp(0)[0] for part in parts]).logsumexp(0) for parts in drawn]
    return torch.stack(sums) - math.log(samples)


def importance_sampling(
    model: Model,
    x: Float[Tensor, "B *X"],
    *,
    samples: int = 5000,
    rows: int = ROWS,
    seed: int = SEED,
    progress: Callable[[int, int], None] | None = None,
) -> Estimates:
    r"""Estimate log p(x) of each image as `log_likelihood` does, from the same samples, with what `Estimates` adds.

    .. math:: \log \hat p(x) = \log \frac1K \sum_{k=1}^K \frac{p(x, z_k)}{q(z_k|x)}, \qquad z_k \sim q(z|x)

    Memory holds K numbers and ``rows`` images at a time. Raises UsageError as `log_likelihood` does, and where an image
    lies outside the support of p(x|z): what is then scored is a cross-entropy, and no likelihood.

    Reference: Importance weighted autoencoders (Burda, Grosse and Salakhutdinov, 2016).

    Arguments:
        model: the model, which is put in evaluation mode for the while.
        x: the images.
        samples: K.
        rows: latents decoded at a time.
        seed: of the noise; image i has its own.
        progress: is told how many of the images are done.

    Example:
        >>> from lowerbound.oracle import Linear
        >>> known = Linear(torch.tensor([[3.0], [4.0]], dtype=torch.float64), torch.zeros(2).double(), sigma=1.0)
        >>> x = known.draw(3, seed=0)
        >>> found = importance_sampling(known.vae(exact=True), x, samples=100)
        >>> bool((found.log_p - known.log_p(x)).abs().max() < 1e-10), found.effective.round().tolist()
        (True, [100.0, 100.0, 100.0])
    """
    _countable(samples, rows)
    parts = []
    with evaluating(model), torch.inference_mode():
        supported(model, x, seed)
        for i, image in enumerate(x):
            log_w = torch.cat(_log_weights(model, image[None], samples, rows, seed, i))
            parts.append(Estimates.of(log_w, first=i))
            if progress is not None:
                progress(i + 1, len(x))
    return Estimates.joined(parts)


def elbos(
    model: Model,
    blocks: Iterable[tuple[Float[Tensor, "..."], Int[Tensor, "..."] | None]],
    *,
    samples: int = 1,
    seed: int = SEED,
) -> Float[Tensor, "N"]:
    """Give the elbo of each image, in nats: those whose mean `evaluate` gives for the same blocks, samples and seed.

    Raises UsageError where q is a point mass.

    Example:
        >>> from lowerbound.oracle import Linear
        >>> known = Linear(torch.tensor([[3.0], [4.0]], dtype=torch.float64), torch.zeros(2).double(), sigma=1.0)
        >>> elbos(known.vae(exact=True), [(known.draw(5, seed=0), None), (known.draw(2, seed=1), None)]).shape
        torch.Size([7])
    """
    found = []
    with evaluating(model), torch.inference_mode():
        for b, (x, _) in enumerate(blocks):
            with rng.noise(seed, "evaluate", b):
                trace = _dense(model(x, samples=samples))
                found.append((trace.log_px - trace.kl).cpu().double().mean(0))
    return torch.cat(found)


def mean_of_split(elbo: Float[Tensor, "N"], log_p: Float[Tensor, "n"]) -> tuple[float, float | None]:
    r"""Give the mean log p(x) of N images of which n were examined, from the elbo of all: the value and its error.

    .. math:: \bar p_n + b \, (\bar e_N - \bar e_n), \qquad b = \frac{s_{pe}}{s_e^2}, \qquad
        \mathrm{error}^2 = \frac{b^2 s_{e, N}^2 + s_r^2}{N} + \Bigl(\frac1n - \frac1N\Bigr) s_r^2

    Images differ much in their log p(x), and the elbo e of all of them tells how those examined differ from the rest,
    as far as it goes with log p̂. So what is left of the error is that of the residuals r = p − be about their mean,
    and, for images like these in general, that of N images, whose elbo varies as all of them say. The estimate is sound
    where the residuals of the images examined are like those of the others; of fewer than three images b is 1, and the
    error None. Raises UsageError where n is 0 or more than N.

    Reference: Sampling techniques (Cochran, 1977), section 12.7.

    Arguments:
        elbo: of each image of the split, those examined first.
        log_p: log p̂ of those examined.

    Example:
        >>> value, error = mean_of_split(torch.tensor([-100.0, -120, -140, -160]), torch.tensor([-99.0, -117, -138]))
        >>> round(value, 2), round(error, 2)
        (-127.75, 12.6)
    """
    n, total = len(log_p), len(elbo)
    if not 0 < n <= total:
        raise UsageError(f"{n} images were examined of a split of {total}: give the elbo of all, and one or more.")
    elbo, log_p = elbo.double().cpu(), log_p.double().cpu()
    e, p = elbo[:n] - elbo[:n].mean(), log_p - log_p.mean()
    slope = float((e * p).sum() / e.square().sum()) if n > 2 and bool((e != 0).any()) else 1.0
    value = float(log_p.mean() + slope * (elbo.mean() - elbo[:n].mean()))
    if n < 3:
        return value, None
    residual = (p - slope * e).square().sum()
    of_all = (slope**2 * elbo.var() + residual / (n - 1)) / total  # b was fitted to those examined: n - 2 for the rest
    return value, float((of_all + (1 / n - 1 / total) * residual / (n - 2)).sqrt())


def _countable(samples: int, rows: int) -> None:
    if samples < 1 or rows < 1:
        raise UsageError(f"samples is {samples} and rows {rows}: at least 1 is needed of each.")


def _log_weights(model: Model, image: Tensor, samples: int, rows: int, seed: int, i: int) -> list[Tensor]:
    """Give log w of every sample of image i, some ``rows`` at a time, each (k, 1)."""
    counts = [min(rows, samples - start) for start in range(0, samples, rows)]
    with rng.noise(seed, "importance", i):
        parts = [_dense(model(image, samples=k)).log_w.cpu().double() for k in counts]
    if any(bool(part.isnan().any()) for part in parts):
        raise UsageError(
            f"The model gives NaN for image {i}: log p(x) cannot be estimated. Its weights may hold NaN, or the image "
            "values that it was not made for."
        )
    return parts


def _dense(trace: Trace) -> Trace:
    if not trace.density:
        raise UsageError(
            "log p(x) is estimated from p(x, z) / q(z|x), and the posterior is a point mass, which has no density: of "
            "an autoencoder the distortion can be measured, and no likelihood."
        )
    return trace
