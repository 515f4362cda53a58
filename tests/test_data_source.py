"""Sources: the stream of training batches, the splits and binarisation."""

import json
import re
import shlex
import sys
from dataclasses import replace
from importlib import import_module
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lowerbound.data import SOURCES, Source, locate, order, tensor
from lowerbound.data.prepare import cut
from lowerbound.errors import DataError, UsageError


def grey(n: int = 200, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (n, 1, 3, 5), generator=generator, dtype=torch.uint8)


@given(
    n=st.integers(1, 50),
    seed=st.integers(0, 2**40),
    sizes=st.lists(st.integers(0, 70), min_size=1, max_size=8),
)
@settings(max_examples=100, deadline=None)
def test_order_does_not_depend_on_how_it_is_cut(n: int, seed: int, sizes: list[int]) -> None:
    whole = order(n, seed, 0, sum(sizes))
    starts = np.cumsum([0, *sizes])
    pieces = [order(n, seed, int(s), c) for s, c in zip(starts, sizes, strict=False)]
    assert torch.equal(torch.cat(pieces), whole)


@given(n=st.integers(1, 60), seed=st.integers(0, 2**40), epoch=st.integers(0, 5))
@settings(max_examples=50, deadline=None)
def test_every_epoch_is_a_permutation(n: int, seed: int, epoch: int) -> None:
    assert sorted(order(n, seed, epoch * n, n).tolist()) == list(range(n))


def test_order_differs_between_epochs_and_seeds_and_is_not_shared() -> None:
    first = order(100, 0, 0, 100)
    assert not torch.equal(first, order(100, 0, 100, 100))
    assert not torch.equal(first, order(100, 1, 0, 100))
    kept = first.clone()
    first.zero_()  # the caller's own: what is cached must not change
    assert torch.equal(order(100, 0, 0, 100), kept)
    with pytest.raises(UsageError, match="no positions"):
        order(0, 0, 0, 1)


@pytest.mark.parametrize("binarise", ["none", "dynamic", "static", "threshold"])
def test_batches_do_not_depend_on_their_size(binarise: str) -> None:
    source = tensor(grey(), labels=torch.arange(200), binarise=binarise)
    whole, targets = source.batch(0, 400, seed=3)
    assert whole.dtype == torch.float32
    assert whole.shape == (400, 1, 3, 5)
    for size in (1, 7, 64, 100, 399):
        parts = [source.batch(s, min(size, 400 - s), seed=3) for s in range(0, 400, size)]
        assert torch.equal(torch.cat([x for x, _ in parts]), whole)
        assert torch.equal(torch.cat([y for _, y in parts]), targets)
    assert not torch.equal(whole, source.batch(0, 400, seed=4)[0])


def test_batch_changes_no_generator_and_ignores_it() -> None:
    source = tensor(grey(), binarise="dynamic")
    before = torch.get_rng_state()
    first = source.batch(0, 64, seed=0)[0]
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)
    assert torch.equal(first, source.batch(0, 64, seed=0)[0])


def test_images_and_labels_stay_together() -> None:
    x = torch.arange(100, dtype=torch.uint8).view(100, 1, 1, 1).expand(100, 1, 2, 2)
    source = tensor(x, labels=torch.arange(100))
    seen = []
    for split in ("train", "validation", "test"):
        for images, labels in source.blocks(split, size=7):
            assert torch.equal((images[:, 0, 0, 0] * 255).round().long(), labels)
            seen += labels.tolist()
    assert sorted(seen) == list(range(100))
    images, labels = source.batch(5, 33, seed=1)
    assert torch.equal((images[:, 0, 0, 0] * 255).round().long(), labels)
    assert set(labels.tolist()) <= set(source.train.rows.tolist())


@given(
    n=st.integers(3, 500),
    test=st.one_of(st.integers(0, 100), st.floats(0.01, 0.5)),
    validation=st.one_of(st.integers(0, 100), st.floats(0.01, 0.5)),
)
@settings(max_examples=100, deadline=None)
def test_splits_are_disjoint_complete_sorted_and_seeded(n: int, test: float, validation: float) -> None:
    shares = {"test": test, "validation": validation}
    expected = {name: s if isinstance(s, int) else max(1, round(s * n)) for name, s in shares.items()}
    if sum(expected.values()) >= n:
        with pytest.raises(DataError, match="none to train on"):
            cut(n, test=test, validation=validation)
        return
    parts = cut(n, test=test, validation=validation)
    rows = torch.cat(list(parts.values()))
    assert sorted(rows.tolist()) == list(range(n))
    assert len(parts["train"]) >= 1
    for name, part in parts.items():
        assert part.tolist() == sorted(part.tolist())
        assert torch.equal(part, cut(n, test=test, validation=validation)[name])
    assert all(len(parts[name]) == count for name, count in expected.items())


