"""Every example in a public docstring runs, and every public name has a docstring that says something."""

import doctest
import importlib
import inspect

import pytest

import cftransfer as cft

HOMES = sorted({f"cftransfer.{home}" for home in cft._HOMES.values()})
WITH_EXAMPLES = (
    "dataset",
    "judge",
    "measure",
    "search",
    "train",
    "Model",
    "TransferabilityRate",
    "FeatureSpace",
    "ask",
    "noisy_execution",
    "plan",
    "plausibility",
)


@pytest.mark.parametrize("home", HOMES)
def test_examples_run(home):
    assert doctest.testmod(importlib.import_module(home)).failed == 0


@pytest.mark.parametrize("name", cft.__all__)
def test_every_public_name_is_documented(name):
    thing = getattr(cft, name)
    assert len(inspect.getdoc(thing)) > 60
    if inspect.isfunction(thing):
        documented = inspect.getdoc(thing)
        for parameter in inspect.signature(thing).parameters:
            assert parameter in documented, f"{name}: {parameter} is not documented"


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_what_one_meets_first_has_an_example(name):
    assert ">>>" in inspect.getdoc(getattr(cft, name))
