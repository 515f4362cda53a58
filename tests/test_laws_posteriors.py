"""Laws that every posterior keeps, over the registry: a member that is added is covered with no change here.

Densities are checked in float64. A member without a density is asked what can be asked of it.
"""

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, kl_divergence

import lowerbound
from grids import INPUTS, member, moved, on_a_grid
from lowerbound import flows, job, likelihood, nets, posterior, prior, recipes, spec
from lowerbound.data import tensor
from lowerbound.dist import Dirac, Flow, draw, has_density
from lowerbound.errors import UsageError
from lowerbound.posterior import Posterior
from lowerbound.vae import VAE, Latent

KINDS = list(spec.REGISTRIES["posterior"])
EACH = pytest.mark.parametrize("kind", KINDS)
B, K = 4, 3


def made(kind: str, latents: int = 2) -> Posterior:
    """A posterior in evaluation, after it has seen some data."""
    q: Posterior = member("posterior", kind, latents)
    q(data(200))  # running statistics, where there are some
    return q.eval()


def data(n: int = B, seed: int = 2) -> Tensor:
    return torch.randn(n, INPUTS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scored(q: Distribution, z: Tensor, log_q: Tensor | None) -> Tensor:
    return q.log_prob(z) if log_q is None else log_q


def euclidean(q: Posterior) -> Posterior:
    if q.space != "euclidean":
        pytest.skip(f"lives in {q.space} space, which a plane's grid does not measure")
    return q


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_precision(kind: str, dtype: torch.dtype) -> None:
    q = made(kind, 3).to(dtype)
    d = q(data().to(dtype))
    z, log_q = draw(d, K)
    assert (d.batch_shape, d.event_shape, z.shape) == ((B,), (3,), (K, B, 3))
    assert scored(d, z, log_q).shape == (K, B)
    assert z.isfinite().all()
    assert scored(d, z, log_q).isfinite().all()
    assert {z.dtype, scored(d, z, log_q).dtype, q.centre(d).dtype} == {dtype}
    assert q.centre(d).shape == (B, 3)
    assert d.expand((2, B)).sample((K,)).shape == (K, 2, B, 3)


@EACH
@pytest.mark.parametrize("latents", [1, 2, 5])
def test_a_sample_has_the_same_density_when_it_is_drawn_and_when_it_is_scored(kind: str, latents: int) -> None:
    d = made(kind, latents)(data())
    z, log_q = draw(d, 20)
    torch.testing.assert_close(d.log_prob(z), scored(d, z, log_q), rtol=1e-8, atol=1e-8)


@EACH
def test_a_q_is_remade_from_its_parameters_alone_and_from_one_images_row(kind: str) -> None:
    q = made(kind)
    params = q.params(data())
    assert params.shape[:-1] == (B,)
    whole, again = q(data()), q.dist(params)
    torch.manual_seed(3)
    z, _ = draw(whole, K)
    torch.manual_seed(3)
    torch.testing.assert_close(draw(again, K)[0], z, rtol=0, atol=0)
    one = q.dist(params[1].detach().clone())
    assert one.batch_shape == ()
    torch.testing.assert_close(one.log_prob(z[:, 1]), whole.log_prob(z)[:, 1], rtol=1e-10, atol=1e-10)
    assert q.dist(params.expand(2, *params.shape)).batch_shape == (2, B)
    torch.testing.assert_close(q.centre(one), q.centre(whole)[1], rtol=1e-12, atol=1e-12)


@EACH
def test_the_density_integrates_to_one(kind: str) -> None:
    q = euclidean(made(kind))
    if not q.density:
        assert not has_density(q(data()))
        return
    for params in q.params(data(2)).detach():
        assert abs(float(on_a_grid(q.dist(params)).mass.sum()) - 1) < 5e-3


@EACH
def test_the_centre_is_the_mean_where_there_is_one(kind: str) -> None:
    """Within 5 standard errors of 20,000 draws in each of 8 coordinates: false alarm 5e-6 a kind."""
    q = made(kind)
    d = q(data())
    try:
        mean = d.mean
    except NotImplementedError:
        return
    torch.testing.assert_close(q.centre(d), mean, rtol=0, atol=0)
    z = d.sample((20_000,))
    assert ((z.mean(0) - mean).abs() <= 5 * z.std(0) / len(z) ** 0.5 + 1e-12).all()
    spread = (z - mean).square()
    assert ((spread.mean(0) - d.variance).abs() <= 5 * spread.std(0) / len(z) ** 0.5 + 1e-12).all()


@EACH
def test_the_gradient_of_samples_and_densities_reaches_every_weight(kind: str) -> None:
    q = made(kind).train()
    total = {name: 0.0 for name, _ in q.named_parameters()}
    for seed in range(8):
        q.zero_grad()
        d = q(data(8, seed))
        z, log_q = draw(d, K)
        (z.sin().sum() + (scored(d, z, log_q).sum() if q.density else 0.0)).backward()
        for name, p in q.named_parameters():
            assert p.grad is not None, name
            total[name] += float(p.grad.abs().sum())
    assert [name for name, size in total.items() if size == 0] == []


def differences(value: Any, params: Tensor) -> Tensor:
    """Central differences in each parameter."""
    h, flat = 1e-5, torch.eye(params.numel(), dtype=torch.float64).reshape(-1, *params.shape)
    with torch.no_grad():
        return torch.stack([(value(params + h * e) - value(params - h * e)) / (2 * h) for e in flat])


@EACH
def test_the_reparameterised_gradient_is_the_finite_difference(kind: str) -> None:
    q = made(kind)
    params = q.params(data(1))[0].detach().requires_grad_()

    def value(params: Tensor) -> Tensor:
        torch.manual_seed(11)
        d = q.dist(params)
        z, log_q = draw(d, K)
        return z.sin().sum() + (scored(d, z, log_q).sum() if q.density else 0.0)

    (gradient,) = torch.autograd.grad(value(params), params)
    torch.testing.assert_close(gradient, differences(value, params), rtol=1e-6, atol=1e-6)
    assert gradient.abs().max() > 1e-3


@EACH
def test_the_gradient_of_the_density_of_a_given_point_is_the_finite_difference(kind: str) -> None:
    """What STL, DReG and a VampPrior of the family need; in z and in the parameters."""
    q = made(kind)
    if not q.density:
        return
    params = q.params(data(1))[0].detach().requires_grad_()
    z = (q.centre(q.dist(params)) + torch.tensor([0.4, -0.3])).detach().requires_grad_()
    by_params, by_z = torch.autograd.grad(q.dist(params).log_prob(z), (params, z))
    want = differences(lambda params: q.dist(params).log_prob(z), params.detach())
    torch.testing.assert_close(by_params, want, rtol=1e-6, atol=1e-6)
    want = differences(lambda z: q.dist(params).log_prob(z), z.detach())
    torch.testing.assert_close(by_z, want, rtol=1e-6, atol=1e-6)


@EACH
def test_the_rate_is_its_monte_carlo_estimate(kind: str) -> None:
    """Closed form or not, within 5 standard errors of 10,000 draws scored afresh: false alarm 2e-6 a kind."""
    q, p = euclidean(made(kind)), prior.Standard(2).double()()
    d = q(data())
    with torch.no_grad():
        z, log_q = draw(d, 10_000)
        latent = Latent(z, d, p, log_q)
        if not q.density:
            torch.testing.assert_close(latent.kl, -p.log_prob(z), rtol=0, atol=0)
            return
        other = d.sample((10_000,))
        fresh = d.log_prob(other) - p.log_prob(other)
        error = ((fresh.var(0) + latent.kl.var(0)) / len(z)).sqrt()
    assert ((fresh.mean(0) - latent.kl.mean(0)).abs() <= 5 * error).all()
    if latent.kl_by_dim is not None:
        torch.testing.assert_close(latent.kl_by_dim.sum(-1), latent.kl, rtol=1e-10, atol=1e-10)


@EACH
def test_under_autocast_only_the_network_is_rounded_and_not_the_density(kind: str) -> None:
    q = made(kind).float()
    params = q.params(data().float()).detach()

    def both() -> tuple[Tensor, Tensor]:
        torch.manual_seed(5)
        d = q.dist(params)
        z, log_q = draw(d, K)
        return z, torch.stack([scored(d, z, log_q), d.log_prob(z)])

    z, log_q = both()
    with torch.autocast("cpu", torch.bfloat16):
        assert q.params(data().float()).dtype == torch.float32
        same, density = both()
    torch.testing.assert_close(same, z, rtol=0, atol=0)
    torch.testing.assert_close(density, log_q, rtol=0, atol=0)


@EACH
@pytest.mark.parametrize("net", ["conv", "mlp"])
def test_a_spec_builds_it_with_images_and_it_trains_and_draws(kind: str, net: str) -> None:
    shape = (1, 8, 6)
    base = recipes.base({"kind": "digits"}, shape)
    done = spec.check(spec.merge(base, {"model": {"posterior": {"kind": kind, "net": {"kind": net}}}}))
    model = spec.build_model(done, shape, True)
    x = torch.rand(4, *shape)
    objective = spec.build_objective(done, 100, 50)
    objective(model, x).losses["model"].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert model.eval().reconstruct(x).shape == x.shape
    assert model.sample(2, seed=0).shape == (2, *shape)


@pytest.mark.parametrize("kind", [k for k in KINDS if isinstance(made(k)(data()), Flow)])
def test_a_flows_density_is_that_of_its_noise_by_the_jacobian_of_autograd(kind: str) -> None:
    """In five dimensions, where a grid cannot integrate."""
    d = made(kind, 5)(data(1))
    assert isinstance(d, Flow)
    epsilon = d.base.sample((3,))
    for e in epsilon:
        jacobian = torch.autograd.functional.jacobian(d.image, e)
        want = d.base.log_prob(e) - torch.linalg.slogdet(jacobian[0, :, 0])[1]
        torch.testing.assert_close(d.log_prob(d.image(e)), want, rtol=1e-9, atol=1e-9)


# single members against the papers' formulas


def test_the_full_covariance_is_scipys_normal() -> None:
    q = posterior.FullGaussian(nn.Identity(), 3, features=INPUTS).double()
    params = torch.randn(9, dtype=torch.float64)
    d = q.dist(params)
    mu, l, (a, b, c) = params[:3].numpy(), params[3:6].numpy(), params[6:].numpy()
    L = np.diag(np.exp(l / 2)) + np.array([[0, 0, 0], [a, 0, 0], [b, c, 0]])
    z = d.sample((5,))
    want = scipy.stats.multivariate_normal(mu, L @ L.T).logpdf(z.numpy())
    np.testing.assert_allclose(d.log_prob(z).numpy(), want, rtol=1e-10)


def test_the_rate_of_a_full_covariance_is_in_closed_form_and_torchs() -> None:
    q, p = made("full-gaussian", 4), member("prior", "scaled", 4, shift=True)()
    d = q(data())
    kl = Latent(d.sample((K,)), d, p).kl
    reference = MultivariateNormal(p.mean, torch.diag(p.variance))
    torch.testing.assert_close(
        kl, kl_divergence(MultivariateNormal(d.loc, d.covariance_matrix), reference).expand(K, B)
    )
    other = Independent(torch.distributions.Laplace(torch.zeros(4).double(), 1.0), 1)
    latent = Latent(d.sample((K,)), d, other)
    torch.testing.assert_close(latent.kl, latent.log_q - latent.log_p)  # no closed form: the estimate


def test_the_rate_of_a_laplace_is_in_closed_form_and_the_integral() -> None:
    q, p = made("laplace"), prior.Standard(2).double()()
    d = q(data())
    kl = kl_divergence(d.base_dist, p.base_dist)
    for i in range(B):
        for j in range(2):
            m, s = d.mean[i, j].item(), d.base_dist.scale[i, j].item()
            q_pdf, p_pdf = scipy.stats.laplace(m, s), scipy.stats.norm()

            def integrand(z: float, q: Any = q_pdf, p: Any = p_pdf) -> float:
                return float(q.pdf(z) * (q.logpdf(z) - p.logpdf(z)))

            want = scipy.integrate.quad(integrand, m - 40 * s, m + 40 * s, points=[m])[0]
            assert kl[i, j].item() == pytest.approx(want, rel=1e-7)


def test_a_planar_map_is_the_papers_with_u_made_invertible() -> None:
    g = np.random.default_rng(0)
    for _ in range(20):
        u, w, x = g.normal(size=(3, 4)) * 2
        b = g.normal()
        f = flows.Planar(*(torch.tensor(v) for v in (u, w)), torch.tensor([b]))
        along = u @ w
        m = (1 - flows.SLOPE) * (math.log1p(math.exp(along) * (math.e - 1)) - 1)
        hat = u + (m - along) * w / (w @ w)
        y = x + hat * np.tanh(w @ x + b)
        jacobian = np.eye(4) + np.outer(hat, w) * (1 - np.tanh(w @ x + b) ** 2)
        z = torch.tensor(x)
        np.testing.assert_allclose(f(z).numpy(), y, atol=1e-7)  # torch's softplus is exact to 2e-9
        np.testing.assert_allclose(float(f.log_abs_det_jacobian(z, f(z))), np.linalg.slogdet(jacobian)[1], atol=1e-6)
        assert np.linalg.det(jacobian) > 0
        np.testing.assert_allclose(f.inv(f(z)).numpy(), x, atol=1e-8)


def test_a_planar_map_stays_bounded_and_invertible_where_w_vanishes_or_u_points_against_it() -> None:
    x = torch.randn(50, 2, dtype=torch.float64)
    w = torch.tensor([1.0, 2.0], dtype=torch.float64)
    for u, v in ((w, 0 * w), (w, 1e-9 * w), (-300 * w, w), (300 * w, w)):
        f = flows.Planar(u, v, torch.ones(1, dtype=torch.float64))
        y = f(x)
        assert (y - x).norm(dim=-1).max() <= 1 + 2 * u.norm()
        assert f.log_abs_det_jacobian(x, y).isfinite().all()
        torch.testing.assert_close(f.inv(y), x, rtol=0, atol=1e-6)


def test_a_householder_posterior_is_a_gaussian_with_correlations() -> None:
    q = made("householder", 3)
    params = q.params(data(1))[0].detach()
    mu, variance, vs = params[:3].numpy(), np.exp(params[3:6].numpy()), params[6:].reshape(-1, 3).numpy()
    H = np.eye(3)
    for v in vs:
        H = (np.eye(3) - 2 * np.outer(v, v) / (v @ v)) @ H
    cov = H @ np.diag(variance) @ H.T
    d = q.dist(params)
    z = d.sample((5,))
    np.testing.assert_allclose(d.log_prob(z), scipy.stats.multivariate_normal(H @ mu, cov).logpdf(z), rtol=1e-9)
    np.testing.assert_allclose(q.centre(d), H @ mu, rtol=1e-10)
    assert abs(cov[0, 1]) > 1e-3


def test_a_dirac_is_a_point_with_a_penalty_and_no_elbo() -> None:
    q = made("dirac")
    d = q(data())
    z, _ = draw(d, K)
    assert isinstance(d, Dirac)
    torch.testing.assert_close(z, d.mean.expand(K, B, 2), rtol=0, atol=0)
    latent = Latent(z, d, prior.Standard(2).double()())
    torch.testing.assert_close(latent.kl, 0.5 * z.square().sum(-1) + math.log(2 * math.pi), rtol=1e-12, atol=1e-12)
    assert not latent.density
    assert float(d.log_prob(z + 1).max()) == -math.inf


def test_batch_norm_keeps_the_mean_rate_of_a_batch_above_its_bound() -> None:
    """½ Σ γ² + β², and it is reached where every variance is 1: no chance in it."""
    q: Any = member("posterior", "bn-gaussian", 3, gamma=0.8).train()
    x = data(64)
    rate = kl_divergence(q(x), prior.Standard(3).double()()).mean()
    bound = 0.5 * (3 * 0.8**2 + q.beta.square().sum())
    slack = 64 * 1e-5 * bound  # batch norm's ε against variances above 1/64
    assert rate >= bound - slack
    assert bound > 0.5 * 3 * 0.8**2
    with torch.no_grad():
        q.head.weight[3:] = 0
        q.head.bias[3:] = 0
    torch.testing.assert_close(kl_divergence(q(x), prior.Standard(3).double()()).mean(), bound, rtol=1e-3, atol=0)


def test_the_running_statistics_keep_nothing_of_where_they_began() -> None:
    """After one batch evaluation gives what training gave, but for n - 1 in place of n, so that the bound holds."""
    q: Any = member("posterior", "bn-gaussian", 3)
    x, p = data(64), prior.Standard(3).double()()
    mean = q(x).mean.detach()
    torch.testing.assert_close(q.eval()(x).mean - q.beta, (mean - q.beta) * (63 / 64) ** 0.5, rtol=1e-5, atol=1e-6)
    assert kl_divergence(q(x), p).mean() >= 0.5 * 3 * q.gamma**2 * 62 / 64
    for _ in range(5):
        q.train()(x)
    torch.testing.assert_close(q.eval()(x).mean - q.beta, (mean - q.beta) * (63 / 64) ** 0.5, rtol=1e-5, atol=1e-6)


def test_batch_norm_of_the_posterior_uses_running_statistics_in_evaluation_and_refuses_a_batch_of_one() -> None:
    q = made("bn-gaussian")
    torch.testing.assert_close(q(data(1)).mean, q(data()).mean[:1])
    with pytest.raises(UsageError, match="larger batches"):
        q.train()(data(1))
    assert nets.unsteady(q) == "batch norm"


def test_asking_whether_a_number_is_a_likelihood_leaves_running_statistics_alone() -> None:
    q = made("bn-gaussian").float()
    decoder = nets.MLP((2,), (INPUTS,), hidden=(8,))
    model = VAE(q, prior.Standard(2), likelihood.Gaussian(decoder, sigma=1.0)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert job.likelihood_note(model, tensor(data(20), validation=5, test=5))["density"]
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# defects that other libraries have


def test_encode_and_reconstruct_go_through_the_flow() -> None:
    """A code that skips the maps is the code of another model (Pythae's predict)."""
    for kind in ("planar", "householder", "iaf", "spline"):
        q = made(kind)
        decoder = moved(nets.MLP((2,), (INPUTS,), hidden=(8,)).double(), 0.4)
        model = VAE(q, prior.Standard(2).double(), likelihood.Gaussian(decoder, sigma=1.0)).eval()
        d = q(data())
        assert isinstance(d, Flow)
        code = model.encode(data())
        start = d.base.mean
        assert (code - start).abs().max() > 0.05
        for f in d.transforms:
            start = f(start)
        torch.testing.assert_close(code, start)
        torch.testing.assert_close(model.reconstruct(data()), model.decode(start))


def test_samples_of_a_flow_are_trained_with_the_flow() -> None:
    """The rate of a flow is that of what is decoded: log q of the last z, not of the first."""
    q, p = made("iaf"), prior.Standard(2).double()
    d = q(data())
    assert isinstance(d, Flow)
    z, log_q = draw(d, K)
    rate = Latent(z, d, p(), log_q).kl
    plain = kl_divergence(d.base, p())
    assert (rate - plain).abs().min() > 1e-6
    torch.testing.assert_close(rate, d.log_prob(z) - p().log_prob(z))


def test_a_flow_begins_with_the_gaussian_of_its_parameters() -> None:
    """μ and log σ² are the base's; a spline is the identity beyond 5 σ, so that σ can be read off it there."""
    for kind in ("planar", "householder", "iaf", "spline"):
        q = made(kind)
        params = q.params(data())
        mu, sigma = params[:, :2], (0.5 * params[:, 2:4]).exp()
        d = q.dist(params)
        assert isinstance(d, Flow)
        if kind == "spline":
            torch.testing.assert_close(d.image(torch.full((B, 2), -6.0).double()), mu - 6 * sigma)
        else:
            torch.testing.assert_close(d.base.mean, mu)
            torch.testing.assert_close(d.base.variance, sigma.square())


def passes(module: Any, run: Callable[[], Any]) -> int:
    """How often the networks of the maps are asked."""
    count: list[int] = []
    hooks = [f.hyper.register_forward_hook(lambda *_: count.append(1)) for f in module.flow.maps]
    run()
    for hook in hooks:
        hook.remove()
    return len(count)


def test_the_fast_direction_of_a_posterior_is_drawing_and_that_of_a_prior_the_density() -> None:
    """One pass through each network, where the other direction takes one for each latent."""
    for part, fast in (("iaf", "draw"), ("spline", "draw"), ("maf", "score"), ("nsf", "score")):
        module: Any = made(part, 4) if fast == "draw" else member("prior", part, 4)
        d = module(data(1)) if fast == "draw" else module()
        drawing = passes(module, lambda d=d: draw(d, 3))
        scoring = passes(module, lambda d=d: d.log_prob(torch.zeros(3, 1, 4, dtype=torch.float64)))
        quick, slow = (drawing, scoring) if fast == "draw" else (scoring, drawing)
        assert quick == len(module.flow.maps) < 4 <= slow


# zuko


def test_only_flows_imports_zuko_and_only_when_a_flow_is_made() -> None:
    root = Path(lowerbound.__file__).parent
    for path in root.rglob("*.py"):
        tree = ast.parse(path.read_text())
        found = [
            node
            for node in ast.walk(tree)
            if (isinstance(node, ast.Import) and any(a.name.split(".")[0] == "zuko" for a in node.names))
            or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "zuko")
        ]
        assert not found or path.name == "flows.py", path
        assert not set(map(id, found)) & set(map(id, tree.body)), path


def test_making_a_flow_leaves_torchs_validation_on() -> None:
    made("iaf")
    assert Distribution._validate_args == __debug__
    with pytest.raises(ValueError, match="constraint"):
        Normal(0.0, -1.0)
    assert isinstance(vars(Distribution)["arg_constraints"], property)
