"""The features that came with the library are those that were trained, are good, and refuse what they cannot take."""

import json
import math
from importlib import resources
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lowerbound import data, files, metrics
from lowerbound.errors import DataError, UsageError
from lowerbound.metrics.features import SHIPPED, unpack

FOLDER = resources.files("lowerbound.metrics") / "classifiers"
RESULT = json.loads((Path(__file__).parent.parent / "benchmarks" / "results" / "classifier.json").read_text())


@pytest.mark.parametrize("name", SHIPPED)
def test_the_weights_are_those_that_were_trained_and_small(name: str) -> None:
    found = (FOLDER / f"{name}.safetensors").read_bytes()
    assert files.digest(found) == SHIPPED[name] == RESULT[name]["sha256"]
    assert len(found) < 1_000_000
    assert metrics.shipped(name).sha256 == SHIPPED[name]


def test_every_file_that_ships_is_known() -> None:
    there = {file.name.removesuffix(".safetensors") for file in FOLDER.iterdir()}
    assert there == set(SHIPPED)


def test_a_damaged_file_and_an_unknown_name_are_refused() -> None:
    found = bytearray((FOLDER / "mnist.safetensors").read_bytes())
    found[-1] ^= 1
    with pytest.raises(DataError, match="damaged or changed"):
        unpack(bytes(found), SHIPPED["mnist"])
    with pytest.raises(DataError, match="damaged or changed"):
        unpack(b"", SHIPPED["mnist"])
    with pytest.raises(UsageError, match="did you mean 'mnist'"):
        metrics.shipped("minst")


@pytest.mark.parametrize(("name", "least"), [("mnist", 0.9875), ("fashion-mnist", 0.90)])
def test_the_classifier_is_as_good_as_its_result_says(name: str, least: float) -> None:
    """On 2,000 test images: within 4 binomial deviations of the accuracy on all 10,000, and above a fixed bound."""
    try:
        source = data.SOURCES[name]()
    except DataError as error:  # no mirror is reached, and the system's package is not there
        pytest.skip(str(error))
    rows = torch.randperm(10_000, generator=torch.Generator().manual_seed(0))[:2000]
    x, labels = source.test.images()[rows], source.test.targets()
    assert labels is not None
    net = metrics.shipped(name).net
    with torch.inference_mode():
        right = float((net(x).argmax(1) == labels[rows]).double().mean())
    known = RESULT[name]["test"]["grey"]
    assert abs(right - known) <= 4 * math.sqrt(known * (1 - known) / 2000)
    assert right >= least


def test_the_result_meets_what_the_classifier_was_asked_for() -> None:
    """The test split was read once, by the script; of digits binarised images keep nearly all of the accuracy."""
    assert RESULT["mnist"]["test"]["grey"] >= 0.993
    for name, lost in (("mnist", 0.005), ("fashion-mnist", 0.07)):
        test = RESULT[name]["test"]
        assert min(test["drawn"], test["threshold"]) >= test["grey"] - lost


def test_features_are_the_layer_that_the_logits_are_made_of_and_do_not_depend_on_the_batch() -> None:
    features, x = metrics.shipped("mnist"), torch.rand(7, 1, 28, 28)
    found = metrics.extract(features, x)
    assert found.shape == (7, 64)
    assert bool((found >= 0).all())
    torch.testing.assert_close(features.net.head(found), features.net(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(metrics.extract(features, x, batch=3), found, rtol=1e-4, atol=1e-5)
    assert not features.net.training
    assert not any(p.requires_grad for p in features.net.parameters())


def wider(x: Tensor) -> Tensor:
    return torch.zeros(len(x), len(x))


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (lambda x: x, r"the shape \(4, 1, 2, 2\), and \(4, features\) is needed"),
        (lambda x: x.flatten(1)[:2], r"the shape \(2, 4\)"),
        (lambda x: x.flatten(1).tolist(), "the shape list"),
        (wider, r"the shape \(2, 2\), and \(2, 4\) is needed"),
        (lambda x: x.flatten(1) / 0, "4 of 4 images are not finite"),
        (lambda x: x.flatten(1)[:, :0], "or there are none"),
    ],
)
def test_features_of_a_wrong_size_or_not_finite_are_refused(features: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        metrics.extract(features, torch.ones(6, 1, 2, 2), batch=4)  # type: ignore[arg-type]


def test_own_features_serve_and_no_image_has_none() -> None:
    assert metrics.extract(lambda x: x.mean((1, 2)), torch.ones(3, 1, 2, 5)).shape == (3, 5)
    with pytest.raises(UsageError, match="no images"):
        metrics.extract(lambda x: x, torch.ones(0, 2))
