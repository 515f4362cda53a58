"""Bytes with noise of one level: their stream, the bound on bits that a density then gives, the figures of a run."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

import lowerbound
from lowerbound import metrics
from lowerbound.data import tensor
from lowerbound.errors import UsageError
from lowerbound.evaluation import ledger
from lowerbound.evaluation.base import Subject
from lowerbound.metrics.bits import counts

BYTES = torch.randint(256, (300, 1, 3, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
SOURCE = tensor(BYTES, torch.arange(300), dequantise=True, validation=60, test=40)


def levels(x: Tensor) -> Tensor:
    return (256 * x).floor().byte()


def test_each_value_lies_in_its_own_level_evenly_and_never_at_one() -> None:
    """The noise of 60 epochs: mean within 4.5 deviations of a half, variance of a twelfth (false alarm 1e-5)."""
    x, rows = SOURCE.batch(0, 12_000, seed=3)
    assert rows is not None
    assert torch.equal(levels(x), BYTES[rows])
    u = (256 * x.double() - BYTES[rows]).flatten()
    assert 0 <= u.min() < u.max() < 1
    assert x.max() < 1
    assert abs(u.mean() - 0.5) < 4.5 * (1 / 12 / len(u)) ** 0.5
    assert abs((u - 0.5).square().mean() - 1 / 12) < 4.5 * (1 / 180 / len(u)) ** 0.5


def test_noise_is_new_in_each_epoch_and_does_not_depend_on_how_the_stream_is_cut() -> None:
    n = len(SOURCE.train)
    whole, rows = SOURCE.batch(0, 2 * n, seed=7)
    pieces = [SOURCE.batch(start, min(37, 2 * n - start), seed=7)[0] for start in range(0, 2 * n, 37)]
    assert torch.equal(torch.cat(pieces), whole)
    assert rows is not None
    first, second = (whole[some][rows[some].argsort()] for some in (slice(0, n), slice(n, 2 * n)))
    assert torch.equal(levels(first), levels(second))
    assert (first == second).double().mean() < 1e-3
    assert not torch.equal(SOURCE.batch(0, 5, seed=8)[0], SOURCE.batch(0, 5, seed=7)[0])
    assert SOURCE.batch(4, 0, seed=7)[0].shape == (0, 1, 3, 5)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_evaluation_has_one_draw_of_each_image_in_whatever_order(split: str) -> None:
    part, again = SOURCE.part(split), tensor(BYTES, dequantise=True, validation=60, test=40)
    x = part.images()
    assert torch.equal(levels(x), BYTES[part.rows])
    assert not torch.equal(256 * x, BYTES[part.rows].float())
    assert torch.equal(torch.cat([block for block, _ in again.blocks(split, 7)]), x)
    some = torch.tensor([11, 3, 30])
    assert torch.equal(replace(part, rows=part.rows[some]).images(), x[some])
    assert torch.equal(SOURCE.to("cpu").part(split).images(2, 9), x[2:9])


@pytest.mark.parametrize(
    ("x", "arguments", "says"),
    [
        (BYTES, {"binarise": "static"}, "makes bits, which dequantise"),
        (BYTES, {"binarise": "dynamic"}, "makes bits"),
        (BYTES / 255, {}, "8-bit values, and those of tensor are others"),
        (BYTES.int() * 2, {}, "are others"),
    ],
)
def test_what_has_no_levels_is_refused(x: Tensor, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        tensor(x, dequantise=True, **arguments)


@pytest.mark.parametrize("sigma", [0.002, 0.05, 3.0])
def test_the_bits_of_dequantised_bytes_are_never_fewer_than_those_of_the_bytes(sigma: float) -> None:
    """Of a Gaussian density the probability of a level is a difference of its distribution function; by Jensen the mean
    log density within the level, plus log 1/256, is at most its logarithm, and equal to it where the density is flat.
    """
    k = torch.arange(256.0, dtype=torch.float64)
    p = Normal(torch.tensor(0.4, dtype=torch.float64), sigma)
    inside = ((k[:, None] + (torch.arange(2000) + 0.5) / 2000) / 256)[None]  # the midpoint rule within each level
    near = (p.cdf((k + 1) / 256) - p.cdf(k / 256)) > 1e-12
    log_p = (p.cdf((k + 1) / 256) - p.cdf(k / 256)).log()[near]
    bits = torch.tensor(
        [
            metrics.bits_per_dimension(-float(nats), Independent(Normal(torch.zeros(1), 1.0), 1), width=1 / 256)
            for nats in p.log_prob(inside).mean(2)[0, near]
        ]
    ).double()
    gap = bits + log_p / math.log(2)
    assert gap.min() > -1e-6
    assert (gap.max() < 1e-5) == (sigma == 3.0)


def test_a_density_counts_bits_where_its_data_are_dequantised_and_a_probability_where_they_are_not() -> None:
    x, px = SOURCE.part("test").images(), Independent(Normal(torch.zeros(1, 3, 5), 1.0), 3)
    assert counts(px, x, SOURCE.width)
    assert not counts(px, x)
    assert replace(SOURCE, dequantise=False).width is None


@pytest.mark.parametrize("kind", ["discretised-logistic", "discretised-logistic-mixture", "categorical"])
def test_a_likelihood_of_levels_takes_no_noise_between_them(tmp_path: Any, kind: str) -> None:
    changes = ["data.dequantise=true", f"model.likelihood.kind={kind}"]
    with pytest.raises(UsageError, match=r"256 levels .* lays noise between them\. Leave that out, or take a density"):
        lowerbound.fit("digits", out=tmp_path / "r", set=changes, progress=False)
    assert not (tmp_path / "r").exists()


def test_a_run_of_dequantised_bytes_has_bits_with_their_log_256_everywhere(tmp_path: Any) -> None:
    changes = ("data.dequantise=true", "model.likelihood.kind=gaussian", "train.epochs=1", "data.validation=100")
    run = lowerbound.fit("digits", out=tmp_path / "r", set=changes, progress=False, latents=2)
    assert run.data["dequantise"] is True
    assert run.metrics["likelihood"]["density"] is True
    want = -run.metrics["test"]["elbo"] / (64 * math.log(2)) + 8
    assert run.metrics["test"]["bits_per_dimension"] == pytest.approx(want, rel=1e-9)
    again = lowerbound.load(run.path)
    for split in ("train", "test"):
        section = ledger.measure(Subject(again, split))
        values = section.values
        assert values["bits_per_dimension"] == pytest.approx(-values["elbo"] / (64 * math.log(2)) + 8, rel=1e-9)
        rows = dict(section.rows)
        assert "log 256" in rows["dequantisation"]
        assert rows["likelihood"] == "Gaussian: normalised, a density"
        assert rows["−elbo"].endswith("bits per dimension")
    plain = lowerbound.fit("digits", out=tmp_path / "plain", set=changes[1:], progress=False, latents=2)
    assert "bits_per_dimension" not in plain.metrics["test"]
    assert "data.dequantise=true" in ledger.measure(Subject(plain, "test")).values["bits_refused"]
