"""``lowerbound doctor`` passes where all is right, and fails for a planted error of each kind."""

import json
import math
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

import lowerbound
from commandline import call, run
from lowerbound import data, dist, doctor, likelihood, nets, posterior, prior, strided, train, vae
from lowerbound.dist import flow, mixture
from lowerbound.doctor import closed, command, grid
from lowerbound.doctor.table import verdict
from lowerbound.errors import ProofError, UsageError
from lowerbound.metrics import bounds
from lowerbound.metrics import importance as sampling
from lowerbound.objective import (
    KL,
    Distortion,
    Elbo,
    Importance,
    Lagging,
    Loss,
    Objective,
    WakeSleep,
    decomposed,
    gradient,
    importance,
    weight,
)
from lowerbound.spec import REGISTRIES, register

Patch = pytest.MonkeyPatch
QUICK = doctor.Setting(torch.device("cpu"), bfloat16=True, quick=True)


def examined(*names: str) -> doctor.Table:
    rows = [row for name in names for row in doctor.perform(name, doctor.CHECKS[name], QUICK)]
    assert rows != []
    return doctor.Table(rows)


# ---- the verdict


def test_z_is_the_quantile_that_leaves_the_false_alarm_to_all_drawn_rows_together() -> None:
    rows = [doctor.Row("drawn", 0.0, 0.0, deviation=1.0)] * 7 + [doctor.Row("computed", 0.0, 0.0)] * 3
    assert doctor.Table(rows).z == pytest.approx(scipy.stats.norm.isf(doctor.FALSE_ALARM / 2 / 7), rel=1e-9)


def test_a_row_is_wrong_on_the_wrong_side_only_and_whatever_is_not_finite_is_wrong() -> None:
    def word(**row: Any) -> str:
        made = doctor.Row("a row", 1.0, **row)
        return verdict(doctor.Table([made]), made)

    assert word(estimate=1.1, tolerance=0.11) == word(estimate=0.9, tolerance=0.11) == "right"
    assert word(estimate=1.2, tolerance=0.11) == word(estimate=0.8, tolerance=0.11) == "wrong"
    assert word(estimate=-9.0, sense="at most") == word(estimate=9.0, sense="at least") == "right"
    assert word(estimate=1.1, sense="at most") == word(estimate=0.9, sense="at least") == "wrong"
    assert word(estimate=1.1, sense="at most", deviation=0.03) == "right"
    assert word(estimate=math.nan, tolerance=9.0) == word(estimate=-math.inf, sense="at most") == "wrong"
    assert word(estimate=math.nan, told=True) == "said"


def test_a_check_that_raises_is_a_row_that_fails_and_hides_no_other() -> None:
    def broken(setting: doctor.Setting) -> Iterator[doctor.Row]:
        yield doctor.Row("the first", 1.0, 1.0)
        raise RuntimeError("no such kernel")

    rows = doctor.perform("broken", broken, QUICK)
    assert [row.check for row in rows] == ["broken", "broken"]
    assert [row.note for row in doctor.Table(rows).failed] == ["RuntimeError: no such kernel"]


def test_checks_draw_the_same_numbers_in_any_order_and_leave_torchs_generator_alone() -> None:
    torch.manual_seed(1)
    alone = examined("finite").rows
    after = torch.rand(())
    assert list(examined("gaussian", "finite").rows[-len(alone) :]) == list(alone)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(()), after)


def test_quadrature_is_exact_for_heavy_tails_and_narrow_peaks() -> None:
    for d in (
        torch.distributions.StudentT(torch.tensor(2.0).double(), 3.0, 0.1),
        Normal(torch.tensor(-50.0).double(), 1e-4),
        dist.ContinuousBernoulli(torch.tensor(40.0).double()),
    ):
        x, w = grid.values(d) or (torch.zeros(()), torch.zeros(()))
        assert float((d.log_prob(x).exp() * w).sum()) == pytest.approx(1, abs=1e-6)
    assert grid.values(torch.distributions.Gamma(torch.ones(()), torch.ones(()))) is None


# ---- where all is right


