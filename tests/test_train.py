"""One step is Adam's; nothing that is not finite reaches the weights; players, clipping, averages and rates."""

import copy
import math

import pytest
import torch
from torch import nn

from lowerbound import data, explore, likelihood, nets, posterior, prior
from lowerbound.errors import DivergedError
from lowerbound.objective import Elbo, Group, Loss, Objective
from lowerbound.train import Plan, State, rehearse, start, step, train
from lowerbound.vae import VAE, Model, Trace


def model() -> VAE:
    torch.manual_seed(1)
    return VAE(
        posterior.Gaussian(nets.MLP((6,), hidden=(8,)), 2),
        prior.Standard(2),
        likelihood.Bernoulli(nets.MLP((2,), (6,), hidden=(8,))),
    )


def state(**plan: object) -> State:
    settings = {"schedule": "constant", "warmup": 0.0, **plan}
    return start(model(), Elbo(), Plan(**settings), images=6400)  # type: ignore[arg-type]


X = torch.rand(16, 6, generator=torch.Generator().manual_seed(0))


def weights(s: State) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in s.model.state_dict().items()}


def test_a_step_is_that_of_plain_pytorch() -> None:
    ours, theirs = state(lr=0.01), model()
    torch.manual_seed(3)
    step(ours, X)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.01, betas=(0.8, 0.99))
    torch.manual_seed(3)
    optimizer.zero_grad()
    Elbo()(theirs, X).losses["model"].backward()
    optimizer.step()
    for (name, a), b in zip(ours.model.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7, msg=name)
    assert ours.step == 1


def test_training_raises_the_elbo() -> None:
    s = state(lr=0.01)
    x = (torch.arange(320)[:, None] % 2).expand(320, 6).float()  # six equal bits: at best -log 2
    source = data.tensor(x, validation=0, test=0)
    elbos = [float(r.loss.terms["elbo"]) for r in train(s, source, steps=300, batch=16)]
    assert sum(elbos[:20]) / 20 < -3.5
    assert -1.5 < sum(elbos[-20:]) / 20 < -math.log(2)


@pytest.mark.parametrize("where", ["input", "weight", "gradient"])
def test_what_is_not_finite_is_named_before_anything_changes(where: str) -> None:
    s, x = state(), X.clone()
    step(s, X)
    if where == "input":
        x[3, 2] = math.nan
    if where == "weight":
        with torch.no_grad():
            s.model.likelihood.net.layers[1].bias[0] = math.inf
    if where == "gradient":
        s.model.posterior.mu.weight.register_hook(lambda g: g * math.nan)
    before, optimizer = weights(s), copy.deepcopy(s.optimizer.state_dict()["state"])
    name = {"input": "batch x", "weight": "likelihood.net.layers.1.bias", "gradient": "posterior.mu.weight"}[where]
    with pytest.raises(DivergedError, match="Step 1: .*" + name.replace(".", r"\.")):
        step(s, x)
    assert s.step == 1
    for key, value in weights(s).items():
        assert torch.equal(value, before[key]), key
    after = s.optimizer.state_dict()["state"]
    assert all(torch.equal(after[i][k], optimizer[i][k]) for i in optimizer for k in optimizer[i])


def test_clipping_bounds_the_norm_of_the_whole_gradient() -> None:
    s = state(clip=0.1)
    torch.manual_seed(2)
    step(s, X)
    norm = torch.cat([p.grad.flatten() for p in s.model.parameters() if p.grad is not None]).norm()
    assert float(norm) == pytest.approx(0.1, rel=1e-3)
    free = state()
    torch.manual_seed(2)
    step(free, X)
    assert torch.cat([p.grad.flatten() for p in free.model.parameters() if p.grad is not None]).norm() > 0.2


def test_the_moving_average_is_the_recursion() -> None:
    s, decay = state(ema=0.9, lr=0.05), 0.9
    want: dict[str, torch.Tensor] = {}
    for k in range(4):
        step(s, X)
        now = weights(s)
        want = now if k == 0 else {n: decay * want[n] + (1 - decay) * now[n] for n in now}
    assert s.ema is not None
    for name, value in s.ema.module.state_dict().items():
        torch.testing.assert_close(value, want[name], rtol=1e-5, atol=1e-7)
    assert not torch.equal(s.ema.module.state_dict()["posterior.mu.weight"], weights(s)["posterior.mu.weight"])


