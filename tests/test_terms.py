"""Terms on codes and decoders against transcriptions of the papers' formulas in NumPy, and against closed forms."""

import math
from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from lowerbound import likelihood, metrics, nets, posterior, prior, spec
from lowerbound.data import tensor as source_of
from lowerbound.errors import UsageError
from lowerbound.objective import (
    DIP,
    KL,
    MMD,
    DecoderL2,
    Decomposed,
    Distortion,
    Elbo,
    GradientPenalty,
    Sliced,
    Term,
    weight,
)
from lowerbound.objective.decomposed import Estimator, decompose, log_aggregate, log_weights
from lowerbound.objective.discrepancy import gram, mmd, transport
from lowerbound.objective.moments import Variant, covariance
from lowerbound.vae import VAE, Latent, Trace

F64 = torch.float64
ESTIMATORS = pytest.mark.parametrize("estimator", ["mss", "mws"])


def latent(mu: Tensor, sigma: Tensor, z: Tensor) -> Latent:
    p = prior.Standard(z.shape[-1]).double()()
    return Latent(z, Independent(Normal(mu, sigma, validate_args=False), 1, validate_args=False), p)


def trace_of(*latents: Latent) -> Trace:
    k, b = latents[0].z.shape[:2]
    return Trace(torch.zeros(b, 1, dtype=F64), latents, Independent(Normal(torch.zeros(k, b, 1, dtype=F64), 1.0), 1))


