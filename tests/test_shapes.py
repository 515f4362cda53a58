"""`shapes`: each factor changes the image as it is said to, the bytes are the same everywhere, and so is the draw."""

import hashlib
import json
import re
from math import pi

import pytest
import torch
from torch import Tensor

from lowerbound import spec
from lowerbound.data import SOURCES, shapes, tensor
from lowerbound.data.shapes import AREA, COMBINATIONS, FACTORS, PERIODS, combination, render
from lowerbound.data.source import SPLITS
from lowerbound.errors import DataError, UsageError

make = SOURCES["shapes"]
# of all shapes, scales and orientations in the middle, and of 1,000 images of the default draw
STAMPS = "0d10b4b96a632c8f8d5dc0b75dee8c67527087badc3f3884341a27b056762314"
DRAW = "639bc0d952e2c1dd2cc28a1c78dc55d9527c48e8ece5a2bf7c4f57001b00731c"


def every(**fixed: int) -> Tensor:
    """The factors of all combinations in which some are fixed."""
    ranges = [torch.tensor([fixed[name]]) if name in fixed else torch.arange(size) for name, size in FACTORS.items()]
    return torch.cartesian_prod(*ranges)


def white(images: Tensor) -> Tensor:
    return (images[:, 0] > 0).double()


def centre(images: Tensor) -> Tensor:
    """The mean column and row of the white pixels."""
    mass, at = white(images), torch.arange(64).double()
    return torch.stack([mass.sum(1) @ at, mass.sum(2) @ at], 1) / mass.sum((1, 2))[:, None]


def sha(images: Tensor) -> str:
    return hashlib.sha256(images.numpy().tobytes()).hexdigest()


def test_there_are_as_many_combinations_as_in_dsprites_and_each_has_its_number() -> None:
    assert COMBINATIONS == 737_280
    assert torch.equal(combination(torch.arange(COMBINATIONS)), every())


def test_x_moves_the_image_right_and_y_down_a_pixel_a_step_and_nothing_is_cut() -> None:
    for shape in range(3):
        factors = every(shape=shape, scale=5, orientation=7)
        images = render(factors)
        moved = centre(images) - centre(images[:1])
        assert torch.allclose(moved, factors[:, 3:].double(), atol=1e-9)
        assert white(images).sum((1, 2)).unique().numel() == 1  # the same pixels everywhere: none is beyond the edge


def test_a_shape_stands_in_the_middle_of_its_place() -> None:
    """Its centre of mass is the place to a third of a pixel: the pixels are whole, and the heart has no symmetry."""
    images = render(every(x=16, y=16))
    assert (centre(images) - 32).abs().max() < 1 / 3
    corners = render(torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 31, 31]]))
    assert centre(corners).tolist() == [[16, 16], [47, 47]]  # of pixels 0 to 63, whose middle is 31.5


def test_the_area_grows_with_the_scale_and_is_that_of_every_shape_and_orientation() -> None:
    """(5 + scale)² / 100 of the largest; a pixel is white or not: a few in a hundred either way."""
    factors = every(x=16, y=16)
    areas = white(render(factors)).sum((1, 2)).view(3, 6, 40)
    expected = AREA * (torch.arange(6) + 5.0).pow(2) / 100
    assert torch.allclose(areas.mean(2), expected.double().expand(3, 6), rtol=0.03)
    assert torch.allclose(areas, expected.double()[:, None].expand(3, 6, 40), rtol=0.12)
    assert (areas.diff(dim=1) > 0).all()


def test_an_orientation_turns_clockwise_and_a_square_and_an_ellipse_have_their_symmetry() -> None:
    for shape, period in enumerate(PERIODS):
        images = render(every(shape=shape, scale=5, x=16, y=16))
        assert torch.equal(images, images.roll(period, 0))
        assert len(images.flatten(1).unique(dim=0)) == period
    heart = render(every(shape=2, scale=5, x=16, y=16))[:, 0]
    quarter = torch.rot90(heart[0, 15:50, 15:50], -1, (0, 1))  # clockwise, about the pixel (32, 32)
    assert torch.equal(quarter, heart[10, 15:50, 15:50])


def test_the_principal_axis_of_an_ellipse_turns_by_nine_degrees_a_step() -> None:
    """The angle of the first principal axis of the white pixels, clockwise from the right, to two degrees."""
    for k, image in enumerate(white(render(every(shape=1, scale=5, x=16, y=16)))[:20]):
        y, x = image.nonzero().double().T
        second = torch.cov(torch.stack([x, y]))
        angle = 0.5 * torch.atan2(2 * second[0, 1], second[0, 0] - second[1, 1])
        off = (angle - k * pi / 20 + pi / 2) % pi - pi / 2
        assert off.abs() < 2 * pi / 180


