"""Laws that every distribution keeps: ours, and whatever the registered posteriors, priors and likelihoods give.

A new one is found by itself. Its arguments are made up from what torch's ``arg_constraints`` say, or stand in `CASES`.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.distributions import (
    AffineTransform,
    Categorical,
    Distribution,
    Independent,
    Laplace,
    MixtureSameFamily,
    Normal,
    StudentT,
    Transform,
    constraints,
    kl_divergence,
)

import quadrature
from lowerbound import dist, rng, spec
from lowerbound.dist import DiscretisedLogistic

B, N = 3, 20_000
SIGMAS = 4.5  # standard errors: false alarm 7e-6 a comparison, of which there are some 300; the seed is fixed


class Sinh(Transform):
    """A bijection of vectors that is not affine."""

    domain = codomain = constraints.real_vector
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        return torch.sinh(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return torch.asinh(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.log(torch.cosh(x)).sum(-1)


@dataclass(frozen=True)
class Case:
    make: Callable[..., Distribution]
    params: dict[str, Tensor]

    def at(self, **params: Tensor) -> Distribution:
        return self.make(**{**self.params, **params})


def real(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def positive(*shape: int) -> Tensor:
    return 0.5 + torch.rand(*shape, dtype=torch.float64)


def normals(loc: Tensor, scale: Tensor) -> Independent:
    return Independent(Normal(loc, scale), 1)


def moved(loc: Tensor, scale: Tensor, shift: Tensor, stretch: Tensor) -> Distribution:
    return dist.Affine(normals(loc, scale), shift, stretch)


def flow(loc: Tensor, scale: Tensor) -> Distribution:
    return dist.Flow(normals(loc, scale), [Sinh(), AffineTransform(loc.new_tensor([1.0, -1.0]), 0.5, event_dim=1)])


def logistics(logits: Tensor, loc: Tensor, scale: Tensor) -> Distribution:
    return MixtureSameFamily(Categorical(logits=logits), DiscretisedLogistic(loc, scale))


def best(loc: Tensor) -> Distribution:
    return dist.OptimalNormal(loc, torch.tensor(0.5, dtype=loc.dtype), torch.tensor(0))


# what `arg_constraints` alone do not tell
CASES: dict[type, Callable[[], Case]] = {
    dist.Affine: lambda: Case(
        moved, {"loc": real(B, 2), "scale": positive(B, 2), "shift": real(2), "stretch": positive(2)}
    ),
    dist.DiscretisedLogistic: lambda: Case(
        dist.DiscretisedLogistic,
        {"loc": torch.tensor([-0.1, 0.4, 1.3]).double(), "scale": torch.tensor([0.02, 0.2, 0.5]).double()},
    ),
    dist.Flow: lambda: Case(flow, {"loc": real(B, 2), "scale": positive(B, 2)}),
    dist.FullNormal: lambda: Case(
        lambda loc, tril: dist.FullNormal(loc, scale_tril=tril),
        {"loc": real(B, 2), "tril": torch.diag_embed(positive(B, 2)) + real(B, 2, 2).tril(-1)},
    ),
    dist.Joint: lambda: Case(lambda logits: dist.Joint(dist.CrossEntropy(logits=logits), 1), {"logits": real(B, 2)}),
    dist.Levels: lambda: Case(dist.Levels, {"logits": real(B, 256)}),
    dist.Mixture: lambda: Case(
        lambda logits, loc, scale: dist.Mixture(normals(loc, scale), logits),
        {"logits": real(B, 4), "loc": real(B, 4, 2), "scale": positive(B, 4, 2)},
    ),
    dist.OptimalNormal: lambda: Case(best, {"loc": real(B)}),
    Independent: lambda: Case(normals, {"loc": real(B, 2), "scale": positive(B, 2)}),
    MixtureSameFamily: lambda: Case(logistics, {"logits": real(B, 4), "loc": real(B, 4), "scale": positive(B, 4) / 5}),
    StudentT: lambda: Case(
        StudentT, {"df": torch.tensor([6.0, 9.0, 30.0]).double(), "loc": real(B), "scale": positive(B)}
    ),
}
# law -> who is excepted, and why
NO_DENSITY = {dist.Dirac: "a point mass"}
SCORED_TOGETHER = {
    dist.OptimalNormal: "σ is the best one for all that is scored at once: a loss in training, no density"
}
NOT_ITS_OWN = {**NO_DENSITY, **SCORED_TOGETHER}
NO_MOMENTS = {dist.Flow: "its mean and variance have no closed form; its samples are held against its density below"}
NOT_PATHWISE = {StudentT: "torch draws its gamma variable by rejection: the gradient in ν is implicit"}


def example(constraint: Any) -> Tensor:
    while isinstance(constraint, constraints.independent) and constraint.reinterpreted_batch_ndims == 1:
        if constraint.base_constraint is constraints.real:
            return real(B, 2)
        break
    if constraint is constraints.real:
        return real(B)
    if constraint in (constraints.positive, constraints.nonnegative):
        return positive(B)
    if constraint is constraints.unit_interval:
        return 0.2 + 0.6 * torch.rand(B, dtype=torch.float64)
    raise AssertionError(f"No value is known for {constraint}: give the distribution a line in CASES.")


@cache
def case(family: type[Distribution]) -> Case:
    with rng.noise(7, family.__name__):
        if family in CASES:
            return CASES[family]()
        known = dict(family.arg_constraints)
        assert known, f"{family.__name__} says nothing of its arguments: give it a line in CASES."
        if "logits" in known:
            known.pop("probs", None)
        return Case(family, {name: example(constraint) for name, constraint in known.items()})


def within(d: Distribution) -> Iterator[type[Distribution]]:
    """The families that a distribution is made of."""
    yield type(d)
    for name in ("base_dist", "base", "components", "component_distribution"):
        inner = getattr(d, name, None)
        if isinstance(inner, Distribution):
            yield from within(inner)


def found() -> list[type[Distribution]]:
    """Every family in `lowerbound.dist`, and every one that a registered part gives."""
    ours = {c for c in vars(dist).values() if inspect.isclass(c) and issubclass(c, Distribution)}
    filled = {"shape": (2,), "latents": 2, "unit": True}

    def make(registry: str, kind: str, **node: Any) -> Any:
        with rng.noise(0, "init"):
            return spec.construct(registry, spec.complete(registry, {"kind": kind, **node}, kind), filled)

    net = {"kind": "mlp", "hidden": [4]}
    x = torch.rand(4, 2)
    for kind in spec.REGISTRIES["posterior"]:
        ours |= set(within(make("posterior", kind, net=net)(x)))
    for kind in spec.REGISTRIES["prior"]:
        prior = make("prior", kind)
        prior.attach(make("posterior", "gaussian", net=net))
        ours |= set(within(prior()))
    for kind in spec.REGISTRIES["likelihood"]:
        ours |= set(within(make("likelihood", kind, net=net)(x)))
    return sorted(ours, key=lambda c: c.__name__)


FAMILIES = found()


def families(*excepted: dict[Any, str], only: Callable[[type], bool] = lambda c: True) -> pytest.MarkDecorator:
    kept = [c for c in FAMILIES if only(c) and not any(c in names for names in excepted)]
    return pytest.mark.parametrize("family", kept, ids=lambda c: c.__name__)


def in_precision(family: type[Distribution], dtype: torch.dtype) -> Distribution:
    known = case(family)
    return known.make(**{name: value.to(dtype) for name, value in known.params.items()})


def moment(d: Distribution, name: str) -> Tensor | None:
    try:
        value: Tensor = getattr(d, name)
    except NotImplementedError:
        return None
    return value


def grid(d: Distribution) -> tuple[Tensor, Tensor]:
    """Nodes (N, B, *event) and weights (N, B) for the whole of what d may give."""
    levels = 256 if dist.on_levels in (d.support, getattr(d.support, "base_constraint", None)) else None
    x, w = quadrature.product(*quadrature.rule(d.support, levels), d.event_shape.numel())
    x = x.reshape(-1, *[1] * len(d.batch_shape), *d.event_shape)
    if not d.support.is_discrete and (x < 0).any():  # the real line's rule is finest about one point: where d is
        mean = moment(d, "mean")
        x = x + (d.sample((1001,)).median(0).values if mean is None else mean)
    shape = (len(w), *d.batch_shape)
    return x.expand(*shape, *d.event_shape), w.reshape(-1, *[1] * len(d.batch_shape)).expand(shape)


def test_families_are_found_and_exceptions_are_of_these() -> None:
    assert {dist.HyperbolicSecant, dist.Levels, Normal, Laplace, StudentT, MixtureSameFamily} <= set(FAMILIES)
    for excepted in (CASES, NOT_ITS_OWN, NO_MOMENTS, NOT_PATHWISE):
        assert set(excepted) <= set(FAMILIES), "an exception of what is not there"


@families()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_shapes_and_precision(family: type[Distribution], dtype: torch.dtype) -> None:
    """Samples, densities and moments have the shapes that they should and the precision of the parameters."""
    d = in_precision(family, dtype)
    x = d.sample(torch.Size((5,)))
    log_p = d.log_prob(x)
    assert (x.shape, log_p.shape) == ((5, B, *d.event_shape), (5, B))
    assert x.dtype == log_p.dtype == dtype
    assert log_p.isfinite().all()
    assert d.support.check(x).all()
    if d.has_rsample:
        assert d.rsample(torch.Size((5, 2))).shape == (5, 2, B, *d.event_shape)
    for name in ("mean", "variance"):
        value = moment(d, name)
        assert (value is None) == (family in NO_MOMENTS)
        assert value is None or (value.shape, value.dtype) == ((B, *d.event_shape), dtype)


@families(SCORED_TOGETHER)
def test_an_expanded_distribution_is_the_same_one_more_often(family: type[Distribution]) -> None:
    d = case(family).at()
    wide = d.expand(torch.Size((4, B)))
    assert (wide.batch_shape, wide.event_shape) == ((4, B), d.event_shape)
    assert d.batch_shape == (B,), "the original was changed"
    x = wide.sample(torch.Size((6,)))
    assert x.shape == (6, 4, B, *d.event_shape)
    one = torch.stack([d.log_prob(x[:, i]) for i in range(4)], 1)
    torch.testing.assert_close(wide.log_prob(x), one, rtol=1e-12, atol=1e-12)
    if family not in NO_MOMENTS:
        torch.testing.assert_close(wide.mean, d.mean.expand(wide.mean.shape), rtol=0, atol=0)


@families(NOT_ITS_OWN)
def test_the_whole_probability_is_one(family: type[Distribution]) -> None:
    """By quadrature, or by adding up every value, in one coordinate or two."""
    d = case(family).at()
    x, w = grid(d)
    whole = (d.log_prob(x).exp() * w).sum(0)
    torch.testing.assert_close(whole, torch.ones_like(whole), rtol=0, atol=1e-7)


@families(NOT_ITS_OWN)
def test_samples_have_the_moments_that_the_density_has(family: type[Distribution]) -> None:
    """Mean and variance of 20,000 draws, of the density by quadrature, and as the family says, agree."""
    d = case(family).at()
    nodes, w = grid(d)
    w = (d.log_prob(nodes).exp() * w).reshape(*w.shape, *[1] * len(d.event_shape))
    # sinh of a normal variable has no small fourth moment: of a flow a bounded function's mean is compared
    f = torch.tanh if family in NO_MOMENTS else lambda v: v
    mean = (f(nodes) * w).sum(0)
    variance = ((f(nodes) - mean) ** 2 * w).sum(0)
    if family not in NO_MOMENTS:
        torch.testing.assert_close(d.mean, mean, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(d.variance, variance, rtol=1e-6, atol=1e-6)
    with rng.noise(1, family.__name__):
        x = f(d.sample(torch.Size((N,))))
    assert ((x.mean(0) - mean).abs() <= SIGMAS * (variance / N).sqrt()).all()
    squares = (x - mean) ** 2
    assert ((squares.mean(0) - variance).abs() <= SIGMAS * squares.std(0) / math.sqrt(N)).all()


@families(NOT_ITS_OWN)
def test_the_density_has_the_finite_difference_as_its_gradient(family: type[Distribution]) -> None:
    """In every parameter along a random direction, to 1e-6: something in float32 on the way would be far off."""
    known = case(family)
    with rng.noise(2, family.__name__):
        x = known.at().sample(torch.Size((5,)))
    check_gradient(known, lambda d: d.log_prob(x).sum())


@families(NOT_PATHWISE, only=lambda c: case(c).at().has_rsample)
def test_a_reparameterised_sample_has_the_finite_difference_as_its_gradient(family: type[Distribution]) -> None:
    def value(d: Distribution) -> Tensor:
        with rng.noise(3, family.__name__):
            x = d.rsample(torch.Size((5,)))
        return (x * torch.linspace(0.5, 1.5, x.numel(), dtype=x.dtype).reshape(x.shape)).sum()

    check_gradient(case(family), value)


def check_gradient(known: Case, value: Callable[[Distribution], Tensor]) -> None:
    for name, at in known.params.items():
        leaf = at.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(value(known.at(**{name: leaf})), leaf)
        with rng.noise(4, name):
            step = torch.randn_like(at) * (at != 0) * 3e-6  # zeros are those above a triangle
        up, down = (float(value(known.at(**{name: at + s * step}))) for s in (1, -1))
        assert float((gradient * step).sum()) == pytest.approx((up - down) / 2, rel=1e-6, abs=1e-11), name
        assert gradient.abs().max() > 1e-6, name


def registered() -> list[tuple[type, type]]:
    """The pairs of families, of one shape of event, whose divergence has a closed form."""
    pairs = []
    for p in FAMILIES:
        for q in FAMILIES:
            one, two = case(p).at(), case(q).at()
            if {p, q} & set(NOT_ITS_OWN) or one.event_shape != two.event_shape:
                continue
            try:
                kl_divergence(one, two)
            except NotImplementedError:
                continue
            pairs.append((p, q))
    return pairs


PAIRS = registered()


@pytest.mark.parametrize(("p", "q"), PAIRS, ids=[f"{p.__name__}-{q.__name__}" for p, q in PAIRS])
def test_a_divergence_in_closed_form_is_its_monte_carlo_estimate(p: type, q: type) -> None:
    one, two = case(p).at(), case(q).at()
    if p is q:
        two = case(p).at(**{name: v + 0.2 for name, v in case(p).params.items() if name in ("loc", "logits")})
    with rng.noise(5, f"{p.__name__}-{q.__name__}"):
        x = one.sample(torch.Size((N,)))
    ratio = one.log_prob(x) - two.log_prob(x)
    exact = kl_divergence(one, two)
    assert exact.shape == (B,)
    assert (exact > 0).all()
    assert ((ratio.mean(0) - exact).abs() <= SIGMAS * ratio.std(0) / math.sqrt(N)).all()


def test_the_divergences_of_the_models_are_among_them() -> None:
    print(f"{len(PAIRS)} pairs have a closed form: {[(p.__name__, q.__name__) for p, q in PAIRS]}")
    assert {(Independent, Independent), (dist.FullNormal, Independent), (Laplace, Normal)} <= set(PAIRS)


def logistic_masses(x: np.ndarray, loc: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The mass within half a level by scipy's distribution function; from the nearer end, so that no digits go."""
    law = scipy.stats.logistic(loc, scale)
    low = np.where(x < 1 / 510, -np.inf, x - 1 / 510)
    high = np.where(x > 1 - 1 / 510, np.inf, x + 1 / 510)
    return np.where(x < loc, law.cdf(high) - law.cdf(low), law.sf(low) - law.sf(high))


