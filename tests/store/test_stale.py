"""Models made from other data, or by other code, are never served; and nothing valid is made again."""

import importlib
import os
import shutil
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from pums import persons, put

import cftransfer.counterfactuals
import cftransfer.models
from cftransfer import store, targets
from cftransfer.data.acs_employment import acs_employment
from cftransfer.data.dataset import Dataset, from_table
from cftransfer.data.feature import Feature
from cftransfer.data.images import from_images
from cftransfer.spec import key, model_key, with_hashes
from cftransfer.store.searched import searched, searches_file
from cftransfer.store.trained import trained

SEARCH = {"_target_": "nearest", "constraints": "box", "batch_size": 100}


@pytest.fixture
def place(tmp_path):
    return store.prepare(tmp_path / "store")


@pytest.fixture
def trainings(caplog):
    """Return how many passes were trained since it was last called."""
    caplog.set_level("INFO")

    def count():
        said = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return sum(line.startswith("training ") for line in said)

    return count


def spec_of(data, model="mlp", **settings):
    settings = settings or ({"layers": 1, "width": 4} if model == "mlp" else {})
    model = {"_target_": model, **settings}
    training = {"epochs": 1, "lr": 0.01, "batch_size": 64}
    return with_hashes({"dataset": {"_target_": "any"}, "model": model, "training": training}, data.model_version)


def train(data, place, **model):
    return trained(spec_of(data, **model), [0], dataset=data, store=place)


def test_a_csv_that_was_replaced_is_trained_on_and_one_that_was_moved_or_touched_is_not(tmp_path, place, trainings):
    path = put(tmp_path / "data", persons(120))
    train(acs_employment(tmp_path / "data"), place)
    assert trainings() == 1
    os.utime(path, (0, 0))
    train(acs_employment(tmp_path / "data"), place)
    shutil.copytree(tmp_path / "data", tmp_path / "elsewhere")
    train(acs_employment(tmp_path / "elsewhere"), place)
    assert trainings() == 0
    put(tmp_path / "data", persons(120, seed=1))
    train(acs_employment(tmp_path / "data"), place)
    assert trainings() == 1


