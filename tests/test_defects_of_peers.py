"""What went wrong in other libraries and could go wrong here, each guarded by one short test."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import linear
import lowerbound
from lowerbound import begin, checkpoint, data, explore, metrics, posterior, spec
from lowerbound.errors import UsageError
from lowerbound.metrics import log_likelihood
from lowerbound.objective import Elbo, weight
from lowerbound.vae import VAE


def blocks(x: Tensor, *sizes: int) -> Iterator[tuple[Tensor, None]]:
    return ((part, None) for part in x.split(list(sizes)))


class Counted(nn.Module):
    """A decoder that counts the latents it is given, and sees how it is called."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.rows, self.modes = net, 0, set[tuple[bool, bool]]()

    def forward(self, z: Tensor) -> Tensor:
        self.rows += len(z)
        self.modes.add((self.training, torch.is_grad_enabled()))
        y: Tensor = self.net(z)
        return y


def counted(exact: bool = True) -> tuple[VAE, Counted]:
    model = linear.model(exact)
    net = Counted(model.likelihood.net)
    model.likelihood.net = net
    return model, net


@pytest.mark.parametrize("samples", [1, 7, 100, 250])
def test_a_likelihood_draws_as_many_samples_as_were_asked_for_whatever_fits_in_a_batch(samples: int) -> None:
    model, net = counted()
    x = linear.data(3)
    log_likelihood(model.train(), x, samples=samples, rows=100)
    assert net.rows == samples * len(x) + 1  # one more tells the support of p(x|z)
    assert net.modes == {(False, False)}  # in evaluation mode and without gradients
    assert model.training


def test_a_likelihood_divides_by_the_samples_that_were_drawn() -> None:
    """Ten samples, four at a time: twelve drawn and divided by ten would be log 1.2 too high."""
    x = linear.data(20)
    found = log_likelihood(linear.model(exact=True), x, samples=10, rows=4)
    torch.testing.assert_close(found, linear.log_p(x), rtol=0, atol=1e-10)
    assert math.log(12 / 10) > 0.18


def test_an_autoencoder_has_no_log_likelihood_and_says_so() -> None:
    exact = linear.model(exact=True)
    model = VAE(posterior.Dirac(linear.Identity(), 2, features=linear.D), exact.prior, exact.likelihood).double()
    with pytest.raises(UsageError, match="point mass, which has no density"):
        log_likelihood(model.train(), linear.data(2), samples=3)
    assert model.training  # as it was before


def test_a_log_likelihood_is_not_its_negative() -> None:
    x = linear.data(20)
    far = x + 100
    found = [log_likelihood(linear.model(exact=True), y, samples=2).mean() for y in (x, far)]
    assert found[0] > found[1]
    assert found[1] < -1000


def steady(kind: str) -> bool:
    """Whether a posterior of this kind has no batch norm, which is another function in training by design."""
    return not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model_of(kind).modules())


def model_of(kind: str) -> VAE:
    source = data.tensor(torch.rand(40, 6, generator=torch.Generator().manual_seed(0)))
    node = f"model.posterior.kind={kind}"
    done, _ = begin.plan_spec({"kind": "own"}, source, latents=3, assignments=[node])
    model = spec.build_model(done, source.shape, source.unit)
    assert isinstance(model, VAE)
    return model


@pytest.mark.parametrize("kind", sorted(spec.REGISTRIES["posterior"]))
def test_the_posterior_that_is_trained_is_the_one_that_is_evaluated(kind: str) -> None:
    """A peer's κ is one larger in training than in its likelihood."""
    model, x = model_of(kind), torch.rand(5, 6)
    if not steady(kind):
        model.posterior.train()(x)
        assert not torch.equal(model.posterior.train().params(x), model.posterior.eval().params(x))
        return
    with torch.no_grad():
        a, b = model.posterior.train().params(x), model.posterior.eval().params(x)
        assert torch.equal(a, b)
        torch.manual_seed(1)
        z = model.posterior.train()(x).sample()
        torch.manual_seed(1)
        assert torch.equal(model.posterior.eval()(x).sample(), z)


def test_an_error_in_an_evaluation_is_raised_and_not_tried_again() -> None:
    """A peer's ``except RuntimeError`` runs the evaluation a second time, with gradients: memory that ran out hides."""

    class Full(nn.Module):
        calls = 0

        def forward(self, z: Tensor) -> Tensor:
            Full.calls += 1
            raise RuntimeError("out of memory")

    model = linear.model(exact=True)
    model.likelihood.net = Full()
    with pytest.raises(RuntimeError, match="out of memory"):
        metrics.evaluate(model, Elbo(), blocks(linear.data(50), 25, 25), step=0)
    assert Full.calls == 1


def test_the_mean_of_an_epoch_counts_every_image_alike_and_every_block_is_in_it() -> None:
    """Neither the first block alone nor a mean of means: blocks of 30, 15 and 1, the last far away."""
    x = linear.data(46)
    x[-1] += 50
    model = linear.model(exact=True)
    found = metrics.evaluate(model, Elbo(), blocks(x, 30, 15, 1), step=0, samples=400)
    assert found["images"] == 46
    exact = linear.log_p(x)
    assert found["elbo"] == pytest.approx(float(exact.mean()), rel=1e-3)  # the mean over images, q being exact
    of_means = torch.stack([part.mean() for part in exact.split([30, 15, 1])]).mean()
    assert abs(found["elbo"] - float(of_means)) > 0.5 * abs(float(exact.mean()))
    assert abs(found["elbo"] - float(exact[:30].mean())) > 0.5 * abs(float(exact.mean()))