def weighted(log_p: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return scipy.special.logsumexp(log_p + scipy.special.log_softmax(logits, -1), axis=-1)


def of_rows(x: np.ndarray, loc: np.ndarray, tril: np.ndarray) -> np.ndarray:
    laws = [scipy.stats.multivariate_normal(m, l @ l.T) for m, l in zip(loc, tril, strict=True)]
    return np.stack([law.logpdf(x[:, i]) for i, law in enumerate(laws)], 1)


REFERENCES: dict[type, Callable[..., np.ndarray]] = {
    Normal: scipy.stats.norm.logpdf,
    Laplace: scipy.stats.laplace.logpdf,
    StudentT: scipy.stats.t.logpdf,
    Independent: lambda x, loc, scale: scipy.stats.norm.logpdf(x, loc, scale).sum(-1),
    dist.Affine: lambda x, loc, scale, shift, stretch: scipy.stats.norm.logpdf(
        x, stretch * loc + shift, stretch * scale
    ).sum(-1),
    dist.CrossEntropy: lambda x, logits: scipy.stats.bernoulli.logpmf(x, scipy.special.expit(logits)),
    dist.DiscretisedLogistic: lambda x, loc, scale: np.log(logistic_masses(x, loc, scale)),
    dist.FullNormal: of_rows,
    dist.HyperbolicSecant: lambda x, loc, scale: scipy.stats.hypsecant.logpdf(x, loc, 2 * scale / np.pi),
    dist.Joint: lambda x, logits: scipy.stats.bernoulli.logpmf(x, scipy.special.expit(logits)).sum(-1),
    dist.Levels: lambda x, logits: np.take_along_axis(
        scipy.special.log_softmax(logits, -1)[None].repeat(len(x), 0), (x * 255).round().astype(int)[..., None], -1
    )[..., 0],
    dist.Mixture: lambda x, logits, loc, scale: weighted(
        scipy.stats.norm.logpdf(x[..., None, :], loc, scale).sum(-1), logits
    ),
    MixtureSameFamily: lambda x, logits, loc, scale: weighted(
        np.log(logistic_masses(x[..., None], loc, scale)), logits
    ),
}


@pytest.mark.parametrize("family", REFERENCES, ids=lambda c: c.__name__)
def test_the_density_is_scipys(family: type[Distribution]) -> None:
    known = case(family)
    with rng.noise(6, family.__name__):
        x = known.at().sample(torch.Size((50,)))
    want = REFERENCES[family](x.numpy(), *(v.numpy() for v in known.params.values()))
    np.testing.assert_allclose(known.at().log_prob(x).numpy(), want, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 1e4])
