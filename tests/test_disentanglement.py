"""Scores of disentanglement on codes whose score is known: perfect, rotated, random, redundant; and in closed form.

On a full grid the factors are independent to the last digit, so what a score is can be derived. With three factors of
8 values each, and their values as codes a, b, c:

* perfect (a, b, c): the best of each score.
* rotated (a + b, a - b, c): both of the first two latents say the same of a and of b.
* redundant (a, a, b, c): two latents say the same of a, and nothing else.
* random: codes that were drawn without a look at the factors.
"""

import json
import math
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from sklearn.metrics import mutual_info_score
from torch import Tensor

import lowerbound
from lowerbound import evaluation, figures, rng
from lowerbound.data.shapes import FACTORS
from lowerbound.data.source import SPLITS
from lowerbound.errors import UsageError
from lowerbound.evaluation import examine
from lowerbound.metrics import disentanglement as scores
from lowerbound.metrics.disentanglement import DisentanglementScore, votes
from lowerbound.metrics.disentanglement.base import checked, halves
from lowerbound.metrics.disentanglement.forest import one_sided
from lowerbound.run import Run

V, COPIES = 8, 4
GRID = torch.cartesian_prod(*[torch.arange(V)] * 3).repeat(COPIES, 1)  # 2,048 images
A, B, C = (GRID.double() - (V - 1) / 2).T


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


CODES = {
    "perfect": torch.stack([A, B, C], 1),
    "rotated": torch.stack([A + B, A - B, C], 1),
    "redundant": torch.stack([A, A, B, C], 1),
    "random": drawn(len(GRID), 3),
}
VOTES = {"votes": 1000, "batch": 32}
SINGLE: dict[str, Callable[..., DisentanglementScore]] = {
    "mig": scores.mig,
    "sap": scores.sap,
    "factor_vae": partial(scores.factor_vae, **VOTES),
    "beta_vae": partial(scores.beta_vae, **VOTES),
    "modularity": scores.modularity,
    "explicitness": scores.explicitness,
    "irs": scores.irs,
}
# (score, codes) -> what it is, and how far off a fixed draw may leave it (derived beside, false alarms below 1e-4)
KNOWN = {
    # I(a + b; a) = I(a - b; a), to the bit
    ("mig", "perfect"): (1, 1e-9),
    ("mig", "rotated"): (1 / 3, 1e-9),
    ("mig", "redundant"): (2 / 3, 1e-9),
    ("mig", "random"): (0, 0.01),
    # R² of a ± b and a is 1/2
    ("sap", "perfect"): (1, 1e-9),
    ("sap", "rotated"): (1 / 3, 1e-9),
    ("sap", "redundant"): (2 / 3, 1e-9),
    ("sap", "random"): (0, 0.01),
    # which of the first two varies least is chance where a or b is fixed: half of these votes are lost; of three
    # factors a guess has a third
    ("factor_vae", "perfect"): (1, 0),
    ("factor_vae", "rotated"): (2 / 3, 0.06),
    ("factor_vae", "redundant"): (1, 0),
    ("factor_vae", "random"): (1 / 3, 0.06),
    # to fix a or to fix b shrinks the differences of the first two alike
    ("beta_vae", "perfect"): (1, 0),
    ("beta_vae", "rotated"): (2 / 3, 0.06),
    ("beta_vae", "redundant"): (1, 0),
    ("beta_vae", "random"): (1 / 3, 0.06),
    # of the first two: 1 - m² / (2 m²)
    ("modularity", "perfect"): (1, 1e-9),
    ("modularity", "rotated"): (2 / 3, 1e-9),
    ("modularity", "redundant"): (1, 1e-9),
    # linear probes: a rotation changes nothing; the penalty on coefficients leaves a little
    ("explicitness", "perfect"): (1, 0.02),
    ("explicitness", "rotated"): (1, 0.02),
    ("explicitness", "redundant"): (1, 0.02),
    ("explicitness", "random"): (0.5, 0.03),
    # given a, a + b strays by 7/2, of 7 in all: 1/2; the reaches are 7, 7 and 7/2
    ("irs", "perfect"): (1, 1e-9),
    ("irs", "rotated"): (0.6, 0.01),
    ("irs", "redundant"): (1, 1e-9),
    ("irs", "random"): (0, 0.05),
}


@pytest.mark.parametrize(("score", "codes"), KNOWN)
def test_codes_whose_score_is_known(score: str, codes: str) -> None:
    found = SINGLE[score](CODES[codes], GRID, **({"quantile": 1.0} if (score, codes) == ("irs", "rotated") else {}))
    value, off = KNOWN[score, codes]
    assert found.value == pytest.approx(value, abs=off + 1e-12)
    assert found.settings["images"] == len(GRID)
    assert json.loads(json.dumps(found.settings)) == found.settings
    if score not in ("factor_vae", "beta_vae", "irs"):  # there some count more than others
        assert found.each.mean() == pytest.approx(found.value, abs=1e-9)