def test_an_image_that_is_not_finite_is_not_filtered_out_of_the_figure() -> None:
    x = linear.data(40)
    x[17] = math.nan
    found = metrics.evaluate(linear.model(exact=True), Elbo(), blocks(x, 16, 16, 8), step=0)
    assert found["images"] == 40
    assert math.isnan(found["elbo"])


def test_a_checkpoint_holds_weights_and_optimiser_of_the_same_step(tmp_path: Path) -> None:
    """A peer saves the best weights with the newest optimiser."""
    source = data.tensor(torch.rand(80, 5), validation=16, test=0)
    words = ["train.batch=8", "train.epochs=2", "train.validate=3"]
    done, name = begin.plan_spec({"kind": "own"}, source, assignments=words)
    job = begin.prepare(done, source, name=name, out=tmp_path / "r")
    weights: dict[int, Tensor] = {}
    for record in job.steps():
        weights[record.step] = job.state.model.posterior.mu.weight.detach().clone()
    saved = [p for p in checkpoint.listed(job.run.checkpoints) if int(p.name)]
    assert len(saved) >= 2
    for path in saved:
        tensors, state = checkpoint.load(path)
        assert state["step"] == int(path.name)
        steps = {float(v) for k, v in tensors["optimizer"].items() if k.endswith(".step")}
        assert steps == {float(state["step"])}
        assert torch.equal(tensors["weights"]["posterior.mu.weight"], weights[state["step"]])


def test_codes_have_a_row_for_each_image_and_a_column_for_each_latent() -> None:
    """A peer reshapes (latents, n) for (n, latents): its measures of the codes then mean nothing."""
    x, model = linear.data(30), linear.model(exact=True)
    codes, _ = explore.embed(model, blocks(x, 20, 10))
    assert codes.shape == (30, linear.L)
    for i in (0, 7, 29):
        torch.testing.assert_close(codes[i], model.encode(x[i : i + 1])[0])
    table = torch.zeros(10, 3)
    table[:, 2] = torch.arange(10.0)
    assert metrics.active_units(table).tolist() == [False, False, True]
    assert metrics.usage(table, [0.0, 0.0, 3.0])["collapsed"] == [0, 1]


def test_a_latent_that_does_not_vary_is_not_in_use_even_at_a_threshold_of_zero() -> None:
    """A peer prunes where variance < 0, which never holds."""
    table = torch.stack([torch.ones(10), torch.arange(10.0)], 1)
    assert metrics.active_units(table, threshold=0.0).tolist() == [False, True]


@pytest.mark.parametrize("kind", sorted(spec.REGISTRIES["term"]))
def test_a_term_has_a_gradient_and_does_not_only_move_the_printed_loss(kind: str) -> None:
    """A peer computes its perceptual loss without gradients."""
    node = spec.complete("term", {"kind": kind}, "term")
    filled = {"latents": 3, "images": 40, "total": 100}
    torch.manual_seed(0)
    term = spec.construct("term", node, filled)
    model = model_of("gaussian")
    nn.init.constant_(model.posterior.mu.bias, 2.0)  # a rate above the free bits
    objective = Elbo({"it": term})
    largest = 0.0
    for step in (0, 50):  # a schedule may begin at 0
        loss = objective(model, torch.rand(16, 6), step=step).losses["model"]
        assert loss.requires_grad
        some = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        largest = max(largest, *(float(g.abs().max()) for g in some if g is not None))
    assert largest > 0


@pytest.mark.parametrize("kind", ["linear", "cyclic", "sigmoid"])
@pytest.mark.parametrize("total", [3, 40, 5000])
def test_a_default_warm_up_reaches_its_end_however_short_the_training_is(kind: str, total: int) -> None:
    """A peer's takes 400 epochs of whatever training: shorter ones end at another β than was asked for."""
    beta = spec.construct("weight", spec.complete("weight", {"kind": kind, "end": 4.0}, "w"), {"total": total})
    assert isinstance(beta, weight.Weight)
    assert beta(total) == pytest.approx(4.0, rel=1e-3)
    assert beta(0) < 4.0 or total < 4


def test_opening_a_run_runs_no_code_of_its_files(tmp_path: Path) -> None:
    """A peer pickles its encoder: to open one is to run whatever is in it."""
    source = data.tensor(torch.rand(40, 5), validation=0, test=0)
    done, name = begin.plan_spec({"kind": "own"}, source, assignments=["train.batch=8", "train.epochs=1"])
    job = begin.prepare(done, source, name=name, out=tmp_path / "r")
    for _ in job.steps():
        pass
    job.finish()
    heads = {path.suffix for path in (tmp_path / "r").rglob("*") if path.is_file() and path.name != ".lock"}
    assert heads <= {".json", ".jsonl", ".safetensors", ".png", ".html", ".md"}
    assert lowerbound.load(tmp_path / "r", source=source).model.sample(2).shape == (2, 5)
