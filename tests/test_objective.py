"""Losses add up; terms are what the papers say; schedules reach their ends; value and gradient apart."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import linear
from lowerbound.errors import UsageError
from lowerbound.objective import KL, Capacity, Distortion, Elbo, FreeBits, Loss, Objective, weight
from lowerbound.vae import Trace

numbers = st.floats(-100, 100)


def loss(model: float, rate: float) -> Loss:
    return Loss({"model": torch.tensor(model, dtype=torch.float64)}, {"rate": torch.tensor(rate, dtype=torch.float64)})


@given(numbers, numbers, numbers, numbers, st.floats(-10, 10))
@settings(max_examples=50, derandomize=True, deadline=None)
def test_losses_form_a_vector_space(a: float, b: float, c: float, d: float, s: float) -> None:
    total = (loss(a, b) + loss(c, d)) * s
    assert float(total.losses["model"]) == pytest.approx((a + c) * s, abs=1e-9)
    assert float(total.terms["rate"]) == pytest.approx((b + d) * s, abs=1e-9)
    assert float((s * loss(a, b)).losses["model"]) == float((loss(a, b) * s).losses["model"])


def test_a_name_that_only_one_loss_has_survives_the_sum() -> None:
    total = loss(1, 2) + Loss({"critic": torch.tensor(5.0)}, {"beta": torch.tensor(4.0)})
    assert set(total.losses) == {"model", "critic"}
    assert set(total.terms) == {"rate", "beta"}


def trace(n: int = 40, samples: int = 1) -> Trace:
    model = linear.model(exact=False)
    result: Trace = model(linear.data(n), samples=samples)
    return result


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0, 20.0])
def test_beta_weighs_the_rate_in_the_loss_and_not_in_the_ledger(beta: float) -> None:
    t = trace()
    out = Elbo({"distortion": Distortion(), "kl": KL(beta)}).reduce(linear.model(False), t)
    distortion, rate = -t.log_px.mean(), t.kl.mean()
    torch.testing.assert_close(out.losses["model"], distortion + beta * rate, rtol=1e-12, atol=0)
    torch.testing.assert_close(out.terms["elbo"], -(distortion + rate), rtol=1e-12, atol=0)
    assert float(out.terms["beta"]) == beta
    assert not any(term.requires_grad for term in out.terms.values())


def test_free_bits_charge_the_larger_of_lambda_and_the_mean_kl_of_each_latent() -> None:
    t = trace()
    by_dim = t.latents[0].kl_by_dim
    assert by_dim is not None
    means = by_dim.detach().mean((0, 1))
    nats = float(means.mean())  # one latent is above, one below
    assert (means > nats).sum() == 1
    out = FreeBits(nats=nats, weight=2.0)(t, 0)
    torch.testing.assert_close(out.losses["model"].detach(), 2 * (means.max() + nats), rtol=1e-9, atol=0)


def test_free_bits_are_of_the_mean_over_the_batch_not_of_each_image() -> None:
    t = trace()
    by_dim = t.latents[0].kl_by_dim
    assert by_dim is not None
    each = by_dim.clamp_min(by_dim.mean()).mean((0, 1)).sum()
    assert float(FreeBits(nats=float(by_dim.detach().mean()))(t, 0).losses["model"].detach()) < float(each.detach())


def test_free_latents_get_no_gradient() -> None:
    model = linear.model(exact=False)
    model.zero_grad()
    FreeBits(nats=1000.0)(model(linear.data()), 0).losses["model"].backward()
    assert model.posterior.mu.weight.grad is None or not model.posterior.mu.weight.grad.any()


@pytest.mark.parametrize("capacity", [0.0, 100.0])
def test_capacity_is_the_distance_of_the_mean_rate_not_the_mean_distance(capacity: float) -> None:
    t = trace()
    kl = t.kl.detach()
    rate = float(kl.mean())
    assert float(kl.min()) < rate < float(kl.max())
    assert float(Capacity(capacity, 7.0)(t, 0).losses["model"].detach()) == pytest.approx(7 * abs(rate - capacity))
    inside = Capacity(rate, 7.0)(t, 0).losses["model"].detach()
    assert float(inside) == pytest.approx(0, abs=1e-9)


def test_more_samples_average_the_same_bound() -> None:
    model, x = linear.model(exact=False), linear.data(30)
    objective = Elbo(samples=3)
    torch.manual_seed(1)
    value = objective(model, x).terms["elbo"]
    torch.manual_seed(1)
    t = model(x, samples=3)
    torch.testing.assert_close(value, (t.log_px - t.kl).mean().detach(), rtol=1e-12, atol=0)
    assert t.log_px.shape == (3, 30)


SCHEDULES = {
    "linear": weight.Linear(total=1000, end=4.0, start=1.0, until=0.25),
    "cyclic": weight.Cyclic(total=1000, end=4.0, cycles=4, ratio=0.5),
    "sigmoid": weight.Sigmoid(total=1000, end=4.0),
    "constant": weight.Constant(4.0),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_stay_between_their_ends_and_reach_what_was_asked(name: str) -> None:
    schedule = SCHEDULES[name]
    values = [schedule(t) for t in range(1001)]
    assert all(0 <= v <= 4.0 for v in values)
    assert values[999] == pytest.approx(schedule.end, rel=1e-3)
    assert schedule(10**9) == pytest.approx(schedule.end)


def test_schedules_at_known_places() -> None:
    s = SCHEDULES
    assert [s["linear"](t) for t in (0, 125, 250, 700)] == [1.0, 2.5, 4.0, 4.0]
    assert [s["cyclic"](t) for t in (0, 125, 249, 250, 375)] == [0.0, 4.0, 4.0, 0.0, 4.0]
    assert s["sigmoid"](500) == 2.0
    assert s["sigmoid"](0) < 0.001
    assert weight.Linear(total=10, until=0.0)(0) == 1.0


def test_a_schedule_drives_beta_by_the_step() -> None:
    objective = Elbo({"kl": KL(weight.Linear(total=100, end=4.0, until=1.0))})
    model, t = linear.model(False), trace()
    assert [float(objective.reduce(model, t, step=k).terms["beta"]) for k in (0, 50, 100)] == [0.0, 2.0, 4.0]


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_weights_that_have_no_meaning_are_refused(bad: float) -> None:
    for make in (KL, FreeBits, Capacity):
        with pytest.raises(UsageError, match="at least 0"):
            make(weight=bad)
    with pytest.raises(UsageError, match="end"):
        weight.Linear(total=10, end=bad)


def test_objectives_are_final_and_declare_their_bound() -> None:
    assert Objective.__abstractmethods__ == {"reduce"}
    assert Elbo.bound == "lower"
    assert Elbo.__final__ is True


def test_players_are_everyone_by_default() -> None:
    model = linear.model(False)
    group = Elbo().players(model)
    assert set(group) == {"model"}
    assert len(group["model"].params) == len(list(model.parameters()))


def test_an_elbo_of_no_terms_is_refused_and_not_taken_for_the_default() -> None:
    with pytest.raises(UsageError, match="no terms"):
        Elbo({})
    assert set(Elbo().terms) == {"distortion", "kl"}
