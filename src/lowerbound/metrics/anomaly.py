"""How unusual an image is to a model, a threshold with a known rate of false alarms, and the area under the ROC curve.

A higher score is more anomalous, whatever the method. Likelihoods of images are known to call simpler images of
another kind more likely than the model's own (Nalisnick et al., 2019): the elbo and log p(x) find what is odd within
one kind of images; the likelihood regret, which takes much longer, was made for images of a kind that was not seen.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from lowerbound import rng
from lowerbound.errors import UsageError, nearest
from lowerbound.metrics.bounds import SEED
from lowerbound.metrics.importance import log_mean_weights
from lowerbound.metrics.refine import Progress, given, optimisable, refined
from lowerbound.vae import Model, Trace, evaluating

DRAWS = {"elbo": 16, "importance": 256, "reconstruction": 16, "regret": 64}  # latents of each image, if not said
ROWS = 2500  # latents decoded at a time
STEPS, STEP_DRAWS = 100, 4  # of Adam for the regret, and latents of each image in a step
Z = 1.959963984540054  # the normal's 97.5 % point


def score(
    model: Model,
    x: Float[Tensor, "B *X"],
    method: str = "elbo",
    *,
    samples: int | None = None,
    seed: int = SEED,
    progress: Progress | None = None,
) -> Float[Tensor, "B"]:
    r"""Give the anomaly score of each image, in nats: the higher, the less the image is like what was learned.

    .. math::
        \text{elbo: } -\mathcal L(x), \quad
        \text{importance: } -\log \tfrac1K \textstyle\sum_k p(x, z_k) / q(z_k|x), \quad
        \text{reconstruction: } -\mathbb E_q \log p(x|z), \quad
        \text{regret: } \max_\lambda \mathcal L(x; q_\lambda) - \mathcal L(x; q(z|x))

    The regret is what the encoder leaves to be gained: the posterior's parameters are optimised for each image, see
    `refined` (the paper's other variant optimises the encoder's weights), and both elbos are taken under the same
    noise. It may be slightly below 0 where the encoder is at its best already.

    Where q is a point mass only the reconstruction is there. Images are in float64, on the processor.

    Raises UsageError for an unknown method, no samples, a posterior without a density where one is needed, a model
    that is no `VAE` for the regret, and a model that gives NaN.

    Reference: elbo and log p(x), see Nalisnick et al. (2019) for what they miss; the reconstruction probability, An
    and Cho (2015); the likelihood regret, Xiao, Yan and Amit (2020).

    Arguments:
        model: the model, which is put in evaluation mode for the while.
        x: the images.
        method: "elbo", "importance", "reconstruction" or "regret".
        samples: latents drawn for each image; 16, for importance 256 and for the regret's two elbos 64 if not said.
        seed: of the noise.
        progress: is told how many images are done, of how many.

    Example:
        >>> from lowerbound.oracle import Linear
        >>> known = Linear(torch.tensor([[3.0], [4.0]], dtype=torch.float64), torch.zeros(2).double(), sigma=1.0)
        >>> x = torch.tensor([[3.0, 4.0], [4.0, -3.0]]).double()  # along the one latent, and across
        >>> usual, odd = score(known.vae(exact=True), x, "importance")
        >>> bool(usual < odd)
        True
    """
    if method not in DRAWS:
        raise UsageError(f"There is no anomaly score {method!r}; {nearest(method, [*DRAWS])}")
    samples = DRAWS[method] if samples is None else samples
    if samples < 1:
        raise UsageError(f"samples is {samples}: at least 1 is needed.")
    found, size = [], max(1, ROWS // (STEP_DRAWS if method == "regret" else samples))
    with evaluating(model), torch.no_grad():
        for start in range(0, len(x), size):
            part, own = x[start : start + size], rng.seed_of(seed, "score", start)
            found.append(_METHODS[method](model, part, samples, own).cpu().double())
            if progress:
                progress(start + len(part), len(x))
    scores = torch.cat([torch.empty(0, dtype=torch.float64), *found])
    if bool(scores.isnan().any()):
        i = int(scores.isnan().nonzero()[0])
        raise UsageError(
            f"The model gives NaN for {int(scores.isnan().sum())} of {len(x)} images, the first at {i}: they have no "
            "score. Look for NaN in the images, and for a training that diverged."
        )
    return scores


def _elbo(model: Model, x: Tensor, samples: int, seed: int) -> Tensor:
    return -(trace := _drawn(model, x, samples, seed)).log_px.mean(0) + _rate(trace)


def _reconstruction(model: Model, x: Tensor, samples: int, seed: int) -> Tensor:
    return -_drawn(model, x, samples, seed).log_px.mean(0)


def _importance(model: Model, x: Tensor, samples: int, seed: int) -> Tensor:
    return -log_mean_weights(model, x, samples, seed=seed)


def _regret(model: Model, x: Tensor, samples: int, seed: int) -> Tensor:
    vae = optimisable(model)
    best, first = refined(vae, x, steps=STEPS, samples=STEP_DRAWS, seed=seed), vae.posterior.params(x)
    gain = torch.zeros(len(x), dtype=torch.float64)
    for r, start in enumerate(range(0, samples, STEP_DRAWS)):
        count = min(STEP_DRAWS, samples - start)
        for params, sign in ((best, 1), (first, -1)):
            with rng.noise(seed, "regret", r):  # the same for both, so that most of it cancels
                gain += sign * count / samples * given(vae, x, params, count).cpu().double()
    return gain


_METHODS: dict[str, Callable[[Model, Tensor, int, int], Tensor]] = {
    "elbo": _elbo,
    "importance": _importance,
    "reconstruction": _reconstruction,
    "regret": _regret,
}


def _drawn(model: Model, x: Tensor, samples: int, seed: int) -> Trace:
    with rng.noise(seed, "anomaly"):
        return model(x, samples=samples)  # type: ignore[no-any-return]


def _rate(trace: Trace) -> Tensor:
    if not trace.density:
        raise UsageError(
            "The posterior is a point mass, which has no density: there is no elbo to score images by. "
            "Take the reconstruction."
        )
    return trace.kl.mean(0)


def p_values(scores: Float[Tensor, "N"], normal: Float[Tensor, "M"]) -> Float[Tensor, "N"]:
    r"""Give the conformal p-value of each score: its rank among those of M normal images that were held out.

    .. math:: p = \frac{1 + \#\{i : s_i \ge s\}}{M + 1}

    Of an image that is exchangeable with the normal ones, Pr(p ≤ α) ≤ α for every α, over the draw of all M + 1. The
    smallest possible is 1 / (M + 1).

    Reference: Algorithmic learning in a random world (Vovk, Gammerman and Shafer, 2005); for anomalies, Bates et al.
    (2023).

    Example:
        >>> p_values(torch.tensor([2.5, 9.0]), torch.tensor([1.0, 2.0, 3.0]))
        tensor([0.5000, 0.2500], dtype=torch.float64)
    """
    ranked = normal.double().sort().values
    below = torch.searchsorted(ranked, scores.double().contiguous())
    return (1 + len(ranked) - below).double() / (len(ranked) + 1)


def threshold(normal: Float[Tensor, "M"], false_alarms: float) -> float:
    r"""Give the score above which an image is flagged, so that a normal one is with probability α at most.

    .. math:: t = s_{(k)}, \qquad k = \lceil (M + 1) (1 - \alpha) \rceil

    This is the quantile of split conformal prediction, and flags those whose `p_values` are α or less. It is infinite
    where M < 1 / α - 1: so few normal images tell nothing of so rare an alarm. The rate α holds on average over the
    choice of the M images; given these it varies by about √(α (1 - α) / M).

    Raises UsageError where α is not between 0 and 1, or no normal image is there.

    Reference: Algorithmic learning in a random world (Vovk, Gammerman and Shafer, 2005).

    Arguments:
        normal: scores of normal images that were not trained on.
        false_alarms: α.

    Example:
        >>> threshold(torch.arange(1.0, 20.0), 0.05), threshold(torch.arange(1.0, 19.0), 0.05)
        (19.0, inf)
    """
    if not 0 < false_alarms < 1:
        raise UsageError(f"The rate of false alarms is {false_alarms:g}: it must be between 0 and 1.")
    n = len(normal)
    if not n:
        raise UsageError("A threshold needs scores of normal images that were held out, and there are none.")
    above = math.floor((n + 1) * false_alarms + 1e-9)  # 20 · 0.05 is 1, whatever its last bit
    return math.inf if above < 1 else float(normal.double().sort().values[n - above])


@final
@dataclass(frozen=True)
class Area:
    """The area under a ROC curve, with its standard error and a 95 % interval; None where DeLong's has no width."""

    value: float
    error: float | None
    low: float | None
    high: float | None


def area(scores: Float[Tensor, "N"], anomalous: Bool[Tensor, "N"]) -> Area:
    r"""Give the area under the ROC curve: how often an anomalous image scores above a normal one; ties count half.

    .. math:: A = \frac{1}{mn} \sum_{i, j} [a_i > b_j] + \tfrac12 [a_i = b_j], \qquad
        \mathrm{Var}\,A \approx \frac{\mathrm{Var}_i\,F_b(a_i)}{m} + \frac{\mathrm{Var}_j\,F_a(b_j)}{n}

    The interval is taken on the logit of A, so that it stays within 0 and 1. Where the two kinds do not overlap, or one
    has a single image, there is none. Raises UsageError where one of the two kinds is missing.

    Reference: Comparing the areas under correlated ROC curves (DeLong, DeLong and Clarke-Pearson, 1988).

    Arguments:
        scores: higher is more anomalous.
        anomalous: which images are.

    Example:
        >>> found = area(torch.tensor([1.0, 2.0, 3.0, 2.5]), torch.tensor([False, False, True, True]))
        >>> found.value, found.error
        (1.0, None)
    """
    a, b = _parted(scores, anomalous)
    of_a, of_b = _placed(a, b), 1 - _placed(b, a)
    value = float(of_a.mean())
    spread = len(a) > 1 and len(b) > 1 and 0 < value < 1
    error = float((of_a.var() / len(a) + of_b.var() / len(b)).sqrt()) if spread else 0.0
    if not error > 0:
        return Area(value, None, None, None)
    logit, reach = math.log(value / (1 - value)), Z * error / (value * (1 - value))
    low, high = (1 / (1 + math.exp(-(logit + side * reach))) for side in (-1, 1))
    return Area(value, error, low, high)


def roc(scores: Float[Tensor, "N"], anomalous: Bool[Tensor, "N"]) -> tuple[Float[Tensor, "T"], Float[Tensor, "T"]]:
    """Give false-alarm and detection rates at every threshold, from none flagged, (0, 0), to all, (1, 1).

    Raises UsageError where all images are anomalous, or none is.

    Example:
        >>> alarms, found = roc(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([False, True, True]))
        >>> alarms.tolist(), found.tolist()
        ([0.0, 0.0, 0.0, 1.0], [0.0, 0.5, 1.0, 1.0])
    """
    _parted(scores, anomalous)
    order = scores.double().argsort(descending=True)
    ranked, hits = scores.double()[order], anomalous[order].double()
    last = torch.cat([ranked[1:] != ranked[:-1], torch.ones(1, dtype=torch.bool)])  # of each run of ties
    rates = [torch.cat([torch.zeros(1, dtype=torch.float64), part.cumsum(0)[last] / part.sum()])
             for part in (1 - hits, hits)]  # fmt: skip
    return rates[0], rates[1]


def _parted(scores: Tensor, anomalous: Tensor) -> tuple[Tensor, Tensor]:
    a, b = scores[anomalous].double(), scores[~anomalous].double()
    if not len(a) or not len(b):
        raise UsageError(
            f"A ROC curve needs images of both kinds: {len(a)} are anomalous and {len(b)} normal. "
            "Say by their labels which are, or give a second data set."
        )
    return a, b


def _placed(a: Shaped[Tensor, "m"], b: Shaped[Tensor, "n"]) -> Float[Tensor, "m"]:
    """Give the share of b that lies below each of a, ties half."""
    ranked = b.sort().values
    below, upto = (torch.searchsorted(ranked, a.contiguous(), right=right) for right in (False, True))
    return (below + upto).double() / (2 * len(b))
