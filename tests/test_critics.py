"""Critics learn what they should, and each player's gradient is its own: of the model, and of the critic."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.nn import functional as F

from lowerbound import likelihood, metrics, nets, posterior, prior, recipes, spec
from lowerbound.data import tensor as source_of
from lowerbound.errors import UsageError
from lowerbound.objective import KL, AdversarialCritic, Distortion, Elbo, TotalCorrelationCritic
from lowerbound.objective.critic import Critic, permuted
from lowerbound.train import Plan, backward, start, train
from lowerbound.vae import VAE, Latent, Trace

F64 = torch.float64
CRITICS: dict[str, Callable[[], Critic]] = {
    "tc": lambda: TotalCorrelationCritic(latents=2, hidden=(8, 8), weight=3.0).double(),
    "adversarial": lambda: AdversarialCritic(latents=2, hidden=(8,), weight=3.0).double(),
}
EACH = pytest.mark.parametrize("name", CRITICS)


def small() -> VAE:
    return VAE(
        posterior.Gaussian(nets.MLP((3,), hidden=(8,)), 2),
        prior.Standard(2),
        likelihood.Gaussian(nets.MLP((2,), (3,), hidden=(8,)), sigma=1.0),
    ).double()


def trace_of(z: Tensor) -> Trace:
    k, b, d = z.shape
    one, zero = torch.ones(b, d, dtype=F64), torch.zeros(b, d, dtype=F64)
    q, p = Independent(Normal(zero, one), 1), prior.Standard(d).double()()
    px = Independent(Normal(torch.zeros(k, b, 1, dtype=F64), 1.0), 1)
    return Trace(torch.zeros(b, 1, dtype=F64), (Latent(z, q, p),), px)


def grads(module: nn.Module) -> list[Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in module.parameters()]


@EACH
def test_plain_backward_of_either_loss_leaves_the_other_player_alone(name: str) -> None:
    """Peers' critic losses reach the encoder through z that was not detached, and then its step."""
    model, critic = small(), CRITICS[name]()
    goal = Elbo({"distortion": Distortion(), "kl": KL(), "critic": critic})
    loss = goal(model, torch.randn(6, 3, dtype=F64))
    loss.losses[critic.player].backward(retain_graph=True)
    assert all(g is None for g in grads(model))
    assert all(g is not None and g.abs().max() > 0 for g in grads(critic))
    critic.zero_grad()
    loss.losses["model"].backward()
    assert all(g is None for g in grads(critic))
    assert all(g is not None and g.abs().max() > 0 for g in grads(model))


@EACH
def test_each_player_gets_exactly_the_gradient_of_its_own_loss(name: str) -> None:
    """Written out anew, on the same draws: the model's through a critic held fixed, and the critic's on codes."""
    model, critic = small(), CRITICS[name]()
    goal = Elbo({"distortion": Distortion(), "kl": KL(), "critic": critic})
    state = start(model, goal, Plan(precision="float32"), 100)
    x = torch.randn(6, 3, dtype=F64)
    torch.manual_seed(5)
    backward(state, goal(model, x))
    found = [*grads(model), *grads(critic)]

    torch.manual_seed(5)
    trace = model(x)
    z = trace.latents[0].z
    others = permuted(z) if name == "tc" else trace.latents[0].p.rsample((1, 6))
    logit = critic.network(z)
    cost = logit.mean() if name == "tc" else -torch.log(1 - torch.sigmoid(logit)).mean()
    theirs = (trace.kl - trace.log_px).mean() + 3 * cost
    of_codes, of_others = torch.sigmoid(critic.network(z.detach())), torch.sigmoid(critic.network(others.detach()))
    own = -0.5 * (torch.log(of_codes).mean() + torch.log(1 - of_others).mean())
    expected = [
        *torch.autograd.grad(theirs, list(model.parameters()), retain_graph=True),
        *torch.autograd.grad(own, list(critic.parameters())),
    ]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


@EACH
def test_the_encoder_works_against_the_critic_and_never_for_it(name: str) -> None:
    """In a peer the critic's gradient is added to the decoder's, whose adversarial part then has the opposite sign."""
    critic = CRITICS[name]()
    z = torch.randn(1, 50, 2, dtype=F64, requires_grad=True)
    loss = critic(trace_of(z), 0).losses
    (ours,) = torch.autograd.grad(loss["model"], z)
    (theirs,) = torch.autograd.grad(F.softplus(-critic.network(z)).mean(), z)  # what the critic wants of z
    cosine = F.cosine_similarity(ours.flatten(2), theirs.flatten(2), dim=-1)  # of each code: exactly opposite
    torch.testing.assert_close(cosine, -torch.ones(1, 50, dtype=F64), rtol=1e-9, atol=0)
    assert torch.autograd.grad(loss[critic.player], z, allow_unused=True) == (None,)


