"""Gated convolutions: each channel is let through as far as a second one says."""

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
class GatedConvEncoder(nn.Module):
    r"""Convolutions of kernel 4 and stride 2, each gated by a second one, flattened.

    .. math:: h' = (W * h + b) \odot \mathrm{sigmoid}(V * h + c)

    The gates are the paper's; it halves the image by strides too, with kernels of 7, 5 and 3 between.

    Reference: VAE with a VampPrior (Tomczak and Welling, 2018).

    Arguments:
        shape: (channels, height, width) of one image; any size.
        channels: the number of channels after each layer; each layer halves height and width (rounded down).
        norm: "batch" or "layer" normalisation of each layer, or "none".
        dropout: the fraction of each layer's outputs that is dropped in training.

    Example:
        >>> net = GatedConvEncoder((1, 28, 28), channels=(32, 64))
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
            layers += [Down(a, 2 * b), *after(2 * b, norm, dropout, nn.GLU(dim=1), images=True)]
        self.layers = nn.Sequential(*layers, nn.Flatten())

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N F"]:
        """Map images to features."""
        y: Tensor = self.layers(x.contiguous(memory_format=torch.channels_last))
        return y


@final
class GatedConvDecoder(nn.Module):
    r"""A linear layer, then transposed convolutions of kernel 4 and stride 2, all but the last one gated.

    .. math:: h' = (W * h + b) \odot \mathrm{sigmoid}(V * h + c)

    Reference: VAE with a VampPrior (Tomczak and Welling, 2018).

    Arguments:
        latents: the number of latents.
        shape: (channels, height, width) of one image; the output has exactly this shape, odd sizes too.
        channels: the number of channels before each layer.
        norm: "batch" or "layer" normalisation before each gate, or "none".
        dropout: the fraction of each layer's inputs that is dropped in training.

    Example:
        >>> GatedConvDecoder(16, (3, 21, 35), channels=(64, 32))(torch.zeros(5, 16)).shape
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
        self.start = (2 * channels[0], *sizes[-1])
        self.linear = nn.Linear(latents, prod(self.start))
        layers: list[nn.Module] = []
        outputs = [*(2 * b for b in channels[1:]), shape[0]]
        for a, b, odd in zip(channels, outputs, odds(sizes), strict=True):
            gate = after(2 * a, norm, dropout, nn.GLU(dim=1), images=True)
            layers += [*gate, Up(a, b, odd)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Float[Tensor, "N L"]) -> Float[Tensor, "N C H W"]:
        """Map latents to one number a pixel (a logit or a mean, as the likelihood reads it)."""
        h = self.linear(z).unflatten(-1, self.start)
        y: Tensor = self.layers(h.contiguous(memory_format=torch.channels_last))
        return y.contiguous()