def test_all_is_right_here_and_the_json_says_so(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.chdir(tmp_path)
    here = {"PYTHONPATH": str(Path(lowerbound.__file__).parents[1])}  # wherever the folder is
    code, out, err = run("doctor", "--quick", "--json", "--device", "cpu", env=here)  # types are not checked in it
    found = json.loads(out)
    assert [row for row in found["rows"] if row["verdict"] == "wrong"] == []
    assert (code, found["failed"], err) == (0, 0, "")
    assert {row["check"] for row in found["rows"]} == set(doctor.CHECKS)
    assert (found["device"], found["quick"], found["spec"]) == ("cpu", True, None)
    assert list(tmp_path.iterdir()) == []
    quantities = " ".join(row["quantity"] for row in found["rows"])
    for registry in ("posterior", "prior", "likelihood", "objective", "term"):
        unseen = [kind for kind in REGISTRIES[registry] if kind not in quantities]
        assert unseen == [], f"no row of the table speaks of {registry} {unseen}"


# ---- where an error is planted


def lazily(monkeypatch: Patch, owner: type, name: str, change: Callable[[Any, Any], Any]) -> None:
    """Have a cached property of a class give something else: ``change`` of the object and the right value."""
    right = vars(owner)[name].func
    planted = cached_property(lambda self: change(self, right(self)))
    planted.__set_name__(owner, name)
    monkeypatch.setattr(owner, name, planted)


def instead(monkeypatch: Patch, owner: Any, name: str, change: Callable[..., Any]) -> None:
    """Have a function or method give something else: ``change`` of the right function and its arguments."""
    right = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: change(right, *args, **kwargs))


def double_variance(right: Any, self: Any, c: Any = None) -> Any:
    return Independent(Normal(self.zero, 2 * self.one, validate_args=False), 1, validate_args=False)


def variance_for_deviation(right: Any, self: Any, params: Tensor) -> Any:
    mu, logvar = params.chunk(2, dim=-1)
    return Independent(Normal(mu, logvar.exp(), validate_args=False), 1, validate_args=False)


def in_columns(batch: int, images: int) -> Tensor:
    """The weights as peers have them: a stride of batch + 1 over rows of batch + 1 numbers fills two columns."""
    w = torch.full((batch, batch), 1 / (batch - 1), dtype=torch.float64)
    w[:, 0], w[:, 1] = 1 / images, (images - batch + 1) / (images * (batch - 1))
    return w.log()


def variance_in_the_draw(q: Any, samples: int) -> Any:
    return q.mean + q.variance * torch.randn(samples, *q.mean.shape), None


def held(q: Any, samples: int) -> Any:
    return q.sample((samples,)), None


def ascent(right: Any, state: Any, loss: Loss) -> None:
    right(state, loss * -1.0)


def scaled(factor: float) -> Callable[..., Any]:
    return lambda right, *args, **kwargs: right(*args, **kwargs) * factor


def shifted(parts: list[Tensor], by: float) -> list[Tensor]:
    return [part + by for part in parts]


def levelled(parts: list[Tensor]) -> list[Tensor]:
    """Give each log weight as the mean of all: the log of their mean is then the mean of their logs."""
    mean = torch.cat(parts).mean()
    return [torch.full_like(part, float(mean)) for part in parts]