def test_the_shapes_are_what_they_are_called() -> None:
    """A square fills its box, an ellipse π/4 of it and is twice as wide as high; a heart has two lobes over a tip."""
    square, ellipse, heart = white(render(every(scale=5, orientation=0, x=16, y=16)))
    boxes = [image[image.any(1)][:, image.any(0)] for image in (square, ellipse, heart)]
    assert boxes[0].shape == (19, 19)
    assert boxes[0].all()
    assert boxes[1].shape == (15, 31)
    assert float(boxes[1].mean()) == pytest.approx(pi / 4, abs=0.03)
    runs = [int((row.diff() == 1).sum() + row[0]) for row in boxes[2]]
    widths = boxes[2].sum(1)
    assert (runs[0], runs[-1]) == (2, 1)
    assert widths[-1] <= 3 < widths[len(widths) // 3]


def test_the_bytes_are_the_same_everywhere() -> None:
    """Whole numbers decide on every pixel, so a machine that rounds otherwise gives the same images."""
    assert sha(render(every(x=16, y=16))) == STAMPS
    assert sha(make(count=1000).train.x) == DRAW


def test_a_draw_has_no_combination_twice_and_none_is_in_two_splits() -> None:
    source = make(count=3000, seed=3, validation=300, test=0.2)
    assert [len(getattr(source, name)) for name in SPLITS] == [2100, 300, 600]
    parts = [getattr(source, name).factors[getattr(source, name).rows] for name in SPLITS]
    assert torch.cat(parts).unique(dim=0).shape == (3000, 5)
    for name, part in zip(SPLITS, parts, strict=True):
        split = getattr(source, name)
        assert torch.equal(split.x[split.rows], render(part))
        assert torch.equal(split.targets(), part[:, 0])
    assert not torch.equal(source.train.factors, make(count=3000, seed=4).train.factors)


def test_a_draw_is_uniform_over_the_values_of_each_factor() -> None:
    """χ² of 5 factors' counts, 108 degrees of freedom in all; beyond 168 one draw in 10,000 would be refused."""
    factors = make(count=20_000).train.factors
    total = 0.0
    for column, size in zip(factors.T, FACTORS.values(), strict=True):
        expected = len(factors) / size
        total += float(((column.bincount(minlength=size) - expected) ** 2 / expected).sum())
    assert total < 168
    assert (factors[:100, 0].bincount(minlength=3) > 10).all()  # not in order: the first images show all shapes


def test_it_says_what_it_is_in_json() -> None:
    source = make(count=100)
    assert (source.shape, source.unit, source.binarise) == ((1, 64, 64), True, "none")
    assert source.train.x.unique().tolist() == [0, 255]
    assert json.loads(json.dumps(source.info)) == source.info
    assert source.info["factors"] == {"shape": 3, "scale": 6, "orientation": 40, "x": 32, "y": 32}
    assert source.info["files"][0]["sha256"] == sha(source.train.x)
    moved = source.to("cpu")
    assert torch.equal(moved.test.factors, source.test.factors)
    assert moved.test.x.data_ptr() == source.test.x.data_ptr()


def test_factors_that_do_not_exist_are_refused() -> None:
    for row in ([3, 0, 0, 0, 0], [0, 0, 0, 0, -1]):
        with pytest.raises(UsageError, match=re.escape(f"There is no image {row}: shape, scale, orientation, x, y go")):
            render(torch.tensor([[0, 0, 0, 0, 0], row]))
    assert render(torch.empty(0, 5, dtype=torch.int64)).shape == (0, 1, 64, 64)


def test_more_than_the_memory_holds_is_refused_with_what_would_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "_memory", lambda: 10**8)
    with pytest.raises(DataError, match=r"3\.02 GB of memory, and 0\.10 GB are free.*data\.count=12000"):
        make(count=COMBINATIONS)
    assert len(make(count=200).train) == 160


def test_the_memory_that_is_there_is_found() -> None:
    assert 10**8 < shapes._memory() < 10**14


@pytest.mark.parametrize("value", ["2", "737281", "0.5"])
def test_a_count_without_meaning_is_refused(value: str) -> None:
    with pytest.raises(UsageError, match=r"data\.count is"):
        spec.complete("data", {"kind": "shapes", "count": json.loads(value)}, "data")


def test_data_in_memory_may_have_factors_too() -> None:
    factors = torch.randint(5, (60, 3))
    source = tensor(torch.rand(60, 4), factors=factors)
    assert torch.equal(source.test.factors, factors)
    for wrong, words in ((factors[:, 0], "60: a row for each"), (factors[:9], "of factor 0"), (factors / 2, "whole")):
        with pytest.raises(DataError, match=words):
            tensor(torch.rand(60, 4), factors=wrong)
