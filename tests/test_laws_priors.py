"""Laws that every prior keeps, over the registry, and what holds its sampler to its density.

A member that is added is covered with no change here. Densities are checked in float64. Statistical tests have fixed
seeds; each says how often it would reject what is right.
"""

import copy
from typing import Any, final

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform
from torch.optim.swa_utils import AveragedModel

from grids import INPUTS, member, moved, on_a_grid
from lowerbound import likelihood, nets, posterior, prior, recipes, rng, spec
from lowerbound.dist import Mixture
from lowerbound.errors import UsageError
from lowerbound.posterior import Posterior
from lowerbound.prior import Prior
from lowerbound.vae import VAE, Latent

KINDS = list(spec.REGISTRIES["prior"])
EACH = pytest.mark.parametrize("kind", KINDS)
ROOM = {"vamp": {"components": 5}, "mixture": {"components": 5}}


def model(kind: str, latents: int = 2, q: Posterior | None = None) -> VAE:
    """A model with the prior, all of whose weights were moved."""
    q = q or member("posterior", "gaussian", latents)
    decoder = moved(nets.MLP((latents,), (INPUTS,), hidden=(8,)).double(), 0.4)
    return VAE(q, member("prior", kind, latents), likelihood.Gaussian(decoder, sigma=1.0)).eval()


def flat(m: VAE) -> Distribution:
    """The prior of a model, for a test in the plane."""
    if m.prior.space != "euclidean":
        pytest.skip(f"lives in {m.prior.space} space, which a plane's grid does not measure")
    p: Distribution = m.prior()
    return p


@EACH
@pytest.mark.parametrize("latents", [1, 3])
def test_shapes_and_precision(kind: str, latents: int) -> None:
    for dtype in (torch.float32, torch.float64):
        p = model(kind, latents).to(dtype).prior()
        z = p.sample((7,))
        assert (p.batch_shape, p.event_shape, z.shape) == ((), (latents,), (7, latents))
        assert p.log_prob(z.expand(4, 7, latents)).shape == (4, 7)
        assert p.log_prob(z).isfinite().all()
        assert {z.dtype, p.log_prob(z).dtype} == {dtype}
        assert not z.requires_grad
        assert p.expand((5,)).log_prob(z[:5]).shape == (5,)


@EACH
def test_the_density_integrates_to_one(kind: str) -> None:
    assert abs(float(on_a_grid(flat(model(kind))).mass.sum()) - 1) < 5e-3


@EACH
def test_samples_are_of_the_density(kind: str) -> None:
    """Kolmogorov and Smirnov on each marginal and χ² on a grid of 64 cells: each p above 1e-4, so a false alarm in
    3e-4 of kinds. The samples are those of the model's sampler.
    """
    m = model(kind)
    grid, z = on_a_grid(flat(m)), m.draw_latents(3_000, seed=4)
    for axis in (0, 1):
        assert scipy.stats.kstest(grid.cdf(axis, z[:, axis]).numpy(), "uniform").pvalue > 1e-4
    # eight strips of equal probability in each coordinate
    strips = [(grid.mass.sum(1 - axis).cumsum(0) * 8).long().clamp(max=7) for axis in (0, 1)]
    cell = strips[0][:, None] * 8 + strips[1]
    expected = torch.zeros(64, dtype=torch.float64).index_add(0, cell.flatten(), grid.mass.flatten()) * len(z)
    i, j = grid.cells(z).unbind(1)
    observed = torch.bincount(cell[i, j], minlength=64).double()
    rare = expected < 8
    counts = [torch.cat([c[~rare], c[rare].sum()[None]]) if rare.any() else c for c in (observed, expected)]
    scale = counts[0].sum() / counts[1].sum()
    assert scipy.stats.chisquare(counts[0].numpy(), (counts[1] * scale).numpy()).pvalue > 1e-4


@EACH
def test_the_stein_identity_holds_in_five_dimensions(kind: str) -> None:
    """E[∇ log p · f + div f] = 0 for f_i = tanh((z_i + z_{i+1}) / 3), within 4.5 standard errors of 4,000 draws,
    coordinate by coordinate: false alarm 3e-5 a kind.
    """
    m = model(kind, 5)
    draws = m.draw_latents(4_000, seed=5)

    def far_from_zero(z: Tensor) -> Tensor:
        z = z.clone().requires_grad_()
        (score,) = torch.autograd.grad(m.prior().log_prob(z).sum(), z)
        f = ((z + z.roll(-1, dims=1)) / 3).tanh()
        values = (score * f + (1 - f.square()) / 3).detach()
        return values.mean(0).abs() > 4.5 * values.std(0) / len(values) ** 0.5

    assert not far_from_zero(draws).any()
    assert far_from_zero(1.3 * draws).any()  # it sees another density