@pytest.mark.parametrize("loc", [-50.0, 0.0, 0.5, 1.0, 50.0])
def test_discretised_logistic_keeps_its_digits_far_out(loc: float, scale: float) -> None:
    """In float32 at locations and scales where the difference of two sigmoids is 0, against 60 digits.

    What float32 rounds of x and μ, a small scale shows: this much is allowed.
    """
    import mpmath

    x = torch.tensor([0.0, 1 / 255, 128 / 255, 254 / 255, 1.0])
    mu, s = torch.tensor(loc, requires_grad=True), torch.tensor(scale, requires_grad=True)
    log_p = DiscretisedLogistic(mu, s).log_prob(x)
    assert all(g.isfinite() for g in torch.autograd.grad(log_p.sum(), [mu, s]))
    rounding = 2e-7 * max(1.0, abs(loc)) / scale
    with mpmath.workdps(60):
        half, far = mpmath.mpf(1) / 510, mpmath.mpf(float(s.detach()))
        for at, found in zip(x.tolist(), log_p.tolist(), strict=True):
            a, b = ((at + side * half - float(mu.detach())) / far for side in (-1, 1))
            low, high = 1 / (1 + mpmath.exp(-a)), 1 / (1 + mpmath.exp(b))  # the mass below and above
            mass = 1 - high if at == 0 else 1 - low if at == 1 else 1 - low - high
            if mass > mpmath.mpf(10) ** -50:  # 60 digits tell so much
                assert found == pytest.approx(float(mpmath.log(mass)), rel=1e-5, abs=1e-5 + rounding)
            assert math.isfinite(found)


