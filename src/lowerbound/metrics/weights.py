"""What importance weights say of log p(x): the estimate, its errors, and whether these can be trusted."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.errors import UsageError
from lowerbound.metrics.pareto import tail_index, trusted

FEW = 20  # images, below which a standard error is uncertain by more than a sixth


@final
@dataclass(frozen=True)
class Estimates:
    r"""What K importance weights say of log p(x), for each of N images, in nats.

    .. math:: \log \hat p = \log \frac1K \sum_k w_k, \qquad \tilde w_k = \frac{w_k}{\sum_j w_j}, \qquad
        \mathrm{ESS} = \frac{1}{\sum_k \tilde w_k^2}

    The error is that of the logarithm to first order, the root of (K / ESS − 1) / (K − 1). The jackknife takes away
    the bias of order 1/K, by the estimates T₋ₖ without one weight each:

    .. math:: \hat T_J = K T - (K - 1) \bar T_-, \qquad
        \mathrm{error}^2 = \frac{K - 1}{K} \sum_k (T_{-k} - \bar T_-)^2

    Both errors, and the correction, have a meaning only where k̂ does not exceed `trusted`; of one sample they are NaN.

    Reference: Debiasing evidence approximations: on importance-weighted autoencoders and jackknife variational
    inference (Nowozin, 2018).

    Arguments:
        samples: K.
        log_p: log p̂, at most log p(x) in expectation.
        error: its Monte Carlo standard error.
        jackknife: log p̂ corrected for its bias, which is no bound any more.
        jackknife_error: the standard error of that.
        effective: the effective sample size, from 1 to K.
        k_hat: the tail index of the weights, see `tail_index`; None where K is too small for one.
        sizes: numbers of samples k, up to K.
        curve: for each of them the mean of log p̂ over the disjoint groups of k of the same weights: its expectation is
            the importance-weighted bound of k samples; of one it is the elbo.

    Example:
        >>> found = Estimates.of(torch.tensor([[1.0, 1.0], [3.0, 1.0]]).double().log())
        >>> found.effective
        tensor([1.6000, 2.0000], dtype=torch.float64)
    """

    samples: int
    log_p: Float[Tensor, "N"]
    error: Float[Tensor, "N"]
    jackknife: Float[Tensor, "N"]
    jackknife_error: Float[Tensor, "N"]
    effective: Float[Tensor, "N"]
    k_hat: Float[Tensor, "N"] | None
    sizes: tuple[int, ...]
    curve: Float[Tensor, "S N"]

    @classmethod
    def of(cls, log_w: Float[Tensor, "K N"], first: int = 0) -> "Estimates":
        """Read all of it from the logarithms of the weights, such as ``trace.log_w``.

        Raises UsageError where an image's are not numbers, or all −∞; ``first`` is the number of the first image.
        """
        log_w = log_w.detach().cpu().double()
        samples, total = len(log_w), log_w.logsumexp(0)
        for i, value in enumerate(total.tolist(), first):
            if not math.isfinite(value):
                raise UsageError(
                    f"log p(x) of image {i} is estimated as {value}: p(x, z) / q(z|x) has no finite logarithm. The "
                    "model's weights may hold NaN, or p(x|z) gives this image no probability."
                )
        share = (log_w - total).exp()
        spread = (samples * share - 1).square().sum(0)
        jackknife, jackknife_error = _jackknife(log_w, total)
        sizes = _sizes(samples)
        return cls(
            samples=samples,
            log_p=total - math.log(samples),
            error=(spread / (samples * (samples - 1))).sqrt() if samples > 1 else torch.full_like(total, math.nan),
            jackknife=jackknife,
            jackknife_error=jackknife_error,
            effective=1 / share.square().sum(0),
            k_hat=tail_index(log_w),
            sizes=sizes,
            curve=torch.stack([_groups(log_w, k) for k in sizes]),
        )

    @classmethod
    def joined(cls, parts: Sequence["Estimates"]) -> "Estimates":
        """Give the estimates of several images, all of the same number of samples, as one."""
        columns: dict[str, Any] = {"samples": parts[0].samples, "sizes": parts[0].sizes}
        for name in (field.name for field in fields(cls) if field.name not in columns):
            values = [getattr(part, name) for part in parts]
            columns[name] = None if values[0] is None else torch.cat(values, dim=-1)
        return cls(**columns)

    @property
    def doubtful(self) -> int | None:
        """How many images have a k̂ beyond `trusted`, or none that could be told; None where K is too small for k̂."""
        return None if self.k_hat is None else int((~(self.k_hat <= trusted(self.samples))).sum())

    def summary(self) -> dict[str, Any]:
        """Give the means over the images, as JSON takes them: what has no value is None.

        ``standard_error`` is that of the mean over images, which vary, and ``monte_carlo_error`` what of it is due to
        the K samples alone: how far the mean over *these* images may be from that of infinitely many samples. In the
        curve, ``gain`` is how far the mean is above that of one sample, the elbo, with its error over images.
        ``no_tail`` has the numbers of the images whose k̂ is −∞, which JSON has no word for: they are not in doubt. Any
        other whose ``k_hat`` is None is, since nothing can be said of its tail.
        """
        n = len(self.log_p)
        curve = [
            {
                "samples": k,
                "log_likelihood": float(row.mean()),
                "standard_error": over_images(row),
                "gain": float((row - self.curve[0]).mean()),
                "gain_error": over_images(row - self.curve[0]),
            }
            for k, row in zip(self.sizes, self.curve, strict=True)
        ]
        return {
            "images": n,
            "samples": self.samples,
            "log_likelihood": float(self.log_p.mean()),
            "standard_error": over_images(self.log_p),
            "monte_carlo_error": known(self.error.square().sum().sqrt() / n),
            "jackknife": known(self.jackknife.mean()),
            "jackknife_error": known(self.jackknife_error.square().sum().sqrt() / n),
            "effective_samples": {"median": float(self.effective.median()), "least": float(self.effective.min())},
            "k_hat": None if self.k_hat is None else [known(k) for k in self.k_hat],
            "no_tail": None if self.k_hat is None else (self.k_hat == -math.inf).nonzero()[:, 0].tolist(),
            "k_hat_limit": None if self.k_hat is None else trusted(self.samples),
            "doubtful": self.doubtful,
            "curve": curve,
        }


def _jackknife(log_w: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """Give log mean w corrected for its bias by the estimates without one weight each, and its error."""
    k = len(log_w)
    if k < 2:
        nothing = torch.full_like(total, math.nan)
        return nothing, nothing
    change = torch.log1p(-(log_w - total).exp())
    # 1 - w̃ of the largest weight may be lost to rounding: the rest is added up anew, and all others have w̃ <= 1/2
    top = log_w.argmax(0, keepdim=True)
    rest = log_w.scatter(0, top, -math.inf).logsumexp(0, keepdim=True) - total
    change = change.scatter(0, top, rest) + math.log(k / (k - 1))
    mean = change.mean(0)
    error = ((k - 1) / k * (change - mean).square().sum(0)).sqrt()
    return total - math.log(k) - (k - 1) * mean, error


def _sizes(samples: int) -> tuple[int, ...]:
    """Give 1, 2, 5, 10, 20, 50, … up to the number of samples, and that number."""
    steps = [m * 10**e for e in range(len(str(samples))) for m in (1, 2, 5)]
    return tuple(sorted({k for k in steps if k < samples} | {samples}))


def _groups(log_w: Tensor, k: int) -> Tensor:
    """Give the mean over disjoint groups of k samples of the logarithm of their mean weight."""
    groups: Tensor = log_w[: len(log_w) // k * k].unflatten(0, (-1, k)).logsumexp(1)
    return (groups - math.log(k)).mean(0)


def over_images(values: Tensor) -> float | None:
    """Give the standard error of the mean; None of one value."""
    return float(values.std() / len(values) ** 0.5) if len(values) > 1 else None


def few_images(n: int) -> list[str]:
    r"""Say in a note that the ± of a mean over n images is itself hardly known, where it is.

    .. math:: \mathrm{sd}(\mathrm{s.e.}) / \mathrm{s.e.} \approx 1 / \sqrt{2 (n - 1)}

    That is of normal values; of those with a long tail, which a few images do not show, it is more.

    Example:
        >>> few_images(5)[0].split(":")[0], few_images(100)
        ('± is over 5 images', [])
    """
    if not 1 < n < FEW:
        return []
    off = 100 / math.sqrt(2 * (n - 1))
    return [
        f"± is over {n} images: so few leave it uncertain itself, by about {off:.0f} %, and do not show how far others "
        "lie apart. Examine more (--images) before numbers are compared by it."
    ]


def known(value: Tensor) -> float | None:
    """Give a number, or None where there is none that JSON takes."""
    return float(value) if bool(value.isfinite()) else None