@EACH
@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
def test_a_latent_depends_on_the_seed_and_its_number_alone(kind: str, temperature: float) -> None:
    m = model(kind)
    whole = m.draw_latents(150, seed=2, temperature=temperature)
    for n in (1, 18, 65):
        assert torch.equal(m.draw_latents(n, seed=2, temperature=temperature), whole[:n])
    assert temperature == 0 or not torch.equal(m.draw_latents(5, seed=3, temperature=temperature), whole[:5])
    assert not whole.requires_grad


@EACH
def test_temperature_draws_samples_together_down_to_single_points(kind: str) -> None:
    m = model(kind)
    cold, cool, plain = (m.draw_latents(300, seed=2, temperature=t) for t in (0.0, 0.5, 1.0))
    assert torch.equal(plain, m.draw_latents(300, seed=2))
    p = m.prior()
    points = p.components.batch_shape[0] if isinstance(p, Mixture) else 1
    assert len(cold.unique(dim=0)) <= points
    assert cool.isfinite().all()
    assert (cool - cold).norm(dim=1).mean() < 0.9 * (plain - cold).norm(dim=1).mean()


def test_a_prior_without_a_mean_says_so_where_a_temperature_is_asked_for() -> None:
    @final
    class Squashed(Prior):
        def forward(self, c: Tensor | None = None) -> Distribution:
            base = Independent(Normal(torch.zeros(2).double(), 1.0), 1)
            return TransformedDistribution(base, [TanhTransform()])

    m = model("standard")
    m.prior = Squashed()
    assert m.draw_latents(3, seed=0).shape == (3, 2)
    with pytest.raises(UsageError, match=r"Squashed has no mean.*temperature at 1"):
        m.draw_latents(3, seed=0, temperature=0.7)


@EACH
def test_the_elbo_trains_every_weight_of_the_prior_and_of_the_posterior(kind: str) -> None:
    m = model(kind).train()
    x = torch.randn(8, INPUTS, dtype=torch.float64)
    trace = m(x, samples=3)
    (trace.kl - trace.log_px).mean().backward()
    weights = [*m.prior.named_parameters(), *m.posterior.named_parameters()]
    assert [name for name, p in weights if p.grad is None or not p.grad.abs().sum() > 0] == []


@EACH
def test_a_state_dict_holds_each_weight_once_and_brings_the_prior_back(kind: str) -> None:
    m, other = model(kind), moved(model(kind), 0.3, seed=9)
    assert isinstance(other, VAE)
    state = m.state_dict()
    pointers = [v.data_ptr() for v in state.values() if v.numel()]
    assert len(pointers) == len(set(pointers))
    assert len(list(m.parameters())) == len(
        {id(p) for part in (m.posterior, m.prior, m.likelihood) for p in part.parameters()}
    )
    z = torch.randn(6, 2, dtype=torch.float64)
    other.load_state_dict(state)
    torch.testing.assert_close(other.prior().log_prob(z), m.prior().log_prob(z), rtol=0, atol=0)


@EACH
def test_a_copy_of_a_model_has_a_prior_of_its_own_posterior(kind: str) -> None:
    m = model(kind)
    z = torch.randn(6, 2, dtype=torch.float64)
    before = m.prior().log_prob(z).detach()
    for twin in (copy.deepcopy(m), AveragedModel(m).module):
        moved(twin.posterior, 0.5, seed=6)
        torch.testing.assert_close(m.prior().log_prob(z), before, rtol=0, atol=0)
        fresh = model(kind)
        fresh.load_state_dict(twin.state_dict())
        torch.testing.assert_close(twin.prior().log_prob(z), fresh.prior().log_prob(z), rtol=0, atol=0)
        assert (kind == "vamp") != torch.equal(twin.prior().log_prob(z).detach(), before)


@EACH
@pytest.mark.parametrize("net", ["conv", "mlp"])
def test_a_spec_builds_it_for_images_and_it_trains_and_draws(kind: str, net: str) -> None:
    shape = (1, 8, 6)
    base = recipes.base({"kind": "digits"}, shape)
    over = {"model": {"posterior": {"net": {"kind": net}}, "prior": {"kind": kind, **ROOM.get(kind, {})}}}
    done = spec.check(spec.merge(base, over))
    m = spec.build_model(done, shape, True)
    spec.build_objective(done, 100, 50)(m, torch.rand(4, *shape)).losses["model"].backward()
    assert [name for name, p in m.named_parameters() if p.grad is None] == []
    assert m.eval().sample(2, seed=0, temperature=0.7).shape == (2, *shape)


