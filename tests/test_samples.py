"""Measures of two sets of features, against SciPy, scikit-learn, brute force, closed forms, and sets that are alike."""

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from lowerbound import metrics
from lowerbound.errors import UsageError
from lowerbound.metrics import search, sets
from lowerbound.metrics.manifolds import reach

MEASURES: dict[str, Callable[[Tensor, Tensor], float]] = {
    "frechet": metrics.frechet,
    "kid": metrics.kid,
    "prdc": lambda x, y: metrics.prdc(x, y).coverage,
    "told_apart": lambda x, y: metrics.told_apart(x, y).accuracy,
}


def normal(n: int, features: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return shift + scale * torch.randn(n, features, generator=g, dtype=torch.float64)


def exactly(n: int, mean: Tensor, cov: Tensor, seed: int) -> Tensor:
    """Rows whose mean and covariance are these, and not only on average."""
    x = normal(n, len(mean), seed)
    x = x - x.mean(0)
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(x.T.cov()), x.T, upper=False).T
    return mean + white @ torch.linalg.cholesky(cov).T


# ---- Fréchet's distance and KID


@pytest.mark.parametrize("features", [1, 5, 40])
def test_frechet_agrees_with_scipys_root_of_the_product(features: int) -> None:
    mix = normal(features, features, 1)
    x, y = normal(200, features, 2) @ mix, normal(300, features, 3, shift=0.4)
    a, b = (np.atleast_2d(np.cov(some.numpy(), rowvar=False)) for some in (x, y))
    root = np.trace(np.real(scipy.linalg.sqrtm(a @ b)))
    mean = ((x.mean(0) - y.mean(0)) ** 2).sum()
    assert metrics.frechet(x, y) == pytest.approx(float(mean + np.trace(a) + np.trace(b) - 2 * root), rel=1e-9)


def test_frechet_has_its_closed_form_where_the_covariances_commute() -> None:
    """‖Δμ‖² + Σ (√a_j − √b_j)², and the same after both are turned."""
    a, b = torch.tensor([4.0, 1.0, 0.25]).double(), torch.tensor([1.0, 9.0, 0.01]).double()
    turn = torch.linalg.qr(normal(3, 3, 4)).Q
    mu = torch.tensor([0.5, -2.0, 1.0]).double()
    want = float((mu**2).sum() + ((a.sqrt() - b.sqrt()) ** 2).sum())
    x = exactly(50, torch.zeros(3).double(), turn @ a.diag() @ turn.T, 5)
    y = exactly(70, turn @ mu, turn @ b.diag() @ turn.T, 6)
    assert metrics.frechet(x, y) == pytest.approx(want, rel=1e-9)


def test_frechet_is_finite_and_right_where_a_feature_is_dead() -> None:
    """A rectifier that never fires makes a covariance singular; the root of the plain product often fails there."""
    x, y = normal(100, 4, 7), normal(100, 4, 8, scale=2)
    dead = torch.cat([torch.zeros(100, 3).double(), x], 1), torch.cat([torch.zeros(100, 3).double(), y], 1)
    assert metrics.frechet(*dead) == pytest.approx(metrics.frechet(x, y), rel=1e-8)


@given(st.integers(0, 1000), st.floats(0.1, 10), st.floats(-100, 100))
@settings(max_examples=30, derandomize=True, deadline=None)
def test_frechet_is_symmetric_moves_with_both_and_grows_with_the_square(seed: int, scale: float, shift: float) -> None:
    x, y = normal(30, 4, seed) @ normal(4, 4, seed + 1), normal(25, 4, seed + 2, shift=0.3)
    found = metrics.frechet(x, y)
    assert found > 0
    assert metrics.frechet(y, x) == pytest.approx(found, rel=1e-7)
    assert metrics.frechet(scale * x + shift, scale * y + shift) == pytest.approx(scale**2 * found, rel=1e-6)
    assert metrics.frechet(x, x) == pytest.approx(0, abs=1e-7 * float(x.var()))


