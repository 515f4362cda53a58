"""The section on samples: what is compared with what, in whose features, and when it is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lowerbound import data, figures, likelihood, metrics, nets, posterior, prior, rng
from lowerbound.data import Source
from lowerbound.errors import UsageError
from lowerbound.evaluation import Section, Settings, Subject, samples
from lowerbound.run import Run
from lowerbound.vae import VAE

KINDS = ("samples", "reconstructions", "floor")


def few(x: Tensor) -> Tensor:
    """Nine features: means of parts of an image of 8 x 8 pixels."""
    return torch.nn.functional.adaptive_avg_pool2d(x, 3).flatten(1)


def measured(run: Run, split: str = "test", **options: Any) -> Section:
    return samples.measure(Subject(run, split, Settings(**options)))


def opened(source: Source) -> Run:
    """A run of these data whose model was never trained: what is compared with what does not depend on that."""
    run, shape = Run(Path("nowhere"), {}), source.shape
    with rng.noise(0, "weights"):
        net = VAE(
            posterior.Gaussian(nets.MLP(shape), 3), prior.Standard(3), likelihood.Bernoulli(nets.MLP((3,), shape))
        )
    vars(run).update(model=net.eval(), source=source)  # as if they had been read
    return run


@pytest.fixture(scope="module")
def binary() -> Run:
    return opened(data.SOURCES["digits"](binarise="dynamic"))


@pytest.fixture(scope="module")
def grey() -> Run:
    return opened(data.SOURCES["digits"]())


@pytest.fixture(scope="module")
def section(binary: Run) -> Section:
    return measured(binary, features=few)


def test_three_kinds_stand_side_by_side_and_the_floor_is_the_best(section: Section) -> None:
    values = json.loads(json.dumps(section.values, allow_nan=False))
    assert values["features"] == {"name": "few", "sha256": None, "size": 9}
    assert (values["n"], values["split"], values["drawn"]) == (90, "test", True)
    for kind in KINDS:
        for name in ("frechet", "kid", "precision", "recall", "density", "coverage", "c2st"):
            found = values[kind][name]
            assert found["low"] <= found["value"] <= found["high"], (kind, name)
    assert values["floor"]["frechet"]["value"] < values["samples"]["frechet"]["value"]
    assert values["floor"]["coverage"]["value"] > values["samples"]["coverage"]["value"]
    head, *rows = section.rows
    assert head == ("", "samples", "reconstructions", "held-out")
    assert [row[0] for row in rows[:7]] == [
        "Fréchet distance", "KID", "precision", "recall", "density", "coverage", "told apart",
    ]  # fmt: skip
    assert all(len(row) == 4 for row in rows[:7])
    words = " ".join(section.notes)
    for said in (
        "no Inception-FID",
        "90 images",
        "few",
        "drawn from p(x|z)",
        "95 %",
        f"{values['expected_coverage']:.3f}",
    ):
        assert said in words


def test_the_figures_are_those_of_the_plain_functions_on_the_same_images(binary: Run, section: Section) -> None:
    subject = Subject(binary, "test", Settings(features=few))
    sets = samples._sets(subject)
    given = {name: metrics.extract(few, x) for name, x in vars(sets).items()}
    for kind in KINDS:
        found = section.values[kind]
        assert found["frechet"]["value"] == metrics.frechet(given["reference"], given[kind])
        assert found["kid"]["value"] == metrics.kid(given["reference"], given[kind])
        four = vars(metrics.prdc(given["reference"], given[kind]))
        assert {name: found[name]["value"] for name in four} == four
        assert found["c2st"]["value"] == metrics.told_apart(given["reference"], given[kind]).accuracy


def test_reference_and_floor_are_disjoint_halves_of_the_split(binary: Run) -> None:
    """And not the first and the last: data may stand in the order of their classes."""
    subject = Subject(binary, "test")
    sets, whole = samples._sets(subject), binary.source.test.images()
    rows = [{tuple(row.flatten().tolist()) for row in part} for part in (sets.reference, sets.floor)]
    assert {tuple(row.flatten().tolist()) for row in whole} == rows[0] | rows[1]
    assert len(rows[0] & rows[1]) <= len(whole) - len({tuple(row.flatten().tolist()) for row in whole})
    assert not torch.equal(sets.reference, whole[:90])


def test_binarised_data_get_drawn_images_and_grey_data_get_means(binary: Run, grey: Run) -> None:
    for run, drawn in ((binary, True), (grey, False)):
        sets = samples._sets(Subject(run, "test"))
        for x in (sets.samples, sets.reconstructions):
            assert bool(((x == 0) | (x == 1)).all()) == drawn
            assert 0 <= float(x.min()) <= float(x.max()) <= 1
    torch.testing.assert_close(sets.reconstructions, grey.model.reconstruct(sets.floor).detach())


def test_a_model_that_loses_nothing_has_the_floors_figures(grey: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VAE, "reconstruct", lambda self, x: x)
    values = measured(grey, features=few).values
    assert values["reconstructions"] == values["floor"]


def test_copies_are_looked_for_among_all_training_images_binarised_as_the_samples_are(binary: Run) -> None:
    subject = Subject(binary, "test")
    trained, others = samples._searched(subject)
    assert (len(trained), len(others)) == (1437, 360)
    assert bool(((trained == 0) | (trained == 1)).all())
    found = measured(binary).values["memorisation"]
    assert (found["trained"], found["held_out"]) == (1437, 360)
    assert found["expected"] == 1437 / 1797
    assert found["p"] > 0.001


def test_a_model_that_gives_training_images_is_found_to(grey: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = grey.source.train.images(0, 90)
    monkeypatch.setattr(VAE, "sample", lambda self, n, **_: copies[:n])
    section = measured(grey)
    assert section.values["memorisation"]["excess"] == pytest.approx(1)
    assert section.values["memorisation"]["p"] < 1e-4
    assert section.values["memorisation"]["median_distance"] == 0
    assert "They are nearer to the first" in " ".join(section.notes)


def test_few_values_are_searched_where_memory_is_short(binary: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "SEARCHED", 64 * 500)
    trained, others = samples._searched(Subject(binary, "test"))
    assert 495 <= len(trained) + len(others) <= 505
    assert len(trained) == pytest.approx(400, abs=2)


def test_data_without_features_have_copies_alone_and_words(grey: Run) -> None:
    section = measured(grey)
    assert section.values["features"] is None
    assert all(section.values[kind] is None for kind in KINDS)
    assert section.values["memorisation"] is not None
    assert "these data are digits" in " ".join(section.notes)
    assert [row[0] for row in section.rows] == ["nearest is a training image", "excess, 100% if all are copies"]
    assert [picture.name for picture in section.pictures] == ["copies"]


def test_more_features_than_images_leave_out_frechets_distance_alone(grey: Run) -> None:
    section = measured(grey, features=lambda x: torch.cat([x.flatten(1), x.flatten(1).sqrt()], 1))
    assert section.values["samples"]["frechet"] is None
    assert section.values["samples"]["kid"]["value"] > section.values["floor"]["kid"]["value"]
    assert "No Fréchet distance" in " ".join(section.notes)
    assert "Fréchet distance" not in [row[0] for row in section.rows]


def test_wrong_features_too_few_images_and_nan_are_refused(grey: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="the shape"):
        measured(grey, features=lambda x: x)
    monkeypatch.setattr(VAE, "sample", lambda self, n, **_: torch.full((n, 1, 8, 8), torch.nan))
    with pytest.raises(UsageError, match="90 of 90 samples of VAE"):
        measured(grey, features=few)
    one = replace(grey.source, test=replace(grey.source.test, rows=grey.source.test.rows[:1]))
    monkeypatch.setitem(vars(grey), "source", one)
    with pytest.raises(UsageError, match=r"too few images \(1\): 100 are needed"):
        measured(grey, features=few)


def test_a_model_that_cannot_be_drawn_from_is_refused_on_binarised_data(
    binary: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(self: VAE, z: torch.Tensor, *, seed: int, first: int = 0) -> None:
        raise UsageError("It has no single p(x|z).")

    monkeypatch.setattr(VAE, "draw", none)
    with pytest.raises(UsageError, match=r"data are binarised.*no single p\(x\|z\)"):
        measured(binary)


def test_vectors_are_looked_at_for_copies() -> None:
    x = torch.rand(1200, 2)
    section = measured(opened(data.tensor(x, validation=0, test=200)))
    assert (section.values["memorisation"]["trained"], section.values["memorisation"]["held_out"]) == (1000, 200)
    assert section.pictures == []
    alone = measured(opened(data.tensor(x, validation=0, test=0)), "train")
    assert alone.values["memorisation"] is None


def test_the_seed_alone_decides_and_the_callers_randomness_is_left_alone(binary: Run) -> None:
    torch.manual_seed(3)
    before, grads = torch.get_rng_state(), [p.grad for p in binary.model.parameters()]
    first, again = (measured(binary, features=few).values for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert first == again != measured(binary, features=few, seed=1).values
    assert all(a is p.grad for a, p in zip(grads, binary.model.parameters(), strict=True))


def test_mnist_is_measured_in_the_features_that_came_with_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "SIZE", 100)
    monkeypatch.setattr(samples, "SEARCHED", 784 * 600)
    section = measured(opened(data.SOURCES["mnist"]()))
    known = metrics.shipped("mnist")
    assert section.values["features"] == {"name": "mnist", "sha256": known.sha256, "size": 64}
    assert section.values["samples"]["frechet"]["value"] > section.values["floor"]["frechet"]["value"]
    assert section.values["samples"]["c2st"]["value"] > 0.8
    assert known.sha256[:12] in " ".join(section.notes)


# ---- pictures


def test_every_measure_has_a_panel_and_every_kind_a_dot(section: Section) -> None:
    picture = next(p for p in section.pictures if p.name == "measures")
    axes = picture.figure.axes
    assert len(axes) == 7
    for ax in axes:
        assert [label.get_text() for label in ax.get_yticklabels()] == ["samples", "reconstructions", "held-out"]
        assert len(ax.lines) == 6
    dots = [line for line in axes[0].lines if line.get_marker() == "o"]
    assert [float(dot.get_xdata()[0]) for dot in dots] == [section.values[k]["frechet"]["value"] for k in KINDS]  # type: ignore[index,arg-type]


def test_pairs_show_their_distance() -> None:
    x = torch.rand(10, 1, 8, 8)
    figure = figures.copies(x, x.flip(0), torch.arange(10.0))
    assert [ax.get_xlabel() for ax in figure.axes] == [f"{i}.00" for i in range(10)]
    for draw in (lambda: figures.copies(x[:0], x[:0], torch.ones(0)), lambda: figures.measures({})):
        with pytest.raises(UsageError, match="There are no"):
            draw()