def table(*, factor=1.0, kind="integer"):
    """Rows of whole numbers; the factor stretches their range, and leaves the inputs, in [0, 1], as they are."""
    values = np.arange(80) % 16 * factor
    features = (Feature(name="a", kind=kind),)
    rows = pd.DataFrame({"a": values})
    label = (np.arange(80) // 16) % 2
    return from_table("own", rows, label, features=features, classes=("no", "yes"), test_share=0.25, split_seed=0)


@pytest.mark.parametrize("change", [{"kind": "continuous"}, {"factor": 2.0}], ids=str)
def test_a_feature_of_another_kind_or_range_is_other_data_though_its_inputs_are_equal(change, place, trainings):
    first, second = table(), table(**change)
    assert torch.equal(first.x_train, second.x_train)
    train(first, place)
    train(table(), place)
    assert trainings() == 1
    train(second, place)
    assert trainings() == 1


@pytest.mark.parametrize("change", [{"mutable": False}, {"direction": "up"}], ids=str)
def test_what_a_person_can_change_moves_searches_and_no_models(change, moons, place, trainings):
    features = (replace(moons.space.features[0], **change), moons.space.features[1])
    other = replace(moons, space=replace(moons.space, features=features))
    assert other.version != moons.version
    assert other.model_version == moons.model_version == moons.version
    bases = train(moons, place)
    train(other, place)
    assert trainings() == 1
    settings = SEARCH | {"_target_": "gradient", "constraints": "actionable", "iterations": 300, "confidence": 0.5}
    settings |= {"lr": 0.01, "batch_size": 100, "distance_weight": 0.1}
    spec, files = spec_of(moons), []
    for data in (moons, other):
        asked = {"spec": spec, "settings": settings, "samples": 20, "dataset": data, "store": place}
        (found,) = searched(bases, [0], **asked, generating=nobody)
        files.append(searches_file(spec, 0, settings=settings, many=20, dataset=data, store=place))
        moved = (found.counterfactual - found.factual)[found.found][:, 0]
        assert len(moved) > 0
        if data is other:
            assert (moved == 0).all() if "mutable" in change else (moved >= 0).all()
    assert files[0] != files[1]


@pytest.mark.parametrize("part", ["x_train", "y_train", "x_test", "y_test"])
def test_a_data_set_function_that_returns_other_tensors_makes_another_version_by_itself(part, moons):
    changed = getattr(moons, part).clone()
    changed[-1] = 1 - changed[-1]
    assert replace(moons, **{part: changed}).version != moons.version
    assert replace(moons, about="elsewhere", name="other").version == moons.version
    assert replace(moons, classes=("a", "b")).version != moons.version
    assert isinstance(moons, Dataset)


NETWORK = """
import torch

def {name}(*, input_shape):
    return torch.nn.Sequential(torch.nn.Linear(input_shape[0], {width}), torch.nn.ReLU(), torch.nn.Linear({width}, 1),
                               torch.nn.Flatten(0))
"""
METHOD = """
import torch
from cftransfer.searching.candidates import Candidates

def {name}(model, x, target):
    return Candidates(x * 0 + {width} / 20, torch.ones(len(x), dtype=torch.bool), torch.ones(len(x), dtype=torch.long))
"""


@pytest.fixture(params=["clone", "entry point"])
def write(request, tmp_path, monkeypatch):
    """Return a function that writes a file into the clone or a package, and starts as a new process would."""
    home = tmp_path / "home"
    home.mkdir()
    packages = {"model": cftransfer.models, "counterfactual": cftransfer.counterfactuals}
    if request.param == "entry point":
        monkeypatch.syspath_prepend(home)
        about = home / "theirs-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
        groups = "".join(f"[{targets.ENTRY_POINTS[part]}]\nown_thing = own_thing:own_thing\n" for part in packages)
        (about / "entry_points.txt").write_text(groups)
    else:
        for package in packages.values():
            monkeypatch.setattr(package, "__path__", [*package.__path__, str(home)])

    def written(text, *, new_process=True):
        (home / "own_thing.py").write_text(text)
        if new_process:
            forget(home)

    yield written
    forget(home)


def forget(home):
    """Forget code that was imported, and Python's compiled files."""
    targets._function.cache_clear()
    targets._source.cache_clear()
    for name in [name for name in sys.modules if name.rpartition(".")[2] == "own_thing"]:
        del sys.modules[name]
    shutil.rmtree(home / "__pycache__", ignore_errors=True)
    importlib.invalidate_caches()


def test_an_own_model_is_trained_again_when_its_file_is_edited(write, moons, place, trainings):
    write(NETWORK.format(name="own_thing", width=4))
    train(moons, place, model="own_thing")
    write(NETWORK.format(name="own_thing", width=4))  # the same, put there again
    train(moons, place, model="own_thing")
    assert trainings() == 1
    write(NETWORK.format(name="own_thing", width=16))
    (model,) = train(moons, place, model="own_thing")
    assert trainings() == 1
    assert model[0].out_features == 16


def test_code_that_is_edited_while_a_process_runs_it_keeps_its_key(write, moons, tmp_path):
    """Otherwise its models would be kept under the key of code that they are not of."""
    write(NETWORK.format(name="own_thing", width=4))
    before = model_key(spec_of(moons, model="own_thing"), 0)
    write(NETWORK.format(name="own_thing", width=16), new_process=False)
    assert model_key(spec_of(moons, model="own_thing"), 0) == before
    forget(tmp_path / "home")
    assert model_key(spec_of(moons, model="own_thing"), 0) != before


def nobody(seed, many):
    raise AssertionError("the method searches on the base alone")


def test_an_own_method_searches_again_when_its_file_is_edited(write, moons, place):
    spec, settings = spec_of(moons), {"_target_": "own_thing", "constraints": "box"}
    bases = train(moons, place)

    def search():
        asked = {"spec": spec, "settings": settings, "samples": 5, "dataset": moons, "store": place}
        (found,) = searched(bases, [0], **asked, generating=nobody)
        return found.counterfactual[0, 0].item(), searches_file(
            spec, 0, settings=settings, many=5, dataset=moons, store=place
        )

    write(METHOD.format(name="own_thing", width=4))
    first = search()
    write(METHOD.format(name="own_thing", width=4))
    assert search() == first
    write(METHOD.format(name="own_thing", width=16))
    second = search()
    assert (first[0], second[0]) == pytest.approx((0.2, 0.8))
    assert first[1] != second[1]


def test_code_that_is_shipped_is_identified_by_the_format_alone(moons):
    """So that a comment, or a file that moved, costs nobody a store."""
    assert "model_source" not in spec_of(moons)
    assert targets.source_of("counterfactual", SEARCH) == ""


def test_searches_made_before_grey_levels_are_served_but_for_those_of_possible_images(place):
    """The key of an earlier version, word for word: only searches with another outcome are repeated."""
    pixels, labels = np.zeros((40, 1, 8, 8), np.uint8), np.arange(40) % 2
    images = from_images("images", train=(pixels, labels), test=(pixels, labels), classes=("a", "b"), about="")
    rows = pd.DataFrame({"x": np.linspace(0, 1, 40)})
    feature = (Feature(name="x", kind="continuous"),)
    table = from_table("t", rows, labels, features=feature, classes=("a", "b"), test_share=0.5, split_seed=0)
    same = {}
    for name, data in (("images", images), ("table", table)):
        for constraints in ("none", "box", "possible", "actionable"):
            spec, settings = spec_of(data), {"_target_": "nearest", "constraints": constraints}
            now = searches_file(spec, 0, settings=settings, many=5, dataset=data, store=place).stem
            same[name, constraints] = now == key("counterfactuals", model_key(spec, 0), settings, 5)
    assert {case for case, kept in same.items() if not kept} == {("images", "possible"), ("images", "actionable")}