# mixtures


def test_a_mixture_is_the_sum_of_scipys_densities() -> None:
    p = member("prior", "mixture", 2)
    weights = scipy.special.softmax(p.logits.detach().numpy())
    z = torch.randn(9, 2, dtype=torch.float64)
    want = sum(
        w * np.prod(scipy.stats.norm(mu, np.exp(s)).pdf(z.numpy()), axis=1)
        for w, mu, s in zip(weights, p.mu.detach().numpy(), p.log_sigma.detach().numpy(), strict=True)
    )
    np.testing.assert_allclose(p().log_prob(z).exp().detach().numpy(), want, rtol=1e-10)


def test_a_mixtures_moments_are_those_of_its_samples() -> None:
    """Within 5 standard errors of 20,000 draws: false alarm 2e-6."""
    p = member("prior", "mixture", 2)()
    z = p.sample((20_000,))
    assert ((z.mean(0) - p.mean).abs() <= 5 * z.std(0) / len(z) ** 0.5).all()
    spread = (z - p.mean).square()
    assert ((spread.mean(0) - p.variance).abs() <= 5 * spread.std(0) / len(z) ** 0.5).all()


def test_a_batch_of_mixtures_keeps_its_rows_apart() -> None:
    far = 100.0 * torch.arange(12, dtype=torch.float64).reshape(4, 3, 1)
    p = Mixture(Independent(Normal(far, 1.0), 1), torch.zeros(3, dtype=torch.float64))
    z = p.sample((50,))
    assert (p.batch_shape, z.shape) == ((4,), (50, 4, 1))
    rows = (z[..., 0] + 50).div(300, rounding_mode="floor").long()
    assert torch.equal(rows, torch.arange(4).expand(50, 4))
    torch.testing.assert_close(p.expand((2, 4)).log_prob(z[:2]), p.log_prob(z[:2]))


# VampPrior


def conditional() -> tuple[VAE, Any]:
    """A model whose posterior reads c, as networks for labels will."""

    @final
    class Shifted(Posterior):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(INPUTS, 4)

        def params(self, x: Tensor, c: Tensor | None = None) -> Tensor:
            shift = 0.0 if c is None else torch.nn.functional.pad(c, (0, 3))
            params: Tensor = self.head(x) + shift
            return params

        def dist(self, params: Tensor) -> Distribution:
            mu, logvar = params.chunk(2, -1)
            return Independent(Normal(mu, (0.5 * logvar).exp()), 1)

        def centre(self, q: Distribution) -> Tensor:
            return q.mean

    q = Shifted().double()
    return model("vamp", q=q), q


def test_a_vampprior_is_the_mean_of_the_posteriors_of_its_pseudo_inputs() -> None:
    """Transcribed with SciPy: each log-variance in its place, inside the bracket (PyTorch-VAE's is outside)."""
    m, q = conditional()
    W, b = q.head.weight.detach().numpy(), q.head.bias.detach().numpy()
    u = m.prior.inputs().detach().numpy()
    mu, logvar = np.split(u @ W.T + b, 2, axis=1)
    z = np.random.default_rng(0).normal(size=(9, 2))
    densities = [np.prod(scipy.stats.norm(a, np.exp(l / 2)).pdf(z), axis=1) for a, l in zip(mu, logvar, strict=True)]
    found = m.prior().log_prob(torch.tensor(z)).detach().numpy()
    np.testing.assert_allclose(found, np.log(np.mean(densities, axis=0)), rtol=1e-10)


def test_a_vampprior_given_c_is_the_mean_over_pseudo_inputs_for_each_c() -> None:
    m, q = conditional()
    c = torch.tensor([[0.0], [2.0], [-5.0]], dtype=torch.float64)
    p = m.prior(c)
    z = torch.randn(4, 3, 2, dtype=torch.float64)
    assert (p.batch_shape, p.event_shape) == ((3,), (2,))
    for i in range(3):
        u = m.prior.inputs()
        each = q(u, c[i].expand(len(u), 1)).log_prob(z[:, i, None])
        torch.testing.assert_close(p.log_prob(z)[:, i], each.logsumexp(1) - np.log(len(u)))
    x = torch.randn(3, INPUTS, dtype=torch.float64)
    assert isinstance(m(x, c, samples=4).latents[0], Latent)
    assert m(x, c, samples=4).kl.shape == (4, 3)


