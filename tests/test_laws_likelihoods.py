"""Laws that every registered likelihood keeps, whatever its arguments; what each is exactly; and peers' defects.

A new member of the registry is found by itself, with each word that one of its arguments may be. `ARGUMENTS` is for
those that have an argument without a default.
"""

import inspect
import math
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

import linear
import quadrature
from lowerbound import begin, data, dist, likelihood, metrics, nets, posterior, prior, rng, spec
from lowerbound.errors import DataError, UsageError
from lowerbound.likelihood import Likelihood
from lowerbound.metrics.bounds import SEED
from lowerbound.objective import KL, Capacity, Distortion, Elbo
from lowerbound.objective.base import Objective
from lowerbound.vae import VAE

LATENTS = 3
ARGUMENTS: dict[str, dict[str, Any]] = {}


def words(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from (word for word in get_args(annotation) if isinstance(word, str))
    for inner in get_args(annotation):
        if not isinstance(inner, str):
            yield from words(inner)


def variants() -> dict[str, dict[str, Any]]:
    """Each registered likelihood by its defaults, and with each word that one of its arguments may be."""
    found: dict[str, dict[str, Any]] = {}
    for kind, constructor in spec.REGISTRIES["likelihood"].items():
        base = {"kind": kind, **ARGUMENTS.get(kind, {})}
        found[kind] = base
        for name, parameter in inspect.signature(constructor).parameters.items():
            for word in words(parameter.annotation):
                if word != parameter.default:
                    found[f"{kind} {name}={word}"] = {**base, name: word}
    return found


VARIANTS = variants()
EVERY = pytest.mark.parametrize("name", VARIANTS)


def build(name: str, shape: tuple[int, ...], net: dict[str, Any] | None = None, unit: bool = True) -> Likelihood:
    node = spec.complete("likelihood", {**VARIANTS[name], "net": net or {"kind": "mlp", "hidden": [8]}}, name)
    with rng.noise(0, "init"):
        part: Likelihood = spec.construct("likelihood", node, {"shape": shape, "latents": LATENTS, "unit": unit})
    return part.eval()


def images(part: Likelihood, px: Distribution, n: int, seed: int = 0) -> Tensor:
    """Data that the likelihood takes: levels, bits or grey pixels."""
    with rng.noise(seed, "images"):
        x = torch.rand(n, *px.event_shape)
    return x if not px.support.is_discrete else (x * ((part.levels or 2) - 1)).round() / ((part.levels or 2) - 1)


@EVERY
def test_leading_axes_are_the_batch_and_one_example_is_the_event(name: str) -> None:
    part = build(name, (2, 3, 4))
    z = torch.randn(5, 6, LATENTS)
    for leading in ((), (6,), (5, 6)):
        px = part(z[(0,) * (2 - len(leading))])
        assert (px.batch_shape, px.event_shape) == (leading, (2, 3, 4))
        assert px.mean.shape == px.sample().shape == (*leading, 2, 3, 4)
    x = images(part, px, 6)
    whole = part(z).log_prob(x)
    assert whole.shape == (5, 6)
    torch.testing.assert_close(part(z[4, 2]).log_prob(x[2]), whole[4, 2], rtol=1e-4, atol=1e-4)


@EVERY
def test_all_probability_is_one_and_the_mean_is_the_density_s(name: str) -> None:
    """Over two pixels at once, by quadrature or by adding up every image; so a mean over pixels for the sum fails."""
    part = build(name, (2,)).double()
    px = part(torch.randn(LATENTS, dtype=torch.float64))
    nodes, w = quadrature.rule(px.support, part.levels)
    x, w = quadrature.product(nodes, w, 2)
    x = x + px.mean if part.real else x  # where the rule of the real line is finest
    with torch.no_grad():
        p = px.log_prob(x).exp() * w
        assert float(p.sum()) == pytest.approx(1, abs=1e-6)
        torch.testing.assert_close((p[:, None] * x).sum(0), px.mean, rtol=1e-5, atol=1e-5)


@EVERY
def test_samples_are_what_it_scores_and_have_its_mean(name: str) -> None:
    """Within 5 standard errors of 4,000 draws, eight pixels: false alarm 5e-6; a t variable of 5 degrees less so."""
    part = build(name, (1, 2, 4))
    px = part(torch.randn(LATENTS))
    with rng.noise(0, name):
        x = px.sample(torch.Size((4000,)))
    assert px.support.check(x).all()
    if part.levels:
        assert dist.on_levels.check(x).all()
    error = x.std(0) / len(x) ** 0.5
    assert ((x.mean(0) - px.mean).abs() <= 5 * error + 1e-6).all()


@EVERY
def test_the_mean_is_an_image_in_the_unit_interval(name: str) -> None:
    part = build(name, (1, 4, 4))
    mean = part(30 * torch.randn(64, LATENTS)).mean
    assert float(mean.detach().min()) >= 0
    assert float(mean.detach().max()) <= 1


@EVERY
def test_every_parameter_and_z_get_a_gradient(name: str) -> None:
    part = build(name, (2, 3, 4)).train()
    z = torch.randn(2, 16, LATENTS, requires_grad=True)
    px = part(z)
    (-px.log_prob(images(part, px, 16)).mean()).backward()
    gradients = {**{key: p.grad for key, p in part.named_parameters()}, "z": z.grad}
    assert [key for key, g in gradients.items() if g is None or not g.isfinite().all() or not g.abs().max() > 0] == []


@EVERY
def test_float64_goes_all_the_way(name: str) -> None:
    """The derivative along z is the finite difference to 1e-6, which something in float32 on the way would spoil."""
    part = build(name, (2, 3, 4)).double()
    z, step = torch.randn(2, 5, LATENTS, dtype=torch.float64), torch.randn(LATENTS, dtype=torch.float64)
    px = part(z)
    x = images(part, px, 5).double()
    assert px.log_prob(x).dtype == px.mean.dtype == px.sample().dtype == torch.float64
    h = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(part(z + h * step).log_prob(x).sum(), h)
    with torch.no_grad():
        up, down = (float(part(z + s * 1e-5 * step).log_prob(x).sum()) for s in (1, -1))
    assert float(gradient) == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-6)


