"""Codes against their prior: the test's level, its power, its p against SciPy's, and where the difference is found."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from lowerbound import metrics
from lowerbound.errors import UsageError
from lowerbound.metrics.two_sample import fisher


def draw(n: int, latents: int, seed: int) -> Tensor:
    return torch.randn(n, latents, generator=torch.Generator().manual_seed(seed))


def ring(n: int, seed: int) -> Tensor:
    """Draws of N(0, I) without those in the middle."""
    z = draw(4 * n, 2, seed)
    return z[z.norm(dim=1) > 0.8][:n]


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.integers(1, 60).flatmap(lambda m: st.tuples(st.just(m), st.integers(0, m), st.integers(0, m))))
def test_p_is_that_of_fishers_exact_test(table: tuple[int, int, int]) -> None:
    m, hits, false = table
    want = stats.fisher_exact([[hits, m - hits], [false, m - false]], alternative="greater").pvalue
    assert fisher(hits, m, hits + false) == pytest.approx(want, rel=1e-9)


def test_two_samples_of_one_distribution_are_told_apart_as_rarely_as_the_level_says() -> None:
    """Of 200 trials at 5 % at most 21 reject, false alarm 3e-4; and some do: none would, of 200 at 3 %, once in 440."""
    ps = np.array([metrics.mismatch(draw(60, 2, 2 * i), draw(60, 2, 2 * i + 1), steps=8, seed=i).p for i in range(200)])
    assert 1 <= (ps < 0.05).sum() <= 21
    assert abs(np.median(ps) - 0.5) < 0.2


def test_a_hole_is_found() -> None:
    found = metrics.mismatch(ring(600, 0), draw(600, 2, 1))
    assert found.p < 1e-4
    assert found.accuracy > 0.56
    same = metrics.mismatch(draw(600, 2, 2), draw(600, 2, 1))
    assert same.p > 0.001
    assert abs(same.accuracy - 0.5) < 0.06


def test_no_accuracy_beats_the_total_variation_distance_and_the_larger_it_is_the_more_are_told_right() -> None:
    """Of N(0, 1) and N(d, 1) the best classifier is right Φ(d/2) of the time: within 4.5 errors above, 0.05 below."""
    told = []
    for shift in (0.0, 1.0, 3.0):
        a, b = draw(1500, 1, 0) + shift, draw(1500, 1, 1)
        found = metrics.mismatch(a, b, steps=150)
        best = float(stats.norm.cdf(shift / 2))
        assert best - 0.05 <= found.accuracy <= best + 4.5 * math.sqrt(0.25 / (2 * found.held_out))
        assert found.standard_error == pytest.approx(math.sqrt(found.accuracy * (1 - found.accuracy) / 1500), rel=1e-9)
        told.append(found.accuracy)
    assert told == sorted(told)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_units_do_not_matter_and_the_direction_of_the_difference_is_found(scale: float) -> None:
    units = torch.tensor([1.0, scale, 1.0, 1 / scale])
    a, b = draw(400, 4, 0), draw(400, 4, 1)
    a[:, 3] += 1.5
    found, plain = metrics.mismatch(a * units, b * units), metrics.mismatch(a, b)
    assert found.accuracy == pytest.approx(plain.accuracy, abs=0.03)
    for each in (found, plain):
        assert each.directions.shape == (2, 4)
        assert abs(float(each.directions[0, 3])) > 0.9
        torch.testing.assert_close(each.directions @ each.directions.T, torch.eye(2).double())


def test_it_is_a_function_of_its_seed_and_leaves_everything_as_it_was() -> None:
    with torch.inference_mode():
        a, b = draw(50, 2, 0), draw(50, 2, 1) + 0.5
        before = torch.get_rng_state()
        found = metrics.mismatch(a, b, steps=5)
        assert torch.equal(torch.get_rng_state(), before)
        assert not torch.is_grad_enabled()
    again, other = metrics.mismatch(a, b, steps=5), metrics.mismatch(a, b, steps=5, seed=1)
    assert (found.accuracy, found.p) == (again.accuracy, again.p)
    assert not torch.equal(found.directions, other.directions)


def test_a_latent_that_never_varies_is_no_trouble() -> None:
    a, b = draw(100, 2, 0), draw(100, 2, 1)
    a[:, 1] = b[:, 1] = 3.0
    assert metrics.mismatch(a, b, steps=20).p > 1e-3
    a[:, 1] = 4.0
    assert metrics.mismatch(a, b, steps=50).accuracy == 1.0


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (torch.zeros(19, 2), torch.zeros(19, 2), "19 points"),
        (torch.zeros(30, 2), torch.zeros(31, 2), "as many of each"),
        (torch.zeros(30, 2), torch.zeros(30, 3), "as many of each"),
        (torch.full((30, 2), math.nan), torch.zeros(30, 2), "not all finite"),
    ],
)
def test_what_cannot_be_tested_is_refused(a: Tensor, b: Tensor, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        metrics.mismatch(a, b)


def test_gaps_of_marginals_are_those_of_kolmogorov_and_smirnov() -> None:
    a, b = draw(300, 3, 0), draw(200, 3, 1) * torch.tensor([1.0, 2.0, 1.0]) + torch.tensor([0.0, 0.0, 5.0])
    want = [stats.ks_2samp(a[:, j].numpy(), b[:, j].numpy()).statistic for j in range(3)]
    np.testing.assert_allclose(metrics.marginal_gaps(a, b), want, atol=1e-12)