@pytest.mark.parametrize("family", spec.REGISTRIES["posterior"])
def test_a_vampprior_of_any_posterior_is_a_density_or_is_refused_in_words(family: str) -> None:
    q = member("posterior", family)
    if not q.density or nets.unsteady(q):
        with pytest.raises(UsageError, match=r"VampPrior.*another"):
            model("vamp", q=q)
        return
    m = model("vamp", q=q)
    grid = on_a_grid(flat(m), side=181)
    assert abs(float(grid.mass.sum()) - 1) < 1e-2
    z = m.draw_latents(1_000, seed=4)
    assert scipy.stats.kstest(grid.cdf(0, z[:, 0]).numpy(), "uniform").pvalue > 1e-4  # false alarm 1e-4


def test_a_vampprior_refuses_networks_whose_output_is_not_a_function_of_their_input() -> None:
    for arguments, words in (({"norm": "batch"}, "batch norm"), ({"dropout": 0.5}, "dropout")):
        q = posterior.Gaussian(nets.MLP((INPUTS,), None, (8,), **arguments), 2).double()
        with pytest.raises(UsageError, match=words):
            model("vamp", q=q)


def test_a_vampprior_without_a_model_says_what_it_needs() -> None:
    with pytest.raises(UsageError, match="build a VAE"):
        prior.Vamp((3,))()


def test_pseudo_inputs_stay_in_the_range_of_the_data() -> None:
    with rng.noise(0, "u"):
        unit, real = prior.Vamp((4,), unit=True), prior.Vamp((4,), unit=False)
    for p in (unit, real):
        p.u.data *= 30
    assert 0 <= float(unit.inputs().detach().min()) < float(unit.inputs().detach().max()) <= 1
    assert float(real.inputs().detach().min()) < -1
    assert float(prior.Vamp((4,), unit=True).inputs().detach().mean()) < 0.1


# defects that other libraries have


def test_the_sampler_of_a_vampprior_draws_random_components_with_the_trained_variance() -> None:
    """Neither the first n pseudo-inputs nor a squashed log-variance (Pythae's sampler).

    Components 1,000 apart, of log-variance 4: which one a draw is from can be read off it. χ² of 2,000 draws over
    components with p above 1e-4, and the variance within 5 standard errors: false alarm 1.1e-4.
    """
    q = posterior.Gaussian(nn.Identity(), 2, features=1).double()
    p = prior.Vamp((1,), components=5).double()
    with torch.no_grad():
        p.u.copy_(1000.0 * torch.arange(5)[:, None])
        q.mu.weight.fill_(1.0)
        q.mu.bias.zero_()
        q.logvar.weight.zero_()
        q.logvar.bias.fill_(4.0)
    decoder = nn.Linear(2, 1).double()
    m = VAE(q, p, likelihood.Gaussian(decoder, sigma=1.0))
    z = m.draw_latents(2_000, seed=0)
    which = (z[:, 0] / 1000).round().long()
    assert scipy.stats.chisquare(torch.bincount(which, minlength=5).numpy()).pvalue > 1e-4
    assert not torch.equal(which[:5], torch.arange(5))
    inside = (z - 1000.0 * which[:, None]).square()
    assert ((inside.mean(0) - np.exp(4.0)).abs() <= 5 * inside.std(0) / len(z) ** 0.5).all()
    assert (m.draw_latents(2_000, seed=0, temperature=0.0) == 1000.0 * which[:, None]).all()


def test_everything_a_vampprior_needs_is_in_the_state_dict() -> None:
    """No input of its own that stays behind on a device or in a precision (Pythae's idle_input)."""
    p = prior.Vamp((3,), components=4)
    assert set(p.state_dict()) == {"u"}
    assert [name for name, value in vars(p).items() if isinstance(value, Tensor)] == []
    m = model("vamp").float()
    assert m.prior().sample((2,)).dtype == torch.float32
    assert m.double().prior().sample((2,)).dtype == torch.float64
    assert m.to("meta").prior().log_prob(torch.zeros(2, device="meta", dtype=torch.float64)).device.type == "meta"


@EACH
def test_a_model_draws_from_its_own_prior_and_not_from_the_standard_normal(kind: str) -> None:
    """Its images are the decoded draws of its trained prior (PyTorch-VAE's VampVAE draws N(0, I))."""
    m = model(kind)
    with rng.noise(7, "latents", 0):
        z = m.prior().sample((rng.BLOCK,))
    torch.testing.assert_close(m.draw_latents(5, seed=7), z[:5], rtol=0, atol=0)
    torch.testing.assert_close(m.sample(5, seed=7), m.decode(z[:5]))
