"""What the networks share: how axes are folded, how sizes halve, and what may stand after a layer."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Ge, Lt, MinLen
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from lowerbound.errors import UsageError

Size = Annotated[int, Ge(1)]
Sizes = Annotated[Sequence[Size], MinLen(1)]
Norm = Literal["none", "batch", "layer"]
Dropout = Annotated[float, Ge(0), Lt(1)]


def leading(
    net: Callable[[Tensor], Tensor], x: Float[Tensor, "*batch_and_event"], event: int
) -> Float[Tensor, "*batch_and_result"]:
    """Apply a network that knows one batch axis to x with any number of leading axes.

    ``event`` is how many trailing axes belong to one example.

    Example:
        >>> import torch
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


def odds(sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Give what each halving rounded away of height and width, the last halving first: a decoder adds it again.

    Example:
        >>> odds([(28, 21), (14, 10), (7, 5)])
        [(0, 0), (0, 1)]
    """
    pairs = list(pairwise(sizes))[::-1]
    return [(large[0] - 2 * small[0], large[1] - 2 * small[1]) for large, small in pairs]


def after(width: int, norm: Norm, dropout: Dropout, act: nn.Module, images: bool) -> list[nn.Module]:
    """Give what stands after a layer of so many channels: its normalisation, its activation, its dropout.

    Example:
        >>> [type(layer).__name__ for layer in after(8, "layer", 0.1, nn.ReLU(), images=True)]
        ['GroupNorm', 'ReLU', 'Dropout']
    """
    batch = nn.BatchNorm2d if images else nn.BatchNorm1d
    # one group of all channels: the layer norm of an image, and of a vector too
    norms: dict[Norm, list[nn.Module]] = {"none": [], "batch": [batch(width)], "layer": [nn.GroupNorm(1, width)]}
    return [*norms[norm], act, *([nn.Dropout(dropout)] if dropout else [])]


def unsteady(module: nn.Module) -> str:
    """Name what makes the networks below a module give, while training, something else than a function of one example.

    Batch norm couples the examples of a batch, and dropout draws another network for each row. A density per example,
    as importance weights need it, is then not one. In evaluation mode both are plain functions. Empty where there is
    neither.

    Example:
        >>> unsteady(nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.1))), unsteady(nn.Linear(2, 3))
        ('batch norm and dropout', '')
    """
    found = {"batch norm": _BatchNorm, "dropout": _DropoutNd}
    modules = list(module.modules())
    return " and ".join(name for name, kind in found.items() if any(isinstance(m, kind) for m in modules))