PLANTED: dict[str, tuple[str, Callable[[Patch], None]]] = {
    "KL with the wrong sign": ("gaussian", lambda m: lazily(m, vae.Latent, "kl", lambda _, kl: -kl)),
    "KL as a mean over latents": ("gaussian", lambda m: lazily(m, vae.Latent, "kl", lambda t, kl: kl / t.z.shape[-1])),
    "KL without its constant": ("gaussian", lambda m: lazily(m, vae.Latent, "kl", lambda t, kl: kl + 0.5)),
    "KL of each latent halved": ("gaussian", lambda m: lazily(m, vae.Latent, "kl_by_dim", lambda _, kl: kl / 2)),
    "KL with the wrong sign, by its pairs": ("divergences", lambda m: lazily(m, vae.Latent, "kl", lambda _, kl: -kl)),
    "groups of latents averaged": ("gaussian", lambda m: lazily(m, vae.Trace, "kl", lambda t, kl: kl / len(t.latents))),
    "sigma is exp(logvar)": ("gaussian", lambda m: instead(m, posterior.Gaussian, "dist", variance_for_deviation)),
    "sigma is exp(logvar), by the elbo": (
        "linear-gaussian",
        lambda m: instead(m, posterior.Gaussian, "dist", variance_for_deviation),
    ),
    "the prior's variance": ("gaussian", lambda m: instead(m, prior.Standard, "forward", double_variance)),
    "z drawn with the variance": ("linear-gaussian", lambda m: m.setattr(vae, "draw", variance_in_the_draw)),
    "z without a gradient": ("gradients", lambda m: m.setattr(vae, "draw", held)),
    "log w with the ratio turned": (
        "linear-gaussian",
        lambda m: lazily(m, vae.Trace, "log_w", lambda t, w: 2 * t.log_px - w),
    ),
    "log w without log q": (
        "importance",
        lambda m: lazily(m, vae.Trace, "log_w", lambda t, w: w + t.latents[0].log_q),
    ),
    "log w without log p(z), of a finite model": (
        "finite",
        lambda m: lazily(m, vae.Trace, "log_w", lambda t, w: w - t.latents[0].log_p),
    ),
    "distortion as a mean over pixels": ("linear-gaussian", lambda m: instead(m, Distortion, "forward", scaled(1 / 6))),
    "distortion with the wrong sign": ("linear-gaussian", lambda m: instead(m, Distortion, "forward", scaled(-1.0))),
    "distortion as a mean, in training": ("training", lambda m: instead(m, Distortion, "forward", scaled(1 / 6))),
    "β counted twice": ("linear-gaussian", lambda m: instead(m, KL, "forward", scaled(2.0))),
    "no rate in training": ("training", lambda m: instead(m, KL, "forward", scaled(0.0))),
    "gradient ascent": ("training", lambda m: instead(m, train, "backward", ascent)),
    "the last block left out": (
        "linear-gaussian",
        lambda m: instead(m, bounds, "pooled", lambda right, traces: right(traces[:-1] or traces)),
    ),
    "the sum over images for the mean": (
        "linear-gaussian",
        lambda m: instead(
            m,
            bounds,
            "_summary",
            lambda right, loss, whole: {
                name: value * whole.log_px.shape[1] if isinstance(value, float) else value
                for name, value in right(loss, whole).items()
            },
        ),
    ),
    "log p(x) without log K": (
        "importance",
        lambda m: instead(m, sampling, "_log_weights", lambda right, *args: shifted(right(*args), math.log(args[2]))),
    ),
    "the mean of logs for the log of the mean": (
        "finite",
        lambda m: instead(m, sampling, "_log_weights", lambda right, *args: levelled(right(*args))),
    ),
    "the bound without log K": (
        "bounds",
        lambda m: m.setattr(importance, "log_mean_exp", lambda x, dim, power=1.0: x.logsumexp(dim)),
    ),
    "Σ w̃ log w reported as the bound": (
        "bounds",
        lambda m: m.setattr(importance, "log_mean_exp", lambda x, dim: (x.softmax(dim) * x).sum(dim)),
    ),
    "cross-entropy as a mean over pixels": (
        "likelihoods",
        lambda m: instead(m, dist.CrossEntropy, "summed_log_prob", scaled(1 / 4)),
    ),
    "continuous Bernoulli without log C": (
        "likelihoods",
        lambda m: m.setattr("lowerbound.dist.continuous_bernoulli.log_normaliser", torch.zeros_like),
    ),
    "Gaussian pixels without log 2π": (
        "likelihoods",
        lambda m: instead(m, Normal, "log_prob", lambda right, *args: right(*args) + 0.5 * math.log(2 * math.pi)),
    ),
    "pixels summed over one axis too few": (
        "likelihoods",
        lambda m: instead(m, Independent, "log_prob", lambda right, self, x: right(self, x) / 4),
    ),
    "levels whose tails are lost": (
        "likelihoods",
        lambda m: m.setattr("lowerbound.dist.discretised_logistic.STEP", 1 / 300),
    ),
    "the mean of pixels is their logit": (
        "likelihoods",
        lambda m: m.setattr(dist.ContinuousBernoulli, "mean", property(lambda self: self.logits)),
    ),
    "a Jacobian with the wrong sign": (
        "densities",
        lambda m: instead(m, flow, "_through", lambda right, *args: (right(*args)[0], -right(*args)[1])),
    ),
    "a mixture without its weights": (
        "densities",
        lambda m: instead(m, mixture.Mixture, "log_prob", lambda right, *args: right(*args) + math.log(3)),
    ),
    "stratified weights in columns for a diagonal": (
        "decomposition",
        lambda m: m.setattr(closed, "log_weights", in_columns),
    ),
    "stratified weights counted for each latent": (
        "decomposition",
        lambda m: instead(m, decomposed, "log_aggregate", lambda right, *args: (2 * right(*args)[0], right(*args)[1])),
    ),
    "a score that is not held": (
        "estimators",
        lambda m: (
            m.setattr(gradient, "pathwise", lambda trace, *args, **kwargs: trace)
            or m.setattr(importance, "pathwise", lambda trace, *args, **kwargs: trace)
        ),
    ),
    "a warm-up that ends short": ("schedules", lambda m: instead(m, weight.Linear, "forward", scaled(0.9))),
    "a weight gradient with its axes turned": (
        "convolutions",
        lambda m: instead(m, strided, "weight_gradient", lambda right, *args: right(*args).transpose(2, 3)),
    ),
}