def test_the_test_split_does_not_move_with_the_validation_share() -> None:
    first, second = cut(100, test=10, validation=10), cut(100, test=10, validation=50)
    assert torch.equal(first["test"], second["test"])


@pytest.mark.parametrize("share", [-1, 1.5, 0.0, float("nan")])
def test_shares_without_meaning_are_refused(share: float) -> None:
    with pytest.raises(UsageError, match="fraction between 0 and 1"):
        cut(10, test=0, validation=share)


def test_nothing_left_to_train_on() -> None:
    with pytest.raises(DataError, match=r"Of 5 images, 3 for validation and 2 for the test"):
        tensor(grey(5), validation=3, test=2)


def test_dynamic_draws_have_the_grey_values_as_means() -> None:
    """Of all seeds, 3 in 10^8 would fail: 15 pixels at 6 standard errors (and the seed is fixed)."""
    p = torch.linspace(0, 1, 15).view(1, 1, 3, 5)
    source = tensor(p.repeat(20, 1, 1, 1), binarise="dynamic", validation=0, test=0)
    n = 20_000
    x, _ = source.batch(0, n, seed=0)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    error = (x.mean(0) - p[0]).abs()
    assert (error <= 6 * (p[0] * (1 - p[0])).sqrt() / sqrt(n)).all()  # exact at p = 0 and 1


