"""What a likelihood is, and those of a location and a scale."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Gt
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from lowerbound.errors import UsageError
from lowerbound.nets import leading

Scale = Annotated[float, Gt(0)] | Literal["learned", "pixel", "image", "each"]


class Likelihood(nn.Module, ABC):
    """A module whose forward gives p(x|z); z may carry any leading axes, (K, B, D) first of all.

    ``real`` says whether its support is the real line; else data must lie in [0, 1]. ``levels`` is the number of
    values a pixel may take where these are evenly spaced levels, k/255 for 256 of them; else None.
    """

    real: ClassVar[bool] = False
    levels: ClassVar[int | None] = None

    @classmethod
    def numbers(cls, **arguments: Any) -> int:
        """Say how many numbers a pixel the network must give, under these arguments of the constructor.

        A spec then fills in for the network a ``shape`` of so many times the channels, see `pixels`.
        """
        return 1

    @abstractmethod
    def forward(self, z: Float[Tensor, "*B D"], c: Tensor | None = None) -> Distribution:
        """Give p(x|z), with z's leading axes as its batch shape and one example's shape as its event."""


def pixels(net: nn.Module, z: Float[Tensor, "*B D"], numbers: int = 1) -> tuple[Float[Tensor, "..."], int]:
    """Run the network over all leading axes, in float32 at least, and count the axes of one example.

    Where a pixel needs several numbers, the network gives so many times the channels, which are taken apart: the
    result then has the numbers as its first axis. Raises UsageError where the channels do not come out even.

    Example:
        >>> pixels(nn.Linear(2, 6), torch.zeros(5, 2), numbers=3)[0].shape
        torch.Size([3, 5, 2])
    """
    y = leading(net, z, event=1)
    y = y.to(torch.promote_types(y.dtype, torch.float32))  # float64 stays
    axis = z.ndim - 1
    event = y.ndim - axis
    if numbers == 1:
        return y, event
    if y.shape[axis] % numbers:
        raise UsageError(
            f"The network gives examples of shape {tuple(y.shape[axis:])}, and this likelihood reads {numbers} numbers "
            f"a pixel: give the network {numbers} times the channels of the data, in its first axis."
        )
    return y.unflatten(axis, (numbers, -1)).movedim(axis, 0), event


class LocationScale(Likelihood):
    r"""Pixels around a location μ(z), with a scale σ.

    σ is a number (fixed); "learned" (one parameter, log σ, for all pixels); "pixel" (one parameter for each position);
    "image" (the network gives each z one log σ, as the mean over its second half of channels); or "each" (the network
    gives each pixel its own). Of the last three a constant pixel would drive σ to zero and a density to infinity:

    .. math:: \sigma = e^s + 10^{-3}

    with s in place of log σ, which is the same but where σ is small.

    Reference: Simple and effective VAE training with calibrated decoders (σ-VAE; Rybkin, Daniilidis and Levine, 2021).
    """

    words: ClassVar[tuple[str, ...]] = ("learned", "pixel", "image", "each")
    least: ClassVar[float] = 1e-3
    begin: ClassVar[float] = 0.0  # of log σ, where parameters or the network's numbers are 0

    def __init__(self, net: nn.Module, sigma: float | str, unit: bool, shape: Sequence[int] | None) -> None:
        super().__init__()
        self.net, self.sigma, self.unit = net, sigma, unit
        if (isinstance(sigma, str) and sigma not in self.words) or (not isinstance(sigma, str) and not sigma > 0):
            known = ", ".join(map(repr, self.words[:-1])) + f" or {self.words[-1]!r}"
            raise UsageError(f"sigma is {sigma!r}: give a number above 0, {known}.")
        if sigma == "pixel" and shape is None:
            raise UsageError("sigma is 'pixel', one for each position: say of which shape, such as shape=(1, 28, 28).")
        if sigma in ("learned", "pixel"):
            self.log_sigma = nn.Parameter(torch.full(tuple(shape) if sigma == "pixel" and shape else (), self.begin))

    @classmethod
    def numbers(cls, **arguments: Any) -> int:
        """Give 2 where the network says σ too."""
        return 2 if arguments["sigma"] in ("image", "each") else 1

    @abstractmethod
    def family(self, mu: Float[Tensor, "*B_shape"], sigma: Float[Tensor, "..."]) -> Distribution:
        """Make the distribution of single pixels."""

    def forward(self, z: Float[Tensor, "*B D"], c: Tensor | None = None) -> Distribution:
        """Give independent pixels around μ."""
        numbers = self.numbers(sigma=self.sigma)
        y, event = pixels(self.net, z, numbers)
        mu, s = (y, None) if numbers == 1 else (y[0], y[1])
        if self.unit:
            mu = torch.sigmoid(mu)
        return Independent(self.family(mu, self.scale(mu, s, event)), event, validate_args=False)

    def scale(self, mu: Float[Tensor, "*B_shape"], s: Float[Tensor, "..."] | None, event: int) -> Float[Tensor, "..."]:
        """Give σ, in the precision of μ, from what the network said of it, if it did."""
        if self.sigma == "learned":
            return self.log_sigma.exp().to(mu)
        if not isinstance(self.sigma, str):
            return mu.new_tensor(self.sigma)  # a float32 tensor on the way would round it
        if s is None:
            return self.log_sigma.exp().to(mu) + self.least
        if self.sigma == "image":
            s = s.mean(dim=tuple(range(-event, 0)), keepdim=True)
        return torch.exp(s + self.begin) + self.least
