"""Linear layers, plain and gated, from a shape to features and from latents to a shape."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Literal, final

from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.nets.tools import Dropout, Norm, Size, Sizes, after

Activation = Literal["relu", "tanh"]


@final
class MLP(nn.Module):
    """Linear layers with ReLU (or tanh), from a shape to a shape or to the last hidden layer.

    Arguments:
        inputs: the shape of one input; it is flattened.
        outputs: the shape of one output; None gives the last hidden layer, of ``features`` numbers.
        hidden: the widths of the hidden layers.
        activation: "relu" or "tanh".
        norm: "batch" or "layer" normalisation after each hidden layer, or "none".
        dropout: the fraction of each hidden layer that is dropped in training.

    Example:
        >>> import torch
        >>> MLP((1, 28, 28), hidden=(400,))(torch.zeros(5, 1, 28, 28)).shape
        torch.Size([5, 400])
        >>> MLP((20,), (1, 28, 28))(torch.zeros(5, 20)).shape
        torch.Size([5, 1, 28, 28])
    """

    def __init__(
        self,
        inputs: Sequence[int],
        outputs: Sequence[int] | None = None,
        hidden: Sizes = (400,),
        activation: Activation = "relu",
        norm: Norm = "none",
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        self.features, self.outputs = hidden[-1], outputs
        act = {"relu": nn.ReLU, "tanh": nn.Tanh}[activation]
        layers: list[nn.Module] = [nn.Flatten()]
        for a, b in pairwise((prod(inputs), *hidden)):
            layers += [nn.Linear(a, b), *after(b, norm, dropout, act(), images=False)]
        if outputs is not None:
            layers += [nn.Linear(hidden[-1], prod(outputs)), nn.Unflatten(1, tuple(outputs))]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "N *inputs"]) -> Float[Tensor, "N *outputs"]:
        """Map a batch of inputs to a batch of outputs."""
        y: Tensor = self.layers(x)
        return y


@final
class GatedMLP(nn.Module):
    r"""Linear layers, each gated by a second one, from a shape to a shape or to the last hidden layer.

    .. math:: h' = (W h + b) \odot \mathrm{sigmoid}(V h + c)

    Reference: VAE with a VampPrior (Tomczak and Welling, 2018), whose network is 784-300-300 with 40 latents.

    Arguments:
        inputs: the shape of one input; it is flattened.
        outputs: the shape of one output; None gives the last hidden layer, of ``features`` numbers.
        hidden: the widths of the hidden layers.
        norm: "batch" or "layer" normalisation of each hidden layer, or "none".
        dropout: the fraction of each hidden layer that is dropped in training.

    Example:
        >>> import torch
        >>> net = GatedMLP((1, 28, 28))
        >>> net(torch.zeros(5, 1, 28, 28)).shape, net.features
        (torch.Size([5, 300]), 300)
    """

    def __init__(
        self,
        inputs: Sequence[int],
        outputs: Sequence[int] | None = None,
        hidden: Sizes = (300, 300),
        norm: Norm = "none",
        dropout: Dropout = 0.0,
    ) -> None:
        super().__init__()
        self.features, self.outputs = hidden[-1], outputs
        layers: list[nn.Module] = [nn.Flatten()]
        for a, b in pairwise((prod(inputs), *hidden)):
            # both linear maps at once: one matrix product of twice the width
            layers += [nn.Linear(a, 2 * b), *after(2 * b, norm, dropout, nn.GLU(dim=1), images=False)]
        if outputs is not None:
            layers += [nn.Linear(hidden[-1], prod(outputs)), nn.Unflatten(1, tuple(outputs))]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "N *inputs"]) -> Float[Tensor, "N *outputs"]:
        """Map a batch of inputs to a batch of outputs."""
        y: Tensor = self.layers(x)
        return y


def mlp_encoder(
    shape: Sequence[int],
    hidden: Sizes = (400,),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: Dropout = 0.0,
) -> MLP:
    """Give an MLP from one example to features: kind "mlp" of a posterior's network."""
    return MLP(shape, None, hidden, activation, norm, dropout)


def mlp_decoder(
    latents: Size,
    shape: Sequence[int],
    hidden: Sizes = (400,),
    activation: Activation = "relu",
    norm: Norm = "none",
    dropout: Dropout = 0.0,
) -> MLP:
    """Give an MLP from latents to one example: kind "mlp" of a likelihood's network."""
    return MLP((latents,), shape, hidden, activation, norm, dropout)


def gated_mlp_encoder(
    shape: Sequence[int], hidden: Sizes = (300, 300), norm: Norm = "none", dropout: Dropout = 0.0
) -> GatedMLP:
    """Give a gated MLP from one example to features: kind "gated-mlp" of a posterior's network."""
    return GatedMLP(shape, None, hidden, norm, dropout)


def gated_mlp_decoder(
    latents: Size, shape: Sequence[int], hidden: Sizes = (300, 300), norm: Norm = "none", dropout: Dropout = 0.0
) -> GatedMLP:
    """Give a gated MLP from latents to one example: kind "gated-mlp" of a likelihood's network."""
    return GatedMLP((latents,), shape, hidden, norm, dropout)
