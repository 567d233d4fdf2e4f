"""Short names → functions: the package's own, those of installed packages, and nothing else."""

import importlib.metadata
import sys

import pytest
from conftest import ROOT, target_of

from cftransfer import targets
from cftransfer.errors import InputError
from cftransfer.spec import ALL_ROWS, UNPERTURBED
from cftransfer.targets import ENTRY_POINTS, OWN, call_target, source_of, target_function

SOURCE = """
def mine(*, layers, input_shape):
    return layers, input_shape


def no_model(*, layers):
    return layers


CONSTANT = 3
"""


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Offer functions of another package by entry points, as pip would."""
    (tmp_path / "their_package.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "their_package", raising=False)
    offered = {"mine": "mine", "mlp": "mine", "no_model": "no_model", "constant": "CONSTANT", "absent": "nothing"}
    points = [
        importlib.metadata.EntryPoint(name, f"their_package:{function}", "cftransfer.models")
        for name, function in offered.items()
    ]

    def entry_points(*, group, name=None):
        return [point for point in points if point.group == group and name in (None, point.name)]

    monkeypatch.setattr(targets, "entry_points", entry_points)
    targets._function.cache_clear()
    yield tmp_path / "their_package.py"
    targets._function.cache_clear()


@pytest.mark.parametrize(("part", "name"), [(part, name) for part, names in OWN.items() for name in sorted(names)])
def test_every_name_of_the_package_is_a_function_with_an_option_of_its_name(part, name):
    function = target_function(part, {"_target_": name})
    assert function.__name__ == name
    assert function.__module__.startswith("cftransfer.")
    assert (ROOT / "conf" / part / f"{name}.yaml").exists()
    assert source_of(part, {"_target_": name}) == ""


@pytest.mark.parametrize("part", OWN)
def test_every_option_names_a_function_of_the_package_or_one_whose_code_is_in_the_key(part):
    for path in (ROOT / "conf" / part).glob("*.yaml"):
        named = target_of(part, path.stem)
        if named is None or named in OWN[part] or {"_target_": named} in (ALL_ROWS, UNPERTURBED):
            continue
        try:
            source = source_of(part, {"_target_": named})
        except InputError as error:
            pytest.fail(f"conf/{part}/{path.name}: {error}")
        assert len(source) == 16, f"conf/{part}/{path.name}: the code of {named} is not a part of its key"


def test_a_function_of_an_installed_package_is_called_by_its_entry_point(installed):
    settings = {"_target_": "mine", "layers": 4}
    assert call_target("model", settings, input_shape=(3,)) == (4, (3,))
    with pytest.raises(InputError, match=r"model\.layres: no such key; model has: layers"):
        call_target("model", settings | {"layres": 3}, input_shape=(3,))


def test_an_installed_package_cannot_take_a_name_of_ours(installed):
    assert target_function("model", {"_target_": "mlp"}).__module__ == "cftransfer.models.mlp"


def test_the_source_of_code_that_is_not_ours_identifies_it(installed):
    before = source_of("model", {"_target_": "mine"})
    assert len(before) == 16
    targets._source.cache_clear()  # as in the next process
    installed.write_text(SOURCE.replace("return layers, input_shape", "return layers + 1, input_shape"))
    assert source_of("model", {"_target_": "mine"}) != before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_model", "makes no model"),
        ("constant", "the entry point their_package:CONSTANT is not a function"),
        ("absent", "the entry point their_package:nothing cannot be loaded"),
        ("their_package.mine", "must be one of the names of models"),
        ("their_package:mine", "must be one of the names of models"),
        ("_function", "must be one of the names of models"),
        ("Mlp", "must be one of the names of models"),
        ("mlp\n", "must be one of the names of models"),
        ("nope", "no such model"),
        ("sklearn_models", "no such model"),  # a module of ours
        ("population", "no such model"),
        ("moons", "no such model"),  # of another part
    ],
)
def test_other_names_are_refused(installed, name, said):
    with pytest.raises(InputError, match=said):
        target_function("model", {"_target_": name})


def test_the_groups_of_entry_points_are_those_of_the_docs():
    docs = (ROOT / "docs" / "extending.md").read_text()
    for group in ENTRY_POINTS.values():
        assert f'[project.entry-points."{group}"]' in docs or f"`{group}`" in docs, group