def test_what_is_lost_is_lost_by_the_factors_that_are_mixed() -> None:
    for score in ("mig", "sap", "factor_vae", "beta_vae"):
        each = SINGLE[score](CODES["rotated"], GRID).each
        assert each[2] == pytest.approx(1, abs=1e-9)
        assert each[:2].mean() < 0.6
    assert scores.mig(CODES["redundant"], GRID).each.tolist() == pytest.approx([0, 1, 1], abs=1e-9)


# ---- information


def test_mutual_information_and_entropy_are_those_of_numpy_scipy_and_scikit_learn() -> None:
    z, v = drawn(500, 3), torch.randint(5, (500, 2), generator=torch.Generator().manual_seed(2))
    z[:, 0] += v[:, 0]
    found = scores.mutual_information(z, v, bins=7)
    for j in range(3):
        edges = np.histogram_bin_edges(z[:, j].numpy(), 7)
        cells = np.digitize(z[:, j].numpy(), edges[1:-1])
        for k in range(2):
            assert float(found[j, k]) == pytest.approx(mutual_info_score(cells, v[:, k].numpy()), abs=1e-10)
    for k, entropy in enumerate(scores.entropies(v)):
        assert float(entropy) == pytest.approx(stats.entropy(np.bincount(v[:, k].numpy())), abs=1e-12)


BITS = torch.cartesian_prod(torch.arange(2), torch.arange(2), torch.arange(4), torch.arange(8))
BIT, OTHER = BITS[:, 0], BITS[:, 1]
QUARTER, EIGHTHS = (BITS[:, 2] < 1).long(), (BITS[:, 3] < 3).long()  # 1 in a quarter, and in three eighths


def channel(p: float) -> float:
    """What a bit tells after a channel that flips it so often, in bits: 1 - h(p)."""
    return 1 + p * math.log2(p) + (1 - p) * math.log2(1 - p)


def test_the_gap_of_noisy_bits_is_that_of_their_channels() -> None:
    """Of a bit seen twice the gap is between its channels; of a bit that is not seen at all it is 0."""
    z = torch.stack([BIT ^ QUARTER, BIT ^ EIGHTHS, OTHER], 1).double()
    gap = channel(1 / 4) - channel(3 / 8)
    assert scores.mig(z, BITS[:, :2]).each.tolist() == pytest.approx([gap, 1], abs=1e-12)
    assert scores.mig(z[:, :2], BITS[:, :2]).each.tolist() == pytest.approx([gap, 0], abs=1e-12)


def test_a_latent_of_one_bit_and_a_noisy_one_is_modular_but_for_the_square_of_the_share() -> None:
    z = torch.stack([2 * BIT + (OTHER ^ QUARTER), OTHER], 1).double()
    found = scores.modularity(z, BITS[:, :2])
    assert found.each.tolist() == pytest.approx([1 - channel(1 / 4) ** 2, 1], abs=1e-12)


def test_the_information_of_a_sum_is_its_entropy_less_that_of_the_other() -> None:
    """H(a + b) is that of the triangular law of 15 values, and H(a + b | a) = log 8."""
    law = np.convolve(np.ones(V), np.ones(V)) / V**2
    found = scores.mutual_information(CODES["rotated"], GRID)
    expected = stats.entropy(law) - math.log(V)
    assert found[:2, :2].flatten().tolist() == pytest.approx([expected] * 4, abs=1e-12)
    assert found[2].tolist() == pytest.approx([0, 0, math.log(V)], abs=1e-12)


