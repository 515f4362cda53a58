"""The fast convolutions are torch's: same values, same gradients, in every precision and at every size."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lowerbound.strided import Down, Up, overlapped, patches

SIZES = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9), st.integers(2, 17), st.integers(2, 17))
# what rounding may do: sums of some 4·4·9 products and of some 4·8·8 positions, of numbers of size one
TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-4}


@contextmanager
def plain() -> Iterator[None]:
    """Torch's own layers."""
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def pair(b: int, c: int, d: int, h: int, w: int) -> list[tuple[nn.Module, tuple[int, ...], nn.Module]]:
    """Each layer, the shape of its input, and torch's layer with the same weights."""
    odd = (h % 2, w % 2)
    down, up = Down(c, d), Up(d, c, odd)
    theirs = nn.Conv2d(c, d, 4, 2, 1), nn.ConvTranspose2d(d, c, 4, 2, 1, output_padding=odd)
    theirs[0].load_state_dict(down.state_dict())
    theirs[1].load_state_dict(up.state_dict())
    return [(down, (b, c, h, w), theirs[0]), (up, (b, d, h // 2, w // 2), theirs[1])]


def all_of(layer: nn.Module, x: Tensor, g: Tensor) -> list[Tensor]:
    """The value, and the gradients of input, weight and bias."""
    y = layer(x)
    return [y, *torch.autograd.grad(y, [x, *layer.parameters()], g.to(y.dtype))]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@given(sizes=SIZES, channels_last=st.booleans())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_values_and_gradients_are_those_of_torch(
    dtype: torch.dtype, sizes: tuple[int, int, int, int, int], channels_last: bool
) -> None:
    torch.manual_seed(0)
    for ours, shape, theirs in pair(*sizes):
        ours, theirs = ours.to(dtype), theirs.to(dtype)
        x = torch.randn(shape, dtype=dtype)
        x = x.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        g = torch.randn_like(theirs(x))
        found, expected = all_of(ours, x.requires_grad_(), g), all_of(theirs, x, g)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("sizes", [(8, 1, 32, 28, 28), (8, 32, 64, 14, 14), (8, 3, 16, 21, 35)])
def test_bfloat16_rounds_no_more_than_torch_does(sizes: tuple[int, int, int, int, int]) -> None:
    torch.manual_seed(0)
    for ours, shape, theirs in pair(*sizes):
        x = torch.randn(shape).contiguous(memory_format=torch.channels_last).requires_grad_()
        g = torch.randn_like(theirs(x))
        exact = all_of(theirs, x, g)
        with torch.autocast("cpu", torch.bfloat16):
            found, rounded = all_of(ours, x, g), all_of(theirs, x, g)
        for a, b, e in zip(found, rounded, exact, strict=True):
            mine, others = (a.float() - e).norm(), (b.float() - e).norm()
            assert 0 < mine <= 1.5 * others + 1e-6  # at worst two roundings for one, which is √2 times as much
            assert mine <= 0.01 * e.norm()
    assert found[0].dtype == torch.bfloat16
    assert all(p.dtype == torch.float32 for p in found[2:])


def test_derivatives_of_both_orders() -> None:
    torch.manual_seed(0)
    for layer, shape, _ in [*pair(2, 2, 3, 6, 5), *pair(2, 5, 2, 4, 4)]:
        layer = layer.double()
        x = torch.randn(shape, dtype=torch.float64, requires_grad=True)

        def all_arguments(x: Tensor, w: Tensor, b: Tensor, layer: nn.Module = layer) -> Tensor:
            y: Tensor = torch.func.functional_call(layer, {"weight": w, "bias": b}, (x,))
            return y

        arguments = (x, layer.weight, layer.bias)
        assert torch.autograd.gradcheck(all_arguments, arguments)
        assert torch.autograd.gradgradcheck(all_arguments, arguments)


def test_patches_and_their_transpose() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 2, 7, 8, dtype=torch.float64)
    taps = torch.randn(2, 4, 4, 3, 3, 4, dtype=torch.float64)
    rows = taps.permute(3, 4, 5, 1, 2, 0).reshape(3 * 3 * 4, -1)
    torch.testing.assert_close((patches(x) * rows).sum(), (x * overlapped(taps, odd=(1, 0))).sum())
    windows = nn.functional.unfold(x, 4, padding=1, stride=2).view(3, 2, 4, 4, 12)
    torch.testing.assert_close(patches(x), windows.permute(0, 4, 2, 3, 1).reshape(36, -1))


def test_deterministic_is_torch_alone() -> None:
    torch.manual_seed(0)
    for ours, shape, theirs in pair(4, 1, 6, 12, 13):
        x = torch.randn(shape, requires_grad=True)
        g = torch.randn_like(theirs(x))
        with plain():
            found, expected = all_of(ours, x, g), all_of(theirs, x, g)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        fast = ("_DownBackward", "_UpBackward")
        with plain():
            assert type(ours(x).grad_fn).__name__ not in fast
        assert type(ours(x).grad_fn).__name__ in fast
