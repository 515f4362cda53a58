"""Whether codes are distributed as their prior: a test, how well the two are told apart, and where they differ."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound import optimisers, rng
from lowerbound.errors import UsageError
from lowerbound.metrics.bounds import SEED
from lowerbound.metrics.two_sample import LEAST, Answers, halved

WIDTH, BATCH, LR, DECAY = 128, 256, 1e-2, 1e-2
EPOCHS, STEPS = 20, 200  # the length of its training: so many epochs, and at least so many steps


@final
@dataclass(frozen=True, eq=False)
class Mismatch:
    """What `mismatch` has found.

    Arguments:
        n: the size of each sample.
        held_out: how many of each were held out, and classified.
        accuracy: the share of them that was told right; 0.5 is chance.
        standard_error: of the accuracy, binomial.
        p: the probability of this accuracy or a higher one if the two were one distribution; 0 where below 1e-300.
        directions: the two orthogonal directions in which the classifier's answer changes most; each coordinate is in
            units of its standard deviation in both samples together.
        deviation: these standard deviations.
    """

    n: int
    held_out: int
    accuracy: float
    standard_error: float
    p: float
    directions: Float[Tensor, "P D"]
    deviation: Float[Tensor, "D"]


def mismatch(
    a: Float[Tensor, "N D"], b: Float[Tensor, "M E"], *, steps: int | None = None, seed: int = SEED
) -> Mismatch:
    r"""Test whether a and b are of one distribution, by the accuracy of a classifier on points that it has not seen.

    A network of two hidden layers learns on one half of each sample to tell them apart, and is asked of the other half:
    of it, and not of `told_apart`'s neighbours, it can be asked in which directions the two differ.
    If the two are of one distribution, all ways to deal out the held-out labels are equally probable, so that p is that
    of Fisher's exact test: it is valid for any n and any classifier. How *different* they are is another question, to
    which p is no answer: with enough points any difference is found. The accuracy is one,

    .. math:: \mathrm{accuracy} \le \tfrac12 + \tfrac12 \sup_A |P_a(A) - P_b(A)|

    up to its standard error, since no classifier is better than the total variation distance allows.

    Raises UsageError where the samples are not of the same size and space, smaller than 20, or not finite.

    Reference: Revisiting classifier two-sample tests (Lopez-Paz and Oquab, 2017).

    Arguments:
        a, b: the samples; rows are independent, and each may be scaled as it likes.
        steps: of the classifier's training; 20 epochs and at least 200 if not said.
        seed: of how each is halved, and of the classifier.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> a, b = torch.randn(200, 2, generator=g), torch.randn(200, 2, generator=g)
        >>> mismatch(a, b, steps=50).p > 0.05, mismatch(a, 3 * b, steps=50).p < 1e-4
        (True, True)
    """
    _check(a, b)
    # with gradients, wherever it is called: the classifier needs them, and tensors that know of none are copied
    with torch.inference_mode(False), torch.enable_grad(), rng.noise(seed, "mismatch"):
        seen, held = halved(*(v.detach().cpu().double().clone() for v in (a, b)))
        mean, deviation = torch.cat(seen).mean(0), torch.cat(seen).std(0, correction=0)
        scale = deviation.clamp_min(torch.finfo(a.dtype).eps * (1 + mean.abs()))  # one that never varies stays near 0
        x, y = (torch.cat([(v - mean) / scale for v in pair]).float() for pair in (seen, held))
        net = _trained(x, len(seen[0]), steps or max(STEPS, EPOCHS * math.ceil(len(x) / BATCH)))
        y.requires_grad_()
        logit = net(y)[:, 0]
        (slope,) = torch.autograd.grad(logit.sum(), y)
    m, first = len(held[0]), logit.detach() > 0
    answers = Answers.of(first)
    directions = torch.linalg.eigh(slope.double().T @ slope.double()).eigenvectors.flip(1).T[:2]
    return Mismatch(
        n=len(a),
        held_out=m,
        accuracy=answers.accuracy,
        standard_error=answers.standard_error,
        p=answers.p,
        directions=directions,
        deviation=scale,
    )


def marginal_gaps(a: Float[Tensor, "N D"], b: Float[Tensor, "M D"]) -> Float[Tensor, "D"]:
    r"""Give for each coordinate how far its distribution functions are apart at most, by Kolmogorov and Smirnov.

    .. math:: \sup_t |F_a(t) - F_b(t)|

    Reference: Table for estimating the goodness of fit of empirical distributions (Smirnov, 1948).

    Example:
        >>> marginal_gaps(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 5.0], [1.0, 6.0]]))
        tensor([0., 1.], dtype=torch.float64)
    """
    a, b = (v.detach().cpu().double().T.contiguous().sort(1).values for v in (a, b))
    at = torch.cat([a, b], 1)
    below = [torch.searchsorted(v, at, right=True).double() / v.shape[1] for v in (a, b)]
    return (below[0] - below[1]).abs().amax(1)


def _check(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise UsageError(f"The two samples are of shapes {tuple(a.shape)} and {tuple(b.shape)}: give as many of each.")
    if len(a) < LEAST:
        raise UsageError(
            f"The two samples have {len(a)} points each: a classifier learns on half of them, and needs {LEAST} in all."
        )
    if not bool(a.isfinite().all() and b.isfinite().all()):
        raise UsageError("The two samples are not all finite: the model gives NaN. Look at how the training went.")


def _trained(x: Float[Tensor, "N D"], of_first: int, steps: int) -> nn.Module:
    """Train a classifier whose logit is above 0 for the first sample."""
    y = (torch.arange(len(x)) < of_first).float()
    net = nn.Sequential(
        nn.Linear(x.shape[1], WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 1)
    )
    optimizer = optimisers.AdamW(net.parameters(), lr=LR, weight_decay=DECAY)
    for t in range(steps):
        optimizer.param_groups[0]["lr"] = LR * (1 - t / steps)
        rows = torch.randint(len(x), (min(BATCH, len(x)),))
        loss = nn.functional.binary_cross_entropy_with_logits(net(x[rows])[:, 0], y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net
