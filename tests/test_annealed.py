"""Annealing against log p(x) in closed form and by quadrature, its limits against their rate, and planted errors.

Each statistical test has a fixed seed and says how often it would fail for a right program under another.
"""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

import linear
import lowerbound
from bare import Bare
from lowerbound import after, evaluation, figures, likelihood, oracle, posterior, prior
from lowerbound.errors import UsageError
from lowerbound.evaluation import Settings, Subject
from lowerbound.metrics import (
    Annealed,
    Annealing,
    Bracket,
    annealed_importance_sampling,
    bidirectional,
    bridge,
    simulated,
)
from lowerbound.metrics.hamiltonian import leapfrog, look, transition
from lowerbound.vae import VAE

PIXELS = 6
WIDE = 1 << 15  # rows: all images of a test in one block


def curved(kind: str = "gaussian") -> VAE:
    """One latent, a decoder that bends it, and an encoder that knows nothing of it."""
    torch.manual_seed(5)
    net = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, PIXELS)).double()
    for p in net.parameters():
        p.data.mul_(2.0)
    px = likelihood.Gaussian(net, sigma=0.6) if kind == "gaussian" else likelihood.Bernoulli(net)
    return VAE(posterior.Gaussian(nn.Identity(), 1, features=PIXELS).double(), prior.Standard(1).double(), px)


def quadrature(model: VAE, x: Tensor) -> Tensor:
    """log p(x) of a curved model by the trapezoidal rule on 801 points from -9 to 9, with NumPy."""
    w1, b1, w2, b2 = (p.detach().numpy() for p in model.likelihood.parameters())
    z = np.linspace(-9, 9, 801)[:, None]
    y = np.tanh(z @ w1.T + b1) @ w2.T + b2
    pixels = x.numpy()[:, None]
    if isinstance(model.likelihood, likelihood.Gaussian):
        log_px = scipy.stats.norm(y, 0.6).logpdf(pixels).sum(-1)
    else:
        log_px = -(np.logaddexp(0, y) - pixels * y).sum(-1)
    log_joint = log_px + scipy.stats.norm.logpdf(z[:, 0])
    return torch.from_numpy(scipy.special.logsumexp(log_joint, 1) + math.log(z[1, 0] - z[0, 0]))


def truth(model: VAE, x: Tensor) -> Tensor:
    return linear.log_p(x) if model.prior.zero.shape == (linear.L,) else quadrature(model, x)


MODELS = {
    "linear": lambda: linear.model(exact=False),
    "curved": curved,
    "curved, binary": lambda: curved("bernoulli"),
}


# Hamiltonian steps


def between(z: Tensor) -> tuple[Tensor, Tensor]:
    """Two normals in two coordinates, of which b = 0.5 gives a third: mean 1/2 · (1/s²) ... written out in `HALF`."""
    base = -0.5 * (z / torch.tensor([1.0, 2.0]).double()).square().sum(-1)
    target = -0.5 * ((z - 1) / torch.tensor([0.5, 0.4]).double()).square().sum(-1)
    return base, target


def half() -> tuple[np.ndarray, np.ndarray]:
    """The mean and deviation of the density in the middle: precisions are averaged."""
    old, new = np.array([1.0, 2.0]) ** -2, np.array([0.5, 0.4]) ** -2
    return new / (old + new), ((old + new) / 2) ** -0.5


def test_leapfrog_goes_back_when_the_momentum_is_turned() -> None:
    z, v = torch.randn(2, 7, 5, 2, dtype=torch.float64)
    step = torch.rand(5, 2, dtype=torch.float64)
    there, after_ = leapfrog(between, look(between, z), v, 0.3, step, 6)
    back, again = leapfrog(between, there, -after_, 0.3, step, 6)
    assert (there.z - z).abs().max() > 0.1
    torch.testing.assert_close(back.z, z, rtol=0, atol=1e-10)
    torch.testing.assert_close(again, -v, rtol=0, atol=1e-10)