@EACH
def test_the_critics_player_is_its_network_with_its_own_rates_and_the_models_is_the_rest(name: str) -> None:
    model, critic = small(), CRITICS[name]()
    goal = Elbo({"distortion": Distortion(), "critic": critic})
    players = goal.players(model)
    assert set(players) == {"model", critic.player}
    assert [id(p) for p in players[critic.player].params] == [id(p) for p in critic.network.parameters()]
    assert {id(p) for p in players["model"].params} == {id(p) for p in model.parameters()}
    groups = {g["name"]: g for g in start(model, goal, Plan(), 100).optimizer.param_groups}
    assert groups["model"]["lr"] == Plan().lr
    assert groups["model"]["betas"] == Plan().betas
    assert (groups[critic.player]["lr"], groups[critic.player]["betas"]) == (
        (1e-4, (0.5, 0.9)) if name == "tc" else (5e-4, (0.5, 0.999))
    )


@EACH
def test_both_players_move_in_a_training_and_are_judged_without_moving(name: str) -> None:
    model, critic = small().float(), CRITICS[name]().float()
    goal = Elbo({"distortion": Distortion(), "kl": KL(), "critic": critic})
    source = source_of(torch.randn(200, 3), validation=40, test=0)
    state = start(model, goal, Plan(batch=32, precision="bfloat16"), 160)
    before = [p.detach().clone() for p in [*model.parameters(), *critic.parameters()]]
    records = list(train(state, source, steps=3, batch=32))
    after = [*model.parameters(), *critic.parameters()]
    assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(v.dtype == torch.float32 for v in records[-1].loss.terms.values())
    held = [p.detach().clone() for p in after]
    found = metrics.evaluate(model, goal, source.blocks("validation"), step=3)
    assert all(torch.equal(a, b) for a, b in zip(held, after, strict=True))
    assert math.isfinite(found[critic.player])
    assert math.isfinite(found[f"{critic.player}_loss"])


def test_each_coordinate_is_permuted_on_its_own_across_the_batch_and_not_within_a_code() -> None:
    """A peer permutes the coordinates inside each code: then none keeps its own values."""
    z = torch.arange(2 * 40 * 3, dtype=F64).view(2, 40, 3)
    mixed = permuted(z)
    assert torch.equal(mixed.sort(1).values, z)  # the values of each coordinate of each sample stay its own
    rows = torch.stack([(mixed[0, :, d] - z[0, 0, d]) / 3 for d in range(3)])  # which image each value came from
    assert not torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[1], rows[2])
    assert not torch.equal(rows[0], torch.arange(40, dtype=F64))
    assert not torch.equal(mixed[0], mixed[1] - z[1, 0, 0])


class Quadratic(nn.Module):
    """A critic in which the log density ratio of two Gaussians in the plane is linear."""

    def __init__(self, values: list[float]) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(values, dtype=F64))

    def forward(self, z: Tensor) -> Tensor:
        a, b = z.unbind(-1)
        return torch.stack([torch.ones_like(a), a, b, a * a, b * b, a * b], -1) @ self.w


RHO = 0.8
TC = -0.5 * math.log(1 - RHO**2)
RATIO = [
    TC,
    0.0,
    0.0,
    *[-(RHO**2) / (2 * (1 - RHO**2))] * 2,
    RHO / (1 - RHO**2),
]  # log N(0, [[1, ρ], [ρ, 1]]) - log N(0, I)
SHIFT = [-0.5 * (0.7**2 + 0.4**2), 0.7, -0.4, 0.0, 0.0, 0.0]  # log N((0.7, -0.4), I) - log N(0, I)


def correlated(b: int) -> Tensor:
    a = torch.randn(1, b, 2, dtype=F64)
    return torch.stack([a[..., 0], RHO * a[..., 0] + math.sqrt(1 - RHO**2) * a[..., 1]], -1)


def shifted(b: int) -> Tensor:
    return torch.randn(1, b, 2, dtype=F64) + torch.tensor([0.7, -0.4], dtype=F64)


