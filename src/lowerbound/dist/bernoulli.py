"""The Bernoulli on logits, and what it is on grey pixels."""

from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Bernoulli

FOLDS = 3  # eight factors of at least 1/2 each: far above the smallest float32


@final
class CrossEntropy(Bernoulli):
    r"""The negative cross-entropy of pixels in [0, 1] against logits.

    .. math:: \log p(x) = x \log \mathrm{sigmoid}(l) + (1 - x) \log (1 - \mathrm{sigmoid}(l))

    For x in {0, 1} this is the Bernoulli's log-likelihood. For grey x it is a cross-entropy and *not* a
    log-likelihood, since it does not integrate to one over [0, 1]; the support stays {0, 1}, so that
    ``px.support.check(x).all()`` tells which of the two a number is. `ContinuousBernoulli` is the likelihood.

    Example:
        >>> px = CrossEntropy(logits=torch.zeros(2))
        >>> px.log_prob(torch.tensor([1.0, 0.5]))
        tensor([-0.6931, -0.6931])
        >>> px.support.check(torch.tensor([1.0, 0.5]))
        tensor([ True, False])
    """

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Give minus the cross-entropy, elementwise, in nats; grey values are let through."""
        logits, value = torch.broadcast_tensors(self.logits, value)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def summed_log_prob(self, value: Float[Tensor, "..."], axes: int) -> Float[Tensor, "..."]:
        """Give minus the cross-entropy summed over the last axes, in fewer passes over the pixels."""
        total: Tensor = _Summed.apply(self.logits, value, axes)  # type: ignore[no-untyped-call]
        return total


class _Summed(torch.autograd.Function):
    r"""Σ x l - softplus(l) = Σ (x - 1/2) l - |l|/2 + log sigmoid(|l|).

    A sigmoid of |l| is at least 1/2, so that a few can be multiplied before the one logarithm of their product: the
    logarithm is the slowest part.
    """

    @staticmethod
    def forward(ctx: Any, l: Tensor, x: Tensor, axes: int) -> Tensor:
        ctx.save_for_backward(l, x)
        ctx.axes = axes
        size = l.abs().flatten(-axes)
        linear = ((x - 0.5) * l).flatten(-axes).sum(-1) - 0.5 * size.sum(-1)
        products = size.sigmoid_()
        for _ in range(FOLDS):
            if products.shape[-1] % 2 == 0:
                a, b = products.chunk(2, -1)
                products = a * b
        return linear + products.log_().sum(-1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        l, x = ctx.saved_tensors
        g = g[(..., *[None] * ctx.axes)]
        dl = ((x - l.sigmoid()) * g).sum_to_size(l.shape) if ctx.needs_input_grad[0] else None
        dx = (l * g).sum_to_size(x.shape) if ctx.needs_input_grad[1] else None
        return dl, dx, None
