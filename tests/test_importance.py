"""Importance-weighted bounds: values by NumPy's transcription, gradients by hand, both against exact answers."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

import linear
from bare import Bare
from lowerbound import data, likelihood, metrics, nets, oracle, posterior, prior, spec
from lowerbound.dist import Flow, draw
from lowerbound.errors import UsageError
from lowerbound.objective import Distortion, Elbo, Group, Importance, Lagging, Loss, Objective, Renyi, WakeSleep
from lowerbound.objective.gradient import log_mean_exp
from lowerbound.train import Plan, rehearse, start, step
from lowerbound.vae import VAE, Latent, Model, Trace

K, B, L, D = 6, 4, 2, 3


# values


def fixed() -> tuple[Trace, np.ndarray]:
    """A trace of fixed numbers, and log w of it by SciPy's densities."""
    g = np.random.default_rng(0)
    mu, sd, z = g.normal(size=(B, L)), g.uniform(0.3, 1.5, (B, L)), g.normal(size=(K, B, L))
    x, mean = g.normal(size=(B, D)), g.normal(size=(K, B, D))
    norm = scipy.stats.norm
    log_w = norm(mean).logpdf(x).sum(-1) + norm.logpdf(z).sum(-1) - norm(mu, sd).logpdf(z).sum(-1)
    q = Independent(Normal(torch.from_numpy(mu), torch.from_numpy(sd)), 1)
    p = Independent(Normal(torch.zeros(L).double(), torch.ones(L).double()), 1)
    px = Independent(Normal(torch.from_numpy(mean), torch.ones(()).double()), 1)
    return Trace(torch.from_numpy(x), (Latent(torch.from_numpy(z), q, p),), px), log_w


def logged(objective: Objective) -> dict[str, float]:
    trace, _ = fixed()
    return {name: float(v) for name, v in objective.reduce(linear.model(False), trace).terms.items()}


def paper_iwae(w: np.ndarray) -> float:
    return float(np.log(w.mean(0)).mean())


def paper_miwae(w: np.ndarray, m: int, k: int) -> float:
    return float(np.mean([np.log(w[i * k : (i + 1) * k].mean(0)).mean() for i in range(m)]))


def paper_renyi(w: np.ndarray, alpha: float) -> float:
    return float((np.log((w ** (1 - alpha)).mean(0)) / (1 - alpha)).mean())


