"""Randomness is a pure function of (seed, purpose, position): batch sizes, other draws and stops change nothing."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowerbound import data, likelihood, nets, posterior, prior, rng
from lowerbound.errors import UsageError
from lowerbound.objective import Elbo
from lowerbound.train import Plan, State, start, train
from lowerbound.vae import VAE


def model() -> VAE:
    with rng.noise(0, "init"):
        return VAE(
            posterior.Gaussian(nets.ConvEncoder((1, 8, 8), (4, 4)), 3),
            prior.Standard(3),
            likelihood.Bernoulli(nets.ConvDecoder(3, (1, 8, 8), (4, 4))),
        )


def source() -> data.Source:
    g = torch.Generator().manual_seed(0)
    return data.tensor(torch.rand(100, 1, 8, 8, generator=g), validation=0.1, test=0.1)


def state(steps: int, batch: int = 10) -> State:
    return start(model(), Elbo(), Plan(epochs=steps * batch / 80, batch=batch), 80)


@given(st.lists(st.integers(1, 70), min_size=1, max_size=6))
@settings(max_examples=25, derandomize=True, deadline=None)
def test_the_stream_of_images_is_the_same_for_any_batch_size(cuts: list[int]) -> None:
    s = source()
    whole = s.batch(0, sum(cuts), seed=3)[0]
    parts, at = [], 0
    for count in cuts:
        parts.append(s.batch(at, count, seed=3)[0])
        at += count
    assert torch.equal(torch.cat(parts), whole)


def test_another_seed_gives_another_stream() -> None:
    s = source()
    assert not torch.equal(s.batch(0, 20, seed=0)[0], s.batch(0, 20, seed=1)[0])


def test_drawing_samples_between_steps_changes_no_later_step() -> None:
    s, plain, disturbed = source(), state(6), state(6)
    for record in train(plain, s, steps=6, batch=10, seed=5):
        assert record.step == plain.step
    for _ in train(disturbed, s, steps=6, batch=10, seed=5):
        disturbed.model.sample(3)
        torch.randn(7)
    for (name, a), b in zip(plain.model.state_dict().items(), disturbed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_training_leaves_the_callers_generator_alone() -> None:
    s, at_work = source(), state(2)
    torch.manual_seed(9)
    want = torch.randn(3)
    torch.manual_seed(9)
    for _ in train(at_work, s, steps=2, batch=10):
        pass
    assert torch.equal(torch.randn(3), want)


def test_the_noise_of_two_steps_differs_and_that_of_one_step_does_not() -> None:
    draws = {}
    for t in (0, 1):
        for repeat in (0, 1):
            with rng.noise(0, "step", t):
                draws[t, repeat] = torch.randn(4)
    assert torch.equal(draws[0, 0], draws[0, 1])
    assert not torch.equal(draws[0, 0], draws[1, 0])


@pytest.mark.parametrize("n", [18, 64, 65, 200])
@pytest.mark.parametrize("batch", [1, 17, 64, 500])
def test_image_17_is_the_same_for_any_number_and_batch(n: int, batch: int) -> None:
    """The latents are bit-equal; the picture is equal as uint8, as a picture is stored."""
    m = model().eval()
    assert torch.equal(m.draw_latents(n, seed=2)[17], m.draw_latents(300, seed=2)[17])
    with torch.no_grad():
        whole, part = m.sample(300, seed=2), m.sample(n, seed=2, batch=batch)
    assert part.shape == (n, 1, 8, 8)
    assert torch.equal((part[17] * 255).round().byte(), (whole[17] * 255).round().byte())


def test_noisy_samples_are_drawn_image_by_image() -> None:
    m = model().eval()
    a, b = m.sample(20, seed=1, noise=True, batch=3), m.sample(70, seed=1, noise=True)
    assert torch.equal(a[:20], b[:20])
    assert set(a.unique().tolist()) <= {0.0, 1.0}


def test_samples_follow_the_prior() -> None:
    """Kolmogorov-Smirnov of 5,000 latents against N(0, 1), each of three: false alarm 3e-4 in all, fixed seed."""
    import scipy.stats

    z = model().draw_latents(5000, seed=0)
    assert min(scipy.stats.kstest(z[:, j].numpy(), "norm").pvalue for j in range(3)) > 1e-4


def test_temperature_stretches_about_the_priors_mean() -> None:
    m = model()
    z = m.draw_latents(10, seed=0)
    torch.testing.assert_close(m.draw_latents(10, seed=0, temperature=0.5), 0.5 * z)
    assert not m.draw_latents(1, seed=0, temperature=0.0).any()


def test_without_a_seed_the_callers_generator_decides() -> None:
    m = model()
    torch.manual_seed(1)
    a, b = m.sample(2), m.sample(2)
    torch.manual_seed(1)
    assert torch.equal(m.sample(2), a)
    assert not torch.equal(a, b)


def test_importing_the_package_changes_no_generator_and_loads_no_torch(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys, lowerbound, lowerbound.cli; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0


def test_threads_have_noise_one_after_the_other() -> None:
    def drawn(seed: int) -> torch.Tensor:
        with rng.noise(seed, "threads"):
            first = torch.rand(3)
            time.sleep(0.01)  # the other thread has its turn now, if it can
            return torch.cat([first, torch.rand(3)])

    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(drawn, range(8)))
    assert all(torch.equal(some, drawn(seed)) for seed, some in enumerate(together))


@pytest.mark.parametrize("noise", [False, True])
def test_no_image_is_a_tensor_of_no_image(noise: bool) -> None:
    assert model().sample(0, seed=1, noise=noise).shape == (0, *model().sample(1, seed=1).shape[1:])
    with pytest.raises(UsageError, match="n is -1"):
        model().sample(-1, seed=1, noise=noise)
