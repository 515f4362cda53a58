"""Laws of every network in the registries: shapes, gradients, precision, and one example at a time."""

from collections.abc import Iterator
from itertools import pairwise
from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lowerbound import nets, spec
from lowerbound.errors import UsageError

SHAPES = [(1, 28, 28), (3, 13, 21), (2, 9, 4)]
SMALL = {"hidden": [6, 5], "channels": [4, 6]}
VECTORS = {"mlp", "gated-mlp"}
LATENTS = 3


def arguments(registry: str, kind: str, **over: object) -> dict[str, object]:
    """A node of this kind with small layers, whatever their argument is called."""
    known = {field.name for field in spec.describe(registry, kind)}
    return {"kind": kind, **{name: value for name, value in {**SMALL, **over}.items() if name in known}}


def build(registry: str, kind: str, shape: tuple[int, ...], **over: object) -> nn.Module:
    node = spec.complete(registry, arguments(registry, kind, **over), registry)
    net: nn.Module = spec.construct(registry, node, {"shape": shape, "latents": LATENTS})
    return net


def cases() -> Iterator[tuple[str, str, tuple[int, ...]]]:
    for registry in ("encoder", "decoder"):
        for kind in spec.REGISTRIES[registry]:
            for shape in SHAPES + ([(7,), (1,)] if kind in VECTORS else []):
                yield registry, kind, shape


