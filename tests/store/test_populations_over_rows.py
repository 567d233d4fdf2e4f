"""A population over rows is stored, found again and resumed as one over seeds is."""

from pathlib import Path

import pytest
import torch
from conftest import composed

from cftransfer.commands.patch import base_spec
from cftransfer.data.dataset import load
from cftransfer.spec import at_epoch, model_key
from cftransfer.store import artifacts, trained

SMALL = base_spec(composed("dataset=moons", "model.layers=1", "model.width=8", "training.epochs=4"))
RULES = {
    "bootstrap": {},
    "drop": {"count": 1, "share": None},
    "part": {"share": 0.5},
    "label_noise": {"share": 0.1},
}


def spec_of(name, draw=0):
    return {**SMALL, "rows": {"_target_": name, **RULES[name], "draw": draw}}


@pytest.fixture(scope="module")
def data():
    return load(SMALL["dataset"], Path("data"))


def trainings(caplog):
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("training ")]


def files(place):
    return {path.relative_to(place): path.read_bytes() for path in place.rglob("*.*") if path.suffix != ".lock"}


@pytest.mark.parametrize("name", RULES)
def test_a_killed_population_over_rows_goes_on_to_the_same_store(name, data, tmp_path, monkeypatch, caplog):
    undisturbed, place = (artifacts.prepare(tmp_path / where) for where in ("undisturbed", "killed"))
    trained.trained(spec_of(name), [0, 1, 2], dataset=data, store=undisturbed)
    save, saved = artifacts.save, []

    def dying(*words):
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(save(*words))

    monkeypatch.setattr(artifacts, "save", dying)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trained.trained(spec_of(name), [0, 1, 2], dataset=data, store=place)
    monkeypatch.undo()
    caplog.set_level("INFO")
    caplog.clear()
    trained.trained(spec_of(name), [0, 1, 2], dataset=data, store=place)
    (said,) = trainings(caplog)
    assert said.startswith(f"training 3 models (layers=1 width=8 rows={name}")
    assert said.endswith("epochs 3 to 4")
    assert files(place) == files(undisturbed)


def test_a_second_run_trains_nothing_and_every_rule_and_draw_has_a_key_of_its_own(data, tmp_path, caplog):
    place = artifacts.prepare(tmp_path / "store")
    specs = [SMALL, *(spec_of(name, draw) for name in RULES for draw in (0, 1))]
    first = [trained.trained(spec, [0, 1], dataset=data, store=place) for spec in specs]
    caplog.set_level("INFO")
    caplog.clear()
    again = [trained.trained(spec, [0, 1], dataset=data, store=place) for spec in specs]
    assert trainings(caplog) == []
    for models, others in zip(first, again, strict=True):
        for model, other in zip(models, others, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    stored = {path.stem for path in place.glob("models/*.safetensors")}
    assert stored == {model_key(spec, seed) for spec in specs for seed in (0, 1)}
    assert len(stored) == 2 * len(specs)


def test_more_epochs_over_rows_go_on_from_fewer(data, tmp_path):
    places = [artifacts.prepare(tmp_path / where) for where in ("in one go", "in two")]
    trained.trained(at_epoch(spec_of("bootstrap"), 2), [0, 1], dataset=data, store=places[1])
    one, two = (trained.trained(spec_of("bootstrap"), [0, 1], dataset=data, store=place) for place in places)
    for model, other in zip(one, two, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
