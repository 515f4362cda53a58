"""Measures of a whole split: none depends on how the split is cut, and what cannot be known is not made up."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import linear
from lowerbound import explore, metrics
from lowerbound.errors import UsageError
from lowerbound.objective import KL, Capacity, Distortion, Elbo, FreeBits, Loss, Term
from lowerbound.vae import Latent, Trace, pooled


def blocks(x: Tensor, size: int) -> Iterator[tuple[Tensor, None]]:
    return ((part, None) for part in x.split(size))


def spread() -> Tensor:
    """Images whose rates differ much, in an order that makes blocks differ."""
    x = linear.data(180)
    return (x * torch.linspace(0.1, 3, 180, dtype=x.dtype)[:, None])[:, : linear.D]


OBJECTIVES = {
    "kl": lambda: Elbo({"kl": KL(weight=2.0)}),
    "capacity": lambda: Elbo({"capacity": Capacity(capacity=2.0, weight=10.0)}),
    "free-bits": lambda: Elbo({"free-bits": FreeBits(nats=0.8, weight=2.0)}),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_does_not_depend_on_the_blocks(name: str) -> None:
    model, x, objective = linear.model(exact=True), spread(), OBJECTIVES[name]()
    losses = [metrics.evaluate(model, objective, blocks(x, n), step=0)["loss"] for n in (10, 60, 180)]
    assert losses == pytest.approx([losses[-1]] * 3, rel=1e-6)
    torch.manual_seed(0)
    assert losses[0] == pytest.approx(float(objective(model, x).losses["model"].detach()), rel=1e-6)


def test_a_mean_over_blocks_would_have_been_another_number() -> None:
    """The test above can fail: of these blocks, mean |rate - C| is far from |mean rate - C|."""
    model, x, objective = linear.model(exact=True), spread(), OBJECTIVES["capacity"]()
    with torch.no_grad():
        parts = [float(objective(model, part).losses["model"]) for part in x.split(10)]
        whole = float(objective(model, x).losses["model"])
    assert sum(parts) / len(parts) > 1.1 * whole


class Pixels(Term):
    """A term of someone's own that reads x, and so cannot be reduced from the densities."""

    def forward(self, trace: Trace, step: int) -> Loss:
        return Loss({"model": trace.x.mean()})


def test_a_term_that_reads_more_than_the_densities_is_averaged_over_the_images() -> None:
    model, x = linear.model(exact=True), spread()
    objective = Elbo({"pixels": Pixels()})
    assert (objective.densities_only, Elbo().densities_only) == (False, True)
    for size in (7, 180):
        found = metrics.evaluate(model, objective, blocks(x, size), step=0)
        assert found["loss"] == pytest.approx(float(x.mean()), rel=1e-9)


def test_the_figures_do_not_depend_on_the_objective() -> None:
    model, x = linear.model(exact=True), spread()
    found = [metrics.evaluate(model, o, blocks(x, 50), step=0) for o in (Elbo(), Elbo({"pixels": Pixels()}))]
    for name in ("elbo", "distortion", "rate", "kl_by_dim", "standard_error", "images"):
        assert found[0][name] == found[1][name]
    assert sum(found[0]["kl_by_dim"]) == pytest.approx(found[0]["rate"], rel=1e-12)


def test_a_pooled_trace_gives_the_densities_side_by_side_and_nothing_else() -> None:
    model, x = linear.model(exact=True), spread()
    a, b = model(x[:3], samples=2), model(x[3:10], samples=2)
    whole = pooled([a, b])
    for name in ("log_px", "kl"):
        torch.testing.assert_close(getattr(whole, name), torch.cat([getattr(t, name) for t in (a, b)], 1))
    assert whole.latents[0].kl_by_dim is not None
    assert whole.latents[0].kl_by_dim.shape == (2, 10, linear.L)
    with pytest.raises(NotImplementedError):
        _ = whole.log_w
    full = torch.distributions.MultivariateNormal(torch.zeros(7, 2), torch.eye(2))
    odd = Trace(x[3:10], (Latent(full.sample(torch.Size([1])), full, full),), b.px)
    assert pooled([Trace(x[3:10], odd.latents, model(x[3:10]).px)]).latents[0].kl_by_dim is None


def test_nothing_is_made_float64_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """MPS has no float64: a tensor is brought to the processor before it becomes one."""
    came: set[int] = set()
    cpu, double = Tensor.cpu, Tensor.double

    def bring(tensor: Tensor) -> Tensor:
        out = cpu(tensor).clone()
        came.add(id(out))
        kept.append(out)
        return out

    def widen(tensor: Tensor) -> Tensor:
        assert id(tensor) in came, "a tensor of the device was made float64 there"
        return double(tensor)

    kept: list[Tensor] = []
    model, x = linear.model(exact=True).float(), spread().float()[:20]
    monkeypatch.setattr(Tensor, "cpu", bring)
    monkeypatch.setattr(Tensor, "double", widen)
    assert math.isfinite(metrics.evaluate(model, Elbo(), blocks(x, 10), step=0)["elbo"])
    assert metrics.log_likelihood(model, x[:2], samples=10).isfinite().all()
    assert len(kept) > 0


def test_of_one_image_there_is_no_standard_error_and_no_use_of_latents() -> None:
    found = metrics.evaluate(linear.model(exact=True), Elbo(), blocks(spread()[:1], 10), step=0)
    assert found["standard_error"] == {"distortion": None, "rate": None, "elbo": None}
    for codes in (torch.zeros(1, 3), torch.zeros(0, 3)):
        with pytest.raises(UsageError, match="two or more"):
            metrics.active_units(codes)


def test_a_latent_is_in_use_where_mean_and_kl_say_so() -> None:
    """The mean of z0 varies, that of z1 hardly, those of z2 and z3 not at all; z3 costs rate all the same."""
    codes = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.2, 0.0, 0.0])
    found = metrics.usage(codes, [0.9, 0.02, 0.0001, 1.6])
    assert found == {"latents": 4, "active": 1, "collapsed": [1, 2], "constant": [3]}
    for kl in (None, [1.0, 2.0]):  # not known for each: the variance alone tells
        assert metrics.usage(codes, kl) == {"latents": 4, "active": 2, "collapsed": [2, 3], "constant": []}
    one = metrics.usage(codes[:1], [0.9, 0.02, 0.0001, 1.6])
    assert one == {"latents": 4, "active": None, "collapsed": [], "constant": []}


@pytest.mark.parametrize("shape", [(1, 5), (1, 1), (4, 1)])
def test_pca_of_fewer_than_two_directions_has_zeros(shape: tuple[int, int]) -> None:
    plane, shares = explore.pca(torch.randn(shape))
    assert plane.shape == (shape[0], 2)
    assert plane[:, 1].abs().max() == 0
    assert len(shares) == 2
    assert plane.isfinite().all()


def test_distortion_is_that_of_the_trace() -> None:
    model, x = linear.model(exact=True), spread()
    objective = Elbo({"distortion": Distortion()})
    found = metrics.evaluate(model, objective, blocks(x, 50), step=0)
    assert found["loss"] == pytest.approx(found["distortion"], rel=1e-12)
