"""Convolutions of stride 2 and their transposes, computed on a processor by whichever product is fastest there.

The layers are torch's own, with its weights and its values; only the way to the values differs. oneDNN's kernels are
near the processor's limit but for three: the weight gradient in bfloat16, the weight gradient of an image of few
channels in float32, and the transpose that ends in few channels. Each of these is a matrix product here, and faster
where it was measured (an AMD Zen 4, torch 2.13). Under ``torch.use_deterministic_algorithms`` and away from
the processor the layers are torch's alone.
"""

from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

KERNEL, STRIDE, PADDING = 4, 2, 1
FEW = 4  # channels that leave most of a vector register of a convolution's kernel empty


@final
class Down(nn.Conv2d):
    """A convolution of kernel 4 and stride 2: n pixels become ⌊n/2⌋.

    Example:
        >>> Down(3, 8)(torch.zeros(5, 3, 28, 21)).shape
        torch.Size([5, 8, 14, 10])
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, KERNEL, stride=STRIDE, padding=PADDING)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """Convolve."""
        if _plain(x):
            return super().forward(x)
        y: Tensor = _Down.apply(*_cast(x, self.weight, self.bias))  # type: ignore[no-untyped-call]
        return y


@final
class Up(nn.ConvTranspose2d):
    """The transpose of `Down`: n pixels become 2n, or 2n + 1 where ``odd`` says so of the height or the width.

    Example:
        >>> Up(8, 3, odd=(0, 1))(torch.zeros(5, 8, 14, 10)).shape
        torch.Size([5, 3, 28, 21])
    """

    def __init__(self, inputs: int, outputs: int, odd: tuple[int, int] = (0, 0)) -> None:
        super().__init__(inputs, outputs, KERNEL, stride=STRIDE, padding=PADDING, output_padding=odd)
        self.odd = odd

    def forward(self, x: Float[Tensor, "B D h w"], output_size: list[int] | None = None) -> Float[Tensor, "B C H W"]:
        """Convolve backwards."""
        if _plain(x):
            return super().forward(x, output_size)
        y: Tensor = _Up.apply(*_cast(x, self.weight, self.bias), self.odd)  # type: ignore[no-untyped-call]
        return y


def _plain(x: Tensor) -> bool:
    return x.device.type != "cpu" or torch.are_deterministic_algorithms_enabled() or torch.compiler.is_compiling()


def _cast(x: Tensor, *weights: Tensor | None) -> tuple[Tensor, ...]:
    """Do what autocast does for a convolution, so that what is saved for the gradient is in its precision."""
    tensors = (x, *(w for w in weights if w is not None))
    if torch.is_autocast_enabled("cpu"):
        tensors = tuple(t.to(torch.get_autocast_dtype("cpu")) for t in tensors)
    return channels_last(tensors[0]), *tensors[1:]


def channels_last(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Lay images out with their channels last, and say so in the strides.

    Of one channel both layouts are the same memory, and torch keeps the strides of the other one. The kernels go by the
    strides: every layer after it would then be laid out the slow way.
    """
    _, c, h, w = x.shape
    y = x.contiguous(memory_format=torch.channels_last)
    return y if c > 1 else y.as_strided(y.shape, (h * w, 1, w, 1))


class _Down(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return F.conv2d(x, w, b, stride=STRIDE, padding=PADDING)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, w = ctx.saved_tensors
        g = channels_last(g)
        dx = _torchs(g, x, w, 0) if ctx.needs_input_grad[0] else None
        return dx, weight_gradient(x, g, w), g.sum((0, 2, 3))


class _Up(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor, odd: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(x, w)
        if w.shape[1] > FEW:
            return F.conv_transpose2d(x, w, b, stride=STRIDE, padding=PADDING, output_padding=odd)
        taps = (w.flatten(1).T @ _rows(x).T).view(*w.shape[1:], len(x), *x.shape[2:])
        return overlapped(taps, odd) + b[:, None, None]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x, w = ctx.saved_tensors
        g = channels_last(g)
        dx = F.conv2d(g, w, stride=STRIDE, padding=PADDING) if ctx.needs_input_grad[0] else None
        return dx, weight_gradient(g, x, w), g.sum((0, 2, 3)), None


def weight_gradient(
    large: Float[Tensor, "B C H W"], small: Float[Tensor, "B D h w"], w: Float[Tensor, "D C 4 4"]
) -> Float[Tensor, "D C 4 4"]:
    r"""Give the weight gradient of a convolution from ``large`` to ``small``, or of its transpose.

    .. math:: \partial w_{dcij} = \sum_{b, y, x} \mathrm{small}_{bdyx} \, \mathrm{large}_{bc, 2y + i - 1, 2x + j - 1}

    Convolution and transpose share it: of one, ``small`` is the output's gradient; of the other, ``large`` is.
    """
    if (large.dtype == torch.bfloat16) == (large.shape[1] <= FEW):
        return _torchs(small, large, w, 1)
    g = _rows(small).T @ patches(large)
    return g.view(len(w), KERNEL, KERNEL, -1).permute(0, 3, 1, 2)


def patches(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "rows taps"]:
    """Give the patch under each position of the kernel as a row, kernel rows first and channels last."""
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, PADDING, PADDING, PADDING, PADDING))
    windows = x.unfold(1, KERNEL, STRIDE).unfold(2, KERNEL, STRIDE)  # B, h, w, C, i, j: a view
    return windows.permute(0, 1, 2, 4, 5, 3).reshape(-1, KERNEL * KERNEL * x.shape[3])


def overlapped(taps: Float[Tensor, "C 4 4 B h w"], odd: tuple[int, int] = (0, 0)) -> Float[Tensor, "B C H W"]:
    r"""Add up what each small pixel gives to the 4 x 4 large ones under it: the transpose of `patches`.

    .. math:: \mathrm{large}_{bcyx} = \sum_{2v + i - 1 = y} \sum_{2u + j - 1 = x} \mathrm{taps}_{cijbvu}

    Tap i = 2a + r reaches row 2(v + a) + r of the padded image: each of the four (a, b) is one sum of whole planes.
    """
    c, _, _, b, h, w = taps.shape
    halves = taps.view(c, 2, 2, 2, 2, b, h, w)  # i = 2a + r, j = 2a' + s
    exact = torch.promote_types(taps.dtype, torch.float32)  # bfloat16 would round each of the four sums
    planes = taps.new_zeros(c, 2, 2, b, h + 1, w + 1, dtype=exact)  # r, s, batch, rows, columns
    for a in (0, 1):
        for a_ in (0, 1):
            planes[..., a : a + h, a_ : a_ + w] += halves[:, a, :, a_]
    padded = planes.permute(3, 0, 4, 1, 5, 2).to(taps.dtype).reshape(b, c, 2 * h + 2, 2 * w + 2)
    return padded[..., PADDING : PADDING + 2 * h + odd[0], PADDING : PADDING + 2 * w + odd[1]]


def _rows(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _torchs(g: Tensor, x: Tensor, w: Tensor, which: int) -> Tensor:
    """Give torch's own gradient of a convolution with respect to its input (0) or its weight (1)."""
    two, one, mask = [STRIDE] * 2, [PADDING] * 2, [which == 0, which == 1, False]
    found: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        g, x, w, None, two, one, [1, 1], False, [0, 0], 1, mask
    )
    return found[which]