@EVERY
def test_the_network_may_run_in_bfloat16_and_the_density_does_not(name: str) -> None:
    part = build(name, (2, 3, 4))
    z = torch.randn(2, 5, LATENTS)
    x = images(part, part(z), 5)
    want = part(z).log_prob(x)
    with torch.autocast("cpu", torch.bfloat16):
        px = part(z)
        found = px.log_prob(x)
    assert found.dtype == px.mean.dtype == torch.float32
    torch.testing.assert_close(found, want, rtol=0.05, atol=1.0)  # the network's outputs have 3 digits
    again = torch.stack([px.log_prob(x)[1, i] for i in range(5)])
    assert torch.equal(again, found[1])


@EVERY
def test_a_convolutional_decoder_gives_as_many_numbers_as_it_needs(name: str) -> None:
    part = build(name, (3, 9, 10), {"kind": "conv", "channels": [4, 4]})
    px = part(torch.randn(2, LATENTS))
    assert px.event_shape == (3, 9, 10)
    assert px.log_prob(images(part, px, 2)).shape == (2,)


@pytest.mark.parametrize("decoder", spec.REGISTRIES["decoder"])
def test_every_decoder_can_give_several_numbers_a_pixel(decoder: str) -> None:
    part = build("hyperbolic-secant sigma=each", (3, 8, 9), {"kind": decoder})
    px = part(torch.randn(2, LATENTS))
    assert px.event_shape == (3, 8, 9)
    assert px.base_dist.scale.std() > 0


def test_every_registered_likelihood_is_among_the_cases() -> None:
    assert {name.split()[0] for name in VARIANTS} == set(spec.REGISTRIES["likelihood"])
    print(f"{len(VARIANTS)} variants: {', '.join(VARIANTS)}")
    assert {"gaussian sigma=pixel", "student-t df=learned", "laplace sigma=image"} <= set(VARIANTS)


# what each is exactly


