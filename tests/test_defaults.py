"""A default stands in Python; the option of the command line says the same, with its unit and its reason."""

from inspect import Parameter

import pytest
from conftest import ROOT, composed, is_own, target_of
from omegaconf import OmegaConf

from cftransfer.searching.engine import default_constraints
from cftransfer.targets import parameters

OPTIONS = [
    f"{part}={path.stem}"
    for part in ("dataset", "model", "counterfactual")
    for path in sorted((ROOT / "conf" / part).glob("*.yaml"))
    if target_of(part, path.stem)
    == path.stem  # options of another name, such as strengths for a sweep, differ by design
]


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_says_what_the_python_default_is(option, compas):
    part, _, name = option.partition("=")
    settings = OmegaConf.to_container(composed(option, *["input=table"] * (part != "dataset"))[part], resolve=True)
    takes = parameters(part, settings)
    assert settings.pop("_target_") == name
    if part == "counterfactual":
        assert settings.pop("constraints") == default_constraints(compas.space), f"conf/{part}/{name}.yaml: constraints"
    own = is_own(part, name)
    for key, value in settings.items():
        assert key in takes, f"conf/{part}/{name}.yaml: {name}() takes no {key}"
        default = takes[key].default
        if default is Parameter.empty and own:
            continue  # only the option says a value
        expected = "???" if default is Parameter.empty else as_yaml(default)
        assert value == expected, (
            f"conf/{part}/{name}.yaml: {key} is {value}, and the default of {name}() is {expected}"
        )
    assert settings or own


def as_yaml(value):
    return list(value) if isinstance(value, tuple) else value