def test_leapfrog_keeps_volume() -> None:
    """The determinant of its Jacobian, by central differences, is 1; of one half step forgotten it would not be."""
    h = 1e-5
    middle = torch.tensor([0.3, -0.8, 1.1, 0.4], dtype=torch.float64)
    moved = torch.cat([middle + h * torch.eye(4).double(), middle - h * torch.eye(4).double()])[:, None]
    bent = lambda z: (-0.25 * z.pow(4).sum(-1), torch.sin(z).sum(-1) - z.square().prod(-1))  # noqa: E731
    end, v = leapfrog(bent, look(bent, moved[..., :2]), moved[..., 2:], 0.4, torch.tensor([[0.3, 0.2]]).double(), 5)
    out = torch.cat([end.z, v], -1)[:, 0]
    jacobian = (out[:4] - out[4:]) / (2 * h)
    assert jacobian.det().item() == pytest.approx(1, abs=1e-7)
    assert not torch.allclose(jacobian, torch.eye(4).double(), atol=0.1)


STEP = 0.75  # at which three of four steps are taken


def stirred(accept: bool = True, adapt: bool = False) -> float:
    """Move 4,000 exact draws of the middle density by eight steps, and give the smaller p of two fits to it."""
    mean, sd = half()
    z = torch.from_numpy(mean + sd * np.random.default_rng(0).standard_normal((1, 4000, 2)))
    place, g = look(between, z), torch.Generator().manual_seed(1)
    for _ in range(8):
        v = torch.randn(z.shape, generator=g, dtype=torch.float64)
        u = torch.rand(z.shape[:2], generator=g, dtype=torch.float64)
        # each of these is an image of its own, and may have a step of its own
        step = STEP * (place.z[0].abs() if adapt else torch.ones(4000, 2, dtype=torch.float64))
        place, chance = transition(between, place, 0.5, step, 3, (v, u if accept else torch.zeros_like(u)))
        assert adapt or 0.6 < float(chance.mean()) < 0.95
    p = [scipy.stats.kstest(place.z[0, :, d].numpy(), scipy.stats.norm(mean[d], sd[d]).cdf).pvalue for d in (0, 1)]
    return float(min(p))


def test_a_step_leaves_its_density_as_it_is() -> None:
    """By Kolmogorov and Smirnov in either coordinate: false alarm 2e-3. Errors made on purpose are seen."""
    assert stirred() > 1e-3
    assert stirred(accept=False) < 1e-6, "a forgotten Metropolis correction was not seen"
    assert stirred(adapt=True) < 1e-6, "a step size that follows the chain was not seen"


# weights, estimates and their errors


def deviation(ratio: Tensor) -> float:
    """How many standard errors a mean that should be 1 is from it."""
    return float((ratio.mean() - 1) / ratio.std() * len(ratio) ** 0.5)


def both(name: str, how: Annealing, images: int = 200) -> tuple[Bracket, Tensor]:
    model = MODELS[name]()
    found = bidirectional(model, images, how)
    return found, truth(model, found.x)


@pytest.mark.parametrize("base", ["prior", "posterior"])
@pytest.mark.parametrize("name", MODELS)
def test_the_mean_weight_is_p_both_ways(name: str, base: Any) -> None:
    """p̂/p and, in reverse, p/p̂ over 200 images have the mean 1 within 4 of their standard errors: false alarm 1e-4."""
    found, exact = both(name, Annealing(base, temperatures=20, leaps=3, chains=4, rows=WIDE))
    assert abs(deviation((found.lower - exact).exp())) < 4
    assert abs(deviation((exact - found.upper).exp())) < 4
    assert 0.6 < float(found.forward.accepted.mean()) < 0.8


def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    def always(d: Any, p: Any, b: Any, s: Any, l: Any, n: Any) -> Any:
        return transition(d, p, b, s, l, (n[0], torch.zeros_like(n[1])))

    monkeypatch.setattr(bridge, "transition", always)


def turned(monkeypatch: pytest.MonkeyPatch) -> None:
    cross = bridge.Bridge.reverse
    monkeypatch.setattr(bridge.Bridge, "reverse", lambda self, z: (-cross(self, z)[0], cross(self, z)[1]))