def brute_kid(x: Tensor, y: Tensor) -> float:
    def k(a: Tensor, b: Tensor) -> float:
        return (sum(float(u) * float(v) for u, v in zip(a, b, strict=True)) / len(a) + 1) ** 3

    n, m = len(x), len(y)
    xx = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    yy = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return xx + yy - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_kid_is_the_sum_over_all_pairs_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(12, 3, 1), normal(9, 3, 2, shift=0.5)
    assert metrics.kid(x, y) == pytest.approx(brute_kid(x, y), rel=1e-12)
    monkeypatch.setattr(sets, "VALUES", 20)  # blocks of one or two rows
    assert metrics.kid(x, y) == pytest.approx(brute_kid(x, y), rel=1e-12)


def test_kid_is_zero_on_average_for_sets_of_one_distribution_whatever_their_sizes() -> None:
    """300 pairs of sets of 20 and 30: the mean is within 4 standard errors of 0 (false alarm 6e-5)."""
    found = torch.tensor([metrics.kid(normal(20, 3, 2 * i), normal(30, 3, 2 * i + 1)) for i in range(300)])
    assert abs(found.mean()) <= 4 * found.std() / 300**0.5
    apart = metrics.kid(normal(20, 3, 1), normal(30, 3, 2, shift=1))
    assert apart > 4 * found.std()


# ---- precision, recall, density and coverage


def neighbours_prdc(x: Tensor, y: Tensor, k: int) -> list[float]:
    """The four, by scikit-learn's search for neighbours."""
    a, b = x.numpy(), y.numpy()
    r, s = (NearestNeighbors(n_neighbors=k + 1).fit(v).kneighbors(v)[0][:, -1] for v in (a, b))
    to_real, at_real = NearestNeighbors(n_neighbors=len(a)).fit(a).kneighbors(b)
    to_fake, at_fake = NearestNeighbors(n_neighbors=len(b)).fit(b).kneighbors(a)
    inside = to_real <= r[at_real]
    precision, density = inside.any(1).mean(), inside.sum(1).mean() / k
    return [precision, (to_fake <= s[at_fake]).any(1).mean(), density, (to_fake[:, 0] <= r).mean()]