def test_the_learning_rate_follows_its_schedule() -> None:
    s = start(model(), Elbo(), Plan(lr=0.1, warmup=0.5, batch=16, epochs=1), images=16 * 8)
    rates = []
    for _ in range(8):
        step(s, X)
        rates.append(s.optimizer.param_groups[0]["lr"])
    assert rates[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert rates[4:] == pytest.approx([0.1 * 0.5 * (1 + math.cos(math.pi * k / 4)) for k in range(4)])


def test_adamw_decays_weights_and_adam_does_not() -> None:
    decayed, plain = state(optimiser="adamw", weight_decay=0.5, lr=0.1), state(lr=0.1)
    for s in (decayed, plain):
        torch.manual_seed(2)
        step(s, X)
    ratio = weights(decayed)["posterior.mu.weight"].norm() / weights(plain)["posterior.mu.weight"].norm()
    assert float(ratio) < 0.99


class Duel(Objective):
    """Two players: the decoder minimises the loss, the encoder another one through the same graph."""

    def __init__(self, silent: bool) -> None:
        super().__init__()
        self.silent = silent

    def players(self, model: Model) -> dict[str, Group]:
        assert isinstance(model, VAE)
        return {
            "encoder": Group(list(model.posterior.parameters()), {"lr": 0.5}),
            "decoder": Group(list(model.likelihood.parameters())),
        }

    def reduce(self, model: Model, trace: Trace, *, step: int = 0) -> Loss:
        both = {"decoder": -trace.log_px.mean(), "encoder": trace.kl.mean()}
        return Loss({"decoder": both["decoder"]} if self.silent else both)


def test_each_player_gets_only_its_own_gradient() -> None:
    s = start(model(), Duel(silent=False), Plan(precision="float32"), 640)
    torch.manual_seed(4)
    step(s, X)
    fresh = model()
    torch.manual_seed(4)
    trace = fresh(X)
    for part, loss in ((fresh.posterior, trace.kl.mean()), (fresh.likelihood, -trace.log_px.mean())):
        own = torch.autograd.grad(loss, list(part.parameters()), retain_graph=True)
        name = "posterior" if part is fresh.posterior else "likelihood"
        for got, want in zip(getattr(s.model, name).parameters(), own, strict=True):
            assert got.grad is not None
            torch.testing.assert_close(got.grad, want)
    assert [g["peak"] for g in s.optimizer.param_groups] == [0.5, Plan().lr]


def test_a_player_without_a_loss_stays_where_it_is() -> None:
    s = start(model(), Duel(silent=True), Plan(), 640)
    before = weights(s)
    step(s, X)
    moved = {name for name, value in weights(s).items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in moved} == {"likelihood"}


def test_bfloat16_trains_and_keeps_the_elbo_in_float32() -> None:
    s = state(precision="bfloat16")
    loss = step(s, X)
    assert s.bfloat16
    assert loss.terms["elbo"].dtype == torch.float32
    plain = state()
    torch.manual_seed(0)
    a = step(state(precision="bfloat16"), X).terms["distortion"]
    torch.manual_seed(0)
    b = step(plain, X).terms["distortion"]
    assert 0 < abs(float(a) - float(b)) < 0.02 * float(b)


def test_float64_stays_float64() -> None:
    s = start(model().double(), Elbo(), Plan(), 640)
    loss = step(s, X.double())
    assert {t.dtype for t in loss.terms.values()} == {torch.float64}


def test_a_model_is_left_in_the_mode_it_was_in_by_evaluation() -> None:
    from lowerbound.metrics import evaluate

    source = data.tensor(X.repeat(4, 1), validation=0, test=0.5)
    for mode in (True, False):
        m = model().train(mode)
        evaluate(m, Elbo(), source.blocks("test"), step=0)
        explore.embed(m, source.blocks("test"))
        explore.decode(m, torch.zeros(3, 2))
        assert m.training is mode


def test_a_rehearsal_is_in_the_mode_of_training_and_leaves_that_it_was_in() -> None:
    net = Modes()
    m = VAE(posterior.Gaussian(net, 2), prior.Standard(2), likelihood.Bernoulli(nets.MLP((2,), (6,), hidden=(8,))))
    for mode in (True, False):
        rehearse(m.train(mode), Elbo(), X)
        with pytest.raises(RuntimeError):
            rehearse(m, Elbo(), X[:, :5])
        assert m.training is mode
        assert net.training is mode
    assert [training for training, _ in net.seen] == [True] * 4


class Modes(nn.Module):
    """A network that remembers how it was called."""

    features = 6

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[bool, bool]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append((self.training, torch.is_grad_enabled()))
        return x


def test_evaluation_is_in_evaluation_mode_without_gradients_and_counts_every_image_once() -> None:
    from lowerbound.metrics import evaluate

    net = Modes()
    m = VAE(posterior.Gaussian(net, 2), prior.Standard(2), likelihood.Bernoulli(nets.MLP((2,), (6,), hidden=(8,))))
    source = data.tensor(torch.rand(103, 6), validation=0, test=101)
    whole = evaluate(m, Elbo(), source.blocks("test", 101), step=0)
    parts = evaluate(m, Elbo(), source.blocks("test", 25), step=0)
    assert set(net.seen) == {(False, False)}
    assert whole["images"] == parts["images"] == 101
    # uneven blocks weigh by their count: the rate, which has no noise, is the same to rounding
    assert parts["rate"] == pytest.approx(whole["rate"], rel=1e-6)
    assert sum(whole["kl_by_dim"]) == pytest.approx(whole["rate"], rel=1e-6)
    assert whole["loss"] == pytest.approx(whole["distortion"] + whole["rate"], rel=1e-6)


def test_the_standard_error_is_that_of_the_images() -> None:
    from lowerbound.metrics import evaluate

    m = model()
    source = data.tensor(torch.rand(202, 6), validation=0, test=200)
    out = evaluate(m, Elbo(), source.blocks("test"), step=0)
    with torch.no_grad():
        rates = m(next(iter(source.blocks("test")))[0]).kl[0].double()
    assert out["standard_error"]["rate"] == pytest.approx(float(rates.std()) / 200**0.5, rel=1e-6)