def given_to(registry: str, shape: tuple[int, ...], n: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(n, *shape, dtype=dtype) if registry == "encoder" else torch.randn(n, LATENTS, dtype=dtype)


@pytest.mark.parametrize(("registry", "kind", "shape"), list(cases()))
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_a_network_maps_what_it_says_and_every_parameter_learns(
    registry: str, kind: str, shape: tuple[int, ...], norm: str
) -> None:
    net = build(registry, kind, shape, norm=norm)
    seen = {name: 0.0 for name, _ in net.named_parameters()}
    for _ in range(8):
        y = net(given_to(registry, shape, 5))
        assert y.shape == ((5, net.features) if registry == "encoder" else (5, *shape))
        net.zero_grad()
        (y * torch.randn_like(y)).sum().backward()
        for name, p in net.named_parameters():
            assert p.grad is not None, name
            seen[name] = max(seen[name], float(p.grad.abs().max()))
        if min(seen.values()) > 0:
            break
    assert [name for name, most in seen.items() if most == 0] == []


@pytest.mark.parametrize(("registry", "kind", "shape"), list(cases()))
def test_in_evaluation_mode_each_example_is_alone_and_float64_stays(
    registry: str, kind: str, shape: tuple[int, ...]
) -> None:
    """Batch norm and dropout are plain functions of one example then, whatever stands beside it."""
    net = build(registry, kind, shape, norm="batch", dropout=0.3).double()
    net(given_to(registry, shape, 16, torch.float64))  # moves the averages of batch norm off their start
    x = given_to(registry, shape, 6, torch.float64)
    net.eval()
    whole, again = net(x), net(x)
    assert whole.dtype == torch.float64
    assert torch.equal(whole, again)
    each = torch.cat([net(x[i : i + 1]) for i in range(6)])
    torch.testing.assert_close(each, whole, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("registry", ["encoder", "decoder"])
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_networks_run_in_bfloat16_under_autocast(registry: str, norm: str) -> None:
    for kind in spec.REGISTRIES[registry]:
        net = build(registry, kind, (1, 12, 10), norm=norm, dropout=0.1)
        with torch.autocast("cpu", torch.bfloat16):
            y = net(given_to(registry, (1, 12, 10), 4))
        y.float().sum().backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters()), kind


@given(st.integers(1, 4), st.integers(4, 33), st.integers(4, 33), st.integers(1, 2), st.integers(0, 2))
@settings(max_examples=20, derandomize=True, deadline=None)
def test_decoders_give_any_size_back(c: int, h: int, w: int, depth: int, blocks: int) -> None:
    channels = [3, 2][:depth]
    for kind in ("conv", "gated-conv", "resnet"):
        encoder = build("encoder", kind, (c, h, w), channels=channels, blocks=blocks)
        decoder = build("decoder", kind, (c, h, w), channels=channels[::-1], blocks=blocks)
        x = torch.rand(2, c, h, w)
        assert encoder(x).shape == (2, encoder.features)
        assert decoder(torch.randn(2, LATENTS)).shape == x.shape


@pytest.mark.parametrize("registry", ["encoder", "decoder"])
def test_a_network_of_images_refuses_vectors_in_words(registry: str) -> None:
    for kind in set(spec.REGISTRIES[registry]) - VECTORS:
        with pytest.raises(UsageError, match="'mlp' for vectors"):
            build(registry, kind, (7,))
        with pytest.raises(UsageError, match="at most 1"):
            build(registry, kind, (1, 3, 9))


@pytest.mark.parametrize("registry", ["encoder", "decoder"])
def test_a_fraction_that_is_none_and_a_norm_that_is_none_are_refused(registry: str) -> None:
    for kind in spec.REGISTRIES[registry]:
        for over, words in (({"dropout": 1.0}, "less than 1"), ({"norm": "bach"}, "norm is 'bach'")):
            with pytest.raises(UsageError, match=words):
                build(registry, kind, (1, 8, 8), **over)


def test_gates_are_the_papers() -> None:
    """A layer's output is its first half times the sigmoid of its second, written out in NumPy."""
    net = nets.GatedMLP((5,), (2,), hidden=(4, 3)).double()
    x = torch.randn(7, 5, dtype=torch.float64)
    h = x.numpy()
    layers = [m for m in net.modules() if isinstance(m, nn.Linear)]
    for layer in layers[:-1]:
        both = h @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        a, b = both[:, : both.shape[1] // 2], both[:, both.shape[1] // 2 :]
        h = a / (1 + torch.from_numpy(-b).exp().numpy())
    y = h @ layers[-1].weight.detach().numpy().T + layers[-1].bias.detach().numpy()
    torch.testing.assert_close(net(x), torch.from_numpy(y), rtol=1e-12, atol=1e-12)


def test_the_vampprior_papers_network_has_its_size() -> None:
    """784-300-300 gated: two linear maps in each hidden layer."""
    net = nets.gated_mlp_encoder((1, 28, 28))
    widths = [(784, 300), (300, 300)]
    assert sum(p.numel() for p in net.parameters()) == sum(2 * (a * b + b) for a, b in widths)


def test_a_residual_block_that_has_learnt_nothing_is_the_identity() -> None:
    block = nets.Residual(4, norm="layer")
    for p in block.layers[-1].parameters():
        nn.init.zeros_(p)
    h = torch.randn(2, 4, 5, 6)
    assert torch.equal(block(h), h)


def test_what_is_no_function_of_one_example_is_named() -> None:
    assert nets.unsteady(build("encoder", "conv", (1, 8, 8))) == ""
    assert nets.unsteady(build("encoder", "conv", (1, 8, 8), norm="layer")) == ""
    assert nets.unsteady(build("encoder", "resnet", (1, 8, 8), norm="batch")) == "batch norm"
    assert nets.unsteady(build("decoder", "mlp", (1, 8, 8), dropout=0.2)) == "dropout"
    assert nets.unsteady(nn.SyncBatchNorm(3)) == "batch norm"


def test_without_norm_and_dropout_the_lectures_network_is_unchanged() -> None:
    """The layers of a run that was made before these arguments were there have the same names."""
    net = nets.ConvEncoder((1, 28, 28))
    assert sorted(net.state_dict()) == ["layers.0.bias", "layers.0.weight", "layers.2.bias", "layers.2.weight"]
    widths = [(a, b) for a, b in pairwise((1, 32, 64))]
    assert sum(p.numel() for p in net.parameters()) == sum(16 * prod(w) + w[1] for w in widths)