@pytest.mark.parametrize("plant", [forgotten, turned])
def test_errors_made_on_purpose_move_the_mean_weight(plant: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    found, exact = both("curved", Annealing("prior", temperatures=20, leaps=3, chains=4, rows=WIDE), 200)
    assert max(abs(deviation((found.lower - exact).exp())), abs(deviation((exact - found.upper).exp()))) > 6


@pytest.mark.parametrize("base", ["prior", "posterior"])
def test_log_p_lies_within_its_stated_error(base: Any) -> None:
    """Of 100 images, with 64 chains: log p̂ - log p, in stated errors, has the mean and deviation of a standard normal.

    The mean is within 0.5 (false alarm 1e-6), and the deviation between 0.75 and 1.3 (1e-4).
    """
    model = linear.model(exact=False)
    x = linear.data(100)
    found = annealed_importance_sampling(model, x, Annealing(base, temperatures=30, leaps=3, chains=64, rows=WIDE))
    missed = (found.log_mean - linear.log_p(x)) / found.error
    assert abs(float(missed.mean())) < 0.5
    assert 0.75 < float(missed.std()) < 1.3
    assert 1 < float(found.effective.min()) <= float(found.effective.max()) <= 64


def test_error_and_effective_chains_are_their_formulas() -> None:
    w = np.array([[1.0, 2.0], [3.0, 2.0], [8.0, 2.0]])
    found = Annealed(torch.from_numpy(w).log(), torch.ones(2), torch.ones(1, 2))
    np.testing.assert_allclose(found.log_mean, np.log(w.mean(0)))
    np.testing.assert_allclose(found.error, w.std(0, ddof=1) / 3**0.5 / w.mean(0), atol=1e-15)
    np.testing.assert_allclose(found.effective, w.sum(0) ** 2 / (w**2).sum(0))


def test_more_temperatures_narrow_the_gap() -> None:
    """From over a nat to a tenth of it, with both estimates on their own side on average (of 100 images)."""
    gaps = []
    for temperatures in (3, 12, 60):
        found, exact = both("curved", Annealing("prior", temperatures, leaps=3, chains=4, rows=WIDE), 100)
        gaps.append(float(found.gap.mean()))
        assert float((found.lower - exact).mean()) < 0.1
        assert float((found.upper - exact).mean()) > -0.1
    assert gaps[0] > 1
    assert gaps[0] > 1.5 * gaps[1] > 3 * gaps[2]
    assert gaps[2] < 0.15 * gaps[0]


# limits

TRIALS, EACH = 200, 6
COARSE = {
    "well annealed": ("linear", Annealing("posterior", 15, 3, 4, WIDE)),
    "hardly annealed": ("curved", Annealing("prior", 2, 3, 8, WIDE)),
}


def least(rate: float, trials: int = TRIALS) -> int:
    """How often an event of this rate happens at the least, but for one time in 10,000."""
    return int(scipy.stats.binom.ppf(1e-4, trials, rate))


@pytest.mark.parametrize("case", COARSE)
def test_the_bracket_holds_the_truth_at_its_rate(case: str) -> None:
    """200 trials of 6 images each: both ends of the mean hold in 95 % of them, and each image's end in 97.5 %.

    Binomial bounds, false alarm 1e-4 each. The ends say something: two nats away from the truth is outside of them in
    nine of ten trials that are well annealed.
    """
    found, exact = both(*COARSE[case], TRIALS * EACH)
    low, high = found.limits()
    assert int((low <= exact).sum()) >= least(0.975, TRIALS * EACH)
    assert int((high >= exact).sum()) >= least(0.975, TRIALS * EACH)
    ends = torch.tensor([part(found, t).mean_limits() for t in range(TRIALS)])
    mean = exact.reshape(TRIALS, EACH).mean(1)
    assert int(((ends[:, 0] <= mean) & (mean <= ends[:, 1])).sum()) >= least(0.95)
    if case == "well annealed":
        assert int(((ends[:, 0] > mean - 2) & (ends[:, 1] < mean + 2)).sum()) >= least(0.9)


def part(found: Bracket, t: int) -> Bracket:
    rows = slice(t * EACH, (t + 1) * EACH)
    ways = [Annealed(w.log_w[:, rows], w.accepted[rows], w.steps[:, rows]) for w in (found.forward, found.reverse)]
    return Bracket(ways[0], ways[1], found.x[rows], found.z[rows])


def test_a_t_limit_over_reverse_chains_would_not_hold() -> None:
    """They all begin at one sample: where they mix badly they agree with each other, and not with the truth.

    Of 1,000 images it holds in fewer than 97.5 % (a right limit would do so with probability 1e-4 only).
    """
    found, exact = both("linear", Annealing("prior", 2, 3, 16, WIDE), 1000)
    log_w = -found.reverse.log_w
    high = log_w.mean(0) + scipy.stats.t.ppf(0.975, 15) * log_w.std(0) / 4
    assert int((high >= exact).sum()) < least(0.975, 1000)
    assert int((found.limits()[1] >= exact).sum()) >= least(0.975, 1000)


def test_the_limits_are_those_of_markov() -> None:
    log_w = torch.tensor([[-3.0, -1.0], [-2.0, -4.0]]).double()
    found = Bracket(
        Annealed(log_w, torch.ones(2), torch.ones(1, 2)), Annealed(-log_w, torch.ones(2), torch.ones(1, 2)),
        torch.zeros(2, 3), torch.zeros(2, 1),
    )  # fmt: skip
    w, odds = np.exp(log_w.numpy()), math.log(40)
    lower, upper = np.log(w.mean(0)), -np.log((1 / w).mean(0))
    np.testing.assert_allclose(found.mean_limits(), [lower.mean() - odds / 2, upper.mean() + odds / 2])
    np.testing.assert_allclose(found.limits()[0], log_w.mean(0) - odds / 2)
    np.testing.assert_allclose(found.limits()[1], upper + odds)
    np.testing.assert_allclose(found.gap, upper - lower)
    assert found.mean_limits(0.9)[0] > found.mean_limits()[0]


# what is frozen, and what noise belongs to


def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, Tensor, Tensor]]:
    """Keep b, the step sizes and the momenta of every step from now on."""
    seen: list[tuple[float, Tensor, Tensor]] = []

    def watch(d: Any, p: Any, b: float, s: Tensor, l: Any, n: Any) -> Any:
        seen.append((b, s.clone(), n[0]))
        return transition(d, p, b, s, l, n)

    monkeypatch.setattr(bridge, "transition", watch)
    return seen


