"""Convolutions of stride 2 and their mirror: the lecture's networks."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.nets.tools import Dropout, Norm, Size, Sizes, after, halvings, odds
from lowerbound.strided import Down, Up


@final
class ConvEncoder(nn.Module):
    """Convolutions of kernel 4 and stride 2 with ReLU, flattened: the lecture's encoder.

    Arguments:
        shape: (channels, height, width) of one image; any size.
        channels: the number of channels after each layer; each layer halves height and width (rounded down).
        norm: "batch" or "layer" normalisation after each layer, or "none".
        dropout: the fraction of each layer's outputs that is dropped in training.

    Example:
        >>> net = ConvEncoder((1, 28, 28), channels=(32, 64))
        >>> net(torch.zeros(5, 1, 28, 28)).shape, net.features
        (torch.Size([5, 3136]), 3136)
    """

    def __init__(
        self, shape: Sequence[Size], channels: Sizes = (32, 64), norm: Norm = "none", dropout: Dropout = 0.0
    ) -> None:
        super().__init__()
        h, w = halvings(shape, len(channels))[-1]
        self.features = channels[-1] * h * w
        layers: list[nn.Module] = []
        for a, b in pairwise((shape[0], *channels)):
            layers += [Down(a, b), *after(b, norm, dropout, nn.ReLU(inplace=True), images=True)]
        # the last ReLU after the flattening, so that its gradient comes in the layout of its value
        last = len(layers) - 1 - bool(dropout)
        self.layers = nn.Sequential(*layers[:last], nn.Flatten(), *layers[last:])

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N F"]:
        """Map images to features."""
        # channels last is the faster layout of convolutions on a processor, and changes no value's meaning
        y: Tensor = self.layers(x.contiguous(memory_format=torch.channels_last))
        return y


@final
class ConvDecoder(nn.Module):
    """A linear layer, then transposed convolutions of kernel 4 and stride 2 with ReLU: the encoder's mirror.

    Arguments:
        latents: the number of latents.
        shape: (channels, height, width) of one image; the output has exactly this shape, odd sizes too.
        channels: the number of channels before each layer.
        norm: "batch" or "layer" normalisation before each ReLU, or "none".
        dropout: the fraction of each layer's inputs that is dropped in training.

    Example:
        >>> ConvDecoder(16, (3, 21, 35), channels=(64, 32))(torch.zeros(5, 16)).shape
        torch.Size([5, 3, 21, 35])
    """

    def __init__(
        self,
        latents: Size,
        shape: Sequence[Size],
        channels: Sizes = (64, 32),
        norm: Norm = "none",
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        sizes = halvings(shape, len(channels))
        self.start = (channels[0], *sizes[-1])
        self.linear = nn.Linear(latents, prod(self.start))
        layers: list[nn.Module] = []
        for (a, b), odd in zip(pairwise((*channels, shape[0])), odds(sizes), strict=True):
            layers += [*after(a, norm, dropout, nn.ReLU(inplace=True), images=True), Up(a, b, odd)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Float[Tensor, "N L"]) -> Float[Tensor, "N C H W"]:
        """Map latents to one number a pixel (a logit or a mean, as the likelihood reads it)."""
        h = self.linear(z).unflatten(-1, self.start)
        y: Tensor = self.layers(h.contiguous(memory_format=torch.channels_last))
        return y.contiguous()