def test_evaluation_draws_the_bits_of_a_training_image_once_wherever_it_stands() -> None:
    """Of 400 draws of 9 pixels a mean is off by 6 standard errors once in 10^8."""
    grey_ones = torch.rand(500, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    source = tensor(grey_ones, labels=torch.arange(500), binarise="dynamic", validation=50, test=50)
    x, rows = (torch.cat(parts) for parts in zip(*source.blocks("train", 7), strict=True))
    assert torch.equal(rows, source.train.rows)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert float((x - grey_ones[rows]).mean().abs()) < 6 * 0.5 / sqrt(x.numel())
    assert torch.equal(x, source.part("train").images())
    some = torch.tensor([333, 5, 5, 201])
    moved = replace(source.part("train"), rows=source.train.rows[some])
    assert torch.equal(moved.images(), x[some])
    assert torch.equal(moved.images(1, 3), x[some[1:3]])
    assert moved.images(4).shape == (0, 1, 3, 3)


@pytest.mark.parametrize("binarise", ["none", "static", "threshold"])
def test_what_is_evaluated_is_what_is_trained_on_but_for_dynamic_bits(binarise: Any) -> None:
    source = tensor(grey(), binarise=binarise)
    assert torch.equal(source.part("train").images(), source.train.images())
    with pytest.raises(UsageError, match="no split 'tests'"):
        source.part("tests")


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_dynamic_keeps_training_grey_and_fixes_the_rest(kind: torch.dtype) -> None:
    x = grey(300) if kind == torch.uint8 else grey(300).float() / 255
    kept = x.clone()
    source = tensor(x, binarise="dynamic")
    assert torch.equal(x, kept), "the caller's tensor was changed"
    assert torch.equal(source.train.images(), tensor(x).train.images())
    for split in ("validation", "test"):
        (images, _) = next(source.blocks(split))
        assert set(images.unique().tolist()) == {0.0, 1.0}
        again = next(tensor(x, binarise="dynamic").blocks(split))[0]
        assert torch.equal(images, again)
    draws = [source.batch(0, 240, seed=s)[0].mean().item() for s in (0, 1)]
    assert draws[0] != draws[1]


def test_static_and_threshold_are_bits_once_and_for_all() -> None:
    x = grey(300)
    threshold = tensor(x, binarise="threshold")
    assert torch.equal(threshold.train.x == 255, x >= 128)
    static = tensor(x, binarise="static")
    assert set(static.train.x.unique().tolist()) == {0, 255}
    assert torch.equal(static.train.x, tensor(x, binarise="static", validation=7).train.x)
    assert "not the file behind published static numbers" in " ".join(static.info["notes"])
    rough = static.train.x.float().mean() - x.float().mean()
    assert abs(rough) < 6 * 127.5 / sqrt(x.numel())  # a mean of 4,500 bits, 6 standard errors


def test_real_numbers_are_not_binarised() -> None:
    with pytest.raises(UsageError, match="not all in"):
        tensor(torch.randn(100, 2), binarise="dynamic")


def test_to_moves_a_shared_tensor_once() -> None:
    source = tensor(grey(), labels=torch.arange(200)).to("meta")
    assert source.train.x.device.type == "meta"
    assert source.train.x is source.validation.x is source.test.x
    assert source.test.labels is source.train.labels


def test_blocks_refuse_what_is_not_a_split_at_once() -> None:
    source = tensor(grey())
    with pytest.raises(UsageError, match="did you mean 'validation'"):
        source.blocks("validate")
    with pytest.raises(UsageError, match="at least 1"):
        source.blocks("test", size=0)
    empty = tensor(grey(), test=0)
    assert list(empty.blocks("test")) == []
    assert len(empty.test) == 0


TOYS = ["moons", "circles", "pinwheel", "swiss-roll", "eight-gaussians", "checkerboard"]


@pytest.mark.parametrize("name", TOYS)
def test_toys(name: str) -> None:
    source = SOURCES[name](n=500, seed=1)
    assert isinstance(source, Source)
    assert source.shape == (2,)
    assert not source.unit
    assert source.train.x.isfinite().all()
    assert source.train.x.dtype == torch.float32
    assert torch.equal(source.train.x, SOURCES[name](n=500, seed=1).train.x)
    assert not torch.equal(source.train.x, SOURCES[name](n=500, seed=2).train.x)
    assert (len(source.train), len(source.validation), len(source.test)) == (400, 50, 50)
    assert source.train.x.std() > 0.3
    assert json.loads(json.dumps(source.info)) == source.info


def test_toys_have_their_shapes() -> None:
    circles = SOURCES["circles"](n=100, noise=0.0).train
    assert torch.allclose(circles.x.norm(dim=1), 1 - 0.5 * circles.labels, atol=1e-6)
    corners = SOURCES["checkerboard"](n=1000).train.x.floor().long()
    assert (corners.sum(1) % 2 == 0).all()
    assert len(corners.unique(dim=0)) == 8
    eight = SOURCES["eight-gaussians"](n=80, noise=0.0).train.x
    assert len(eight.mul(1e4).round().unique(dim=0)) == 8
    moons = SOURCES["moons"](n=200, noise=0.0).train
    centre = torch.stack([moons.labels.float(), moons.labels / 2], 1)
    assert torch.allclose((moons.x - centre).norm(dim=1), torch.ones(200), atol=1e-5)


def test_digits() -> None:
    source = SOURCES["digits"](validation=100, test=200)
    assert source.shape == (1, 8, 8)
    assert source.unit
    assert source.train.x.dtype == torch.uint8
    assert (len(source.train), len(source.validation), len(source.test)) == (1497, 100, 200)
    assert source.train.x.max() == 255
    assert set(source.train.labels.tolist()) == set(range(10))
    assert json.loads(json.dumps(source.info)) == source.info
    values, labels = import_module("sklearn.datasets").load_digits(return_X_y=True)  # by which they are handed out
    assert torch.equal(source.train.targets(), torch.from_numpy(labels)[source.train.rows])
    assert torch.equal(source.train.x.flatten(1), torch.from_numpy(values * 255 / 16).round())


def test_digits_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(DataError, match=re.escape(f"{shlex.quote(sys.executable)} -m pip install scikit-learn")):
        SOURCES["digits"]()


def test_locate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "mnist").mkdir()
    np.save(tmp_path / "x.npy", np.zeros(3))
    (tmp_path / "one.png").touch()
    assert locate("mnist") == {"kind": "mnist"}  # a name wins; ./mnist is the folder
    assert locate("./mnist") == {"kind": "folder", "path": "./mnist"}
    assert locate("photos") == {"kind": "folder", "path": "photos"}
    assert locate("x.npy") == {"kind": "array", "path": "x.npy"}
    with pytest.raises(DataError, match=r"neither \.npy nor \.npz"):
        locate("one.png")
    with pytest.raises(DataError, match=r"'mnits'; did you mean 'mnist'\? Known: checkerboard"):
        locate("mnits")
    with pytest.raises(DataError, match="no data set"):
        locate("")
    with pytest.raises(DataError, match=r"no file or folder 'none\.npy': it was looked for in "):
        locate("none.npy")