FORMULAS: dict[str, tuple[Objective, Callable[[np.ndarray], float]]] = {
    "iwae": (Importance(6), paper_iwae),
    "iwae, dreg": (Importance(6, gradient="dreg"), paper_iwae),
    "iwae, stl": (Importance(6, gradient="stl"), paper_iwae),
    "miwae": (Importance(3, groups=2), lambda w: paper_miwae(w, 2, 3)),
    "ciwae": (Importance(6, mix=0.3), lambda w: 0.3 * float(np.log(w).mean()) + 0.7 * paper_iwae(w)),
    "ciwae of groups": (
        Importance(2, groups=3, mix=0.3),
        lambda w: 0.3 * float(np.log(w).mean()) + 0.7 * paper_miwae(w, 3, 2),
    ),
    "piwae": (Importance(3, groups=2, partial=True), paper_iwae),
    "elbo by mix": (Importance(6, mix=1.0), lambda w: float(np.log(w).mean())),
    "vr 0.5": (Renyi(0.5, 6), lambda w: paper_renyi(w, 0.5)),
    "vr 2": (Renyi(2.0, 6), lambda w: paper_renyi(w, 2.0)),
    "vr -1": (Renyi(-1.0, 6), lambda w: paper_renyi(w, -1.0)),
    "vr 0.95": (Renyi(0.95, 6), lambda w: paper_renyi(w, 0.95)),
    "wake-sleep": (WakeSleep(6), paper_iwae),
    "lagging": (Lagging(Importance(6), total=10), paper_iwae),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_what_is_logged_is_the_papers_formula(name: str) -> None:
    objective, formula = FORMULAS[name]
    terms, w = logged(objective), np.exp(fixed()[1])
    assert terms["bound"] == pytest.approx(formula(w), rel=1e-12)
    assert terms["loss"] == -terms["bound"]
    assert terms["elbo"] == pytest.approx(-(terms["distortion"] + terms["rate"]), rel=1e-12)


def test_what_is_minimised_is_the_papers_formula_for_each_player() -> None:
    trace, log_w = fixed()
    w, model = np.exp(log_w), linear.model(False)
    piwae = Importance(3, groups=2, partial=True).reduce(model, trace).losses
    assert float(piwae["posterior"]) == pytest.approx(-paper_miwae(w, 2, 3), rel=1e-12)
    assert float(piwae["model"]) == pytest.approx(-paper_iwae(w), rel=1e-12)
    rws = WakeSleep(6).reduce(model, trace).losses
    share = w / w.sum(0)
    log_q = trace.latents[0].log_q.numpy()
    assert float(rws["posterior"]) == pytest.approx(-(share * log_q).sum(0).mean(), rel=1e-12)
    assert float(rws["model"]) == pytest.approx(-paper_iwae(w), rel=1e-12)
    total, stl = (Elbo(gradient=gradient).reduce(model, trace).losses["model"] for gradient in ("total", "stl"))
    closed = float(trace.kl.mean() - trace.log_px.mean())
    assert float(total) == pytest.approx(closed, rel=1e-12)
    assert float(stl) == pytest.approx(-np.log(w).mean(), rel=1e-12)  # the sampled KL


def test_an_elbo_by_stl_is_evaluated_with_the_closed_form() -> None:
    trace, _ = fixed()
    found = Elbo(gradient="stl").eval().reduce(linear.model(False), trace)
    assert torch.equal(found.losses["model"], Elbo().reduce(linear.model(False), trace).losses["model"])


@pytest.mark.parametrize("power", [1.0, -2.0, 0.1001, 0.1, 1e-3, -1e-3, 1e-9])
def test_power_means_are_exact_near_zero_and_far_from_it(power: float) -> None:
    x = np.random.default_rng(1).normal(scale=30, size=(50, 7)) - 1000
    a = np.longdouble(power)
    want = (scipy.special.logsumexp(a * x.astype(np.longdouble), axis=0) - np.log(np.longdouble(50))) / a
    if abs(power) < 1e-6:  # where the logarithm cancels, the second cumulant is exact to the third
        want = x.mean(0) + power / 2 * x.var(0)
    found = log_mean_exp(torch.from_numpy(x), 0, power).numpy()
    np.testing.assert_allclose(found, want.astype(float), rtol=1e-12)


@pytest.mark.parametrize("power", [0.1, -0.1, -0.05])
def test_power_means_of_weights_far_apart_stay_finite_in_float32(power: float) -> None:
    x = torch.tensor([0.0, -3000.0, -2999.0], requires_grad=True)
    found = log_mean_exp(x, 0, power)
    want = (scipy.special.logsumexp(power * x.detach().double().numpy()) - math.log(3)) / power
    assert found.item() == pytest.approx(want, rel=1e-6)
    (gradient,) = torch.autograd.grad(found, x)
    assert torch.allclose(gradient, (power * x.detach()).softmax(0), atol=1e-5)


def test_the_order_one_is_the_elbo_and_is_come_to_smoothly() -> None:
    one = logged(Renyi(1.0, 6))["bound"]
    assert one == pytest.approx(float(fixed()[1].mean()), rel=1e-12)
    for alpha in (1 - 1e-8, 1 + 1e-8):
        assert logged(Renyi(alpha, 6))["bound"] == pytest.approx(one, abs=1e-6)


# the peers' defects


def test_samples_are_k_in_each_of_m_groups_and_not_the_other_way() -> None:
    """Defect 4 of the peers: the weights were normalised over the groups and averaged over the samples."""
    w = np.exp(fixed()[1])
    bound = logged(Importance(samples=3, groups=2))["bound"]
    assert bound == pytest.approx(paper_miwae(w, 2, 3), rel=1e-12)
    assert abs(bound - paper_miwae(w, 3, 2)) > 0.01
    assert Importance(samples=3, groups=2).samples == 6


def test_what_is_logged_is_the_bound_and_not_the_weighted_sum_of_log_weights() -> None:
    """Defect 5: Σ w̃ log w has the right gradient, and a value too high by log K - H(w̃)."""
    log_w = fixed()[1]
    share = scipy.special.softmax(log_w, 0)
    surrogate = float((share * log_w).sum(0).mean())
    entropy = float(-(share * np.log(share)).sum(0).mean())
    bound = logged(Importance(6))["bound"]
    assert surrogate - bound == pytest.approx(math.log(6) - entropy, rel=1e-9)
    assert surrogate - bound > 0.1


def test_the_best_sample_weighs_most_and_its_weight_is_of_sampled_densities() -> None:
    """Defect 15: the worst sample had most weight, the weights were differentiated, and the KL was the closed form."""
    trace, log_w = fixed()
    log_px = trace.log_px.clone().requires_grad_()
    vars(trace)["log_px"] = log_px
    Importance(6).reduce(linear.model(False), trace).losses["model"].backward()
    assert log_px.grad is not None
    np.testing.assert_allclose(log_px.grad.numpy(), -scipy.special.softmax(log_w, 0) / B, rtol=1e-12)
    x, exact = linear.data(), linear.model(exact=True)
    bound = Importance(3)(exact, x).terms["bound"]  # with log q - log p of the samples every weight is p(x)
    torch.testing.assert_close(bound, linear.log_p(x).mean(), rtol=0, atol=1e-10)


def test_an_evaluated_bound_counts_each_image_once_and_draws_no_gradient() -> None:
    """Defect 12: means of batch means weigh the last batch too much, and a failed evaluation was done again."""
    x, model = linear.data(101), linear.model(exact=True)  # whose bound has no noise
    source = data.tensor(x.float(), validation=0, test=100)
    rows = source.test.rows
    want = float(linear.log_p(x.float().double()[rows]).mean())
    for objective in (Importance(2, groups=2, gradient="dreg"), Renyi(samples=3), WakeSleep(3, sleep=0.5)):
        for size in (7, 100):
            blocks = ((block.double(), c) for block, c in source.blocks("test", size))
            found = metrics.evaluate(model, objective, blocks, step=0)
            assert found["images"] == 100
            assert found["bound"] == pytest.approx(want, abs=1e-9)
            assert objective.training
    failing = Failing()
    with pytest.raises(RuntimeError, match="out of memory"):
        metrics.evaluate(model, failing, [(x, None)], step=0)
    assert failing.calls == [False]


class Failing(Objective):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[bool] = []

    def reduce(self, model: Model, trace: Trace, *, step: int = 0) -> Loss:
        self.calls.append(torch.is_grad_enabled())
        raise RuntimeError("out of memory")


def test_an_evaluation_takes_the_number_of_samples_it_is_given() -> None:
    x, model = linear.data(), linear.model(exact=False)
    few, many = (
        metrics.evaluate(model, Importance(2, groups=2), [(x, None)], step=0, samples=k)["bound"] for k in (2, 400)
    )
    assert few < many
    with pytest.raises(UsageError, match="samples is 3, and the objective has 2 groups"):
        metrics.evaluate(model, Importance(2, groups=2), [(x, None)], step=0, samples=3)


# gradients by hand, in the linear model, where those of log w are known


def by_hand(model: VAE, trace: Trace) -> dict[str, np.ndarray]:
    """d log w of each sample: along z, the score of q in (μ, log σ²), dz/d(μ, log σ²), and in the decoder's bias."""
    q = trace.latents[0].q
    z, mu, var = (t.detach().numpy() for t in (trace.latents[0].z, q.mean, q.variance))
    x, (w, b) = trace.x.numpy(), (t.numpy() for t in linear.loadings())
    residual = x - b - z @ w.T
    along = residual @ w / linear.SIGMA**2 - z + (z - mu) / var
    score = np.stack([(z - mu) / var, 0.5 * ((z - mu) ** 2 / var - 1)])  # of log q
    path = np.stack([np.ones_like(z), 0.5 * (z - mu)])
    return {"path": along * path, "score": -score, "bias": residual / linear.SIGMA**2}


def found(objective: Objective, model: VAE, trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """The gradients of the bound, as one step of training takes them: in (μ, log σ²), and in the decoder's bias."""
    losses = objective.reduce(model, trace).losses
    mine, rest = losses.get("posterior", losses["model"]), losses["model"]
    theirs = (model.posterior.mu.bias, model.posterior.logvar.bias)
    phi = torch.autograd.grad(mine, theirs, retain_graph=True)
    (theta,) = torch.autograd.grad(rest, model.likelihood.net.bias)
    return -np.stack([g.numpy() for g in phi]), -theta.numpy()


def weighted(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sum over the samples and average over the batch."""
    total: np.ndarray = (values * weight[..., None]).sum(-3).mean(-2)
    return total


def grouped(log_w: np.ndarray, m: int) -> np.ndarray:
    """w̃ / M, normalised in each of M groups."""
    return np.concatenate([scipy.special.softmax(part, 0) / m for part in np.split(log_w, m)])


def grouped_squares(log_w: np.ndarray, m: int) -> np.ndarray:
    return grouped(log_w, m) ** 2 * m


# objective -> the weights of d log w: the posterior's along the path and in the score, and the rest's
ByHand = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | float, np.ndarray]]
HAND: dict[str, tuple[Objective, ByHand]] = {
    "iwae": (Importance(6), lambda w: (grouped(w, 1), grouped(w, 1), grouped(w, 1))),
    "stl": (Importance(6, gradient="stl"), lambda w: (grouped(w, 1), 0.0, grouped(w, 1))),
    "dreg": (Importance(6, gradient="dreg"), lambda w: (grouped_squares(w, 1), 0.0, grouped(w, 1))),
    "miwae": (Importance(3, groups=2), lambda w: (grouped(w, 2), grouped(w, 2), grouped(w, 2))),
    "miwae, dreg": (
        Importance(3, groups=2, gradient="dreg"),
        lambda w: (grouped_squares(w, 2), 0.0, grouped(w, 2)),
    ),
    "ciwae, dreg": (
        Importance(6, mix=0.3, gradient="dreg"),
        lambda w: (0.05 + 0.7 * grouped_squares(w, 1), 0.0, 0.05 + 0.7 * grouped(w, 1)),
    ),
    "piwae": (Importance(3, groups=2, partial=True), lambda w: (grouped(w, 2), grouped(w, 2), grouped(w, 1))),
    "piwae, dreg": (
        Importance(3, groups=2, partial=True, gradient="dreg"),
        lambda w: (grouped_squares(w, 2), 0.0, grouped(w, 1)),
    ),
    "elbo, stl": (Elbo(samples=6, gradient="stl"), lambda w: (np.full_like(w, 1 / 6), 0.0, np.full_like(w, 1 / 6))),
    "vr 0.5": (Renyi(0.5, 6), lambda w: (*(grouped(0.5 * w, 1),) * 3,)),
    "vr -1": (Renyi(-1.0, 6), lambda w: (*(grouped(2 * w, 1),) * 3,)),
    "vr 1": (Renyi(1.0, 6), lambda w: (*(np.full_like(w, 1 / 6),) * 3,)),
}


@pytest.mark.parametrize("name", HAND)
def test_gradients_of_both_are_those_written_out_by_hand(name: str) -> None:
    objective, weights = HAND[name]
    model = linear.model(exact=False)
    trace = model(linear.data(5), samples=6)
    parts, log_w = by_hand(model, trace), trace.log_w.detach().numpy()
    path, score, rest = weights(log_w)
    want = weighted(parts["path"], path) + weighted(parts["score"], np.zeros_like(log_w) + score)
    phi, theta = found(objective, model, trace)
    np.testing.assert_allclose(phi, want, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(theta, weighted(parts["bias"], rest), rtol=1e-9, atol=1e-12)
    assert np.abs(phi).min() > 1e-6


@pytest.mark.parametrize("name", ["iwae", "miwae", "vr 0.5", "vr -1"])
def test_the_total_gradient_is_the_finite_difference_of_what_is_logged(name: str) -> None:
    """With the noise held, to 1e-6."""
    objective, model, x = HAND[name][0], linear.model(exact=False), linear.data(5)

    def value() -> float:
        torch.manual_seed(5)
        with torch.no_grad():
            return float(objective(model, x).terms["bound"])

    torch.manual_seed(5)
    loss = objective(model, x).losses["model"]
    for parameter in (model.posterior.logvar.weight, model.likelihood.net.weight):
        (gradient,) = torch.autograd.grad(-loss, parameter, retain_graph=True)
        h, old = 1e-5, float(parameter.data[1, 1])
        parameter.data[1, 1] = old + h
        up = value()
        parameter.data[1, 1] = old - h
        down = value()
        parameter.data[1, 1] = old
        assert float(gradient[1, 1]) == pytest.approx((up - down) / (2 * h), abs=1e-6, rel=1e-6)


@pytest.mark.parametrize(
    "objective",
    [
        Elbo(gradient="stl"),
        Importance(5, gradient="stl"),
        Importance(5, gradient="dreg"),
        Importance(3, groups=2, mix=0.4, gradient="dreg"),
        Importance(3, groups=2, partial=True, gradient="dreg"),
    ],
    ids=["elbo stl", "stl", "dreg", "dreg, groups, mix", "dreg, partial"],
)
def test_at_the_exact_posterior_the_gradient_vanishes_draw_by_draw(objective: Objective) -> None:
    model = linear.model(exact=True)
    for seed, x in enumerate(linear.data(8)):
        torch.manual_seed(seed)
        loss = objective(model, x[None]).losses
        for g in torch.autograd.grad(loss.get("posterior", loss["model"]), list(model.posterior.parameters())):
            assert g.abs().max() < 1e-10
    total = Importance(5)(model, linear.data(1)).losses["model"]
    assert torch.autograd.grad(total, model.posterior.mu.bias)[0].abs().max() > 1e-3


@pytest.mark.parametrize("gradient", ["total", "stl", "dreg"])
def test_a_family_that_scores_its_own_draws_has_the_gradients_of_one_that_does_not(gradient: str) -> None:
    """The Gaussian as a flow of one affine map: its own score does not pass z, where the draws are weighed twice."""
    model, x = linear.model(exact=False), linear.data(5)
    objective, seen = Importance(3, groups=2, gradient=gradient), []  # type: ignore[arg-type]
    for flow in (False, True):
        params = model.posterior.params(x).detach().requires_grad_()
        mu, logvar = params.chunk(2, -1)
        noise = Independent(Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
        affine = torch.distributions.AffineTransform(mu, torch.exp(0.5 * logvar), event_dim=1)
        q = Flow(noise, [affine]) if flow else model.posterior.dist(params)
        torch.manual_seed(3)
        z, log_q = draw(q, 6)
        assert (log_q is not None) is flow
        trace = Trace(x, (Latent(z, q, model.prior(), log_q),), model.likelihood(z))
        seen.append(torch.autograd.grad(objective.reduce(model, trace).losses["model"], params)[0])
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-9, atol=1e-12)


def replicated(objective: Objective, n: int, samples: int, seed: int, off: float = 0.4) -> Tensor:
    """n independent gradients of one image's parameters (μ, log σ²) of q, which are off the exact ones by so much."""
    model, x = linear.model(exact=True), linear.data(1)
    params = (model.posterior.params(x).detach() + off).expand(n, -1).clone().requires_grad_()
    q = model.posterior.dist(params)
    torch.manual_seed(seed)
    z, _ = draw(q, samples)
    trace = Trace(x.expand(n, -1), (Latent(z, q, model.prior()),), model.likelihood(z))
    (gradient,) = torch.autograd.grad(objective.reduce(model, trace).losses["model"], params)
    return gradient * n


def score_of(a: Tensor, b: Tensor) -> Tensor:
    """The difference of two means in standard errors."""
    return (a.mean(0) - b.mean(0)).abs() / (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()


def test_dreg_has_the_mean_of_the_total_gradient_and_near_the_posterior_less_variance() -> None:
    """Four coordinates within 4.5 standard errors of 40,000 draws each: false alarm 3e-5. With a q that is too
    narrow and far off the mean is as it should be too, and the variance greater.
    """
    for off in (0.4, -1.0):
        total, dreg = (
            replicated(Importance(5, gradient=gradient), 40_000, 5, seed=seed, off=off)
            for seed, gradient in enumerate(("total", "dreg"))
        )
        assert score_of(total, dreg).max() < 4.5
        assert (total.mean(0).abs() > 10 * (total.var(0) / len(total)).sqrt()).any()
        ratio = dreg.var(0) / total.var(0)
        assert ratio.max() < 0.1 if off > 0 else ratio.min() > 1


def test_stl_has_the_mean_of_the_total_gradient_for_one_sample_and_not_for_more() -> None:
    """Four coordinates within 4.5 standard errors of 40,000 draws each: false alarm 3e-5."""
    one = [replicated(o, 40_000, 1, seed=i) for i, o in enumerate((Elbo(), Elbo(gradient="stl"), Importance(1)))]
    assert score_of(one[0], one[1]).max() < 4.5
    assert score_of(one[1], one[2]).max() < 4.5
    many = [replicated(Importance(5, gradient=g), 40_000, 5, seed=i) for i, g in enumerate(("total", "stl"))]  # type: ignore[arg-type]
    assert score_of(many[0], many[1]).max() > 10


# each player's gradient is its own


def small() -> VAE:
    torch.manual_seed(1)
    return VAE(
        posterior.Gaussian(nets.MLP((3,), hidden=(8,)), 2),
        prior.Standard(2),
        likelihood.Gaussian(nets.MLP((2,), (3,), hidden=(8,)), sigma="learned"),
    )


def gradients(model: VAE, objective: Objective, x: Tensor) -> dict[str, Tensor]:
    """The gradients that one step of training gives."""
    state = start(model, objective, Plan(precision="float32"), 640)
    torch.manual_seed(9)
    step(state, x)
    assert all(p.grad is not None for p in model.parameters())
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_the_posterior_of_a_piwae_is_not_given_the_gradient_of_the_iwae_too() -> None:
    """Defect 3 of the peers: it got the sum of both."""
    x = torch.randn(7, 3)
    piwae = gradients(small(), Importance(3, groups=2, partial=True), x)
    own = {"posterior": gradients(small(), Importance(3, groups=2), x), "model": gradients(small(), Importance(6), x)}
    for name, gradient in piwae.items():
        mine, other = ("posterior", "model") if name.startswith("posterior") else ("model", "posterior")
        torch.testing.assert_close(gradient, own[mine][name], rtol=1e-5, atol=1e-7)
        assert not torch.allclose(gradient, own[other][name], rtol=1e-3)


def test_the_players_of_wake_sleep_get_the_gradients_of_their_own_losses() -> None:
    x, model = torch.randn(7, 3), small()
    rws, iwae = gradients(small(), WakeSleep(5), x), gradients(small(), Importance(5), x)
    torch.manual_seed(9)
    trace = model(x, samples=5)
    latent = trace.latents[0]
    fit = -(trace.log_w.softmax(0).detach() * latent.q.log_prob(latent.z.detach())).sum(0).mean()
    names, parameters = zip(*model.posterior.named_parameters(), strict=True)
    own = dict(zip(names, torch.autograd.grad(fit, parameters), strict=True))
    for name, gradient in rws.items():
        want = own[name.removeprefix("posterior.")] if name.startswith("posterior") else iwae[name]
        torch.testing.assert_close(gradient, want, rtol=1e-5, atol=1e-7)


def test_a_player_that_sits_out_a_step_gets_no_gradient_of_the_others() -> None:
    """A critic whose loss a step leaves out is not moved by the model's, though its weights are in that."""

    class Quiet(Objective):
        def __init__(self) -> None:
            super().__init__()
            self.critic = nn.Linear(2, 1)

        def players(self, model: Model) -> dict[str, Group]:
            return {"model": Group(list(model.parameters())), "critic": Group(list(self.critic.parameters()))}

        def reduce(self, model: Model, trace: Trace, *, step: int = 0) -> Loss:
            return Loss({"model": self.critic(trace.latents[0].z).mean() - trace.log_px.mean()})

    objective = Quiet()
    step(start(small(), objective, Plan(), 640), torch.randn(7, 3))
    assert objective.critic.weight.grad is None


# bounds, against exact answers


def made(kind: str) -> Objective:
    """An objective of the registry with its defaults, around the importance-weighted one if it is around another."""
    constructor = spec.REGISTRIES["objective"][kind]
    known: dict[str, Any] = {"objective": Importance(), "total": 10}
    parameters = inspect.signature(constructor).parameters
    objective: Objective = constructor(**{name: known[name] for name in parameters if name in known})
    return objective


LOWER = [kind for kind in spec.REGISTRIES["objective"] if made(kind).bound == "lower"]


@pytest.mark.parametrize("kind", LOWER)
def test_a_lower_bound_is_below_log_p_and_rises_with_the_samples(kind: str) -> None:
    """Over 40 seeds: mean ≤ exact + 4 standard errors (false alarm 3e-5 for each), and the means of 1, 5 and 25
    samples rise, by more than 4 standard errors where it is the samples that are weighed.
    """
    x, model, objective = linear.data(), linear.model(exact=False), made(kind).eval()
    exact, values = float(linear.log_p(x).mean()), {}
    weighs = False
    with torch.no_grad():
        for k in (1, 5, 25):
            terms = []
            for seed in range(40):
                torch.manual_seed(seed)
                terms.append(objective.reduce(model, model(x, samples=k)).terms)
            weighs = "bound" in terms[0]
            values[k] = torch.stack([found.get("bound", found["elbo"]) for found in terms])
            assert values[k].mean() <= exact + 4 * values[k].std() / 40**0.5
    for few, many in ((1, 5), (5, 25)):
        error = (values[few].var() / 40 + values[many].var() / 40).sqrt()
        assert values[many].mean() - values[few].mean() > (4 * error if weighs else -4 * error)


def test_what_is_no_lower_bound_says_so() -> None:
    """Of negative order it is the elbo for one sample and above log p(x) for many."""
    x, model, objective = linear.data(), linear.model(exact=False), Renyi(-1.0)
    assert objective.bound is None
    assert (Renyi(0.0).bound, Renyi(3.0).bound) == ("lower", "lower")
    with torch.no_grad():
        few, many = (objective.reduce(model, model(x, samples=k)).terms for k in (1, 20_000))
    assert many["bound"] > linear.log_p(x).mean() > few["bound"]


def test_of_an_order_above_one_it_falls_with_the_samples() -> None:
    x, model = linear.data(), linear.model(exact=False)
    with torch.no_grad():
        values = [float(Renyi(2.0).reduce(model, model(x, samples=k)).terms["bound"]) for k in (1, 10, 1000)]
    assert values[0] > values[1] > values[2]


FINITE = oracle.Finite.draw(states=3, pixels=2, seed=5)


def test_in_a_finite_model_bounds_and_log_likelihood_are_those_of_enumeration() -> None:
    """Each image's mean within 4.5 standard errors of the sum over all draws: false alarm 9e-5 in all."""
    model, n = FINITE.vae(), 4000
    x = FINITE.images().repeat_interleave(n, 0)
    for k in (1, 2, 4):
        for objective in (WakeSleep(k), Importance(k), Renyi(0.0, k)):
            with torch.no_grad():
                trace = model(x, samples=k)
                whole = objective.eval().reduce(model, trace).terms["bound"]
            values = (trace.log_w.logsumexp(0) - math.log(k)).unflatten(0, (4, n))
            torch.testing.assert_close(whole, values.mean(), rtol=1e-9, atol=0)
            off = (values.mean(1) - FINITE.bound(k)).abs() / (values.std(1) / n**0.5)
            assert off.max() < 4.5
    found = metrics.log_likelihood(model, FINITE.images(), samples=100_000)
    log_w = FINITE.log_joint() - FINITE.table.log_softmax(1)
    spread = (FINITE.table.softmax(1) * (log_w - FINITE.log_p()[:, None]).expm1().square()).sum(1)
    assert ((found - FINITE.log_p()).abs() < 4.5 * (spread / 100_000).sqrt() + spread / 100_000).all()
    assert float(found.exp().sum()) == pytest.approx(1, abs=0.02)


def enumerated(k: int) -> dict[str, np.ndarray]:
    """The expected gradients of wake-sleep's losses over all k-tuples of states: in the table, asleep, in the prior."""
    log_q, joint = FINITE.table.log_softmax(1).numpy(), FINITE.log_joint().numpy()
    q, marginal = np.exp(log_q), np.exp(FINITE.log_p().numpy())
    states = np.stack(np.meshgrid(*[np.arange(3)] * k, indexing="ij"), -1).reshape(-1, k)
    prior_p, wake, slept = np.exp(FINITE.prior.log_softmax(0).numpy()), np.zeros((4, 3)), np.zeros((4, 3))
    model = np.zeros(3)
    for i in range(4):
        for tuple_ in states:
            chance = q[i][tuple_].prod()
            share = scipy.special.softmax((joint[i] - log_q[i])[tuple_])
            stands = np.eye(3)[tuple_].T @ share
            wake[i] += chance * (q[i] - stands)
            model += chance * (prior_p - stands) / 4
        slept[i] = marginal[i] * (q[i] - np.exp(joint[i]) / marginal[i])
    return {"wake": wake / 4, "sleep": slept, "prior": model}


@pytest.mark.parametrize("sleep", [0.0, 0.4, 1.0])
def test_wake_sleep_trains_a_posterior_without_reparameterisation_by_the_expected_gradients(sleep: float) -> None:
    """15 coordinates within 4.5 standard errors of the sums over all draws, over 80 steps of 4 x 200 images: false
    alarm 1e-4.
    """
    model, x, want = FINITE.vae(), FINITE.images().repeat(200, 1), enumerated(3)
    objective, seen = WakeSleep(3, sleep=sleep), []
    for seed in range(80):
        torch.manual_seed(seed)
        losses = objective(model, x).losses
        (table,) = torch.autograd.grad(losses["posterior"], model.posterior.logits)
        (states,) = torch.autograd.grad(losses["model"], model.prior.logits)
        seen.append(torch.cat([table.flatten(), states]))
    values = torch.stack(seen)
    expected = np.concatenate([((1 - sleep) * want["wake"] + sleep * want["sleep"]).flatten(), want["prior"]])
    off = (values.mean(0) - torch.from_numpy(expected)).abs() / (values.std(0) / 80**0.5)
    assert off.max() < 4.5
    assert values.mean(0).abs().max() > 0.01


# what has no meaning is refused in words


class Remembering(Independent):
    """A family that scores its own draws only, as a flow without an inverse does."""

    def rsample_and_log_prob(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        z = self.rsample(torch.Size(shape))
        return z, super().log_prob(z)

    def log_prob(self, value: Tensor) -> Tensor:
        raise NotImplementedError


class OneWay(posterior.Posterior):
    def __init__(self) -> None:
        super().__init__()
        self.inner = posterior.Gaussian(linear.Identity(), 2, features=3)

    def params(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        return self.inner.params(x, c)

    def dist(self, params: Tensor) -> torch.distributions.Distribution:
        mu, logvar = params.chunk(2, -1)
        return Remembering(Normal(mu, (0.5 * logvar).exp()), 1)

    def centre(self, q: torch.distributions.Distribution) -> Tensor:
        return q.mean


def test_a_posterior_that_scores_its_own_draws_only_has_the_total_gradient_and_no_other() -> None:
    model = VAE(OneWay(), prior.Standard(2), small().likelihood)
    x = torch.randn(5, 3)
    Importance(4)(model, x).losses["model"].backward()
    assert all(p.grad is not None for p in model.posterior.parameters())
    for objective in (Importance(4, gradient="stl"), Importance(4, gradient="dreg"), Elbo(gradient="stl"), WakeSleep()):
        with pytest.raises(UsageError, match="Remembering scores its own draws only"):
            objective(model, x)


@pytest.mark.parametrize("objective", [Importance(3), Importance(3, gradient="dreg"), Renyi(), Elbo(gradient="stl")])
def test_draws_without_a_gradient_are_refused_and_wake_sleep_is_named(objective: Objective) -> None:
    with pytest.raises(UsageError, match=r"OneHotCategorical has no reparameterised ones: .* wake-sleep"):
        objective(FINITE.vae(), FINITE.images())


def test_several_groups_of_latents_have_the_total_gradient_only() -> None:
    trace, log_w = fixed()
    latent = trace.latents[0]
    two = Trace(trace.x, (latent, Latent(latent.z, latent.p, latent.p)), trace.px)
    model = linear.model(False)
    bound = Importance(6).reduce(model, two).terms["bound"]
    assert float(bound) == pytest.approx(paper_iwae(np.exp(log_w)), rel=1e-12)  # the second group's weights are 1
    for objective in (Importance(6, gradient="stl"), Elbo(gradient="stl"), WakeSleep(6)):
        with pytest.raises(UsageError, match="one group of latents, and this model has 2"):
            objective.reduce(model, two)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Importance(0), "samples is 0"),
        (lambda: Importance(mix=1.5), "mix 1.5"),
        (lambda: Importance(partial=True), "groups is 1: set it to 2"),
        (lambda: Renyi(math.nan), "alpha is nan"),
        (lambda: WakeSleep(sleep=2.0), "sleep 2.0"),
        (lambda: Lagging(Elbo(), total=5, inner=0), "inner is 0"),
    ],
)
def test_arguments_without_a_meaning_are_refused(make: Callable[[], Objective], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()


def test_players_need_a_model_with_a_posterior() -> None:
    for objective in (WakeSleep(), Importance(2, groups=2, partial=True), Lagging(Elbo(), total=5)):
        with pytest.raises(UsageError, match="Bare has no part `posterior`"):
            objective.players(Bare())
    with pytest.raises(UsageError, match="set sleep to 0"):
        WakeSleep(6, sleep=0.5).reduce(Bare(), fixed()[0])


# lagging


def test_the_rest_of_the_model_moves_at_every_nth_step_until_a_fraction_of_the_training() -> None:
    model, objective = small(), Lagging(Elbo(), total=20, inner=3, until=0.5)
    state = start(model, objective, Plan(precision="float32"), 640)
    for t in range(14):
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        torch.manual_seed(t)
        step(state, torch.randn(7, 3))
        moved = {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
        assert moved == ({"posterior", "likelihood"} if t % 3 == 2 or t >= 10 else {"posterior"}), t


def test_lagging_lets_the_posterior_have_the_objectives_gradient_and_leaves_other_players_be() -> None:
    x = torch.randn(7, 3)
    plain, lagging = (gradients(small(), o, x) for o in (Elbo(), Lagging(Elbo(), total=10, inner=1)))
    for name in plain:
        torch.testing.assert_close(plain[name], lagging[name], rtol=1e-5, atol=1e-7)
    inner = Importance(3, groups=2, partial=True)
    piwae, both = gradients(small(), inner, x), gradients(small(), Lagging(inner, total=10, inner=1), x)
    assert all(torch.equal(piwae[name], both[name]) for name in piwae)
    assert set(Lagging(inner, total=10).players(small())) == {"posterior", "model"}


def test_a_learned_prior_is_seen_to_move_though_it_lags() -> None:
    """Before a training it is asked whether anything reads the prior, at a step at which all of the model moves."""
    parts = small()
    model = VAE(parts.posterior, prior.Scaled(2), parts.likelihood)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for inner in (Elbo(), WakeSleep(), Importance(3, groups=2, partial=True)):
        rehearse(model, Lagging(inner, total=50), torch.randn(7, 3))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_prior_that_nothing_reads_is_named_in_a_few_words() -> None:
    parts = small()
    model = VAE(parts.posterior, prior.MAF(2), parts.likelihood)
    with pytest.raises(UsageError, match=r"reads the prior \(its ([\w.]+, ){3}[\w.]+ and \d+ more\)"):
        rehearse(model, Elbo({"distortion": Distortion()}), torch.randn(7, 3))


def test_lagging_is_its_objective_to_whoever_measures() -> None:
    assert Lagging(Elbo(), total=10).densities_only
    lagging = Lagging(Importance(3, groups=2), total=10, inner=4)
    assert (lagging.bound, lagging.samples, lagging.densities_only) == ("lower", 6, False)
    model, x = linear.model(False), linear.data()
    mine, theirs = (metrics.evaluate(model, o, [(x, None)], step=10) for o in (lagging, lagging.objective))
    assert mine == theirs
    assert not lagging.state_dict()  # it is a function of the step alone


def test_a_spec_names_an_objective_within_an_objective() -> None:
    inner = {"kind": "elbo", "terms": {"distortion": {"kind": "distortion"}, "kl": {"kind": "kl", "weight": 2.0}}}
    node = spec.complete("objective", {"kind": "lagging", "objective": inner, "inner": 4}, "objective")
    assert node["objective"]["gradient"] == "total"
    lagging = spec.construct("objective", node, {"total": 40, "images": 5, "latents": 2})
    assert isinstance(lagging, Lagging)
    assert isinstance(lagging.objective, Elbo)
    assert isinstance(lagging.objective.terms["distortion"], Distortion)
    assert lagging.until == 10
    with pytest.raises(UsageError, match=r"objective\.objective\.samples"):
        spec.complete("objective", {"kind": "lagging", "objective": {**inner, "samples": 0}}, "objective")