@pytest.mark.parametrize("error", PLANTED)
def test_a_planted_error_is_found(error: str, monkeypatch: Patch) -> None:
    name, plant = PLANTED[error]
    plant(monkeypatch)
    failed = examined(name).failed
    assert failed != []
    told = [row for row in failed if "runs to its end" not in row.quantity or "not finite" in row.note]
    assert told != [], failed  # by a number, or a training that diverges, and not by an exception


def test_the_verb_prints_the_table_and_fails_with_its_own_code(
    monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "CHECKS", {"gaussian": doctor.CHECKS["gaussian"]})
    assert call("doctor", "--quick", "--device", "cpu", "--precision", "float32") == 0
    out, err = capsys.readouterr()
    assert (out.count("right"), out.count("wrong"), err) == (6, 1, "")
    assert "5 rows right, 0 wrong" in out
    assert "float32 in a training step" in out
    assert "one of them would fail by chance in 10,000 examinations" in out
    lazily(monkeypatch, vae.Latent, "kl", lambda _, kl: -kl)
    assert call("doctor", "--quick", "--device", "cpu") == ProofError.code == 6
    out, err = capsys.readouterr()
    assert "3 rows right, 2 wrong" in out
    assert "lowerbound: 2 rows of 5 wrong: gaussian, KL(q(z|x) ‖ p(z)), the closed form, and 1 more." in err


# ---- a composition of one's own


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("doctor") / "run"
    assignments = ["data.n=400", "train.epochs=2", "train.batch=64"]
    lowerbound.fit("moons", set=assignments, out=out, device="cpu", progress=False)
    return out


@pytest.mark.parametrize("what", ["", "spec.json"])
def test_a_run_and_a_spec_are_examined_from_the_command_line(
    what: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("doctor", "--spec", trained / what, "--quick", "--json", "--device", "cpu") == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["check"] for row in found["rows"]} == {"shapes", "gradients", "likelihood", "bounds"}
    assert {row["verdict"] for row in found["rows"]} == {"right"}
    elbo = next(row["exact"] for row in found["rows"] if row["quantity"] == "E log w, which is the elbo")
    at_hand = lowerbound.load(trained)
    if what == "":  # the trained weights are examined, and so is the elbo theirs
        x, _ = next(iter(at_hand.source.blocks("validation", 8)))
        with torch.no_grad():
            trace = at_hand.model(x, samples=500)
        assert elbo == pytest.approx(float((trace.log_px - trace.kl).mean()), abs=0.1)


def example(net: nn.Module | None = None, **parts: Any) -> tuple[vae.VAE, data.Source]:
    """A model of three pixels in [0, 1] that lie on no grid, and its data."""
    known = {
        "posterior": posterior.Gaussian(net or nets.MLP((3,), hidden=(8,), activation="tanh"), 2, features=8),
        "prior": prior.Standard(2),
        "likelihood": likelihood.Gaussian(nets.MLP((2,), (3,), hidden=(8,), activation="tanh"), sigma=0.5),
        **parts,
    }
    return vae.VAE(**known), data.tensor(torch.rand(160, 3, generator=torch.Generator().manual_seed(0)))


def composition(model: vae.VAE, source: data.Source, *names: str, objective: Any = None) -> doctor.Table:
    checks = doctor.examine(model, objective or Elbo(), source)
    return doctor.Table([row for name in names or checks for row in doctor.perform(name, checks[name], QUICK)])


def test_examining_a_composition_leaves_it_as_it_is() -> None:
    model, source = example(likelihood=likelihood.Gaussian(nets.MLP((2,), (3,)), sigma="optimal"))
    before = {name: t.clone() for name, t in model.state_dict().items()}
    model.train()
    assert composition(model, source).failed == []
    assert model.training
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("inner", [Elbo(), Importance(samples=2, gradient="dreg"), WakeSleep(samples=2)])
def test_what_lags_at_first_is_examined_when_all_of_it_moves(inner: Objective) -> None:
    model, source = example()
    assert composition(model, source, "gradients", objective=Lagging(inner, total=1000)).failed == []


class Spare(nn.Module):
    """A network with a layer that nothing passes."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Linear(3, 8), nn.Linear(3, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)


class Root(nn.Module):
    """A network whose gradient is infinite where a pixel is 0, as all of the first batch's are."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 8)

    def forward(self, x: Tensor) -> Tensor:
        return (self.linear(x) * 0).abs().sqrt() + self.linear(x)