def test_a_histogram_sees_as_much_in_noise_as_is_said() -> None:
    """(B - 1)(V - 1) / 2N nats on average over 60 pairs; 2N I is χ² with 133 degrees of freedom for each."""
    v = torch.randint(8, (4000, 3), generator=torch.Generator().manual_seed(5))
    z = torch.rand(4000, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    expected = 19 * 7 / (2 * 4000)
    assert float(scores.mutual_information(z, v).mean()) == pytest.approx(expected, rel=5 * math.sqrt(2 / 133 / 60))


def test_modularity_of_noise_is_not_0_where_factors_differ_in_their_number_of_values() -> None:
    """As its docstring warns: of 2 and 11 values the information seen in noise is 1 : 10, so 1 - 1/100."""
    v = torch.stack([torch.arange(22_000) % 2, torch.arange(22_000) // 2 % 11], 1)
    z = torch.rand(22_000, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert scores.modularity(z, v).value > 0.95
    assert scores.modularity(torch.ones(len(v), 2).double(), v).value == 0  # nothing at all is said


# ---- predictability


def test_the_line_of_an_ordered_factor_has_the_r_squared_of_scipy() -> None:
    z, v = drawn(300, 2), torch.randint(9, (300, 2), generator=torch.Generator().manual_seed(3))
    z[:, 0] += 0.3 * v[:, 1]
    found = scores.sap(z, v).matrix
    for j in range(2):
        for k in range(2):
            r = stats.linregress(z[:, j].numpy(), v[:, k].numpy()).rvalue
            assert float(found[j, k]) == pytest.approx(r**2, abs=1e-10)


@pytest.mark.parametrize("share", [2, 10])
def test_the_guess_of_an_unordered_factor_is_balanced(share: int) -> None:
    """Two Gaussians two deviations apart are told apart at Φ(1) = 0.841, however many there are of each.

    The standard error is below 0.008 with 20,000 images held out, and thresholds between 20 cells cost less than 0.01.
    """
    n = 40_000
    v = torch.stack([(torch.arange(n) % share == 0).long(), torch.arange(n) // share % 2], 1)
    z = torch.stack([drawn(n) + 2 * v[:, 0], drawn(n, seed=2)], 1)
    found = scores.sap(z, v, unordered=[0]).matrix[:, 0]
    assert float(found[0]) == pytest.approx(stats.norm.cdf(1), abs=0.03)
    assert float(found[1]) == pytest.approx(0.5, abs=0.03)


def test_a_guess_is_judged_by_images_that_it_was_not_fitted_to() -> None:
    """Of random codes it has 1/8; on those of the fit it would have 0.2. The mean of nine has the error 0.004."""
    found = scores.sap(CODES["random"], GRID, unordered=[0, 1, 2])
    assert float(found.matrix.mean()) == pytest.approx(1 / V, abs=0.02)


def test_an_unordered_factor_has_no_line_and_its_gap_ends_at_what_a_guess_has() -> None:
    z = CODES["perfect"].clone()
    z[:, 0] = torch.tensor([3.0, 1, 7, 0, 5, 2, 6, 4]).double()[GRID[:, 0]]  # each value has its place, in no order
    assert scores.sap(z, GRID).each[0] < 0.5
    found = scores.sap(z, GRID, unordered=[0])
    assert found.matrix[0, 0] == 1
    assert found.each[0] == pytest.approx(1 - 1 / V, abs=0.05)
    with pytest.raises(UsageError, match=r"unordered is \[3\], and the factors are 0 to 2"):
        scores.sap(z, GRID, unordered=[3])


def test_explicitness_is_the_area_under_the_curve() -> None:
    """Of two Gaussians two deviations apart Φ(√2) = 0.921; the standard error is 0.003 with 10,000 held out."""
    v = torch.stack([torch.arange(20_000) % 2, torch.arange(20_000) // 2 % 2], 1)
    z = torch.stack([drawn(20_000) + 2 * v[:, 0], drawn(20_000, seed=2)], 1)
    found = scores.explicitness(z, v)
    assert found.each.tolist() == pytest.approx([stats.norm.cdf(math.sqrt(2)), 0.5], abs=0.015)


# ---- votes


def test_latents_are_held_against_their_own_variance_and_collapsed_ones_have_no_vote() -> None:
    """A peer takes the smallest variance as it is, another never leaves a latent out: both would fail here."""
    z = (CODES["perfect"] + 0.3 * drawn(len(GRID), 3)) * torch.tensor([0.1, 1.0, 1e3]).double()
    still = torch.cat([1e-3 * drawn(len(z), 2), torch.zeros(len(z), 1).double(), z], 1)
    found = SINGLE["factor_vae"](still, GRID)
    assert found.value == 1
    assert found.settings["active"] == 3
    assert found.matrix[:3].sum() == 0
    assert found.matrix.sum() == 1000
    assert SINGLE["factor_vae"](still, GRID, active=torch.tensor([True] * 6)).settings["active"] == 6
    with pytest.raises(UsageError, match="No latent is in use"):
        scores.factor_vae(1e-3 * z[:, :2], GRID)


def test_a_pair_has_its_factor_in_common_and_nothing_else() -> None:
    """Where k is fixed latent k does not differ at all, and the others as in all other votes: 3/2 of the mean."""
    found = SINGLE["beta_vae"](CODES["perfect"], GRID).matrix
    assert found.diagonal().tolist() == [0, 0, 0]
    assert found[~torch.eye(3).bool()].tolist() == pytest.approx([1.5] * 6, rel=0.05)


def test_images_without_a_value_in_common_have_no_votes() -> None:
    v = torch.stack([torch.arange(40), torch.arange(40) % 2], 1)
    for score in (scores.factor_vae, scores.beta_vae):
        with pytest.raises(UsageError, match="No two images have a value of some factor in common"):
            score(drawn(40, 2), v)


# ---- robustness


def test_robustness_of_a_sum_is_in_closed_form() -> None:
    """z = 2a + b of signs a, b strays by 1 of 3 given a and by 2 of 3 given b; b strays by nothing, and reaches 1."""
    a, b = torch.cartesian_prod(torch.arange(2), torch.arange(2)).repeat(5, 1).T
    sign = 2.0 * torch.stack([a, b], 1).double() - 1
    z = torch.stack([2 * sign[:, 0] + sign[:, 1], sign[:, 1]], 1)
    found = scores.irs(z, torch.stack([a, b], 1), quantile=1.0)
    assert found.matrix.flatten().tolist() == pytest.approx([2 / 3, 1 / 3, 0, 1], abs=1e-12)
    assert found.value == pytest.approx((3 * 2 / 3 + 1 * 1) / 4, abs=1e-12)


def test_robustness_is_what_numpy_makes_of_the_papers_formula() -> None:
    z, v = drawn(400, 3), torch.randint(4, (400, 2), generator=torch.Generator().manual_seed(9))
    z[:, 0] += v[:, 0]
    x, u = z.numpy(), v.numpy()
    for q in (0.9, 1.0):
        reach = np.quantile(abs(x - x.mean(0)), q, axis=0)
        strays = [
            np.mean([np.quantile(abs(x[g] - x[g].mean(0)), q, axis=0) for g in (u[:, k] == w for w in range(4))], 0)
            for k in range(2)
        ]
        matrix = 1 - np.stack(strays, 1) / reach[:, None]
        found = scores.irs(z, v, quantile=q)
        assert np.allclose(found.matrix.numpy(), matrix, atol=1e-12)
        assert found.value == pytest.approx(np.average(matrix.max(1), weights=reach), abs=1e-12)


def test_a_latent_that_does_not_vary_counts_nothing_in_robustness() -> None:
    still = torch.cat([torch.ones(len(GRID), 1).double(), CODES["perfect"]], 1)
    assert scores.irs(still, GRID).value == 1
    assert scores.irs(still, GRID).each[0] == 0
    with pytest.raises(UsageError, match="all codes are one point"):
        scores.irs(torch.ones(len(GRID), 2).double(), GRID)
    with pytest.raises(UsageError, match=r"quantile is 0"):
        scores.irs(still, GRID, quantile=0.0)


# ---- DCI

HALF = math.log(2) / math.log(3)  # the entropy of two of three


def test_one_sidedness_is_1_less_the_entropy_of_scipy() -> None:
    rows = torch.tensor([[1, 0, 0], [1, 1, 1], [2, 2, 0], [0, 0, 0], [5, 3, 1]]).double()
    expected = [1, 0, 1 - HALF, 0, 1 - stats.entropy([5, 3, 1], base=3)]
    assert one_sided(rows).tolist() == pytest.approx(expected, abs=1e-12)


# the trees of a ± b cannot cut along a, so a few of the held-out images are lost; equal columns share the importance,
# which one takes a split is chance
@pytest.mark.parametrize(
    ("codes", "disentanglement", "completeness", "informativeness"),
    [
        ("perfect", (0.99, 1), (0.99, 1), (1, 1)),
        ("rotated", (1 - 2 / 3 * HALF - 0.06, 1 - 2 / 3 * HALF + 0.06), (0.52, 0.64), (0.7, 1)),
        ("redundant", (0.99, 1), (0.8, 0.9), (1, 1)),  # 1 - 1/3 log 2 / log 4 = 0.833 where the columns share evenly
        ("random", (0, 0.03), (0, 0.03), (1 / V - 0.04, 1 / V + 0.04)),
    ],
)
def test_dci_of_codes_whose_score_is_known(
    codes: str,
    disentanglement: tuple[float, float],
    completeness: tuple[float, float],
    informativeness: tuple[float, float],
) -> None:
    done = []
    found = scores.dci(CODES[codes], GRID, progress=lambda i, n: done.append((i, n)))
    assert disentanglement[0] <= found.disentanglement <= disentanglement[1]
    assert completeness[0] <= found.completeness <= completeness[1]
    assert informativeness[0] <= found.informativeness <= informativeness[1]
    assert found.importance.sum(0).tolist() == pytest.approx([1, 1, 1], abs=1e-9)
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert found.settings["probe"] == "RandomForestClassifier"
    assert json.loads(json.dumps(found.settings)) == found.settings


def test_boosting_says_the_same_of_perfect_codes_and_no_other_probe_is_known() -> None:
    v = torch.cartesian_prod(torch.arange(2), torch.arange(3)).repeat(20, 1)
    found = scores.dci(v.double(), v, probe="boosting")
    assert (found.disentanglement, found.completeness) == pytest.approx((1, 1), abs=1e-6)
    assert found.informativeness == 1
    with pytest.raises(UsageError, match="There is no probe 'lasso'"):
        scores.dci.__wrapped__(v.double(), v, probe="lasso")


# ---- InfoMEC


@pytest.mark.parametrize(
    ("codes", "modularity", "compactness", "explicitness"),
    [
        ("perfect", 1, 1, 1),
        ("rotated", 1 / 2, 1 / 2, 1),  # shares of 1/2 of three: (1/2 - 1/3) / (2/3) = 1/4 twice, and 1
        ("redundant", 1, 7 / 9, 1),  # of four latents: (1/2 - 1/4) / (3/4) = 1/3, and 1 twice
        ("random", None, None, 0),
    ],
)
def test_infomec_of_codes_whose_score_is_known(
    codes: str, modularity: float | None, compactness: float | None, explicitness: float
) -> None:
    """Nearest neighbours see a little information in noise, and optimisers stop: 0.06 for both."""
    z = CODES[codes] + 0.02 * drawn(len(GRID), CODES[codes].shape[1], seed=7)
    found = scores.infomec(z, GRID)
    assert found.explicitness == pytest.approx(explicitness, abs=0.06)
    assert modularity is None or found.modularity == pytest.approx(modularity, abs=0.06)
    assert compactness is None or found.compactness == pytest.approx(compactness, abs=0.06)
    assert json.loads(json.dumps(found.settings)) == found.settings


def test_information_by_neighbours_is_that_of_two_gaussians() -> None:
    """I(z; v) = h(z) - h(N(0, 1)) by quadrature, of two Gaussians three deviations apart; H(v) = log 2."""

    def surprise(x: float) -> float:
        p = (stats.norm.pdf(x) + stats.norm.pdf(x - 3)) / 2
        return -p * math.log(p)

    exact = integrate.quad(surprise, -8, 11)[0] - stats.norm.entropy()
    v = torch.stack([torch.arange(4000) % 2, torch.arange(4000) // 2 % 2], 1)
    z = torch.stack([drawn(4000) + 3 * v[:, 0], drawn(4000, seed=2)], 1)
    found = scores.infomec(z, v)
    assert float(found.information[0, 0]) == pytest.approx(exact / math.log(2), abs=0.04)
    assert float(found.information[1].max()) < 0.03


def test_a_narrow_latent_is_out_of_use_and_of_one_latent_nothing_is_compact() -> None:
    z = torch.stack([A, 1e-2 * B], 1)
    found = scores.infomec(z, GRID[:, :2])
    assert found.active.tolist() == [True, False]
    assert found.compactness is None
    assert found.modularity == pytest.approx(1, abs=0.06)
    with pytest.raises(UsageError, match="all codes are one point"):
        scores.infomec(torch.ones(len(GRID), 2).double(), GRID)
    with pytest.raises(UsageError, match="neighbours is 0"):
        scores.infomec(z, GRID, neighbours=0)


# ---- UDR


def test_models_that_differ_in_order_sign_and_scale_are_alike() -> None:
    z = CODES["perfect"]
    assert scores.udr([z, -z[:, [2, 0, 1]], z**3]).value == pytest.approx(1, abs=1e-12)


def test_a_rotated_model_is_less_alike() -> None:
    """|R| of a ± b and a is ρ for both: max² / sum = ρ / 2 for four of six rows and columns, and 1 for two."""
    rho = abs(stats.spearmanr(A.numpy(), (A + B).numpy()).statistic)
    found = scores.udr([CODES["perfect"], CODES["rotated"]])
    assert found.value == pytest.approx((4 * rho / 2 + 2) / 6, abs=1e-9)


def test_udr_is_what_scipy_makes_of_the_papers_formula() -> None:
    base = drawn(200, 3)
    models = [base, base @ drawn(3, 4, seed=2), (base + drawn(200, 3, seed=3)).round(), drawn(200, 2, seed=4)]
    found = scores.udr(models)
    expected = np.eye(4)
    for i in range(4):
        for j in range(4):
            if i != j:
                a, b = models[i].numpy(), models[j].numpy()
                r = np.array([[abs(stats.spearmanr(x, y).statistic) for y in b.T] for x in a.T])
                parts = (r.max(0) ** 2 / r.sum(0)).sum() + (r.max(1) ** 2 / r.sum(1)).sum()
                expected[i, j] = parts / sum(r.shape)
    assert np.allclose(found.matrix.numpy(), expected, atol=1e-10)
    each = [np.median(np.delete(row, i)) for i, row in enumerate(expected)]
    assert found.each.tolist() == pytest.approx(each, abs=1e-10)
    assert found.value == pytest.approx(np.mean(each), abs=1e-10)


def test_unused_latents_do_not_count_in_udr_and_without_any_there_is_none() -> None:
    z = CODES["perfect"]
    more = torch.cat([z, 1e-3 * drawn(len(z), 2)], 1)
    assert scores.udr([z, more]).value == pytest.approx(1, abs=1e-12)
    assert scores.udr([z, more], active=[torch.ones(3).bool(), torch.ones(5).bool()]).value < 0.9
    for codes, words in (([z], "two models or more"), ([z, z[:5]], "two models or more"), ([z, 0 * z], "Model 1 has")):
        with pytest.raises(UsageError, match=words):
            scores.udr(codes)


# ---- what all have in common

ORDERS = st.permutations(range(4))
SIGNS = st.lists(st.sampled_from([-1.0, 1.0]), min_size=4, max_size=4)
SCALES = st.lists(st.floats(0.5, 20), min_size=4, max_size=4)
SOME = torch.stack([torch.arange(360) % 4, torch.arange(360) // 4 % 3, torch.arange(360) // 12 % 5], 1)
SEEN = torch.cat([SOME.double(), torch.zeros(360, 1).double()], 1) @ drawn(4, 4, seed=3) + drawn(360, 4, seed=4)


@given(order=ORDERS, signs=SIGNS, scales=SCALES)
@settings(derandomize=True, deadline=None, max_examples=10)
def test_order_sign_and_scale_of_latents_change_no_score(
    order: list[int], signs: list[float], scales: list[float]
) -> None:
    """But in IRS, where the scale of each latent is its weight: only a common one changes nothing."""
    plain = torch.tensor(signs).double()
    changed, alike = SEEN[:, order] * plain * torch.tensor(scales).double(), SEEN[:, order] * plain * scales[0]
    quick = [scores.mig, partial(scores.sap, unordered=[1]), partial(scores.factor_vae, votes=200), scores.modularity]
    for score in quick:
        assert score(changed, SOME).value == pytest.approx(score(SEEN, SOME).value, abs=1e-9)
    assert scores.irs(alike, SOME).value == pytest.approx(scores.irs(SEEN, SOME).value, abs=1e-9)
    assert scores.udr([changed, SEEN]).value == pytest.approx(scores.udr([SEEN, SEEN]).value, abs=1e-9)


def test_order_sign_and_scale_change_no_probe_by_more_than_its_optimiser() -> None:
    changed = SEEN[:, [2, 0, 3, 1]] * torch.tensor([-1.0, 7.0, 1.0, -0.5]).double()
    before, after = [
        [
            scores.explicitness(z, SOME).value,
            scores.beta_vae(z, SOME, votes=500).value,
            scores.infomec(z, SOME).explicitness,
            scores.infomec(z, SOME).modularity,
            scores.dci(z, SOME).disentanglement,
            scores.dci(z, SOME).completeness,
        ]
        for z in (SEEN, changed)
    ]
    assert after == pytest.approx(before, abs=0.02)


def test_names_of_values_change_nothing() -> None:
    """Factors are what they part, not which numbers stand for it: 0, 1, 2, 3 are as good as 7, -5, 100, 2."""
    named = torch.tensor([7, -5, 100, 2])[SOME[:, :1]]
    other = torch.cat([named, SOME[:, 1:]], 1)
    for score in (scores.mig, scores.modularity, scores.irs):
        assert score(SEEN, other).value == pytest.approx(score(SEEN, SOME).value, abs=1e-9)
    for score in (partial(scores.sap, unordered=[0]), scores.explicitness):  # of equal guesses the first is taken
        assert score(SEEN, other).value == pytest.approx(score(SEEN, SOME).value, abs=0.02)


EVERY: dict[str, Callable[..., Any]] = {**SINGLE, "dci": scores.dci, "infomec": scores.infomec}
SEEDED = ("factor_vae", "beta_vae", "explicitness", "dci", "infomec")


@pytest.mark.parametrize("name", EVERY)
def test_a_score_is_a_function_of_its_arguments_and_leaves_the_random_state_alone(name: str) -> None:
    before, np_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = EVERY[name](SEEN, SOME), EVERY[name](SEEN.float(), SOME.int())
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == np_before).all()  # noqa: NPY002
    for field in vars(first):
        a, b = getattr(first, field), getattr(second, field)
        assert (
            torch.allclose(a.double(), b.double(), atol=0.02)
            if isinstance(a, Tensor)
            else a == b or isinstance(a, float)
        )
    again = EVERY[name](SEEN, SOME)
    assert all(
        torch.equal(a, b) if isinstance(a, Tensor) else a == b
        for a, b in zip(vars(first).values(), vars(again).values(), strict=True)
    )
    if name in SEEDED:
        other = EVERY[name](SEEN, SOME, seed=5)
        assert other.settings["seed"] == 5
        assert str(vars(other)) != str(vars(first))


WRONG = {
    "few images": (SEEN[:10], SOME[:10], "10 images, 4 latents and 3 factors are too few"),
    "one factor": (SEEN, SOME[:, :1], "4 latents and 1 factors are too few"),
    "no number": (SEEN * torch.nan, SOME, "not all finite"),
    "one value": (SEEN, SOME * torch.tensor([1, 0, 1]), "Factor 1 has the same value in all 360 images"),
}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("case", WRONG)
def test_codes_and_factors_without_meaning_are_refused(name: str, case: str) -> None:
    codes, factors, words = WRONG[case]
    with pytest.raises(UsageError, match=words):
        bare(EVERY[name])(codes, factors)


PROBED = {
    "explicitness": scores.explicitness,
    "forest": scores.dci,
    "boosting": partial(scores.dci, probe="boosting"),
    "infomec": scores.infomec,
}


@pytest.mark.parametrize("name", PROBED)
def test_a_factor_that_the_images_of_a_fit_do_not_vary_in_is_refused(name: str) -> None:
    """Of 40 images one differs, and it is among those that judge: no probe could learn it, and DCI would be 1."""
    fitted, judging = halves(40, seed=0)
    assert len(fitted) == 20
    factors = torch.stack([torch.arange(40) % 4, (torch.arange(40) == judging[0]).long()], 1)
    codes = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UsageError, match="Factor 1 has the same value in all 20 images that its probe is fitted to"):
        PROBED[name](codes, factors, seed=0)


def bare(score: Callable[..., Any]) -> Callable[..., Any]:
    """A score without the checks of shapes that only the tests have, which would be first to refuse."""
    inner = score.func if isinstance(score, partial) else score
    return partial(inner.__wrapped__, **VOTES) if isinstance(score, partial) else inner.__wrapped__


def test_codes_and_factors_of_other_numbers_of_images_are_refused() -> None:
    with pytest.raises(UsageError, match=r"\(100, 4\) and the factors \(360, 3\).*a row for each image in both"):
        checked.__wrapped__(SEEN[:100], SOME)


@pytest.mark.parametrize("name", ["mig", "sap", "dci"])
def test_a_gap_takes_two_latents(name: str) -> None:
    with pytest.raises(UsageError, match="takes at least 20 images, 2 latents"):
        EVERY[name](SEEN[:, :1], SOME)


@pytest.mark.parametrize("name", EVERY)
def test_without_scikit_learn_those_that_need_it_say_so_and_the_others_work(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("", ".linear_model", ".ensemble", ".feature_selection", ".metrics", ".exceptions"):
        monkeypatch.setitem(sys.modules, f"sklearn{module}", None)
    if name in ("beta_vae", "explicitness", "dci", "infomec"):
        with pytest.raises(UsageError, match=r"pip install 'lowerbound\[sklearn\]'"):
            EVERY[name](SEEN, SOME)
    else:
        assert EVERY[name](SEEN, SOME).value >= 0


def test_probes_warn_of_nothing() -> None:
    """Classes that a plane parts have no finite optimum, and scikit-learn would warn of it."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        scores.infomec(CODES["perfect"], GRID)
    assert [str(one.message) for one in told] == []


def test_the_error_over_images_is_that_of_a_mean() -> None:
    """Of a mean the standard error is σ / √n = 0.05; that of ten groups is off by √(χ²₉ / 9), beyond 2 in 1 of 10⁴."""

    def mean(z: Tensor, v: Tensor) -> DisentanglementScore:
        return DisentanglementScore(float(z.mean()), z[0], z[:1], {})

    error = scores.error_over_images(mean, drawn(400, 1), SOME[:1].repeat(400, 1))
    assert 0.025 < error < 0.1
    assert error == scores.error_over_images(mean, drawn(400, 1), SOME[:1].repeat(400, 1))
    for groups in (1, 300):
        with pytest.raises(UsageError, match="at least 2 groups are needed, and 2 images in each"):
            scores.error_over_images(mean, drawn(400, 1), SOME[:1].repeat(400, 1), groups=groups)


def test_what_is_drawn_of_images_that_are_left_out_is_drawn_evenly_of_the_others_and_the_rest_stays() -> None:
    """60,000 draws of 7 rows, 4 of them kept: each within 4.5 deviations of a quarter of its group's (3e-5 in all)."""
    values, kept = torch.tensor([0, 0, 0, 0, 1, 1, 2]), torch.tensor([True, True, True, False, False, True, False])
    batches = votes._Groups.of(values)
    with rng.noise(0, "test"):
        rows = batches.batches(30_000, 2)
        found = votes._kept_only(rows, values, kept)
    assert kept[found].all()
    assert (values[found] == 0).all()  # of value 1 one image is left, which has no other in common with it
    stays = kept[rows] & (values[rows] == 0)
    assert torch.equal(found[stays], rows[stays])
    assert 0.4 < stays.double().mean() < 0.6
    for column in found.T:
        counts = column.bincount(minlength=7)[:3]
        assert (counts - 10_000).abs().max() < 4.5 * (30_000 * 2 / 9) ** 0.5
    pairs = (found[:, 0] * 3 + found[:, 1]).bincount(minlength=9)  # both rows of a batch are drawn independently
    assert (pairs - 30_000 / 9).abs().max() < 4.5 * (30_000 * 8 / 81) ** 0.5


def test_leaving_out_images_parts_the_others_as_before_and_is_the_score_of_the_others() -> None:
    everything = torch.ones(len(SOME), dtype=torch.bool)
    some = everything.clone()
    some[::10] = False
    for name in ("sap", "factor_vae"):
        score: Any = {"sap": partial(scores.sap, unordered=[0]), "factor_vae": scores.factor_vae}[name]
        assert score(SEEN, SOME, kept=everything).value == score(SEEN, SOME).value
        left = score(SEEN, SOME, kept=some)
        assert left.settings["images"] == int(some.sum())
        broken = SEEN.clone()
        broken[~some] = 1e6  # codes that nobody looks at
        assert torch.equal(score(broken, SOME, kept=some).matrix, left.matrix)
    whole, part = halves(100, 0), halves(100, 0, torch.arange(100) < 90)
    assert [set(a.tolist()) - set(b.tolist()) for a, b in zip(part, whole, strict=True)] == [set(), set()]
    assert sum(map(len, part)) == 90


def test_the_error_of_votes_is_smaller_than_that_of_votes_drawn_anew() -> None:
    """Votes that are drawn anew add nine times their variance: over 20 sets of images fixed ones leave out more than a
    third of the mean square (about 0.6 of it; the ratio's deviation is 0.06).
    """
    fixed = partial(scores.factor_vae, votes=300, batch=8, active=torch.ones(3, dtype=torch.bool))

    def anew(z: Tensor, v: Tensor) -> DisentanglementScore:
        return fixed(z, v)

    squares = torch.zeros(2)
    for i in range(20):
        g = torch.Generator().manual_seed(i)
        v = torch.stack([torch.randint(values, (400,), generator=g) for values in (3, 4, 5)], 1)
        mix = torch.tensor([[1.0, 0.3, 0.0], [0.6, 1.0, 0.4], [0.0, 0.8, 1.0]]).double()
        z = v.double() @ mix + torch.randn(400, 3, generator=g).double()
        squares += torch.tensor([scores.error_over_images(score, z, v, seed=i) for score in (fixed, anew)]).square()
    assert 0 < squares[0] < 0.65 * squares[1]


# ---- the section

SMALL = ["data.count=400", "data.test=200", "data.validation=20", "train.batch=18", "train.epochs=0.2"]
SMALL += [f"model.{part}.net.channels=[4,4,4,4]" for part in ("posterior", "likelihood")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two autoencoders of shapes, two steps long, whose specs differ in the seed only."""
    folder = tmp_path_factory.mktemp("runs")
    arguments: dict[str, Any] = {"latents": 4, "device": "cpu", "progress": False, "set": SMALL}
    return [lowerbound.fit("shapes", "ae", seed=s, out=folder / str(s), **arguments) for s in (0, 1)]


def test_the_section_holds_every_score_with_its_settings(runs: list[Run]) -> None:
    done = []
    asked = evaluation.Settings(progress=lambda what, i, n: done.append((what, i, n)))
    found, refused = examine.examine(evaluation.Subject(runs[0], "test", asked), ["disentanglement"])
    assert refused == {}
    section = found["disentanglement"]
    values = json.loads(json.dumps(section.values, allow_nan=False))
    assert (values["images"], values["latents"], values["refused"]) == (200, 4, {})
    assert values["active"] > 0
    assert values["factors"] == FACTORS
    assert values["udr"]["runs"] == 2
    for key in ("mig", "sap", "factor_vae", "beta_vae", "explicitness"):
        assert list(values[key]["each"]) == list(FACTORS)
        assert 0 <= values[key]["value"] <= 1
    assert set(values["settings"]) == {*EVERY, "udr"}
    assert values["settings"]["sap"]["unordered"] == [0, 2]
    assert list(values["dci"]["accuracy"]) == list(FACTORS)
    words = dict(section.rows)
    assert words["measured on"].startswith("200 images of test; factors: shape (3), scale (6)")
    assert "±" in words["MIG"]
    assert "0.20 by chance" in words["FactorVAE score"]
    assert [picture.name for picture in section.pictures] == ["latents"]
    assert done[0] == ("disentanglement", 0, 10)


def test_collapsed_latents_leave_scores_without_a_value_and_say_why(runs: list[Run]) -> None:
    subject = evaluation.Subject(runs[1], "test")
    codes, labels = subject.codes
    subject.__dict__["codes"] = (0 * codes, labels)
    section = evaluation.MEASURES["disentanglement"](subject)
    assert section.values["active"] == 0
    for key in ("factor_vae", "irs", "infomec", "udr"):
        assert section.values[key] is None
        assert section.values["refused"][key] in " ".join(section.notes)
    assert section.values["mig"]["value"] == 0


def test_a_run_by_itself_has_no_udr_and_its_data_come_back(runs: list[Run], tmp_path: Path) -> None:
    run = lowerbound.load(shutil.copytree(runs[0].path, tmp_path / "alone"))
    assert run.data["factors"] == FACTORS
    assert run.source.test.factors.shape == (400, 5)
    section = evaluation.MEASURES["disentanglement"](evaluation.Subject(run, "validation"))
    assert "lowerbound train … --seeds 5" in section.values["refused"]["udr"]
    assert (section.values["images"], section.values["mig"]["error"]) == (20, None)


def test_data_without_factors_are_refused_in_words(runs: list[Run]) -> None:
    source = runs[0].source
    bare = {name: replace(getattr(source, name), factors=None) for name in SPLITS}
    run = Run(runs[0].path, runs[0].spec, given=replace(source, **bare))
    with pytest.raises(UsageError, match=r"the factors that made them are not known.*lowerbound train shapes"):
        examine.evaluate(run, measures=["disentanglement"])


# ---- the picture


def test_the_matrices_stand_side_by_side_with_their_numbers() -> None:
    m = torch.rand(6, 3)
    fig = figures.latents_by_factors({"a": m, "b": 1 - m}, ["x", "y", "orientation"], unused=[2])
    assert [ax.get_title(loc="left") for ax in fig.axes] == ["a", "b"]
    assert [len(ax.texts) for ax in fig.axes] == [18, 18]
    assert np.allclose(fig.axes[0].get_images()[0].get_array(), m.numpy())
    many = figures.latents_by_factors({"a": torch.rand(60, 3)}, ["x", "y", "z"])
    assert len(many.axes[0].texts) == 0
    with pytest.raises(UsageError, match="no matrices"):
        figures.latents_by_factors({}, ["x"])
