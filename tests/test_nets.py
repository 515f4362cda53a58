"""Networks of any size: the output has the input's shape, and every parameter gets a gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowerbound import likelihood, nets, posterior, prior
from lowerbound.errors import UsageError
from lowerbound.objective import Elbo
from lowerbound.vae import VAE


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[int, int, int], int, list[int]]:
    side = st.one_of(st.integers(8, 40), st.sampled_from([64, 65, 127, 256]))
    shape = (draw(st.integers(1, 5)), draw(side), draw(side))
    if shape[1] * shape[2] > 128 * 128:
        shape = (draw(st.integers(1, 2)), *shape[1:])
    depth = draw(st.integers(1, min(shape[1:]).bit_length() - 1))
    return shape, draw(st.integers(1, 20)), [draw(st.integers(1, 6)) for _ in range(depth)]


@given(cases())
@settings(max_examples=60, derandomize=True, deadline=None)
def test_any_size_channels_latents_and_depth(case: tuple[tuple[int, int, int], int, list[int]]) -> None:
    shape, latents, channels = case
    model = VAE(
        posterior.Gaussian(nets.ConvEncoder(shape, channels), latents),
        prior.Standard(latents),
        likelihood.Bernoulli(nets.ConvDecoder(latents, shape, channels[::-1])),
    )
    x = torch.rand(2, *shape)
    Elbo()(model, x).losses["model"].backward()
    assert model.reconstruct(x).shape == x.shape
    missing = [name for name, p in model.named_parameters() if p.grad is None or p.grad.shape != p.shape]
    assert missing == []


def test_every_parameter_gets_a_gradient_that_is_not_zero() -> None:
    model = VAE(
        posterior.Gaussian(nets.ConvEncoder((1, 13, 21), (8, 8)), 4),
        prior.Standard(4),
        likelihood.Bernoulli(nets.ConvDecoder(4, (1, 13, 21), (8, 8))),
    )
    Elbo()(model, torch.rand(16, 1, 13, 21)).losses["model"].backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


@pytest.mark.parametrize("hidden", [(7,), (7, 5, 3)])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_mlp_maps_shapes_to_shapes(hidden: tuple[int, ...], activation: str) -> None:
    net = nets.MLP((3, 4, 5), (2, 6), hidden=hidden, activation=activation)  # type: ignore[arg-type]
    y = net(torch.randn(9, 3, 4, 5))
    y.sum().backward()
    assert y.shape == (9, 2, 6)
    assert all(p.grad is not None for p in net.parameters())
    kinds = {type(layer) for layer in net.layers}
    assert {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[activation] in kinds


def test_the_lectures_network_layer_by_layer() -> None:
    """Conv2d 1→32→64 and ConvTranspose2d 64→32→1 of kernel 4 and stride 2, a ReLU after each but the last."""
    encoder, decoder = nets.ConvEncoder((1, 28, 28)), nets.ConvDecoder(16, (1, 28, 28))
    down, up, relu = torch.nn.Conv2d, torch.nn.ConvTranspose2d, torch.nn.ReLU
    for net, kinds in ((encoder, [down, relu, down, torch.nn.Flatten, relu]), (decoder, [relu, up, relu, up])):
        assert all(isinstance(layer, kind) for layer, kind in zip(net.layers, kinds, strict=True))
    convolutions = [m for m in [*encoder.layers, *decoder.layers] if hasattr(m, "kernel_size")]
    assert {(m.kernel_size, m.stride) for m in convolutions} == {((4, 4), (2, 2))}
    assert [m.out_channels for m in convolutions] == [32, 64, 32, 1]
    assert encoder.features == 64 * 7 * 7 == decoder.linear.out_features


def test_leading_axes_are_folded_and_restored() -> None:
    net = nets.ConvDecoder(3, (2, 9, 8), (4,))
    z = torch.randn(2, 5, 3)
    whole = nets.leading(net, z, 1)
    assert whole.shape == (2, 5, 2, 9, 8)
    torch.testing.assert_close(whole[1, 4], net(z[1, 4][None])[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: nets.ConvEncoder((1, 8, 8), (4,) * 4), "at most 3"),
        (lambda: nets.ConvEncoder((5,)), "'mlp'"),
        (lambda: nets.ConvDecoder(2, (1, 8, 3), (4, 4)), "at most 1"),
        (lambda: posterior.Gaussian(torch.nn.Linear(2, 2), 2), "features"),
    ],
)
def test_what_cannot_be_built_is_said_in_words(make: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()  # type: ignore[operator]