@pytest.mark.parametrize(
    ("name", "ratio", "draw"), [("tc", RATIO, correlated), ("adversarial", SHIFT, shifted)], ids=["tc", "adversarial"]
)
def test_the_log_density_ratio_is_the_critics_optimum(
    name: str, ratio: list[float], draw: Callable[[int], Tensor]
) -> None:
    """There the gradient of its loss vanishes in expectation: 4.5 standard errors of 200 batches, 1e-5 a component."""
    critic = CRITICS[name]()
    critic.network = Quadratic(ratio)
    found = []
    for _ in range(200):
        loss = critic(trace_of(draw(200)), 0).losses[critic.player]
        found.append(torch.autograd.grad(loss, critic.network.w)[0])
    gradients = torch.stack(found)
    errors = gradients.std(0) / len(gradients) ** 0.5
    assert (gradients.mean(0).abs() <= 4.5 * errors).all()
    critic.network = Quadratic([0.5 * v for v in ratio])
    loss = torch.stack([critic(trace_of(draw(200)), 0).losses[critic.player] for _ in range(200)]).mean()
    (away,) = torch.autograd.grad(loss, critic.network.w)
    assert (away.abs() > 4.5 * errors).any()


def test_the_optimal_critic_gives_the_total_correlation_of_a_gaussian() -> None:
    """-½ log(1 - ρ²), constants in: a regulariser without them would be no measure. 4.5 standard errors, 7e-6."""
    critic = CRITICS["tc"]()
    critic.network = Quadratic(RATIO)
    with torch.no_grad():
        draws = torch.stack([critic(trace_of(correlated(500)), 0).terms["critic_tc"] for _ in range(200)])
    assert abs(float(draws.mean()) - TC) <= 4.5 * float(draws.std()) / 200**0.5
    assert TC > 0.5


def test_a_critic_that_is_trained_finds_the_total_correlation() -> None:
    """By its own loss, from nothing: 300 steps on batches of 2,000, to within a tenth of it."""
    critic = CRITICS["tc"]()
    critic.network = Quadratic([0.0] * 6)
    optimiser = torch.optim.Adam(critic.network.parameters(), lr=0.1)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 300)
    for _ in range(300):
        optimiser.zero_grad()
        critic(trace_of(correlated(2000)), 0).losses["critic_tc"].backward()
        optimiser.step()
        fall.step()
    with torch.no_grad():
        found = critic(trace_of(correlated(20_000)), 0).terms["critic_tc"]
    assert float(found) == pytest.approx(TC, rel=0.1)


@EACH
def test_a_critic_that_knows_nothing_says_so(name: str) -> None:
    """Its loss is log 2; the model's cost 0 nats of total correlation, or log 2."""
    critic = CRITICS[name]()
    critic.network = Quadratic([0.0] * 6)
    out = critic(trace_of(correlated(10)), 0)
    assert float(out.terms[f"{critic.player}_loss"]) == pytest.approx(math.log(2))
    assert float(out.terms[critic.player]) == pytest.approx(0 if name == "tc" else math.log(2))
    assert float(out.losses["model"]) == pytest.approx(3 * float(out.terms[critic.player]))


@pytest.mark.parametrize("kind", ["tc-critic", "adversarial"])
def test_a_critic_of_a_spec_has_the_specs_latents_and_weights_of_its_seed(kind: str) -> None:
    wanted = recipes.base({"kind": "digits"}, (1, 8, 8))
    wanted["latents"] = 5
    wanted["objective"]["terms"]["critic"] = {"kind": kind, "hidden": [7, 6]}
    done = spec.check(wanted)
    one, two = (spec.build_objective(done, 10, 100) for _ in range(2))
    other = spec.build_objective({**done, "seed": 1}, 10, 100)
    shapes = [tuple(p.shape) for p in one.parameters()]
    assert shapes == [(7, 5), (7,), (6, 7), (6,), (1, 6), (1,)]
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


@EACH
def test_several_groups_of_latents_are_refused_in_words(name: str) -> None:
    one = trace_of(torch.randn(1, 4, 2, dtype=F64))
    with pytest.raises(UsageError, match="one group of latents"):
        CRITICS[name]()(Trace(one.x, one.latents * 2, one.px), 0)


@EACH
def test_no_loss_says_which_step_was_best_where_a_critic_learns_and_two_of_a_kind_are_refused(name: str) -> None:
    assert Elbo({"kl": KL()}).comparable
    assert not Elbo({"kl": KL(), "critic": CRITICS[name]()}).comparable
    with pytest.raises(UsageError, match="players of the same name"):
        Elbo({"one": CRITICS[name](), "two": CRITICS[name]()})