class Torn(nn.Module):
    """A network whose values pass, and whose gradient only passes by half."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        return 0.5 * y + 0.5 * y.detach()


@pytest.mark.parametrize(
    ("net", "quantity", "note"),
    [
        (Spare, "parameters that no gradient of 8 batches reaches", "posterior.net.spare.bias"),
        (Root, "parameters whose gradient is not finite", "posterior.net.linear.bias"),
        (Torn, "derivative of the loss, model", ""),
    ],
)
def test_gradients_that_are_missing_infinite_or_wrong_are_found(net: Any, quantity: str, note: str) -> None:
    failed = composition(*example(net()), "gradients").failed
    assert quantity in [row.quantity for row in failed]
    assert note in next(row.note for row in failed if row.quantity == quantity)


def test_pixels_outside_the_support_are_said_and_fail_nothing() -> None:
    decoder = nets.MLP((2,), (3,), hidden=(8,), activation="tanh")
    table = composition(*example(likelihood=likelihood.Bernoulli(decoder)), "likelihood")
    said = [row for row in table.rows if verdict(table, row) == "said"]
    assert [(row.quantity, row.estimate) for row in said] == [("share of examples outside the support of p(x|z)", 1.0)]
    assert table.failed == []


def test_a_posterior_without_a_density_has_no_elbo_and_that_is_said() -> None:
    net = nets.MLP((3,), hidden=(8,), activation="tanh")
    model, source = example(posterior=posterior.Dirac(net, 2, features=8))
    table = composition(model, source, objective=Elbo({"distortion": Distortion()}))
    assert table.failed == []
    assert [row.note for row in table.rows if row.told] == [
        "not examined: this posterior has no density, so there is none"
    ]


OWN: dict[str, tuple[str, Callable[[Patch], None]]] = {
    "likelihood without its constant": (
        "likelihood",
        lambda m: instead(m, Normal, "log_prob", lambda right, *args: right(*args) + 0.5 * math.log(2 * math.pi)),
    ),
    "KL with the wrong sign": ("bounds", lambda m: lazily(m, vae.Latent, "kl", lambda _, kl: -kl)),
    "log w without log q": ("bounds", lambda m: lazily(m, vae.Trace, "log_w", lambda t, w: w + t.latents[0].log_q)),
    "log p(x) divided by K twice": (
        "bounds",
        lambda m: instead(m, sampling, "_log_weights", lambda right, *args: shifted(right(*args), -math.log(args[2]))),
    ),
    "a bound that is none": ("bounds", lambda m: lazily(m, vae.Trace, "kl", lambda _, kl: kl - 3)),
    "a mean over the batch": ("shapes", lambda m: lazily(m, vae.Trace, "log_px", lambda _, log_px: log_px.mean(1))),
}


@pytest.mark.parametrize("error", OWN)
def test_a_planted_error_is_found_in_a_composition(error: str, monkeypatch: Patch) -> None:
    name, plant = OWN[error]
    model, source = example()
    assert composition(model, source, name).failed == []
    plant(monkeypatch)
    assert composition(model, source, name).failed != []


def test_what_cannot_be_examined_is_said_in_words(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = json.loads((trained / "spec.json").read_text())
    for content, words in {
        "{": "is no JSON",
        "[]": "holds no spec",
        json.dumps({**spec, "model": {"kind": "own"}}): "The model of",
        json.dumps({**spec, "data": {"kind": "own"}}): "The data of",
        json.dumps({**spec, "latent": 3}): "did you mean 'latents'?",
    }.items():
        path = tmp_path / "spec.json"
        path.write_text(content)
        assert call("doctor", "--spec", path) == UsageError.code
        assert words in capsys.readouterr().err
    for path, words in {tmp_path / "none.json": "cannot be read", tmp_path / "..": "is not a run"}.items():
        assert call("doctor", "--spec", path) == UsageError.code
        assert words in capsys.readouterr().err
    assert call("doctor", "--device", "abacus") == UsageError.code
    assert "there is: " in capsys.readouterr().err


def test_a_member_that_is_added_is_examined_by_itself(monkeypatch: Patch) -> None:
    """Registered, and wrong: it draws with one σ and scores with another."""
    monkeypatch.setitem(REGISTRIES, "likelihood", {})
    register("likelihood", "mine")(Mine)
    assert [row.quantity for row in examined("likelihoods").failed] == ["draws of p(x|z), mine"]


class Half(Normal):
    def log_prob(self, value: Tensor) -> Tensor:
        return Normal(self.loc, self.scale / 2).log_prob(value)  # type: ignore[no-any-return,no-untyped-call]


class Mine(likelihood.Likelihood):
    real = True

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: Tensor, c: Tensor | None = None) -> Any:
        mu = nets.leading(self.net, z, 1)
        return Independent(Half(mu, torch.ones_like(mu), validate_args=False), mu.ndim - z.ndim + 1)