def test_log_cosh_is_smooth_at_its_top_and_straight_far_out() -> None:
    t = torch.tensor([0.0, 500.0, -500.0], dtype=torch.float64, requires_grad=True)
    d = dist.HyperbolicSecant(torch.zeros(3, dtype=torch.float64), torch.full((3,), math.pi / 2, dtype=torch.float64))
    log_p = d.log_prob(t)
    (first,) = torch.autograd.grad(log_p.sum(), t, create_graph=True)
    assert first.tolist() == [0.0, -1.0, 1.0]
    assert float(torch.autograd.grad(first[0], t)[0][0]) == pytest.approx(-1.0)  # the curvature of -log cosh
    assert log_p.tolist() == pytest.approx([-math.log(math.pi), *[-500 - math.log(math.pi / 2)] * 2], rel=1e-12)


def test_the_distribution_function_of_the_hyperbolic_secant_and_its_inverse_are_scipys() -> None:
    d = dist.HyperbolicSecant(*torch.tensor([0.3, 0.7], dtype=torch.float64))
    x = torch.linspace(-6, 6, 41, dtype=torch.float64)
    want = scipy.stats.hypsecant.cdf(x.numpy(), 0.3, 1.4 / math.pi)
    np.testing.assert_allclose(d.cdf(x).numpy(), want, rtol=1e-12)
    torch.testing.assert_close(d.icdf(d.cdf(x)), x, rtol=0, atol=1e-8)