class Constant(nn.Module):
    """A network that gives the same numbers whatever z is, exactly as many as it was given."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self, z: Tensor) -> Tensor:
        return self.values.expand(len(z), *self.values.shape)


MU = torch.tensor([0.2, -1.0, 3.0], dtype=torch.float64)
X = torch.tensor([[0.5, 0.1, 3.0], [-2.0, -1.0, 2.0]], dtype=torch.float64)
Z = torch.zeros(2, LATENTS, dtype=torch.float64)
FAMILIES = {
    "gaussian": (likelihood.Gaussian, lambda x, mu, s: scipy.stats.norm.logpdf(x, mu, s)),
    "laplace": (likelihood.Laplace, lambda x, mu, s: scipy.stats.laplace.logpdf(x, mu, s)),
    "hyperbolic secant": (
        likelihood.HyperbolicSecant,
        lambda x, mu, s: scipy.stats.hypsecant.logpdf(x, mu, 2 * s / math.pi),
    ),
    "student-t": (likelihood.StudentT, lambda x, mu, s: scipy.stats.t.logpdf(x, 5, mu, s)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_sigma_is_the_scale_that_its_word_says(family: str) -> None:
    """One number, one for each position, for each image or for each pixel: against scipy, constants and all."""
    make, reference = FAMILIES[family]
    s = torch.tensor([-0.5, 0.3, 1.1], dtype=torch.float64)  # what stands for log σ
    for sigma, values, want in (
        (0.7, MU, 0.7),
        ("learned", MU, 1.3),
        ("pixel", MU, s.exp().numpy() + 1e-3),
        ("image", torch.cat([MU, s]), float(s.mean().exp()) + 1e-3),
        ("each", torch.cat([MU, s]), s.exp().numpy() + 1e-3),
    ):
        part = make(Constant(values), sigma=sigma, shape=(3,)).double()  # type: ignore[arg-type]
        if sigma == "learned":
            part.log_sigma.data.fill_(math.log(1.3))
        if sigma == "pixel":
            part.log_sigma.data.copy_(s)
        want_log_p = reference(X.numpy(), MU.numpy(), want).sum(1)
        np.testing.assert_allclose(part(Z).log_prob(X).detach().numpy(), want_log_p, rtol=1e-10, err_msg=str(sigma))


def test_sigma_of_an_image_is_its_own_and_that_of_a_pixel_is_every_images() -> None:
    z = torch.randn(4, LATENTS)
    image = build("gaussian sigma=image", (1, 2, 2))(z).base_dist.scale
    pixel = build("gaussian sigma=pixel", (1, 2, 2))
    pixel.log_sigma.data.normal_()
    pixel_scale = pixel(z).base_dist.scale
    assert torch.equal(image, image[:, :1, :1, :1].expand(4, 1, 2, 2))
    assert image[:, 0, 0, 0].std() > 0
    assert torch.equal(pixel_scale, pixel_scale[:1].expand(4, 1, 2, 2))
    assert pixel_scale[0].std() > 0


@pytest.mark.parametrize("sigma", ["pixel", "image", "each"])
def test_constant_pixels_do_not_make_a_sigma_zero(sigma: str) -> None:
    part = likelihood.Laplace(Constant(torch.full((6,) if sigma != "pixel" else (3,), -500.0)), sigma, shape=(3,))  # type: ignore[arg-type]
    if sigma == "pixel":
        part.log_sigma.data.fill_(-500.0)
    px = part(torch.zeros(2, LATENTS))
    assert px.base_dist.scale.detach().min() == pytest.approx(1e-3)
    assert px.log_prob(torch.full((2, 3), -500.0)).isfinite().all()


def test_the_degrees_of_freedom_of_student_t_are_learned_above_one() -> None:
    part = likelihood.StudentT(Constant(MU), df="learned").double()
    px = part(Z)
    want = scipy.stats.t.logpdf(X.numpy(), 5, MU.numpy(), 1.0).sum(1)
    np.testing.assert_allclose(px.log_prob(X).detach().numpy(), want, rtol=1e-6)  # ν was rounded to float32
    (gradient,) = torch.autograd.grad(px.log_prob(X).sum(), part.log_excess)
    assert gradient.abs() > 1e-3
    part.log_excess.data.fill_(-40.0)
    assert part(Z).mean.isfinite().all()


def test_the_numbers_of_a_mixture_are_logits_locations_and_scales() -> None:
    """Channels are number by number: all logits first, then all locations, which begin at 1/4 and 3/4, then scales."""
    y = torch.randn(6, 3, dtype=torch.float64)  # six numbers of three pixels
    part = likelihood.DiscretisedLogisticMixture(Constant(y.flatten()), components=2).double()
    x = torch.tensor([[0.0, 100 / 255, 1.0]], dtype=torch.float64)
    pi = torch.softmax(y[:2], 0).numpy()
    mu, s = (y[2:4] + torch.tensor([[0.25], [0.75]])).numpy(), ((y[4:] - 2).exp() + 1e-4).numpy()
    low = np.where(x.numpy() == 0, -np.inf, x.numpy() - 1 / 510)
    high = np.where(x.numpy() == 1, np.inf, x.numpy() + 1 / 510)
    mass = scipy.stats.logistic.cdf(high, mu, s) - scipy.stats.logistic.cdf(low, mu, s)
    found = part(Z[:1]).log_prob(x).item()
    assert found == pytest.approx(np.log((pi * mass).sum(0)).sum(), rel=1e-9)


def test_a_discretised_logistic_is_scipys_with_the_tails_at_its_ends() -> None:
    mu, s = torch.tensor([0.1, 0.4, 1.2]).double(), torch.tensor([0.3, -1.0, 0.0]).double()
    part = likelihood.DiscretisedLogistic(Constant(torch.cat([mu, s])), sigma="each").double()
    x, scale = np.array([[0.0, 100 / 255, 1.0]]), (s - 2).exp().numpy() + 1e-4
    law = scipy.stats.logistic(mu.numpy(), scale)
    mass = law.cdf(np.where(x == 1, np.inf, x + 1 / 510)) - law.cdf(np.where(x == 0, -np.inf, x - 1 / 510))
    assert part(Z[:1]).log_prob(torch.from_numpy(x)).item() == pytest.approx(np.log(mass).sum(), rel=1e-9)


def test_the_numbers_of_a_categorical_are_its_levels_in_order() -> None:
    y = torch.randn(256, 3, dtype=torch.float64)
    x = torch.tensor([[0.0, 100 / 255, 1.0]], dtype=torch.float64)
    want = torch.log_softmax(y, 0)[[0, 100, 255], [0, 1, 2]].sum()
    found = likelihood.Categorical(Constant(y.flatten()))(Z[:1]).log_prob(x)
    assert found.item() == pytest.approx(float(want), rel=1e-12)


def test_bytes_divided_by_255_are_levels_in_float32_and_others_are_not() -> None:
    bytes_ = torch.arange(256, dtype=torch.uint8)
    assert dist.on_levels.check(data.source.scaled(bytes_)).all()
    assert not dist.on_levels.check(torch.tensor([0.5, -1 / 255, 256 / 255, math.nan, 0.1])).any()


def test_what_cannot_be_is_refused_in_words() -> None:
    net = nets.MLP((LATENTS,), (3,))
    for make, said in (
        (lambda: likelihood.Laplace(net, sigma=0.0), r"sigma is 0.0: give a number above 0, 'learned', .* or 'each'"),
        (lambda: likelihood.StudentT(net, df=1.0), "df is 1.0: give a number above 1"),
        (lambda: likelihood.Laplace(net, sigma="pixel"), r"say of which shape"),
        (lambda: likelihood.DiscretisedLogisticMixture(net, components=0), "components is 0"),
        (lambda: likelihood.Categorical(net)(torch.zeros(1, LATENTS)), r"shape \(3,\).*256 times the channels"),
    ):
        with pytest.raises(UsageError, match=said):
            make()


def model(part: Likelihood, shape: tuple[int, ...]) -> VAE:
    return VAE(posterior.Gaussian(nets.MLP(shape, hidden=(8,)), LATENTS), prior.Standard(LATENTS), part)


def test_data_that_are_not_of_eight_bits_are_refused_by_what_counts_levels() -> None:
    grey = data.tensor(torch.rand(20, 1, 4, 4), validation=2, test=0)
    levels = data.tensor((torch.rand(20, 1, 4, 4) * 255).round() / 255, validation=2, test=0)
    for kind in ("categorical", "discretised-logistic", "discretised-logistic-mixture"):
        whole = model(build(kind, (1, 4, 4)), (1, 4, 4))
        begin.suits(whole, levels)
        with pytest.raises(DataError, match="not all multiples of 1/255"):
            begin.suits(whole, grey)
    begin.suits(model(build("laplace", (1, 4, 4)), (1, 4, 4)), grey)


def test_a_decoder_of_another_shape_than_the_data_is_refused() -> None:
    """Torch would broadcast one channel over three and add up the three."""
    whole = model(build("gaussian", (1, 4, 4)), (3, 4, 4))
    with pytest.raises(UsageError, match=r"shape \(1, 4, 4\), and the data have \(3, 4, 4\)"):
        Elbo()(whole, torch.rand(5, 3, 4, 4))


def test_bits_per_dimension_are_of_probabilities() -> None:
    part = likelihood.Categorical(Constant(torch.zeros(256 * 12).reshape(256 * 3, 2, 2)))
    px = part(torch.zeros(1, LATENTS))
    nats = -float(px.log_prob(torch.zeros(1, 3, 2, 2)).detach())
    assert nats == pytest.approx(12 * math.log(256), rel=1e-6)
    assert metrics.bits_per_dimension(nats, px) == pytest.approx(8, rel=1e-6)
    with pytest.raises(UsageError, match="p\\(x\\|z\\) here is a density"):
        metrics.bits_per_dimension(nats, likelihood.Laplace(Constant(torch.zeros(3)))(torch.zeros(1, LATENTS)))


@pytest.mark.parametrize(
    ("name", "levels", "told"),
    [("categorical", 256, True), ("bernoulli", 2, True), ("bernoulli", 256, False), ("gaussian", 256, False)],
)
def test_evaluation_tells_bits_per_dimension_where_pixels_have_a_probability(
    name: str, levels: int, told: bool
) -> None:
    x = (torch.rand(12, 1, 4, 4) * (levels - 1)).round() / (levels - 1)
    source = data.tensor(x, validation=6, test=0)
    found = metrics.evaluate(model(build(name, (1, 4, 4)), (1, 4, 4)), Elbo(), source.blocks("validation", 4), step=0)
    assert ("bits_per_dimension" in found) == told
    if told:
        assert found["bits_per_dimension"] == pytest.approx(-found["elbo"] / (16 * math.log(2)), rel=1e-12)


# defects of the peers that belong to likelihoods: each is named after what it guards


def evaluated(whole: VAE, objective: Objective, x: Tensor) -> dict[str, Any]:
    return metrics.evaluate(whole, objective, [(x, None)], step=0)


def test_peer_20_validation_judges_by_the_loss_that_training_minimises() -> None:
    """The same weights of the terms and the same sums over pixels: no 0.00025 in the one and 1 in the other."""
    whole, x = model(build("gaussian", (3, 4, 4)), (3, 4, 4)), torch.rand(20, 3, 4, 4)
    for beta in (0.00025, 1.0, 4.0):
        objective = Elbo({"distortion": Distortion(), "kl": KL(weight=beta)})
        with rng.noise(SEED, "evaluate", 0), torch.no_grad():
            trained = objective.train()(whole, x)
        found = evaluated(whole, objective, x)
        assert found["loss"] == pytest.approx(float(trained.losses["model"]), rel=1e-6)
        assert found["loss"] == pytest.approx(found["distortion"] + beta * found["rate"], rel=1e-6)


def test_peer_27_what_is_called_the_elbo_by_default_is_a_bound_of_log_p() -> None:
    """At the exact posterior the default objective is -log p(x) to the last digits: sums, and β = 1."""
    x = linear.data()
    for objective in (Elbo(), Elbo({"distortion": Distortion(), "kl": KL()})):
        with torch.no_grad():
            whole = linear.model(exact=True)
            trace = whole(x, samples=3)
            q = trace.latents[0].q
            loss = objective.reduce(whole, trace)
        gap = loss.losses["model"] + linear.log_p(x).mean()
        # the closed form of the rate leaves the noise of log p(x|z), which the exact elbo does not have
        noise = (trace.log_px - trace.kl).std() / (3 * len(x)) ** 0.5
        assert abs(float(gap)) <= 4.5 * float(noise)
        torch.testing.assert_close(linear.elbo(x, q.mean, q.variance), linear.log_p(x), rtol=0, atol=1e-10)


def test_peer_31_the_logged_rate_and_distortion_are_never_scaled() -> None:
    """Whatever multiplies them in the loss: β, λ, γ."""
    whole, x = model(build("gaussian", (3, 4, 4)), (3, 4, 4)), torch.rand(20, 3, 4, 4)
    objectives = (
        Elbo(),
        Elbo({"distortion": Distortion(weight=0.1), "kl": KL(weight=0.1)}),
        Elbo({"distortion": Distortion(), "kl": KL(weight=100.0)}),
        Elbo({"distortion": Distortion(), "capacity": Capacity(capacity=3.0, weight=7.0)}),
    )
    found = [evaluated(whole, objective, x) for objective in objectives]
    for name in ("distortion", "rate", "elbo"):
        assert len({row[name] for row in found}) == 1
    assert len({row["loss"] for row in found}) == 4


def repeated(part: Likelihood, times: int, axis: int) -> Likelihood:
    """The same likelihood of images that stand several times side by side, or have several equal channels."""

    class Again(nn.Module):
        def __init__(self, net: nn.Module, numbers: int) -> None:
            super().__init__()
            self.net, self.numbers = net, numbers

        def forward(self, z: Tensor) -> Tensor:
            y = self.net(z).unflatten(1, (self.numbers, -1))
            return torch.cat([y] * times, axis + 1).flatten(1, 2)

    node = {key: value for key, value in vars(part).items() if not key.startswith("_")}
    part.net = Again(part.net, part.numbers(**node))
    if getattr(part, "log_sigma", None) is not None and part.log_sigma.ndim:
        part.log_sigma = nn.Parameter(torch.cat([part.log_sigma.data] * times, axis - 1))
    return part


@EVERY
@pytest.mark.parametrize("axis", [1, 3], ids=["channels", "columns"])
def test_peer_32_three_equal_channels_cost_three_times_as_much_and_so_do_three_copies(name: str, axis: int) -> None:
    """A sum over channels and pixels, never a mean: Keras' cross-entropy of RGB is a third of its own."""
    z = torch.randn(2, 5, LATENTS)
    part = build(name, (1, 2, 4))
    x = images(part, part(z), 5)
    one = part(z).log_prob(x)
    three = repeated(part, 3, axis)(z).log_prob(torch.cat([x] * 3, axis))
    torch.testing.assert_close(three, 3 * one, rtol=1e-4, atol=1e-4)


