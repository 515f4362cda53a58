"""Invertible maps of vectors: planar and Householder ones by hand, autoregressive ones by zuko.

This is the only file that imports zuko, and it does so when the first such map is made.
"""

import math
from collections.abc import Sequence
from functools import cache, partial
from types import ModuleType
from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Transform, constraints

from lowerbound.dist import full_precision

SLOPE = 1e-3  # the least slope of a planar map along w, so that the logarithm of its Jacobian is finite
BINS = 8  # of a spline


@final
class Planar(Transform):
    r"""Space is pressed together or pulled apart along u, on both sides of the plane wᵀx + b = 0.

    .. math:: y = x + \hat u \tanh(w^\top x + b), \qquad
        \log \left| \det \frac{\partial y}{\partial x} \right| =
        \log (1 + w^\top \hat u \, (1 - \tanh^2(w^\top x + b)))

    It is invertible where wᵀû > -1: û is u with its part along w replaced, so that wᵀû = m(wᵀu) for a growing m. The
    paper's m(a) = softplus(a) - 1 is log 2 - 1 at 0, by which û grows without bound as w vanishes; this one is shifted
    so that m(0) = 0. The inverse is the root of an equation in wᵀx alone, found by bisection; its first derivatives
    are exact.

    Reference: Variational inference with normalizing flows (Rezende and Mohamed, 2015).

    Arguments:
        u, w: vectors, with any leading axes.
        b: a number for each.

    Example:
        >>> f = Planar(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.0]), torch.zeros(1))
        >>> f(torch.tensor([0.5, 3.0])), f.inv(f(torch.tensor([0.5, 3.0])))
        (tensor([1.1152, 3.0000]), tensor([0.5000, 3.0000]))
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, u: Float[Tensor, "... D"], w: Float[Tensor, "... D"], b: Float[Tensor, "... 1"]) -> None:
        super().__init__()
        along = (w * u).sum(-1, keepdim=True)
        allowed = (1 - SLOPE) * (F.softplus(along + math.log(math.e - 1)) - 1)
        tiny = torch.finfo(w.dtype).tiny
        self.u = u + (allowed - along) * w / w.square().sum(-1, keepdim=True).clamp_min(tiny)
        self.w, self.b = w, b
        self.along = (w * self.u).sum(-1, keepdim=True)

    def _call(self, x: Tensor) -> Tensor:
        return x + self.u * self._tanh(x)

    def _inverse(self, y: Tensor) -> Tensor:
        target = (self.w * y).sum(-1, keepdim=True)
        with torch.no_grad():
            a = _root(self.along, self.b, target)
        # one step of Newton's from the root moves it by rounding only, and gives it its derivatives
        t = torch.tanh(a + self.b)
        a = a - (a + self.along * t - target) / (1 + self.along * (1 - t.square()))
        return y - self.u * torch.tanh(a + self.b)

    def log_abs_det_jacobian(self, x: Float[Tensor, "... D"], y: Float[Tensor, "... D"]) -> Float[Tensor, "..."]:
        """Give log |det dy/dx|."""
        return torch.log1p(self.along * (1 - self._tanh(x).square())).squeeze(-1)

    def _tanh(self, x: Tensor) -> Tensor:
        return torch.tanh((self.w * x).sum(-1, keepdim=True) + self.b)


def _root(c: Tensor, b: Tensor, target: Tensor) -> Tensor:
    """Solve a + c tanh(a + b) = target, which grows in a, by halving the interval the root is in."""
    low, high = target - c.abs(), target + c.abs()
    for _ in range(torch.finfo(target.dtype).bits):
        middle = (low + high) / 2
        below = middle + c * torch.tanh(middle + b) < target
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


@final
class Householder(Transform):
    r"""The reflection in the plane orthogonal to v; it is its own inverse and keeps volumes.

    .. math:: y = x - 2 \frac{v v^\top}{\|v\|^2} x, \qquad
        \log \left| \det \frac{\partial y}{\partial x} \right| = 0

    Reference: Improving variational auto-encoders using Householder flow (Tomczak and Welling, 2016).

    Example:
        >>> Householder(torch.tensor([2.0, 0.0]))(torch.tensor([0.5, 3.0]))
        tensor([-0.5000,  3.0000])
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, v: Float[Tensor, "... D"]) -> None:
        super().__init__()
        tiny = torch.finfo(v.dtype).tiny
        self.v = v / v.square().sum(-1, keepdim=True).clamp_min(tiny).sqrt()

    def _call(self, x: Tensor) -> Tensor:
        return x - 2 * self.v * (self.v * x).sum(-1, keepdim=True)

    def _inverse(self, y: Tensor) -> Tensor:
        return self._call(y)

    def log_abs_det_jacobian(self, x: Float[Tensor, "... D"], y: Float[Tensor, "... D"]) -> Float[Tensor, "..."]:
        """Give 0."""
        return x.new_zeros(x.shape[:-1])


@final
class Autoregressive(nn.Module):
    r"""Maps that change each coordinate by what stands before it, in turn from the first to the last and back.

    .. math:: y_i = f(x_i; \phi_i), \qquad \phi_i = \mathrm{net}_i(x_1, \dots, x_{i-1}, h)

    f is affine, exp(a) x + b, or a monotone rational-quadratic spline on [-5, 5], with the identity outside. A masked
    network gives all φ at once, so that x to y takes one pass; y to x takes D.

    Reference: Masked autoregressive flow for density estimation (Papamakarios et al., 2017); Neural spline flows
    (Durkan et al., 2019).

    Arguments:
        latents: D.
        context: the length of h; 0 for none.
        transforms: how many maps.
        hidden: the widths of each network's hidden layers.
        kind: what f is, "affine" or "spline".

    Example:
        >>> maps = Autoregressive(latents=3, context=0, transforms=2, hidden=(16,), kind="affine")(None)
        >>> x = torch.randn(5, 3)
        >>> bool(torch.allclose(maps[0].inv(maps[0](x)), x, atol=1e-5))
        True
    """

    def __init__(
        self, latents: int, context: int, transforms: int, hidden: Sequence[int], kind: Literal["affine", "spline"]
    ) -> None:
        super().__init__()
        zuko = _zuko()
        spline = {
            "univariate": partial(zuko.transforms.MonotonicRQSTransform, slope=SLOPE),
            "shapes": [(BINS,), (BINS,), (BINS - 1,)],
        }
        arguments: dict[str, Any] = {"affine": {}, "spline": spline}[kind]
        forth = torch.arange(latents)
        self.maps = nn.ModuleList(
            zuko.flows.MaskedAutoregressiveTransform(
                latents,
                context,
                order=forth.flip(0) if i % 2 else forth,
                hidden_features=tuple(hidden),
                activation=nn.ELU,
                **arguments,
            )
            for i in range(transforms)
        )

    def forward(self, h: Float[Tensor, "*B C"] | None) -> list[Transform]:
        """Give the maps for a context, the first one first."""
        if h is None:
            return [make(None) for make in self.maps]
        with full_precision(h):
            return [make(h) for make in self.maps]


@cache
def _zuko() -> ModuleType:
    """Import zuko, and put back what that switches off in the whole process: torch's check of arguments."""
    checks, declared = Distribution._validate_args, vars(Distribution)["arg_constraints"]
    import zuko  # type: ignore[import-untyped]

    Distribution.set_default_validate_args(checks)
    Distribution.arg_constraints = declared  # type: ignore[method-assign]
    found: ModuleType = zuko
    return found