FEW = Annealing("prior", temperatures=8, leaps=2, chains=4)


def frozen(seen: list[tuple[float, Tensor, Tensor]]) -> bool:
    """Whether the seven steps back, the last ones, have the sizes of the seven there, each at its own b."""
    there, back = seen[-14:-7], seen[:-8:-1]
    same = [b == c and torch.equal(s, t) for (b, s, _), (c, t, _) in zip(there, back, strict=True)]
    return all(same) and len({float(s[0, 0]) for _, s, _ in there}) == 7


def test_the_reverse_chain_has_the_step_sizes_that_the_pilot_froze(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watched(monkeypatch)
    bidirectional(curved(), 3, FEW)
    assert len(seen) == bridge.WARM + 7 + 7 + 7
    assert frozen(seen)
    own = bridge.Bridge.step
    calls = iter(range(100))
    monkeypatch.setattr(bridge.Bridge, "step", lambda self, t: own(self, t) * (1 + 1e-3 * next(calls)))
    bidirectional(curved(), 3, FEW)
    assert not frozen(seen), "step sizes that change while weights are taken were not seen"


def test_the_pilot_has_noise_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it is, the measuring chains have the same noise, and none of it is the pilot's or shared."""
    seen = watched(monkeypatch)
    bidirectional(curved(), 3, FEW)
    first = [v for _, _, v in seen]
    monkeypatch.setattr(bridge, "WARM", 7)
    bidirectional(curved(), 3, FEW)
    second = [v for _, _, v in seen[len(first) :]]
    assert len(second) == len(first) - 13
    assert all(torch.equal(a, b) for a, b in zip(first[-14:], second[-14:], strict=True))
    numbers = torch.cat([v.flatten() for v in first])
    assert len(numbers.unique()) == len(numbers)


def test_an_image_has_its_own_noise_whatever_stands_beside_it_and_however_it_is_cut() -> None:
    """Up to what a product of matrices of another size rounds to."""
    x, model = linear.data(7), linear.model(exact=False)
    how = Annealing("posterior", temperatures=10, leaps=2, chains=4)
    whole = annealed_importance_sampling(model, x, how)
    few = annealed_importance_sampling(model, x[:2], how)
    cut = annealed_importance_sampling(model, x, Annealing("posterior", 10, 2, 4, rows=9))
    torch.testing.assert_close(few.log_w, whole.log_w[:, :2], rtol=0, atol=1e-8)
    torch.testing.assert_close(cut.log_w, whole.log_w, rtol=0, atol=1e-8)
    assert whole.log_w.dtype == torch.float64
    assert not torch.allclose(annealed_importance_sampling(model, x, how, seed=1).log_w, whole.log_w, atol=0.01)


def test_the_model_and_the_callers_noise_are_as_before_even_without_gradients() -> None:
    model = linear.model(exact=False).train()
    for p in model.posterior.parameters():
        p.requires_grad_(False)
    before = {name: (p.requires_grad, p.clone()) for name, p in model.named_parameters()}
    state, told = torch.get_rng_state(), []
    with torch.inference_mode():
        x = linear.data(3) + 0.0  # a tensor of inference mode
        found = annealed_importance_sampling(model, x, FEW, progress=lambda done, total: told.append((done, total)))
        bidirectional(model, 3, FEW, progress=lambda done, total: told.append((done, total)))
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not found.log_w.requires_grad
    assert all(p.requires_grad == b and torch.equal(p, v) and p.grad is None
               for (_, p), (b, v) in zip(model.named_parameters(), before.values(), strict=True))  # fmt: skip
    assert told == [(i, 8) for i in range(1, 9)] + [(i, 16) for i in range(1, 17)]


def test_memory_is_bounded_whatever_images_and_chains() -> None:
    """No more than so many latents are ever decoded at once."""
    model, most = curved(), 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal most
        most = max(most, inputs[0].shape[:-1].numel())

    model.likelihood.net.register_forward_pre_hook(count)
    found = annealed_importance_sampling(model, torch.zeros(6, PIXELS).double(), Annealing("prior", 3, 1, 20, rows=8))
    assert found.log_w.shape == (20, 6)
    assert most == 8
    assert len(found.log_w[:, 0].unique()) == 20
    most = 0
    annealed_importance_sampling(model, torch.zeros(6, PIXELS).double(), Annealing("prior", 3, 1, 4, rows=9))
    assert most == 8


def test_simulated_latents_are_those_their_images_came_from() -> None:
    """Images of a decoder without noise are the decoder's; row i is the same whatever is drawn beside it."""
    model = curved()
    model.likelihood.sigma = 1e-9
    x, z = simulated(model, 70)
    torch.testing.assert_close(x, model.decode(z), rtol=0, atol=1e-7)
    again, _ = simulated(model, 5)
    assert torch.equal(again, x[:5])
    binary, _ = simulated(curved("bernoulli"), 5)
    assert sorted(binary.unique().tolist()) == [0, 1]


# what is refused


class Cut(nn.Module):
    """A decoder without a gradient."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: Tensor) -> Tensor:
        return self.net(z.detach())


def test_what_has_no_log_p_or_no_gradient_is_refused() -> None:
    x = linear.data(2)
    parts = linear.model(exact=False)
    point = VAE(posterior.Dirac(nn.Identity(), linear.L, features=linear.D).double(), parts.prior, parts.likelihood)
    cut = VAE(parts.posterior, parts.prior, likelihood.Gaussian(Cut(parts.likelihood.net)))
    stages = VAE(parts.posterior, after.TwoStage(linear.L).prior.double(), parts.likelihood)
    wrong = linear.model(exact=False)
    wrong.likelihood.net.bias.data[0] = math.nan
    narrow = VAE(parts.posterior, parts.prior, likelihood.Gaussian(nn.Linear(linear.L, 4).double()))
    finite = oracle.Finite.draw(3, 4, seed=0)
    for model, images, words in (
        (Bare(), x, "parts"),
        (point, x, "point mass"),
        (cut, x, "no gradient"),
        (stages, x, "itself an estimate"),
        (wrong, x, "NaN"),
        (finite.vae(), finite.images()[:2], "vectors of real numbers"),
        (curved("bernoulli"), torch.full((2, PIXELS), 0.5).double(), "outside the support"),
        (narrow, x, "examples of shape"),
    ):
        with pytest.raises(UsageError, match=words):
            annealed_importance_sampling(model, images, FEW)
    with pytest.raises(UsageError, match="parts"):
        simulated(Bare(), 3)
    with pytest.raises(UsageError, match="at the 'prior' or at the 'posterior'"):
        Annealing("data")
    for name in ("temperatures", "leaps", "chains", "rows"):
        with pytest.raises(UsageError, match=f"{name} is 0: at least"):
            Annealing(**{name: 0})


# the section and its picture


QUICK = Annealing("posterior", temperatures=10, leaps=2, chains=4)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> lowerbound.Run:
    out, sets = tmp_path_factory.mktemp("annealed") / "run", ("data.binarise=dynamic", "train.epochs=2")
    return lowerbound.fit("digits", latents=3, out=out, progress=False, set=sets)


def test_the_section_gives_a_lower_estimate_of_the_data_and_a_bracket_of_the_models_images(run: lowerbound.Run) -> None:
    told: list[tuple[str, int, int]] = []
    subject = Subject(run, "test", Settings(images=5, importance=50, progress=lambda *how: told.append(how)))
    subject.found["likelihood"] = evaluation.likelihood.measure(subject)
    section = evaluation.annealed.measure(subject, QUICK)
    values = json.loads(json.dumps(section.values, allow_nan=False))
    assert values["how"] == {"base": "posterior", "temperatures": 10, "leaps": 2, "chains": 4, "rows": 1024}
    x = subject.images(5)
    found = annealed_importance_sampling(run.model, x, QUICK, seed=subject.settings.seed)
    torch.testing.assert_close(torch.tensor(values["each"]).double(), found.log_mean, rtol=0, atol=1e-3)
    assert values["log_likelihood"] == pytest.approx(float(found.log_mean.mean()), abs=1e-3)
    assert values["monte_carlo_error"] == pytest.approx(float(found.error.square().sum().sqrt() / 5), rel=0.01)
    sampled = subject.found["likelihood"].values["log_likelihood"]
    assert values["above_importance"] == pytest.approx(values["log_likelihood"] - sampled)
    ends = values["simulated"]
    assert ends["gap"] == pytest.approx(ends["upper"] - ends["lower"])
    assert ends["limits"] == pytest.approx([ends["lower"] - math.log(40) / 5, ends["upper"] + math.log(40) / 5])
    words = " ".join(f"{a} {b}" for a, b in section.rows) + " ".join(section.notes)
    assert "log p(x) of 5 test images, a lower estimate" in words
    assert not any("bracket" in a for a, _ in section.rows if "test" in a)
    assert {what for what, _, _ in told} == {"log p(x)", "annealing from both sides", "annealing to the data"}
    assert all(done <= total for _, done, total in told)
    assert [drawn.name for drawn in section.pictures] == ["bracket"]


def test_grey_images_have_no_lower_estimate_and_the_models_own_still_have_a_bracket(run: lowerbound.Run) -> None:
    """The training images of a dynamic run are grey where nobody draws them."""
    grey = lowerbound.Run(run.path, run.spec)
    grey.__dict__.update(model=run.model, source=replace(run.source, binarise="none"))
    section = evaluation.annealed.measure(Subject(grey, "train", Settings(images=3)), QUICK)
    assert "outside the support" in section.values["refused"]
    assert section.values["log_likelihood"] is None
    assert section.values["simulated"]["images"] == 3
    assert section.notes[0] == section.values["refused"]


def test_the_picture_shows_each_gap_and_refuses_none() -> None:
    ax = figures.bracket([0.3, -0.1, 0.2], [0.1, 0.1, 0.2]).axes[0]
    np.testing.assert_allclose(ax.collections[-1].get_offsets(), [[1, -0.1], [2, 0.2], [3, 0.3]])
    with pytest.raises(UsageError, match="no images"):
        figures.bracket([], [])