def test_peer_32_nothing_is_trained_on_that_is_tested_on() -> None:
    source = data.tensor(torch.arange(50.0)[:, None] / 50, validation=10, test=15)
    rows = [set(getattr(source, split).rows.tolist()) for split in ("train", "validation", "test")]
    assert [len(r) for r in rows] == [25, 10, 15]
    assert set.union(*rows) == set(range(50))
    drawn, _ = source.batch(0, 200, seed=0)
    assert set((drawn[:, 0] * 50).round().int().tolist()) == rows[0]


def test_peer_33_a_cross_entropy_on_grey_pixels_is_never_called_a_likelihood() -> None:
    """Nor a number of bits; and an evaluation of fewer images than a block is no accident."""
    from lowerbound.job import likelihood_note

    whole = model(build("bernoulli", (1, 4, 4)), (1, 4, 4))
    grey = data.tensor(torch.rand(20, 1, 4, 4), validation=3, test=0)
    note = likelihood_note(whole, grey)
    assert note["density"] is False
    assert "not a likelihood" in note["note"]
    found = metrics.evaluate(whole, Elbo(), grey.blocks("validation", 500), step=0)
    assert found["images"] == 3
    assert "bits_per_dimension" not in found


@pytest.mark.parametrize("dims", [50, 784])
def test_peer_36_beta_is_the_beta_of_a_unit_gaussian_whatever_the_dimensions(dims: int) -> None:
    """The distortion is half the summed squared error plus its constant: a mean over D would make β grow with D."""
    part = likelihood.Gaussian(nets.MLP((LATENTS,), (dims,), hidden=(8,)), sigma=1.0)
    whole, x = model(part, (dims,)), torch.rand(20, dims)
    with torch.no_grad():
        trace = whole(x)
        loss = Elbo().reduce(whole, trace)
        error = (x - trace.px.mean).square().sum(-1).mean()
    assert float(loss.terms["distortion"]) == pytest.approx(float(error) / 2 + dims / 2 * math.log(2 * math.pi))
    assert float(loss.losses["model"]) == pytest.approx(float(loss.terms["distortion"] + loss.terms["rate"]))


def test_peer_36_evaluation_draws_z_and_decodes_the_z_that_it_scores() -> None:
    whole, x = model(build("gaussian", (3, 4, 4)), (3, 4, 4)).eval(), torch.rand(20, 3, 4, 4)
    means = [metrics.evaluate(whole, Elbo(), [(x, None)], step=0, seed=seed)["distortion"] for seed in (1, 2)]
    assert means[0] != means[1], "the mean of q stood for a sample"
    with torch.no_grad():
        trace = whole(x, samples=2)
        again = whole.likelihood(trace.latents[0].z)
    assert isinstance(again, Independent)
    torch.testing.assert_close(again.log_prob(x), trace.log_px, rtol=0, atol=0)
    assert (trace.latents[0].z[0] != trace.latents[0].z[1]).all()
