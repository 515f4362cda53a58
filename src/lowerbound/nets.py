"""Networks: functions from images to features and from latents to the parameters of p(x|z), of any size.

An encoder network maps (N, *shape) to (N, features) and says ``features``; a decoder network maps (N, latents) to
(N, *shape). Any module that does so serves, see `lowerbound.register`.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Annotated, Literal, final

import torch
from annotated_types import Ge, MinLen
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.errors import UsageError
from lowerbound.strided import Down, Up

Size = Annotated[int, Ge(1)]
Sizes = Annotated[Sequence[Size], MinLen(1)]


def leading(
    net: Callable[[Tensor], Tensor], x: Float[Tensor, "*batch_and_event"], event: int
) -> Float[Tensor, "*batch_and_result"]:
    """Apply a network that knows one batch axis to x with any number of leading axes.

    ``event`` is how many trailing axes belong to one example.

    Example:
        >>> leading(nn.Linear(2, 3), torch.zeros(5, 7, 2), 1).shape
        torch.Size([5, 7, 3])
    """
    batch = x.shape[: x.ndim - event]
    y = net(x.reshape(-1, *x.shape[x.ndim - event :]))
    return y.reshape(*batch, *y.shape[1:])


def halvings(shape: Sequence[int], layers: int) -> list[tuple[int, int]]:
    """Give the height and width before and after each of ``layers`` convolutions of stride 2: n becomes ⌊n/2⌋.

    Raises UsageError where nothing would be left.

    Example:
        >>> halvings((1, 28, 21), 2)
        [(28, 21), (14, 10), (7, 5)]
    """
    if len(shape) != 3:
        raise UsageError(
            f"A convolutional network needs images of shape (channels, height, width), not {tuple(shape)}. "
            "Take the network 'mlp' for vectors."
        )
    sizes = [(shape[1], shape[2])]
    for _ in range(layers):
        h, w = sizes[-1]
        sizes.append((h // 2, w // 2))
    if min(sizes[-1]) < 1:
        most = min(shape[1], shape[2]).bit_length() - 1
        raise UsageError(
            f"{layers} layers of stride 2 leave nothing of an image of {shape[1]}x{shape[2]} pixels: "
            f"give at most {most} numbers of channels, or take the network 'mlp'."
        )
    return sizes


@final
class ConvEncoder(nn.Module):
    """Convolutions of kernel 4 and stride 2 with ReLU, flattened: the lecture's encoder.

    Arguments:
        shape: (channels, height, width) of one image; any size.
        channels: the number of channels after each layer; each layer halves height and width (rounded down).

    Example:
        >>> net = ConvEncoder((1, 28, 28), channels=(32, 64))
        >>> net(torch.zeros(5, 1, 28, 28)).shape, net.features
        (torch.Size([5, 3136]), 3136)
    """

    def __init__(self, shape: Sequence[Size], channels: Sizes = (32, 64)) -> None:
        super().__init__()
        h, w = halvings(shape, len(channels))[-1]
        self.features = channels[-1] * h * w
        layers: list[nn.Module] = []
        for a, b in pairwise((shape[0], *channels)):
            layers += [Down(a, b), nn.ReLU(inplace=True)]
        # the last ReLU after the flattening, so that its gradient comes in the layout of its value
        self.layers = nn.Sequential(*layers[:-1], nn.Flatten(), layers[-1])

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

    Example:
        >>> ConvDecoder(16, (3, 21, 35), channels=(64, 32))(torch.zeros(5, 16)).shape
        torch.Size([5, 3, 21, 35])
    """

    def __init__(self, latents: Size, shape: Sequence[Size], channels: Sizes = (64, 32)) -> None:
        super().__init__()
        sizes = halvings(shape, len(channels))[::-1]
        self.start = (channels[0], *sizes[0])
        self.linear = nn.Linear(latents, prod(self.start))
        layers: list[nn.Module] = []
        for (a, b), small, large in zip(pairwise((*channels, shape[0])), sizes[:-1], sizes[1:], strict=True):
            odd = (large[0] - 2 * small[0], large[1] - 2 * small[1])  # what the halving rounded away
            layers += [nn.ReLU(inplace=True), Up(a, b, odd)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Float[Tensor, "N L"]) -> Float[Tensor, "N C H W"]:
        """Map latents to one number a pixel (a logit or a mean, as the likelihood reads it)."""
        h = self.linear(z).unflatten(-1, self.start)
        y: Tensor = self.layers(h.contiguous(memory_format=torch.channels_last))
        return y.contiguous()


@final
class MLP(nn.Module):
    """Linear layers with ReLU (or tanh), from a shape to a shape or to the last hidden layer.

    Arguments:
        inputs: the shape of one input; it is flattened.
        outputs: the shape of one output; None gives the last hidden layer, of ``features`` numbers.
        hidden: the widths of the hidden layers.
        activation: "relu" or "tanh".

    Example:
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
        activation: Literal["relu", "tanh"] = "relu",
    ) -> None:
        super().__init__()
        self.features, self.outputs = hidden[-1], outputs
        act = {"relu": nn.ReLU, "tanh": nn.Tanh}[activation]
        layers: list[nn.Module] = [nn.Flatten()]
        for a, b in pairwise((prod(inputs), *hidden)):
            layers += [nn.Linear(a, b), act()]
        if outputs is not None:
            layers += [nn.Linear(hidden[-1], prod(outputs)), nn.Unflatten(1, tuple(outputs))]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "N *inputs"]) -> Float[Tensor, "N *outputs"]:
        """Map a batch of inputs to a batch of outputs."""
        y: Tensor = self.layers(x)
        return y


def mlp_encoder(shape: Sequence[int], hidden: Sizes = (400,), activation: Literal["relu", "tanh"] = "relu") -> MLP:
    """Give an MLP from one example to features: kind "mlp" of a posterior's network."""
    return MLP(shape, None, hidden, activation)


def mlp_decoder(
    latents: Size,
    shape: Sequence[int],
    hidden: Sizes = (400,),
    activation: Literal["relu", "tanh"] = "relu",
) -> MLP:
    """Give an MLP from latents to one example: kind "mlp" of a likelihood's network."""
    return MLP((latents,), shape, hidden, activation)
