"""Residual networks: at each size some blocks that add to what they are given."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Annotated, final

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.nets.tools import Dropout, Norm, Size, Sizes, after, halvings, odds
from lowerbound.strided import Down, Up

Blocks = Annotated[int, Ge(0)]


@final
class Residual(nn.Module):
    r"""Two convolutions of kernel 3, each after its activation, whose result is added to the input.

    .. math:: h' = h + W_2 * a(W_1 * a(h)), \qquad a = \mathrm{ReLU} \circ \mathrm{norm}

    Reference: Identity mappings in deep residual networks (He, Zhang, Ren and Sun, 2016).

    Arguments:
        channels: of the input and the output.
        norm: "batch" or "layer" normalisation before each activation, or "none".
        dropout: the fraction of what each activation gives that is dropped in training.

    Example:
        >>> Residual(8)(torch.zeros(5, 8, 7, 9)).shape
        torch.Size([5, 8, 7, 9])
    """

    def __init__(self, channels: Size, norm: Norm = "none", dropout: Dropout = 0.0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [*after(channels, norm, dropout, nn.ReLU(), images=True), nn.Conv2d(channels, channels, 3, 1, 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, h: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Add what the two convolutions give."""
        y: Tensor = h + self.layers(h)
        return y


@final
class ResNetEncoder(nn.Module):
    """Convolutions of stride 2, with residual blocks after each, flattened.

    Reference: Identity mappings in deep residual networks (He, Zhang, Ren and Sun, 2016).

    Arguments:
        shape: (channels, height, width) of one image; any size.
        channels: the number of channels at each size; each halves height and width (rounded down).
        blocks: residual blocks at each size.
        norm: "batch" or "layer" normalisation before each activation, or "none".
        dropout: the fraction of what each activation gives that is dropped in training.

    Example:
        >>> net = ResNetEncoder((1, 28, 28), channels=(32, 64))
        >>> net(torch.zeros(5, 1, 28, 28)).shape, net.features
        (torch.Size([5, 3136]), 3136)
    """

    def __init__(
        self,
        shape: Sequence[Size],
        channels: Sizes = (32, 64),
        blocks: Blocks = 1,
        norm: Norm = "none",
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        h, w = halvings(shape, len(channels))[-1]
        self.features = channels[-1] * h * w
        layers: list[nn.Module] = []
        for a, b in pairwise((shape[0], *channels)):
            layers += [Down(a, b), *(Residual(b, norm, dropout) for _ in range(blocks))]
        last = after(channels[-1], norm, dropout, nn.ReLU(), images=True)
        self.layers = nn.Sequential(*layers, *last, nn.Flatten())

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N F"]:
        """Map images to features."""
        y: Tensor = self.layers(x.contiguous(memory_format=torch.channels_last))
        return y


@final
class ResNetDecoder(nn.Module):
    """A linear layer, then at each size residual blocks and a transposed convolution of stride 2: the mirror.

    Reference: Identity mappings in deep residual networks (He, Zhang, Ren and Sun, 2016).

    Arguments:
        latents: the number of latents.
        shape: (channels, height, width) of one image; the output has exactly this shape, odd sizes too.
        channels: the number of channels at each size.
        blocks: residual blocks at each size.
        norm: "batch" or "layer" normalisation before each activation, or "none".
        dropout: the fraction of what each activation gives that is dropped in training.

    Example:
        >>> ResNetDecoder(16, (3, 21, 35), channels=(64, 32))(torch.zeros(5, 16)).shape
        torch.Size([5, 3, 21, 35])
    """

    def __init__(
        self,
        latents: Size,
        shape: Sequence[Size],
        channels: Sizes = (64, 32),
        blocks: Blocks = 1,
        norm: Norm = "none",
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        sizes = halvings(shape, len(channels))
        self.start = (channels[0], *sizes[-1])
        self.linear = nn.Linear(latents, prod(self.start))
        layers: list[nn.Module] = []
        for (a, b), odd in zip(pairwise((*channels, shape[0])), odds(sizes), strict=True):
            layers += [Residual(a, norm, dropout) for _ in range(blocks)]
            layers += [*after(a, norm, dropout, nn.ReLU(), images=True), Up(a, b, odd)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Float[Tensor, "N L"]) -> Float[Tensor, "N C H W"]:
        """Map latents to one number a pixel (a logit or a mean, as the likelihood reads it)."""
        h = self.linear(z).unflatten(-1, self.start)
        y: Tensor = self.layers(h.contiguous(memory_format=torch.channels_last))
        return y.contiguous()