@pytest.mark.parametrize(("n", "m", "k"), [(150, 150, 5), (60, 200, 1), (200, 40, 3)])
def test_prdc_agrees_with_scikit_learns_neighbours(n: int, m: int, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = normal(n, 6, 1), normal(m, 6, 2, shift=0.3, scale=0.9)
    want = neighbours_prdc(x, y, k)
    assert list(vars(metrics.prdc(x, y, k)).values()) == pytest.approx(want, abs=1e-12)
    monkeypatch.setattr(sets, "VALUES", 500)
    assert list(vars(metrics.prdc(x, y, k)).values()) == pytest.approx(want, abs=1e-12)
    assert 0 < want[0] < 1


@pytest.mark.parametrize(("n", "m", "k"), [(60, 60, 5), (80, 40, 3), (30, 90, 1)])
def test_coverage_and_density_have_their_known_means_for_sets_of_one_distribution(n: int, m: int, k: int) -> None:
    """Over 250 pairs, each within 4 standard errors (false alarm 6e-5): 1 − Π (n−i)/(m+n−i), and 1."""
    found = [metrics.prdc(normal(n, 4, 2 * i), normal(m, 4, 2 * i + 1), k) for i in range(250)]
    for name, want in (("coverage", metrics.expected_coverage(n, m, k)), ("density", 1.0)):
        values = torch.tensor([getattr(each, name) for each in found])
        assert abs(values.mean() - want) <= 4 * values.std() / len(values) ** 0.5, name
        assert values.std() < 0.4
    assert 0.7 < metrics.expected_coverage(n, m, k) < 0.99


def test_a_model_that_forgot_a_mode_loses_recall_and_coverage_and_keeps_precision() -> None:
    both = torch.cat([normal(200, 2, 1), normal(200, 2, 2, shift=50)])
    found = metrics.prdc(both, normal(400, 2, 3))
    assert found.precision > 0.9
    assert 0.4 < found.recall <= 0.5
    assert 0.4 < found.coverage <= 0.5


def test_copies_of_the_data_have_all_of_the_four() -> None:
    """The ball is closed: an example that lies exactly at its edge is in it, and a copy of three equals is too."""
    x = normal(50, 3, 1).repeat(3, 1)
    found = metrics.prdc(x, x, 2)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert torch.equal(reach(torch.tensor([[0.0], [0.0], [0.0], [5.0]]), 2), torch.tensor([0.0, 0.0, 0.0, 5.0]))


# ---- intervals


def all_of(x: Tensor, y: Tensor) -> dict[str, float]:
    return {"frechet": metrics.frechet(x, y), "kid": metrics.kid(x, y), **vars(metrics.prdc(x, y, 3))}


def test_intervals_cover_the_mean_of_the_measure_at_their_rate() -> None:
    """100 trials at 95 %: at least 87 of them (binomial, false alarm 4e-4 for each of the six)."""

    def draw(i: int) -> tuple[Tensor, Tensor]:
        return normal(60, 3, 2 * i), normal(60, 3, 2 * i + 1, shift=0.6, scale=0.9)

    many = [all_of(*draw(i)) for i in range(1000, 1300)]
    truth = {name: sum(each[name] for each in many) / len(many) for name in many[0]}
    hits = dict.fromkeys(truth, 0)
    for i in range(100):
        for name, found in metrics.jackknife(all_of, *draw(i), seed=i).items():
            hits[name] += found.low <= truth[name] <= found.high
    assert min(hits.values()) >= 87, hits


def test_the_interval_of_a_mean_has_its_nominal_coverage() -> None:
    """Of a difference of means Student's interval is exact: 600 trials, within 4 binomial deviations of 95 %."""
    hits = 0
    for i in range(600):
        x, y = normal(30, 1, 2 * i), normal(40, 1, 2 * i + 1, shift=1, scale=2)
        found = metrics.jackknife(lambda a, b: {"shift": float(b.mean() - a.mean())}, x, y, seed=i)["shift"]
        hits += found.low <= 1 <= found.high
    assert abs(hits - 570) <= 4 * (600 * 0.95 * 0.05) ** 0.5


def test_the_jackknife_finds_the_bias_of_frechets_distance_and_none_of_kid() -> None:
    """Of two sets of one distribution all of Fréchet's value is bias: 60 trials, within 20 %."""

    def both(x: Tensor, y: Tensor) -> dict[str, float]:
        return {"frechet": metrics.frechet(x, y), "kid": metrics.kid(x, y)}

    found = [metrics.jackknife(both, normal(80, 4, 2 * i), normal(80, 4, 2 * i + 1), seed=i) for i in range(60)]
    value, bias, none = (
        sum(getattr(each[name], what) for each in found) / 60
        for name, what in (("frechet", "value"), ("frechet", "bias"), ("kid", "bias"))
    )
    assert bias == pytest.approx(value, rel=0.2)
    assert abs(none) < 0.1 * value


def test_intervals_depend_on_their_seed_only_and_say_how_far_they_are() -> None:
    x, y = normal(40, 2, 1), normal(40, 2, 2)
    seen: list[tuple[int, int]] = []
    found = [metrics.jackknife(all_of, x, y, seed=3, progress=lambda *a: seen.append(a)) for _ in range(2)]
    assert found[0] == found[1] != metrics.jackknife(all_of, x, y, seed=4)
    assert seen[:11] == [(i, 11) for i in range(1, 12)]
    assert found[0]["kid"].value == metrics.kid(x, y)


# ---- told apart


def test_sets_of_one_distribution_are_told_apart_as_often_as_the_level_says() -> None:
    """200 tests: p ≤ 0.05 in at most 22 (10 on average; false alarm 3e-4), and the accuracy is 0.5 on average."""
    found = [metrics.told_apart(normal(60, 5, 2 * i), normal(90, 5, 2 * i + 1), seed=i) for i in range(200)]
    assert sum(each.p <= 0.05 for each in found) <= 22
    accuracies = torch.tensor([each.accuracy for each in found])
    assert abs(accuracies.mean() - 0.5) <= 4 * accuracies.std() / 200**0.5
    assert sum(each.low <= 0.5 <= each.high for each in found) >= 178


def test_a_difference_in_mean_or_in_width_alone_is_told_apart() -> None:
    x = normal(400, 5, 1)
    for y in (normal(400, 5, 2, shift=0.8), normal(400, 5, 3, scale=1.8)):
        found = metrics.told_apart(x, y)
        assert found.p < 1e-4
        assert 0.6 < found.low < found.accuracy < found.high
    with pytest.raises(UsageError, match="20 at least"):
        metrics.told_apart(x[:19], x)


# ---- copies


def test_neighbours_are_scikit_learns_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, images = normal(70, 8, 1), normal(300, 8, 2, shift=1000)  # far from 0, where products lose digits
    x = x + 1000
    distance, index = NearestNeighbors(n_neighbors=1).fit(images.numpy()).kneighbors(x.numpy())
    for values, columns in ((sets.VALUES, search.COLUMNS), (32, 4)):
        monkeypatch.setattr(sets, "VALUES", values)
        monkeypatch.setattr(search, "COLUMNS", columns)
        found = metrics.neighbours(x, images)
        assert found.index.tolist() == index[:, 0].tolist()
        np.testing.assert_allclose(found.distance, distance[:, 0], rtol=1e-3)
        assert found.claims.tolist() == torch.bincount(found.index, minlength=300).tolist()


def test_images_that_are_as_near_share_a_sample_and_a_copy_is_at_distance_zero() -> None:
    images = (torch.rand(400, 1, 5, 5, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    images = torch.cat([images, images[:1], images[:1]])
    found = metrics.neighbours(images[:50], images)
    assert found.distance.abs().max() == 0
    assert found.claims[[0, 400, 401]].tolist() == pytest.approx([1 / 3] * 3)
    assert float(found.claims.sum()) == pytest.approx(50)
    assert int(found.index[0]) == 0


def test_the_test_of_copies_has_the_mean_and_the_variance_of_every_way_to_say_which_were_trained() -> None:
    """All 210 ways to call 4 of 10 images trained, by brute force."""
    images, samples = normal(10, 2, 1), normal(25, 2, 2)
    near = metrics.neighbours(samples, images)
    shares, found = [], None
    for chosen in combinations(range(10), 4):
        trained = torch.zeros(10, dtype=torch.bool)
        trained[list(chosen)] = True
        found = metrics.memorised(near, trained)
        shares.append(found.share)
    assert found is not None
    assert np.mean(shares) == pytest.approx(found.expected) == pytest.approx(0.4)
    error = (found.share - found.expected) / norm.isf(found.p)
    assert np.std(shares) == pytest.approx(error, rel=1e-6)


def test_copies_are_found_and_blur_is_not_called_copying() -> None:
    """Over 100 models that know nothing of the training images p ≤ 0.05 in at most 14 (false alarm 2e-4), though their
    samples are means of others and lie nearer to the training images than held-out images do.
    """
    trained = torch.arange(300) < 200
    alarms = 0
    for i in range(100):
        images, others = normal(300, 4, 3 * i), normal(400, 4, 3 * i + 1)
        blurred = (others[:200] + others[200:]) / 2
        near = metrics.neighbours(blurred, images)
        alarms += metrics.memorised(near, trained).p <= 0.05
    assert alarms <= 14
    within = metrics.neighbours(images[200:], images[:200]).distance.median()
    assert metrics.neighbours(blurred, images[:200]).distance.median() < 0.9 * within


def test_a_model_that_copies_half_of_its_samples_is_found_and_the_half_is_in_the_interval() -> None:
    images, others = normal(1200, 4, 1), normal(600, 4, 2)
    blurred = (others[:300] + others[300:]) / 2
    samples = torch.cat([blurred, images[:300] + 0.01 * normal(300, 4, 3)])
    found = metrics.memorised(metrics.neighbours(samples, images), torch.arange(1200) < 600)
    assert found.p < 1e-6
    assert 0.3 < found.low < 0.5 < found.high < 0.7


@pytest.mark.parametrize("copied", [0.0, 0.5, 0.9, 1.0])
def test_the_interval_of_what_is_copied_has_its_rate_however_much_is(copied: float) -> None:
    """200 trials at 95 %: 178 at least (binomial, false alarm 2e-4), and not all of them (4e-5) but at the end of 1."""
    trained, hits, widths = torch.arange(400) < 240, 0, []
    for i in range(200):
        images, g = normal(400, 4, 4 * i), torch.Generator().manual_seed(4 * i + 3)
        copies = images[torch.randint(240, (200,), generator=g)] + 0.001 * normal(200, 4, 4 * i + 1)
        copy = torch.rand(200, 1, generator=g) < copied
        found = metrics.memorised(metrics.neighbours(copies.where(copy, normal(200, 4, 4 * i + 2)), images), trained)
        hits += found.low - 1e-12 <= copied <= found.high + 1e-12
        widths.append(found.high - found.low)
    assert 178 <= hits < (201 if copied == 1 else 200)
    assert np.mean(widths) < (0.4 if copied < 0.9 else 0.16)


def test_a_model_that_gives_one_training_image_only_has_shown_that_of_one_image() -> None:
    """Of 200 copies of one image the p is that of a coin, and the interval holds an excess of 0."""
    images = normal(400, 4, 1)
    found = metrics.memorised(metrics.neighbours(images[:1].repeat(200, 1), images), torch.arange(400) < 240)
    assert found.excess == 1
    assert found.p > 0.1
    assert found.low < 0 < found.high == pytest.approx(1)


# ---- what has no meaning


@pytest.mark.parametrize("name", MEASURES)
def test_wrong_sets_are_refused(name: str) -> None:
    measure, x = MEASURES[name], normal(60, 3, 1)
    broken = x.clone()
    broken[4, 1] = math.nan
    with pytest.raises(UsageError, match="1 of 60 examples of the second set"):
        measure(x, broken)
    with pytest.raises(UsageError, match="same function"):
        measure(x, normal(60, 4, 1))
    with pytest.raises(UsageError, match=r"more|needs|singular|least"):
        measure(x[:1], x)


def test_features_that_are_no_table_are_refused() -> None:
    x = normal(60, 3, 1)
    for a, b in ((x, x[:, 0]), (x[:, 0], x), (x[:, :, None], x[:, :, None])):
        with pytest.raises(UsageError, match=r"\(number, features\) is needed of each"):
            sets.pair.__wrapped__(a, b)


def test_what_is_too_few_is_said() -> None:
    x = normal(64, 64, 1)
    with pytest.raises(UsageError, match="64 features from 64 examples is singular"):
        metrics.frechet(x, x)
    with pytest.raises(UsageError, match="needs 6"):
        metrics.prdc(x[:5], x)
    with pytest.raises(UsageError, match="k is 0"):
        metrics.prdc(x, x, 0)
    with pytest.raises(UsageError, match="20 at least in each"):
        metrics.jackknife(all_of, x[:19], x)


def test_neighbours_of_other_shapes_of_nothing_or_of_nan_are_refused() -> None:
    x = normal(4, 3, 1)
    for a, b, words in (
        (x, normal(4, 2, 1), "A sample has the shape"),
        (x[:0], x, "at least 1"),
        (x, x / 0, "images have values that are not finite"),
    ):
        with pytest.raises(UsageError, match=words):
            metrics.neighbours(a, b)
    for trained in (torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)):
        with pytest.raises(UsageError, match="held-out images to compare with"):
            metrics.memorised(metrics.neighbours(x, x), trained)
