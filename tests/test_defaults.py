"""A default stands in Python; the option of the command line says the same, with its unit and its reason."""

from inspect import Parameter

import pytest
from conftest import ROOT, composed
from omegaconf import OmegaConf

from cftransfer.searching.engine import default_constraints
from cftransfer.targets import parameters

OPTIONS = [
    f"{part}={path.stem}"
    for part in ("dataset", "model", "counterfactual")
    for path in sorted((ROOT / "conf" / part).glob("*.yaml"))
    if part != "counterfactual" or not path.stem[-1].isdigit()  # strengths for a sweep differ by design
]


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_says_what_the_python_default_is(option, compas):
    part, _, name = option.partition("=")
    settings = OmegaConf.to_container(composed(option, *["input=table"] * (part != "dataset"))[part], resolve=True)
    takes = parameters(part, settings)
    assert settings.pop("_target_") == name
    if part == "counterfactual":
        assert settings.pop("constraints") == default_constraints(compas.space)
    defaults = {key: "???" if takes[key].default is Parameter.empty else takes[key].default for key in settings}
    assert {key: as_yaml(value) for key, value in defaults.items()} == settings
    assert len(settings) > 0


def as_yaml(value):
    return list(value) if isinstance(value, tuple) else value
