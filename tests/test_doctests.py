"""The examples of the docstrings are true."""

import doctest
import importlib

import pytest

from test_structure import MODULES


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(name: str) -> None:
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for example in finder.find(importlib.import_module(name)):
        runner.run(example)
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize(
    "name",
    ["metrics.evaluate", "objective.KL", "objective.FreeBits", "objective.Capacity", "objective.Distortion",
     "objective.ledger", "vae.Trace", "vae.Latent", "vae.pooled"],
)  # fmt: skip
def test_what_one_would_look_up_has_an_example(name: str) -> None:
    module, _, label = name.rpartition(".")
    thing = getattr(importlib.import_module(f"lowerbound.{module}"), label)
    assert doctest.DocTestParser().get_examples(thing.__doc__ or "")