def fixed(k: int = 2, b: int = 5, d: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(5)
    mu = torch.randn(b, d, generator=g, dtype=F64)
    sigma = 0.3 + torch.rand(b, d, generator=g, dtype=F64)
    return mu, sigma, mu + sigma * torch.randn(k, b, d, generator=g, dtype=F64)


def within(draws: Tensor, exact: float, allowed: float = 0.0, errors: float = 4.5) -> bool:
    """Whether a mean is its expectation: 4.5 standard errors are a false alarm of 7e-6."""
    return abs(float(draws.mean()) - exact) <= errors * float(draws.std()) / len(draws) ** 0.5 + allowed


# the decomposed KL


def weight_by_hand(i: int, j: int, b: int, n: int, estimator: str) -> float:
    """Chen et al. (2018): the weights of the weighted sampling, and of appendix C with M = b - 1 others."""
    if estimator == "mws":
        return 1 / (n * b)
    m = b - 1
    if i == j:
        return 1 / n
    return (n - m) / (n * m) if j == (i + 1) % b else 1 / m


def decomposed_by_hand(mu: Tensor, sigma: Tensor, z: Tensor, n: int, estimator: str) -> list[np.ndarray]:
    k, b, d = z.shape
    mean, scale, point = mu.numpy(), sigma.numpy(), z.numpy()
    parts = [np.empty((k, b)) for _ in range(3)]
    for s in range(k):
        for i in range(b):
            joint, single = 0.0, np.zeros(d)
            for j in range(b):
                density = norm.pdf(point[s, i], mean[j], scale[j])
                w = weight_by_hand(i, j, b, n, estimator)
                joint += w * density.prod()
                single += w * density
            product = np.log(single).sum()
            parts[0][s, i] = norm.logpdf(point[s, i], mean[i], scale[i]).sum() - np.log(joint)
            parts[1][s, i] = np.log(joint) - product
            parts[2][s, i] = product - norm.logpdf(point[s, i]).sum()
    return parts


@ESTIMATORS
def test_the_three_parts_are_the_papers_formulas(estimator: Estimator) -> None:
    mu, sigma, z = fixed()
    found = decompose(latent(mu, sigma, z), 50, estimator)
    for ours, theirs in zip(found, decomposed_by_hand(mu, sigma, z, 50, estimator), strict=True):
        torch.testing.assert_close(ours, torch.from_numpy(theirs), rtol=1e-11, atol=1e-11)


@ESTIMATORS
def test_the_parts_of_a_posterior_with_its_own_parameters_for_each_sample(estimator: Estimator) -> None:
    """q of batch shape (K, B): each of the K is the posterior of batch shape (B,) at its own z."""
    mu, sigma, z = fixed()
    shift = torch.tensor([0.0, 0.4], dtype=F64)[:, None, None]
    found = decompose(latent(mu + shift, sigma.expand(2, -1, -1), z), 50, estimator)
    for k in range(2):
        one = decompose(latent(mu + shift[k], sigma, z[k : k + 1]), 50, estimator)
        for ours, theirs in zip(found, one, strict=True):
            torch.testing.assert_close(ours[k : k + 1], theirs, rtol=1e-12, atol=1e-12)


@ESTIMATORS
def test_the_parts_add_up_to_the_sampled_rate_whose_mean_is_the_kl(estimator: Estimator) -> None:
    """Each draw exactly; the mean over 4,000 draws within 4.5 standard errors of the closed form, 7e-6."""
    mu, sigma, _ = fixed()
    z = mu + sigma * torch.randn(4000, *mu.shape, dtype=F64)
    one = latent(mu, sigma, z)
    total = torch.stack(decompose(one, 50, estimator)).sum(0)
    torch.testing.assert_close(total, one.log_q - one.log_p, rtol=1e-11, atol=1e-11)
    assert within(total.mean(1), float(one.kl.mean()))


def test_the_diagonal_of_the_stratified_weights_is_the_images_own_and_no_column_is() -> None:
    """Peers fill two columns with what belongs on and beside the diagonal (a stride of B in place of B + 1)."""
    w = log_weights(5, 100, "mss").exp()
    torch.testing.assert_close(w.diagonal(), torch.full((5,), 0.01, dtype=F64))
    next_one = torch.tensor([w[i, (i + 1) % 5] for i in range(5)], dtype=F64)
    torch.testing.assert_close(next_one, torch.full((5,), 96 / 400, dtype=F64))
    assert (w == 0.25).sum() == 15


@given(st.integers(1, 40), st.integers(1, 1000))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_each_row_of_the_stratified_weights_sums_to_one_and_of_the_weighted_ones_to_one_over_n(b: int, n: int) -> None:
    one, other = log_weights(b, n, "mss"), log_weights(b, n, "mws")
    torch.testing.assert_close(one.logsumexp(1).exp(), torch.ones(b, dtype=F64), rtol=1e-12, atol=0)
    torch.testing.assert_close(other.logsumexp(1).exp(), torch.full((b,), 1 / max(n, b), dtype=F64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("b", [2, 3, 4, 5])
def test_stratified_sampling_is_exactly_unbiased_over_all_batches_of_a_finite_set(b: int) -> None:
    """The mean of q̂(z_i) over every ordered batch without replacement that holds image i, against (1/N) Σ q(z_i|x)."""
    n = 5
    mu, sigma, z = fixed(1, n)
    sums, counts = torch.zeros(n, 4, dtype=F64), torch.zeros(n)
    for batch in permutations(range(n), b):
        rows = list(batch)
        joint, each = log_aggregate(latent(mu[rows], sigma[rows], z[:, rows]), log_weights(b, n, "mss"))
        sums[rows] += torch.cat([joint[0, :, None], each[0]], -1).exp()
        counts[rows] += 1
    density = norm.pdf(z[0][:, None].numpy(), mu.numpy(), sigma.numpy())  # of each z under each image
    exact = np.concatenate([density.prod(-1).mean(1)[:, None], density.mean(1)], -1)
    torch.testing.assert_close(sums / counts[:, None], torch.from_numpy(exact), rtol=1e-12, atol=0)


def exact_parts(mu: Tensor, sigma: Tensor, z: Tensor) -> list[Tensor]:
    """The three parts under the exact aggregate of a finite set, of which z has one sample for each image."""
    density = norm.logpdf(z[0][:, None].numpy(), mu.numpy(), sigma.numpy())
    joint = np.log(np.exp(density.sum(-1)).mean(1))
    product = np.log(np.exp(density).mean(1)).sum(-1)
    own = norm.logpdf(z[0].numpy(), mu.numpy(), sigma.numpy()).sum(-1)
    return [torch.from_numpy(v) for v in (own - joint, joint - product, product - norm.logpdf(z[0].numpy()).sum(-1))]


def test_weighted_sampling_of_the_whole_set_is_off_by_log_n_for_each_density_and_no_more() -> None:
    """Its weights sum to 1/N: MI + log N, TC + (D - 1) log N, dimension-wise KL - D log N, exactly."""
    mu, sigma, z = fixed(1, 7)
    bias = [math.log(7), 2 * math.log(7), -3 * math.log(7)]
    for ours, exact, b in zip(decompose(latent(mu, sigma, z), 7, "mws"), exact_parts(mu, sigma, z), bias, strict=True):
        torch.testing.assert_close(ours[0], exact + b, rtol=1e-11, atol=1e-11)


@ESTIMATORS
def test_batches_overstate_the_information_and_understate_the_dimensionwise_kl(estimator: Estimator) -> None:
    """A logarithm is concave: the mean over 300 batches of 8 of 40 images, beyond 4.5 standard errors each (3e-6)."""
    n, b = 40, 8
    mu, sigma, _ = fixed(1, n)
    errors = []
    for _ in range(60):
        z = (mu + sigma * torch.randn(n, 3, dtype=F64))[None]
        exact = exact_parts(mu, sigma, z)
        for rows in torch.randperm(n).view(-1, b):
            parts = decompose(latent(mu[rows], sigma[rows], z[:, rows]), n, estimator)
            errors.append([(ours[0] - theirs[rows]).mean() for ours, theirs in zip(parts, exact, strict=True)])
    draws = torch.tensor(errors)
    z_scores = draws.mean(0) / (draws.std(0) / len(draws) ** 0.5)
    assert z_scores[0] > 4.5
    assert z_scores[2] < -4.5


def test_the_total_correlation_of_a_gaussian_is_its_closed_form_constants_in() -> None:
    """A linear encoder of Gaussian data, of which each batch of 500 is a new one: within 4.5 standard errors of forty
    batches (6e-5 each), and a bias of the logarithm below the relative variance of q̂.
    """
    mixing = torch.tensor([[1.0, 0.8], [0.9, 0.5]], dtype=F64)
    sigma = torch.tensor([0.4, 0.5], dtype=F64)
    c = mixing @ mixing.T + sigma.square().diag()
    log_c = c.diagonal().log()
    mi = 0.5 * float(torch.logdet(c) - 2 * sigma.log().sum())
    tc = 0.5 * float(log_c.sum() - torch.logdet(c))
    dim = 0.5 * float((c.diagonal() - 1 - log_c).sum())
    found = []
    for _ in range(40):
        mu = torch.randn(500, 2, dtype=F64) @ mixing.T
        z = (mu + sigma * torch.randn_like(mu))[None]
        one = latent(mu, sigma.expand_as(mu), z)
        found.append(torch.stack([part.mean() for part in decompose(one, 10**9, "mss")]))
    cross = one.q.log_prob(z.transpose(0, 1)).exp()
    spread = float((cross.var(1) / cross.mean(1).square()).mean()) / 500
    draws = torch.stack(found)
    for k, exact in enumerate((mi, tc, dim)):
        assert within(draws[:, k], exact, spread)
    assert tc > 0.3
    assert spread < 0.02
    closed = 0.5 * ((mixing @ mixing.T).diagonal() + sigma.square() - 1 - 2 * sigma.log()).sum()  # the mean KL
    assert mi + tc + dim == pytest.approx(float(closed), rel=1e-12)


def test_weights_count_once_for_the_joint_density_and_not_once_a_dimension() -> None:
    """Where q(z|x) is the same for all images there is no information and no total correlation, whatever D is."""
    z = torch.randn(1, 6, 9, dtype=F64)
    same = latent(torch.zeros(6, 9, dtype=F64), torch.ones(6, 9, dtype=F64), z)
    for part in decompose(same, 1000, "mss")[:2]:
        torch.testing.assert_close(part, torch.zeros(1, 6, dtype=F64), rtol=0, atol=1e-11)
    mi, tc, _ = decompose(same, 1000, "mws")
    torch.testing.assert_close(mi, torch.full((1, 6), math.log(1000), dtype=F64), rtol=1e-11, atol=0)
    torch.testing.assert_close(tc, torch.full((1, 6), 8 * math.log(1000), dtype=F64), rtol=1e-11, atol=0)


def test_the_size_of_the_data_set_is_that_of_the_training_images_and_the_same_in_evaluation() -> None:
    """A peer takes it for the size of the split at hand, another makes it of a weight: train and test then differ."""
    node = spec.complete("term", {"kind": "decomposed", "tc": 4.0, "estimator": "mws"}, "term")
    term = spec.construct("term", node, {"images": 321, "latents": 3})
    trace = trace_of(latent(*fixed()))
    training, judged = term.train()(trace, 0), term.eval()(trace, 0)
    assert term.images == 321
    assert training.losses["model"] == judged.losses["model"]
    mine = decompose(trace.latents[0], 321, "mws")
    torch.testing.assert_close(judged.terms["mi"], mine[0].mean(), rtol=1e-12, atol=0)


def test_each_part_of_the_decomposed_kl_has_its_weight_and_is_logged_without() -> None:
    trace = trace_of(latent(*fixed()))
    mi, tc, dim = (part.mean() for part in decompose(trace.latents[0], 50, "mss"))
    out = Decomposed(images=50, mi=2.0, tc=weight.Linear(total=10, end=6.0, until=0.5), dim=0.5)(trace, 5)
    torch.testing.assert_close(out.losses["model"], 2 * mi + 6 * tc + 0.5 * dim, rtol=1e-12, atol=0)
    assert [float(out.terms[k]) for k in ("mi", "tc", "dimension_kl")] == [float(mi), float(tc), float(dim)]
    assert float(out.terms["tc_weight"]) == 6.0


def test_a_batch_of_one_image_is_refused_in_training_and_says_nothing_of_the_others_in_evaluation() -> None:
    trace = trace_of(latent(*fixed(1, 1)))
    with pytest.raises(UsageError, match=r"train\.batch to 2"):
        Decomposed(images=50)(trace, 0)
    out = Decomposed(images=50).eval()(trace, 0)
    assert float(out.terms["mi"]) == pytest.approx(0, abs=1e-12)
    assert float(out.terms["dimension_kl"]) == pytest.approx(float(trace.latents[0].log_q - trace.latents[0].log_p))
    with pytest.raises(UsageError, match=r"train\.batch to 2"):
        MMD()(trace, 0)
    assert float(MMD().eval()(trace, 0).losses["model"]) == 0


# DIP


@pytest.mark.parametrize("variant", ["i", "ii"])
def test_dip_is_the_papers_formula(variant: Variant) -> None:
    """Centred over the batch and divided by its size, with σ² and not σ⁴: a peer has all three wrong."""
    mu, sigma, z = fixed(1, 6)
    c = np.cov(mu.numpy().T, bias=True)
    if variant == "ii":
        c = c + np.diag((sigma.numpy() ** 2).mean(0))
    want = 3 * sum(c[i, j] ** 2 for i in range(3) for j in range(3) if i != j) + 7 * ((np.diag(c) - 1) ** 2).sum()
    out = DIP(variant, off_diagonal=3.0, diagonal=7.0)(trace_of(latent(mu, sigma, z)), 0)
    assert float(out.losses["model"]) == pytest.approx(want, rel=1e-12)
    assert float(3 * out.terms["dip_off_diagonal"] + 7 * out.terms["dip_diagonal"]) == pytest.approx(want, rel=1e-12)


def test_the_mean_variance_of_dip_ii_is_a_number_for_each_latent_on_the_diagonal_alone() -> None:
    """A peer averages it to one number, and adds that to every covariance."""
    mu, sigma, _ = fixed(1, 6)
    q = Independent(Normal(mu, sigma), 1)
    added = covariance(q, "ii") - covariance(q, "i")
    torch.testing.assert_close(added, sigma.square().mean(0).diag(), rtol=1e-12, atol=1e-15)


def test_dip_of_codes_that_are_white_is_nothing() -> None:
    """Means at ±√¾ in each of two coordinates, all four combinations, and σ² = ¼."""
    mu = math.sqrt(0.75) * torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=F64)
    out = DIP("ii")(trace_of(latent(mu, torch.full((4, 2), 0.5, dtype=F64), mu[None])), 0)
    assert float(out.losses["model"]) == pytest.approx(0, abs=1e-25)


# distances of samples


def kernel_by_hand(a: np.ndarray, b: np.ndarray, kernel: str, scales: list[float]) -> float:
    total = 0.0
    for s in scales:
        c = 2 * len(a) * s
        total += c / (c + ((a - b) ** 2).sum()) if kernel == "imq" else np.exp(-((a - b) ** 2).sum() / c)
    return total


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_is_the_papers_u_statistic(kernel: str) -> None:
    """Tolstikhin et al. (2018), the algorithm of the WAE-MMD."""
    a, b = torch.randn(2, 5, 3, dtype=F64), torch.randn(2, 5, 3, dtype=F64) + 0.3
    want = 0.0
    for x, y in zip(a.numpy(), b.numpy(), strict=True):
        same = [(x, x), (y, y)]
        want += sum(
            kernel_by_hand(u[i], u[j], kernel, [0.5, 2.0])
            for u, _ in same
            for i in range(5)
            for j in range(5)
            if i != j
        ) / (5 * 4)
        want -= 2 * sum(kernel_by_hand(x[i], y[j], kernel, [0.5, 2.0]) for i in range(5) for j in range(5)) / 25
    assert float(mmd(a, b, kernel, [0.5, 2.0])) == pytest.approx(want / 2, rel=1e-12)


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_of_equal_distributions_is_zero_on_average(kernel: str) -> None:
    """500 estimates from 6 points, within 4.5 standard errors (7e-6); with the diagonal in it would be far off."""
    a, b = torch.randn(500, 6, 2, dtype=F64), torch.randn(500, 6, 2, dtype=F64)
    draws = torch.stack([mmd(a[i : i + 1], b[i : i + 1], kernel, [1.0]) for i in range(500)])
    assert within(draws, 0.0)
    biased = (gram(a, a, kernel, [1.0]) + gram(b, b, kernel, [1.0]) - 2 * gram(a, b, kernel, [1.0])).mean((1, 2))
    assert not within(biased, 0.0)


@pytest.mark.parametrize("n", [5, 50])
def test_mmd_keeps_its_size_whatever_the_batch_and_is_the_closed_form_of_gaussians(n: int) -> None:
    """A peer's vanishes as 1/n². N(δ, I) against the prior, by the term: E k = (1 + 4/C)^(-D/2) exp(-|δ|²/(C + 4)).

    Within 4.5 standard errors of 200 batches: 7e-6 each.
    """
    c, delta, d = 2 * 2 * 0.5, 1.5, 2
    same = (1 + 4 / c) ** (-d / 2)
    exact = 2 * same * (1 - math.exp(-(delta**2) / (c + 4)))
    mu, sigma = torch.tensor([delta, 0.0], dtype=F64).expand(n, 2), torch.ones(n, 2, dtype=F64)
    term = MMD("rbf", scales=[0.5], weight=3.0)
    outs = [term(trace_of(latent(mu, sigma, mu + torch.randn(1, n, 2, dtype=F64))), 0) for _ in range(200)]
    assert within(torch.stack([out.terms["mmd"] for out in outs]), exact)
    assert float(outs[0].losses["model"]) == pytest.approx(3 * float(outs[0].terms["mmd"]), rel=1e-12)


def test_sliced_wasserstein_on_a_line_is_the_cheapest_assignment() -> None:
    a, b = torch.randn(1, 30, 1, dtype=F64), 2 * torch.randn(1, 30, 1, dtype=F64) + 1
    cost = (a[0] - b[0].T).square().numpy()
    rows, columns = linear_sum_assignment(cost)
    for sign in (1.0, -1.0):
        found = transport(a, b, torch.tensor([[sign]], dtype=F64))
        assert float(found) == pytest.approx(cost[rows, columns].mean(), rel=1e-12)


def test_sliced_wasserstein_is_the_papers_formula() -> None:
    """Kolouri et al. (2018): sorted projections, their squared distances averaged."""
    a, b, theta = torch.randn(2, 7, 3, dtype=F64), torch.randn(2, 7, 3, dtype=F64), torch.randn(3, 4, dtype=F64)
    want = np.mean(
        [
            (np.sort(x @ direction) - np.sort(y @ direction)) ** 2
            for x, y in zip(a.numpy(), b.numpy(), strict=True)
            for direction in theta.T.numpy()
        ]
    )
    assert float(transport(a, b, theta)) == pytest.approx(want, rel=1e-12)


def test_the_directions_of_the_slices_are_uniform_on_the_unit_sphere() -> None:
    """Of one code c against draws of a prior at 0, one direction gives (θ·c)², in the mean |c|²/D; 4.5 errors, 7e-6."""
    c = torch.tensor([[[1.0, 2.0, 3.0]]], dtype=F64)
    narrow = Independent(Normal(torch.zeros(3, dtype=F64), torch.full((3,), 1e-9, dtype=F64)), 1)
    one = Latent(c, Independent(Normal(c[0], torch.ones(1, 3, dtype=F64)), 1), narrow)
    draws = torch.stack([Sliced(1, weight=2.0)(trace_of(one), 0).losses["model"] / 2 for _ in range(1000)])
    assert within(draws, 14 / 3)
    assert float(draws.max()) <= 14 + 1e-6


def test_the_distances_teach_a_prior_that_learns() -> None:
    """WAEs have no KL: without a gradient by way of its draws, a prior's own scale would never move."""
    scale = torch.ones(2, dtype=F64, requires_grad=True)
    p = Independent(Normal(torch.zeros(2, dtype=F64), scale), 1)
    z = 3 * torch.randn(1, 50, 2, dtype=F64)
    one = Latent(z, Independent(Normal(z[0], torch.ones(50, 2, dtype=F64)), 1), p)
    for term in (MMD(), Sliced()):
        (g,) = torch.autograd.grad(term(trace_of(one), 0).losses["model"], scale)
        assert (g < 0).all()  # a wider prior is nearer to these codes


# decoders


def vae(decoder: nn.Module, latents: int, pixels: int, kind: str = "gaussian") -> VAE:
    family = likelihood.Gaussian(decoder, sigma=1.0) if kind == "gaussian" else likelihood.Bernoulli(decoder)
    encoder = posterior.Gaussian(nets.MLP((pixels,), hidden=(8,)), latents)
    return VAE(encoder, prior.Standard(latents), family).double()


def test_decoder_l2_is_the_sum_of_squares_of_the_decoder_and_of_nothing_else() -> None:
    model = vae(nets.MLP((2,), (3,), hidden=(4,)), 2, 3)
    out = DecoderL2(0.25).reduce(model, model(torch.randn(5, 3, dtype=F64)), 0)
    want = sum(float((p.detach().numpy() ** 2).sum()) for p in model.likelihood.parameters())
    assert float(out.terms["decoder_l2"]) == pytest.approx(want, rel=1e-12)
    out.losses["model"].backward()
    for p in model.likelihood.parameters():
        torch.testing.assert_close(p.grad, 0.5 * p.detach(), rtol=1e-12, atol=0)
    assert all(p.grad is None for p in model.posterior.parameters())


def repeated(model: VAE, code: Tensor, k: int) -> Trace:
    """K copies of one code, as a trace with a graph."""
    z = code.expand(k, 1, -1).clone().requires_grad_()
    q = Independent(Normal(code[None], torch.ones_like(code[None])), 1)
    return Trace(torch.zeros(1, 1, dtype=F64), (Latent(z, q, model.prior()),), model.likelihood(z))


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_gradient_penalty_is_the_squared_jacobian_of_the_decoders_mean(kind: str) -> None:
    """Central differences against 2,000 random projections, within 4.5 standard errors of them: 7e-6."""
    if kind == "mlp":
        model = vae(nets.MLP((2,), (3,), hidden=(6,), activation="tanh"), 2, 3)
    else:
        model = vae(nets.ConvDecoder(2, (1, 8, 8), channels=(6, 5)), 2, 64, "bernoulli")
    code, h = torch.tensor([0.3, -0.6], dtype=F64), 1e-5
    with torch.no_grad():
        columns = [(model.decode(code + h * e) - model.decode(code - h * e)) / (2 * h) for e in torch.eye(2, dtype=F64)]
    exact = float(torch.stack(columns).square().sum())
    draws = [
        GradientPenalty().reduce(model, repeated(model, code, 100), 0).terms["gradient_penalty"] for _ in range(20)
    ]
    assert within(torch.stack(draws), exact, errors=6)  # of twenty means of a hundred: t of nineteen degrees of freedom
    assert exact > 1e-6


@pytest.mark.parametrize("kind", ["gaussian", "bernoulli"])
def test_the_gradient_of_the_gradient_penalty_is_the_finite_difference(kind: str) -> None:
    """Through custom convolutions and the Bernoulli's mean, which are differentiated twice; to 1e-6."""
    model = vae(nets.ConvDecoder(2, (1, 8, 6), channels=(6, 5)), 2, 48, kind)
    x = torch.rand(3, 1, 8, 6, dtype=F64)

    def value() -> Tensor:
        torch.manual_seed(3)
        return GradientPenalty(2.0).reduce(model, model(x), 0).losses["model"]

    weights = [
        model.likelihood.net.linear.weight,
        *(p for p in model.likelihood.net.layers.parameters() if p.ndim == 4),
    ]
    h = 1e-6
    for parameter, gradient in zip(weights, torch.autograd.grad(value(), weights), strict=True):
        i = int(gradient.abs().argmax())
        flat, old = parameter.data.view(-1), parameter.data.view(-1)[i].clone()
        flat[i] = old + h
        up = float(value().detach())
        flat[i] = old - h
        down = float(value().detach())
        flat[i] = old
        assert float(gradient.flatten()[i]) == pytest.approx((up - down) / (2 * h), rel=1e-5)


def test_the_decomposed_kl_refuses_batch_norm_in_the_encoder_while_training() -> None:
    """q(z|x) of an image would be another one in each batch; in evaluation it is the image's own."""
    encoder = nets.MLP((3,), hidden=(6,), activation="tanh", norm="batch").double()
    likely = likelihood.Gaussian(nets.MLP((2,), (3,)).double(), unit=False)
    model = VAE(posterior.Gaussian(encoder, 2).double(), prior.Standard(2).double(), likely)
    x, goal = torch.rand(4, 3, dtype=F64), Decomposed(images=9)
    with pytest.raises(UsageError, match=r"batch norm in the encoder.*set norm"):
        goal.reduce(model.train(), model(x), 0)
    assert goal.reduce(model.eval(), model(x), 0).terms["mi"].isfinite()


def test_a_gradient_penalty_refuses_batch_norm_in_the_decoder_while_training() -> None:
    """Its estimate would be of all slopes of a batch, and not of each image's in its own code alone."""
    model = vae(nets.MLP((2,), (3,), hidden=(6,), activation="tanh", norm="batch"), 2, 3)
    x = torch.rand(4, 3, dtype=F64)
    with pytest.raises(UsageError, match=r"batch norm in the decoder.*set norm"):
        GradientPenalty().reduce(model.train(), model(x), 0)
    model.eval()
    assert GradientPenalty().reduce(model, model(x), 0).terms["gradient_penalty"] > 0


def test_penalties_are_the_same_in_an_evaluation_where_no_graph_is() -> None:
    """Of one pixel each projection is exact: no noise is in the numbers."""
    decoder = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    model = vae(decoder, 2, 1)
    goal = Elbo({"distortion": Distortion(), "gp": GradientPenalty(2.0), "l2": DecoderL2(0.5)})
    data = source_of(torch.randn(60, 1), validation=20, test=0)
    blocks = [(x.double(), None) for x, _ in data.blocks("validation", 8)]
    found = metrics.evaluate(model, goal, blocks, step=0)
    penalties = []
    for b, (x, _) in enumerate(blocks):
        with metrics.bounds.rng.noise(metrics.bounds.SEED, "evaluate", b):
            trace = model(x)
        penalties.append(GradientPenalty().reduce(model, trace, 0).terms["gradient_penalty"] * len(x) / 20)
    assert found["gradient_penalty"] == pytest.approx(float(sum(penalties)), rel=1e-9)
    assert found["decoder_l2"] == pytest.approx(sum(float(p.detach().square().sum()) for p in decoder.parameters()))
    assert all(p.grad is None for p in model.parameters())
    with torch.no_grad():
        out = goal.reduce(model, model(blocks[0][0]))
    assert not out.losses["model"].requires_grad


def test_the_gradient_penalty_teaches_the_decoder_where_the_codes_are_held() -> None:
    model = vae(nn.Linear(2, 1), 2, 1)
    model.posterior.requires_grad_(False)
    GradientPenalty().reduce(model, model(torch.randn(4, 1, dtype=F64)), 0).losses["model"].backward()
    assert model.likelihood.net.weight.grad.abs().min() > 0


# all of them

TERMS: dict[str, Callable[[], Term]] = {
    "mss": lambda: Decomposed(images=50),
    "mws": lambda: Decomposed(images=50, estimator="mws"),
    "dip-i": lambda: DIP("i"),
    "dip-ii": lambda: DIP("ii"),
    "mmd-imq": MMD,
    "mmd-rbf": lambda: MMD("rbf"),
    "sliced": lambda: Sliced(5),
}


@pytest.mark.parametrize("name", TERMS)
def test_the_gradient_in_mean_and_scale_is_the_finite_difference_and_what_is_logged_has_none(name: str) -> None:
    """With the noise held, in float64; what is logged is the value itself, detached."""
    mu, sigma, _ = fixed(2, 4, 2)
    term = TERMS[name]()

    def value(mu: Tensor, sigma: Tensor) -> Tensor:
        torch.manual_seed(11)
        out = term(trace_of(latent(mu, sigma, mu + sigma * torch.randn(2, 4, 2, dtype=F64))), 0)
        assert not any(v.requires_grad for v in out.terms.values())
        return out.losses["model"]

    assert torch.autograd.gradcheck(value, (mu.requires_grad_(), sigma.requires_grad_()), rtol=1e-5)


@pytest.mark.parametrize("name", TERMS)
def test_under_autocast_a_term_keeps_its_own_precision(name: str) -> None:
    mu, sigma, z = (t.float() for t in fixed(1, 16, 4))
    p = prior.Standard(4)()
    trace = Trace(torch.zeros(16, 1), (Latent(z, Independent(Normal(mu, sigma), 1), p),), p)
    values = []
    for enabled in (False, True):
        torch.manual_seed(2)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            values.append(TERMS[name]()(trace, 0).losses["model"])
    assert values[1].dtype == torch.float32
    assert values[0] == values[1]


@pytest.mark.parametrize("name", [*TERMS, "gradient-penalty"])
def test_several_groups_of_latents_are_refused_in_words(name: str) -> None:
    one = latent(*fixed())
    term = TERMS.get(name, GradientPenalty)()
    with pytest.raises(UsageError, match="one group of latents"):
        term.reduce(vae(nn.Linear(3, 1), 3, 1), trace_of(one, one), 0)


def test_a_posterior_that_a_term_cannot_read_is_refused_in_words() -> None:
    full = MultivariateNormal(torch.zeros(4, 2, dtype=F64), torch.eye(2, dtype=F64))
    trace = trace_of(Latent(full.sample((1,)), full, prior.Standard(2).double()()))
    with pytest.raises(UsageError, match=r"MultivariateNormal.*total correlation"):
        Decomposed(images=50)(trace, 0)
    with pytest.raises(UsageError, match="does not factorise"):
        DIP("ii")(trace, 0)
    assert torch.isfinite(DIP("i")(trace, 0).losses["model"])

    class Opaque(Distribution):
        has_rsample = True

    unknown = Opaque(torch.Size([4]), torch.Size([2]), validate_args=False)
    with pytest.raises(UsageError, match="no closed form"):
        DIP("i")(trace_of(Latent(torch.zeros(1, 4, 2, dtype=F64), unknown, full.expand((4,)))), 0)


def test_a_likelihood_without_a_mean_and_a_model_without_a_likelihood_are_refused_in_words() -> None:
    model = vae(nn.Linear(2, 1), 2, 1)
    trace = model(torch.randn(4, 1, dtype=F64))
    silent = Trace(trace.x, trace.latents, Distribution(torch.Size([1, 4]), torch.Size([1]), validate_args=False))
    with pytest.raises(UsageError, match="without a mean"):
        GradientPenalty().reduce(model, silent, 0)
    del model.likelihood
    with pytest.raises(UsageError, match="no part called likelihood"):
        DecoderL2().reduce(model, trace, 0)
    for term in (DecoderL2(), GradientPenalty()):
        with pytest.raises(UsageError, match=r"reduce\(model, trace, step\)"):
            term(trace, 0)


@pytest.mark.parametrize(
    "kind", ["decomposed", "dip", "mmd", "sliced", "tc-critic", "adversarial", "decoder-l2", "gradient-penalty"]
)
def test_every_term_is_built_from_its_kind_alone_and_its_defaults_are_written_out(kind: str) -> None:
    node = spec.complete("term", {"kind": kind}, "term")
    assert isinstance(spec.construct("term", node, {"images": 50, "latents": 3, "total": 10}), Term)
    assert spec.complete("term", node, "term") == node
    assert all(field.help for field in spec.describe("term", kind))


def test_a_wae_has_no_kl_and_an_elbo_in_its_ledger_all_the_same() -> None:
    model = vae(nn.Linear(2, 3), 2, 3)
    out = Elbo({"distortion": Distortion(), "mmd": MMD(weight=1.0)})(model, torch.randn(8, 3, dtype=F64))
    assert {"distortion", "rate", "elbo", "mmd", "loss"} <= set(out.terms)
    torch.testing.assert_close(out.terms["loss"], out.terms["distortion"] + out.terms["mmd"], rtol=1e-12, atol=0)
    assert Elbo({"kl": KL(), "l2": DecoderL2()}).densities_only
    assert not Elbo({"kl": KL(), "mmd": MMD()}).densities_only
