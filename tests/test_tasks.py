"""What a model is used for: missing pixels, neighbours, codes in a plane, and scores, from functions to commands."""

import csv
import io
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

import linear
import lowerbound
from commandline import call, picture
from lowerbound import explore, gibbs, likelihood, nets, oracle, posterior, prior
from lowerbound.data import Split
from lowerbound.errors import DataError, UsageError
from lowerbound.metrics import search
from lowerbound.run import Run
from lowerbound.tasks.given import Given
from lowerbound.tasks.impute import mask
from lowerbound.tasks.scores import Scores
from lowerbound.vae import VAE

# ---- missing pixels


def off() -> VAE:
    """The linear model with an encoder whose mean and spread are wrong."""
    model = linear.model(exact=True)
    assert isinstance(model.posterior, posterior.Gaussian)
    with torch.no_grad():
        model.posterior.mu.bias += 0.3
        model.posterior.logvar.bias += 0.7
    return model


def conditional(x: Tensor, missing: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the missing coordinates of one row given the others, by the normal's own formulas."""
    w, b = (part.numpy() for part in linear.loadings())
    cov = w @ w.T + linear.SIGMA**2 * np.eye(linear.D)
    m, o = missing.numpy(), ~missing.numpy()
    gain = cov[np.ix_(m, o)] @ np.linalg.inv(cov[np.ix_(o, o)])
    return b[m] + gain @ (x.numpy()[o] - b[o]), cov[np.ix_(m, m)] - gain @ cov[np.ix_(o, m)]


def departure(model: VAE, steps: int, warmup: int) -> float:
    """The p-value of Kolmogorov and Smirnov that 1,000 chains' draws of three coordinates are the exact conditional."""
    x, missing = linear.data(1), torch.tensor([[True, False, True, False, True]])
    hidden = torch.where(missing, torch.nan, x)
    found = gibbs.impute(model, hidden, missing, draws=1000, steps=steps, warmup=warmup, seed=1)
    assert bool((found.draws[:, ~missing] == x[~missing]).all())
    mean, cov = conditional(x[0], missing[0])
    white = np.linalg.solve(np.linalg.cholesky(cov), (found.draws[:, missing].numpy() - mean).T)
    return float(stats.kstest(white.ravel(), "norm").pvalue)


def test_missing_pixels_follow_the_exact_conditional_whatever_the_encoder() -> None:
    """False alarms: 1 in 1,000 for each of the two."""
    assert departure(off(), steps=60, warmup=5) > 1e-3
    assert departure(linear.model(exact=True), steps=30, warmup=5) > 1e-3


def test_without_the_correction_a_wrong_encoder_is_found_out() -> None:
    """The test above can fail: the same chains, every proposal accepted."""
    assert departure(off(), steps=0, warmup=65) < 1e-6


def test_missing_binary_pixels_have_the_probabilities_of_the_sum() -> None:
    """A finite model, whose p(x_mis | x_obs) is a table: χ² over the four images, false alarms 1 in 1,000."""
    known = oracle.Finite.draw(states=3, pixels=4, seed=2)
    images, log_p = known.images(), known.log_p()
    missing, seen = torch.tensor([[False, True, False, True]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    rows = (images[:, ~missing[0]] == seen[:, ~missing[0]]).all(1)
    exact = log_p[rows].softmax(0)
    found = gibbs.impute(known.vae(), seen, missing, draws=2000, steps=20, warmup=2, seed=3)
    counts = torch.stack([(found.draws[:, 0] == image).all(1).sum() for image in images[rows]])
    assert int(counts.sum()) == 2000
    assert stats.chisquare(counts.numpy(), 2000 * exact.numpy()).pvalue > 1e-3
    assert found.acceptance is not None
    assert 0 < float(found.acceptance[0]) < 1


def test_the_mean_and_the_acceptance_are_those_of_the_chains() -> None:
    """The mean of 200 chains over 50 steps, within 5 standard errors of the exact one; q exact accepts most."""
    x, missing = linear.data(3), torch.zeros(3, linear.D, dtype=torch.bool)
    missing[:, :2] = True
    found = gibbs.impute(linear.model(exact=True), x, missing, draws=200, steps=50, warmup=5)
    for i in range(3):
        mean, cov = conditional(x[i], missing[i])
        assert (np.abs(found.mean[i, :2].numpy() - mean) < 5 * np.sqrt(np.diag(cov) / 200)).all()
    assert bool((found.mean[:, 2:] == x[:, 2:]).all())
    assert found.means.shape == found.draws.shape == (200, 3, linear.D)
    assert found.acceptance is not None
    assert (found.acceptance > 0.99).all()  # q is p(z|x), of which every draw is accepted
    plain = gibbs.impute(linear.model(exact=True), x, missing, draws=2, steps=0, warmup=3)
    assert plain.acceptance is None


def test_imputing_leaves_mode_and_randomness_and_tells_how_far_it_is() -> None:
    model, x = linear.model(exact=True).train(), linear.data(3)
    missing = torch.zeros_like(x, dtype=torch.bool)
    missing[:, 0] = True
    torch.manual_seed(3)
    state, told = torch.get_rng_state(), []
    runs = [
        gibbs.impute(model, x, missing, draws=300, steps=2, warmup=1, progress=lambda *now: told.append(now))
        for _ in range(2)
    ]
    assert bool((torch.get_rng_state() == state).all())
    assert model.training
    assert told[:9] == [(i, 9) for i in range(1, 10)]  # three images, one at a time
    assert bool((runs[0].draws == runs[1].draws).all())


class Coupled(likelihood.Likelihood):
    """Pixels that are not independent given z."""

    real = True

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(linear.L, linear.D)

    def forward(self, z: Tensor, c: Tensor | None = None) -> torch.distributions.Distribution:
        return torch.distributions.MultivariateNormal(self.net(z), torch.eye(linear.D))


def test_what_cannot_be_imputed_is_refused() -> None:
    model, x = linear.model(exact=True), linear.data(3)
    some = torch.zeros_like(x, dtype=torch.bool)
    some[:, 0] = True
    holes = x.clone()
    holes[1, 2] = torch.nan
    point = VAE(posterior.Dirac(nets.MLP((5,)), 2), prior.Standard(2), likelihood.Gaussian(nets.MLP((2,), (5,))))
    coupled = VAE(posterior.Gaussian(nets.MLP((5,)), 2), prior.Standard(2), Coupled())
    row = some.clone()
    row[2] = True
    broken, lost = linear.model(exact=True), linear.model(exact=True)
    with torch.no_grad():
        for part in (broken.likelihood, lost.posterior):
            next(part.parameters()).fill_(math.nan)
    for attempt, says in (
        (lambda: gibbs.impute(model, x, some & False), "nothing to impute"),
        (lambda: gibbs.impute(model, x, row), "Of image 2 all is missing"),
        (lambda: gibbs.impute(model, holes, some), "not numbers"),
        (lambda: gibbs.impute(model, x, some[:2]), r"shape \(3, 5\), and what is missing of \(2, 5\)"),
        (lambda: gibbs.impute(model, x, some, draws=0), "draws is 0"),
        (lambda: gibbs.impute(model, x, some, steps=0, warmup=0), "one draw and step"),
        (lambda: gibbs.impute(point, x.float(), some), "point mass"),
        (lambda: gibbs.impute(coupled, x.float(), some), "MultivariateNormal, which does not factorise"),
        (lambda: gibbs.impute(broken, x, some), "gives NaN"),
        (lambda: gibbs.impute(lost, x, some), "gives NaN"),
    ):
        with pytest.raises(UsageError, match=says):
            attempt()


# ---- neighbours


def test_neighbours_are_those_of_all_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "COLUMNS", 4096)
    g = torch.Generator().manual_seed(0)
    codes, query = torch.randn(9000, 3, generator=g).double(), torch.randn(4, 3, generator=g).double()
    far, rows = explore.neighbours(query, codes, 5)  # in three blocks
    d = np.linalg.norm(query.numpy()[:, None] - codes.numpy(), axis=2)
    expected = np.argsort(d, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(rows.numpy(), expected)
    np.testing.assert_allclose(far.numpy(), np.take_along_axis(d, expected, 1), rtol=1e-12)
    blocks = explore.neighbours(query, codes.split(7), 5)
    assert bool((blocks[1] == rows).all())
    near = explore.neighbours(codes[:1] + 1e-9, codes, 1)
    assert float(near[0]) == pytest.approx(math.sqrt(3) * 1e-9, rel=1e-3)  # a product of matrices would say 0 or 1e-8
    assert explore.neighbours(query, codes[:3], 5)[1].shape == (4, 3)
    ties = explore.neighbours(torch.zeros(1, 1), torch.tensor([[2.0], [1.0], [-1.0], [1.0]]), 3)[1]
    assert ties.tolist() == [[1, 2, 3]]


def test_neighbours_that_cannot_be_are_refused() -> None:
    for arguments, says in (
        ((torch.zeros(1, 2), torch.zeros(5, 2), 0), "k is 0"),
        ((torch.zeros(1, 2), torch.zeros(5, 3), 1), "no distance"),
        ((torch.zeros(1, 2), [], 1), "nothing among which"),
        ((torch.zeros(1, 2), torch.full((5, 2), math.nan), 1), "have no nearest neighbour"),
    ):
        with pytest.raises(UsageError, match=says):
            explore.neighbours(*arguments)  # type: ignore[arg-type]


def test_codes_that_are_no_numbers_have_no_place_in_a_plane() -> None:
    with pytest.raises(UsageError, match="have no place in a plane"):
        explore.pca(torch.full((5, 3), math.nan))


# ---- on a run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A short training on digits."""
    path = tmp_path_factory.mktemp("tasks") / "digits"
    yield lowerbound.fit("digits", epochs=2, latents=4, out=path, progress=False)
    shutil.rmtree(path)


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as text:
        return list(csv.DictReader(text))


def test_scores_are_written_shown_and_flagged(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("score", run.path, "--out", tmp_path / "new" / "s") == 0
    out = " ".join(capsys.readouterr().out.split())
    rows = table(tmp_path / "new" / "s.csv")
    assert list(rows[0]) == ["row", "label", "score", "p_value", "flagged"]
    assert [int(row["row"]) for row in rows] == run.source.test.rows.tolist()
    found = lowerbound.score(run)
    assert [float(row["score"]) for row in rows] == found.scores.tolist()
    assert found.normal is not None
    assert found.threshold is not None
    n = len(run.source.validation)
    assert found.threshold == found.normal.sort().values[n - math.floor((n + 1) * 0.05)]
    flagged = [row["flagged"] == "1" for row in rows]
    assert flagged == [float(row["p_value"]) <= 0.05 for row in rows] == (found.scores > found.threshold).tolist()
    assert f"{sum(flagged)} of 180 images are flagged" in out
    for said in ("conformal quantile of 179", "Nalisnick", "cross-entropy on grey pixels", "also chose the weights"):
        assert said.replace("179", str(n)) in out
    assert min(picture(tmp_path / "new" / "s.png")) > 500
    assert not (tmp_path / "new" / "s-roc.png").exists()


def test_the_area_is_that_of_the_labels(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--anomalous", "1,7", "--method", "reconstruction", "--json", "--out", tmp_path / "s")
    assert call("score", run.path, *words) == 0
    found, rows = json.loads(capsys.readouterr().out), table(tmp_path / "s.csv")
    odd, scores = [int(row["anomalous"]) for row in rows], [float(row["score"]) for row in rows]
    assert odd == [int(row["label"] in "17") for row in rows]
    assert found["area"]["value"] == pytest.approx(roc_auc_score(odd, scores), abs=1e-12)
    held_out = run.source.validation.targets()
    assert held_out is not None
    assert found["calibrated_on"] == int((~torch.isin(held_out, torch.tensor([1, 7]))).sum()) < len(held_out)
    flags = np.array([int(row["flagged"]) for row in rows])
    assert found["flagged_of_anomalous"] == pytest.approx(flags[np.array(odd) == 1].mean())
    assert found["flagged_of_normal"] == pytest.approx(flags[np.array(odd) == 0].mean())
    assert any("was trained on" in note for note in found["notes"])
    assert min(picture(tmp_path / "s-roc.png")) > 500


def test_a_runs_own_data_by_their_name_are_its_test_split(run: Run) -> None:
    """They do not set their own threshold, and labels that are anomalous are left out of what sets it."""
    by_name = lowerbound.score(run, run.spec["data"]["kind"], anomalous="3")
    assert by_name.summary() == lowerbound.score(run, anomalous="3").summary()
    with pytest.raises(UsageError, match="cannot set its own threshold"):
        lowerbound.score(run, run.spec["data"]["kind"], calibrate="test")


def test_a_folder_an_array_and_a_tensor_of_the_same_images_score_the_same(run: Run, tmp_path: Path) -> None:
    test = run.source.test
    pixels = test.x[test.rows[:12]].numpy()
    (tmp_path / "folder").mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image[0]).save(tmp_path / "folder" / f"{i:02d}.png")
    np.save(tmp_path / "x.npy", pixels)
    whole = lowerbound.score(run, images=12)
    for data in (str(tmp_path / "folder"), tmp_path / "x.npy", torch.from_numpy(pixels), pixels / np.float32(255)):
        found = lowerbound.score(run, data, calibrate="test" if isinstance(data, str) else "none")
        torch.testing.assert_close(found.scores, whole.scores, rtol=0, atol=1e-4)
        assert (found.threshold is None) == (not isinstance(data, str))
    named = lowerbound.score(run, str(tmp_path / "folder"), method="reconstruction", calibrate="none").table()
    assert [row["file"] for row in csv.DictReader(io.StringIO(named))] == [f"{i:02d}.png" for i in range(12)]
    noise = np.random.default_rng(0).random((30, 8, 8), np.float32)
    against = lowerbound.score(run, against=noise, calibrate="none", method="importance", samples=8)
    assert against.area is not None
    assert against.area.value > 0.95
    assert against.table().splitlines()[-1].startswith("tensor,29,,1,")


def test_too_few_normal_images_flag_nothing_and_say_so(run: Run) -> None:
    found = lowerbound.score(run, false_alarms=0.001)
    assert found.threshold == math.inf
    assert found.flagged is not None
    assert not bool(found.flagged.any())
    assert found.summary()["threshold"] is None
    assert any("takes 999 or more. Nothing is flagged" in note for note in found.notes)
    found.figure()


def test_what_cannot_be_scored_is_refused_in_words(run: Run, tmp_path: Path) -> None:
    wide, bright = np.zeros((3, 9, 9), np.float32), np.full((3, 8, 8), 200.0, np.float32)
    holes = np.full((3, 8, 8), np.nan, np.float32)
    (tmp_path / "empty").mkdir()
    cases: list[tuple[dict[str, Any], str]] = [
        ({"method": "elbow"}, "no anomaly score 'elbow'.*elbo"),
        ({"false_alarms": 0.0}, "between 0 and 1"),
        ({"false_alarms": 1.0}, "between 0 and 1"),
        ({"images": 0}, "images is 0"),
        ({"samples": 0}, "samples is 0"),
        ({"calibrate": "train"}, "calibrate is 'train'"),
        ({"calibrate": "test"}, "cannot set its own threshold"),
        ({"data": wide}, "1×9×9, and the model of .* takes 1×8×8"),
        ({"data": bright}, r"\[200, 200\], and those of .* in \[0, 1\]"),
        ({"data": holes}, "NaN"),
        ({"data": np.zeros((0, 8, 8), np.float32)}, "nothing in it"),
        ({"data": str(tmp_path / "empty")}, "no image in"),
        ({"data": "mnists"}, "no data set, folder or file 'mnists'"),
        ({"data": "mnist"}, "1×28×28, and the model"),
        ({"anomalous": "1,11"}, "no label '11'"),
        ({"anomalous": "0,1,2,3,4,5,6,7,8,9"}, "no normal image sets the threshold"),
        ({"data": wide[:, :8, :8], "anomalous": "1"}, "has no labels"),
    ]
    for arguments, says in cases:
        with pytest.raises((UsageError, DataError), match=says):
            lowerbound.score(run, **arguments)


def test_a_run_without_a_validation_split_has_no_threshold(run: Run, tmp_path: Path) -> None:
    known = json.loads((run.path / "data.json").read_bytes())
    known["images"]["validation"] = 0
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "run" / "data.json").write_text(json.dumps(known))
    with pytest.raises(UsageError, match=r"no validation images, by which the threshold .* none"):
        lowerbound.score(lowerbound.load(tmp_path / "run"))


def test_vectors_without_a_threshold_have_a_histogram_and_no_more() -> None:
    x = torch.rand(40, 3)
    found = Scores("elbo", [Given("points", Split(x, torch.arange(40)))], x[:, 0].double())
    assert found.table().splitlines()[0] == "row,score"
    assert len(found.figure().axes) == 1
    with pytest.raises(UsageError, match="which images are anomalous"):
        found.curve()


# ---- missing pixels of a run


def test_imputing_writes_what_was_drawn(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--missing", "left", "--images", "0,3", "--draws", "3", "--steps", "20", "--out", tmp_path / "i")
    assert call("impute", run.path, *words) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "3 draws of each of 2 images, 50% of them missing." in out
    assert re.search(r"Proposals accepted: \d+%, from \d+% to \d+% by image", out)
    assert "drawn as 0 or 1" in out
    with np.load(tmp_path / "i.npz") as found:
        x = run.source.test.images()[[0, 3]].numpy()
        assert found["draws"].shape == found["means"].shape == (3, 2, 1, 8, 8)
        assert np.array_equal(found["missing"][..., :4], np.ones((2, 1, 8, 4), bool))
        assert not found["missing"][..., 4:].any()
        for name in ("draws", "means", "mean"):
            assert np.array_equal(np.broadcast_to(x, found[name].shape)[..., 4:], found[name][..., 4:])
        assert set(np.unique(found["draws"][..., :4])) == {0.0, 1.0}
        assert found["rows"].tolist() == run.source.test.rows[[0, 3]].tolist()
        assert np.array_equal(found["x"], x)
    assert min(picture(tmp_path / "i.png")) > 100


def test_nan_is_a_missing_pixel_and_a_file_is_a_mask(run: Run, tmp_path: Path) -> None:
    x = run.source.test.images()[:3].numpy().copy()
    x[0, 0, :2] = np.nan
    x[2, 0, 3, 3] = np.nan
    np.save(tmp_path / "x.npy", x[:, 0])
    settings: dict[str, Any] = {"draws": 2, "steps": 3, "warmup": 1}
    for data in (tmp_path / "x.npy", x, torch.from_numpy(x)):
        found = lowerbound.impute(run, data, **settings)
        assert np.array_equal(found.missing.numpy(), np.isnan(x))
        assert bool(found.found.draws.isfinite().all())
        found.figure()
    np.save(tmp_path / "mask.npy", np.eye(8))
    both = lowerbound.impute(run, x, missing=str(tmp_path / "mask.npy"), images=[2], **settings)
    assert np.array_equal(both.missing[0, 0].numpy(), np.isnan(x[2, 0]) | np.eye(8, dtype=bool))


def test_chains_that_hardly_moved_are_named(run: Run) -> None:
    settings: dict[str, Any] = {"missing": "left", "images": [4], "draws": 2, "warmup": 1}
    (label,) = run.source.test.targets(4, 5).tolist()  # type: ignore[union-attr]
    few, none = lowerbound.impute(run, steps=9, **settings), lowerbound.impute(run, steps=0, **settings)
    assert any(f"chains of image 4 ({label}) moved fewer than 10 times" in note for note in few.notes)
    assert any("No step was corrected" in note for note in none.notes)
    assert not any("moved" in note for note in lowerbound.impute(run, steps=100, **settings).notes)


def test_masks_hide_what_they_say() -> None:
    shape = (2, 6, 8)
    for kind, share in (("left", 0.5), ("right", 0.5), ("top", 0.5), ("bottom", 0.5), ("centre", 1 / 3)):
        hidden = mask(kind, shape, [0, 5], 9, seed=0)
        assert hidden.shape == (2, *shape)
        assert float(hidden.float().mean()) == pytest.approx(share)
    assert bool((mask("left", shape, [0], 1, 0) ^ mask("right", shape, [0], 1, 0)).all())
    assert bool((mask("top", shape, [0], 1, 0) ^ mask("bottom", shape, [0], 1, 0)).all())
    some = mask("random:0.3", (2, 60, 80), [4, 7], 9, seed=0)
    assert bool((some[1:] == mask("random:0.3", (2, 60, 80), [7], 9, seed=0)).all())  # of row 7, whoever stands beside
    assert bool((some[:, 0] == some[:, 1]).all())  # a pixel is missing in all its channels
    assert float(some.float().mean()) == pytest.approx(0.3, abs=0.03)  # 9,600 pixels: 6 deviations
    each = torch.rand(9, 6, 8) < 0.5
    for given, expected in (
        (each, each[[4, 7], None].expand(2, *shape)),
        (each[0].numpy(), each[0].expand(2, *shape)),
        (each[:2].numpy(), each[:2].expand(2, *shape)),
    ):
        assert bool((mask(given, shape, [4, 7], 9, 0) == expected).all())


def test_what_cannot_be_imputed_in_a_run_is_refused(run: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.eye(7))
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "Say which pixels are missing"),
        ({"missing": "lefft"}, "no mask 'lefft'.*left"),
        ({"missing": "random:1.5"}, "between 0 and 1"),
        ({"missing": "random:x"}, "between 0 and 1"),
        ({"missing": str(tmp_path / "mask.npy")}, r"shape \(7, 7\), and the images are 1×8×8"),
        ({"missing": str(tmp_path / "none.npy")}, "does not exist"),
        ({"missing": np.zeros((8, 8))}, "nothing to impute"),
        ({"missing": np.ones((8, 8))}, "all is missing"),
        ({"missing": np.full((8, 8), np.nan)}, "not all of it numbers"),
        ({"missing": "left", "images": [500]}, "no image 500 in the test split of digits, which has 180"),
        ({"missing": "left", "images": 0}, "No image was asked for"),
    ]
    for arguments, says in cases:
        with pytest.raises((UsageError, DataError), match=says):
            lowerbound.impute(run, **arguments)


# ---- neighbours and planes of a run


def test_the_neighbours_of_a_file_begin_with_its_own_row(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = run.source.test
    Image.fromarray(test.x[test.rows[5], 0].numpy()).save(tmp_path / "five.png")
    words = ("--file", tmp_path / "five.png", "--split", "test", "-n", "3", "--out", tmp_path / "n.png")
    assert call("neighbours", run.path, *words) == 0
    assert "by codes" in capsys.readouterr().out
    assert min(picture(tmp_path / "n.png")) > 200
    found = lowerbound.neighbours(run, file=str(tmp_path / "five.png"), split="test", k=3)
    for by in ("codes", "pixels"):
        assert found.places[by][0] == 5
        assert found.distances[by][0] == pytest.approx(0, abs=1e-5)
    other = lowerbound.neighbours(run, 5, split="test", k=179)
    assert 5 not in other.places["codes"]  # an image is not its own neighbour
    assert other.places["pixels"][:2] == found.places["pixels"][1:]
    codes = lowerbound.embed(run, "test")[0]
    far = (codes - codes[5]).norm(dim=1)
    assert other.places["codes"] == [int(i) for i in far.argsort(stable=True) if i != 5]
    assert other.table()[0].keys() == {"by", "image", "label", "distance"}


def test_bits_are_compared_with_bits(tmp_path: Path) -> None:
    """Training images of a dynamic run are grey until they are drawn; distances of bits are roots of whole numbers."""
    options: dict[str, Any] = {"latents": 2, "progress": False, "set": ("data.binarise=dynamic", "train.epochs=1")}
    found = lowerbound.neighbours(lowerbound.fit("digits", out=tmp_path / "r", **options), 0, k=20)
    squares = torch.tensor(found.distances["pixels"]).square()
    torch.testing.assert_close(squares, squares.round(), rtol=0, atol=1e-4)
    images = torch.cat([found.data.split.images(i, i + 1) for i in found.places["pixels"]])
    assert set(images.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close((images - found.query).flatten(1).square().sum(1), squares, rtol=0, atol=1e-4)


def test_no_image_is_refused_before_torch_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys; from lowerbound.cli import main; c = main(['neighbours', 'r']); print(c, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "2 False\n"
    assert done.stderr == "lowerbound: Give one image: --image ROW of the held-out images, or --file IMAGE.\n"


def test_neighbours_that_are_not_there_are_refused(run: Run, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "nine.png")
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "Give one image"),
        ({"image": 1, "file": "x.png"}, "Give one image"),
        ({"image": 180}, "no image 180 in the test split of 180"),
        ({"image": 1, "k": 0}, "-n is 0"),
        ({"file": str(tmp_path / "nine.png")}, "1×9×9, and the model"),
        ({"file": str(tmp_path / "none.png")}, "cannot be read"),
    ]
    for arguments, says in cases:
        with pytest.raises((UsageError, DataError), match=says):
            lowerbound.neighbours(run, **arguments)


def test_codes_have_a_place_in_a_plane(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("embed", run.path, "--out", tmp_path / "a") == 0
    with np.load(tmp_path / "a.npz") as found:
        plane, _ = explore.pca(torch.from_numpy(found["codes"]))
        assert np.array_equal(found["plane"], plane.numpy())
    row = table(tmp_path / "a.csv")[7]
    assert [float(row["plane_x"]), float(row["plane_y"])] == plane[7].double().tolist()
    assert min(picture(tmp_path / "a.png")) > 400
    assert call("embed", run.path, "--plane", "none", "--out", tmp_path / "b") == 0
    assert not (tmp_path / "b.png").exists()
    with np.load(tmp_path / "b.npz") as found:
        assert set(found) == {"codes", "labels", "rows"}
    monkeypatch.setitem(sys.modules, "umap", None)  # not installed, whether it is or not
    with pytest.raises(UsageError, match=r"pip install 'lowerbound\[umap\]'"):
        explore.umap(torch.rand(10, 3))
    with pytest.raises(UsageError, match="too few"):
        explore.umap(torch.rand(3, 3))
