"""trained(): each model once, resumed exactly, and never half."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import composed

from cftransfer.commands.patch import base_spec
from cftransfer.data.dataset import load
from cftransfer.errors import InputError
from cftransfer.models.build import Hardware, build, check_training, faster_stacked
from cftransfer.spec import FORMAT, at_epoch
from cftransfer.store import artifacts, passes, trained

SPEC = base_spec(composed("dataset=moons", "model.layers=2", "model.width=16", "training.epochs=6"))


@pytest.fixture(scope="module")
def data():
    return load(SPEC["dataset"], Path("data"))


@pytest.fixture
def place(tmp_path):
    return artifacts.prepare(tmp_path / "store")


def weights(models):
    return [torch.cat([weight.flatten() for weight in model.parameters()]) for model in models]


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(weights(first), weights(second), strict=True))


def trainings(caplog):
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("training ")]


def test_what_is_stored_is_not_trained_again(data, place, caplog):
    caplog.set_level("INFO")
    first = trained.trained(SPEC, [0, 1], dataset=data, store=place)
    assert same(first, trained.trained(SPEC, [0, 1], dataset=data, store=place))
    trained.trained(SPEC, [0, 1, 2], dataset=data, store=place)
    assert trainings(caplog) == [
        "training 2 models (layers=2 width=16), epochs 1 to 6",
        "training 1 model (layers=2 width=16), epochs 1 to 6",
    ]


def test_models_are_frozen_and_in_evaluation_mode(data, place):
    (model,) = trained.trained(SPEC, [0], dataset=data, store=place)
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())


def test_more_epochs_go_on_from_fewer(data, place, tmp_path, caplog):
    caplog.set_level("INFO")
    trained.trained(at_epoch(SPEC, 4), [0, 1], dataset=data, store=place)
    resumed = trained.trained(at_epoch(SPEC, 10), [0, 1], dataset=data, store=place)
    assert trainings(caplog)[1] == "training 2 models (layers=2 width=16), epochs 5 to 10"
    elsewhere = artifacts.prepare(tmp_path / "other")
    assert same(resumed, trained.trained(at_epoch(SPEC, 10), [0, 1], dataset=data, store=elsewhere))
    curves = [trained.curves(at_epoch(SPEC, 10), [0, 1], store=where) for where in (place, elsewhere)]
    assert curves[0].equals(curves[1])
    assert len(curves[0]) == 20


def test_members_are_trained_one_after_the_other_where_that_is_faster_or_asked_for(data, place, tmp_path, caplog):
    caplog.set_level("INFO")
    alone = trained.trained(SPEC, [0, 1], dataset=data, store=place, hardware=Hardware(stacked=False))
    assert trainings(caplog) == ["training 1 model (layers=2 width=16), epochs 1 to 6"] * 2
    assert faster_stacked(build(SPEC["model"], input_shape=(2,), seed=0))
    elsewhere = artifacts.prepare(tmp_path / "stacked")
    stacked = trained.trained(SPEC, [0, 1], dataset=data, store=elsewhere)
    for one, other in zip(weights(alone), weights(stacked), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)  # rounding


@pytest.mark.parametrize("model", ["cnn", "resnet18"])
def test_convolutions_are_trained_member_by_member(model):
    spec = base_spec(composed("dataset=cifar10_airplane", f"model={model}"))
    assert not faster_stacked(build(spec["model"], input_shape=(3, 32, 32), seed=0))


def test_members_with_and_without_a_prefix_are_trained_in_two_passes(data, place, caplog):
    caplog.set_level("INFO")
    trained.trained(at_epoch(SPEC, 4), [0, 1], dataset=data, store=place)
    trained.trained(SPEC, [0, 1, 2], dataset=data, store=place)
    assert trainings(caplog)[1:] == [
        "training 2 models (layers=2 width=16), epochs 5 to 6",
        "training 1 model (layers=2 width=16), epochs 1 to 6",
    ]


@pytest.mark.parametrize("stop", [1, 3, 6])
def test_an_interrupted_pass_goes_on_where_it_was(data, place, tmp_path, monkeypatch, caplog, stop):
    expected = trained.trained(SPEC, [0, 1, 2], dataset=data, store=artifacts.prepare(tmp_path / "undisturbed"))
    save, saved = artifacts.save, []

    def dying(store, kind, *rest):
        if len(saved) == stop:
            raise KeyboardInterrupt
        saved.append(kind)
        return save(store, kind, *rest)

    monkeypatch.setattr(artifacts, "save", dying)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trained.trained(SPEC, [0, 1, 2], dataset=data, store=place)
    monkeypatch.setattr(artifacts, "save", save)
    caplog.set_level("INFO")
    # Part of the members are requested first: they also come from the pass as it was.
    assert same(expected[:2], trained.trained(SPEC, [0, 1], dataset=data, store=place))
    assert same(expected, trained.trained(SPEC, [0, 1, 2], dataset=data, store=place))
    assert trainings(caplog)[0] == f"training 3 models (layers=2 width=16), epochs {stop + 1} to 6"
    assert not list((place / "passes").glob("*"))


def test_a_pass_whose_members_are_all_stored_is_removed_by_the_next_job(data, place, monkeypatch):
    with monkeypatch.context() as killed_on_the_last_step:
        killed_on_the_last_step.setattr(passes, "drop_done", lambda _: None)
        trained.trained(SPEC, [0, 1], dataset=data, store=place)
    assert len(list((place / "passes").glob("*"))) == 1
    trained.trained(SPEC, [0], dataset=data, store=place)
    assert not list((place / "passes").glob("*"))


def test_a_curve_lies_beside_its_model(data, place):
    trained.trained(SPEC, [0], dataset=data, store=place)
    lines = passes.model_file(SPEC, 0, store=place).with_suffix(".csv").read_text().splitlines()
    assert lines[0] == "epoch,train_loss,test_loss,test_accuracy,test_auroc"
    assert len(lines) == 7


def test_an_artifact_carries_its_spec(data, place):
    trained.trained(SPEC, [3], dataset=data, store=place)
    _, about = artifacts.load(place, "models", passes.model_file(SPEC, 3, store=place).stem)
    assert about == {"spec": SPEC, "seed": 3, "population": [3], "format": FORMAT}


def test_a_trajectory_is_one_pass_and_each_age_is_what_training_so_long_gives(data, place, tmp_path, caplog):
    caplog.set_level("INFO")
    trained.trained(at_epoch(SPEC, 2), [0, 1], dataset=data, store=place)
    aged = trained.trajectory(SPEC, [0, 1], epochs=[3, 4, 5, 6], dataset=data, store=place)
    assert trainings(caplog)[1:] == ["training 2 models (layers=2 width=16), epochs 3 to 6"]
    elsewhere = artifacts.prepare(tmp_path / "other")
    for epoch, models in zip([3, 4, 5, 6], aged):
        assert same(models, trained.trained(at_epoch(SPEC, epoch), [0, 1], dataset=data, store=elsewhere))
    assert not same(aged[0], aged[1])
    sizes = [passes.model_file(at_epoch(SPEC, epoch), 0, store=place).stat().st_size for epoch in (5, 6)]
    assert sizes[0] < 0.6 * sizes[1]  # the optimiser's state is kept with the last alone


def test_a_longer_trajectory_trains_what_is_new(data, place, caplog):
    caplog.set_level("INFO")
    first = trained.trajectory(SPEC, [0, 1], epochs=[3, 4, 5, 6], dataset=data, store=place)
    kept = {path: path.read_bytes() for path in (place / "models").iterdir()}
    longer = trained.trajectory(at_epoch(SPEC, 9), [0, 1], epochs=range(3, 10), dataset=data, store=place)
    assert trainings(caplog) == [
        f"training 2 models (layers=2 width=16), epochs {a} to {b}" for a, b in ((1, 6), (7, 9))
    ]
    assert all(same(a, b) for a, b in zip(first, longer))
    assert {path: path.read_bytes() for path in kept} == kept


def test_an_age_that_was_deleted_is_made_again(data, place, caplog):
    first = trained.trajectory(SPEC, [0, 1], epochs=[2, 3, 4, 5, 6], dataset=data, store=place)
    for seed in (0, 1):
        passes.model_file(at_epoch(SPEC, 4), seed, store=place).unlink()
    caplog.set_level("INFO")
    again = trained.trajectory(SPEC, [0, 1], epochs=[2, 3, 4, 5, 6], dataset=data, store=place)
    assert trainings(caplog) == ["training 2 models (layers=2 width=16), epochs 1 to 4"]  # none before had Adam's state
    assert all(same(a, b) for a, b in zip(first, again))


@pytest.mark.parametrize("stop", range(1, 14))
def test_a_trajectory_killed_anywhere_goes_on_to_the_same_store(data, place, tmp_path, monkeypatch, stop):
    undisturbed = artifacts.prepare(tmp_path / "undisturbed")
    trained.trajectory(SPEC, [0, 1], epochs=[3, 4, 5, 6], dataset=data, store=undisturbed)
    save, saved = artifacts.save, []

    def dying(*words):
        if len(saved) == stop:
            raise KeyboardInterrupt
        saved.append(save(*words))

    monkeypatch.setattr(artifacts, "save", dying)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trained.trajectory(SPEC, [0, 1], epochs=[3, 4, 5, 6], dataset=data, store=place)
    monkeypatch.undo()
    trained.trajectory(SPEC, [0, 1], epochs=[3, 4, 5, 6], dataset=data, store=place)
    names = {path.relative_to(place) for path in place.rglob("*.*") if path.suffix != ".lock"}
    assert names == {path.relative_to(undisturbed) for path in undisturbed.rglob("*.*") if path.suffix != ".lock"}
    assert all((place / name).read_bytes() == (undisturbed / name).read_bytes() for name in names)


TRAIN = """
import json, logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
from pathlib import Path
from cftransfer.data.dataset import load
from cftransfer.store.trained import trained
spec, place = json.loads(sys.argv[1]), Path(sys.argv[2])
trained(spec, [0, 1, 2], dataset=load(spec["dataset"], Path("data")), store=place)
"""


@pytest.mark.slow
def test_two_processes_at_once_train_each_model_once(place):
    words = [sys.executable, "-c", TRAIN, json.dumps(at_epoch(SPEC, 20)), str(place)]
    makers = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = "".join(maker.communicate(timeout=120)[0] for maker in makers)
    assert [maker.returncode for maker in makers] == [0, 0]
    assert said.count("training 3 models") == 1
    assert len(list((place / "models").glob("*.safetensors"))) == 3


@pytest.mark.slow
def test_two_processes_that_want_different_members_of_a_killed_pass_share_it(data, place, tmp_path, monkeypatch):
    expected = trained.trained(SPEC, [0, 1, 2, 3], dataset=data, store=artifacts.prepare(tmp_path / "undisturbed"))
    save = artifacts.save

    def dying(store, kind, *rest):
        save(store, kind, *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(artifacts, "save", dying)
    with pytest.raises(KeyboardInterrupt):
        trained.trained(SPEC, [0, 1, 2, 3], dataset=data, store=place)
    monkeypatch.undo()
    ask = TRAIN.replace("[0, 1, 2]", "json.loads(sys.argv[3])")
    words = [sys.executable, "-c", ask, json.dumps(SPEC), str(place)]
    makers = [subprocess.Popen([*words, seeds], stderr=subprocess.PIPE, text=True) for seeds in ("[0, 1]", "[2, 3]")]
    said = [maker.communicate(timeout=120)[1] for maker in makers]
    assert [maker.returncode for maker in makers] == [0, 0], said
    assert same(expected, trained.trained(SPEC, [0, 1, 2, 3], dataset=data, store=place))
    assert not list((place / "passes").glob("*"))


def test_training_that_diverges_is_named_and_not_kept(data, place):
    spec = {**SPEC, "training": {**SPEC["training"], "lr": 1e30}}
    with pytest.raises(InputError, match=r"training.lr=1e\+30: training diverged"):
        trained.trained(spec, [0, 1], dataset=data, store=place)
    assert not list(place.glob("models/*"))


@pytest.mark.parametrize(("setting", "value"), [("epochs", 0), ("batch_size", 0), ("lr", 0), ("lr", "fast")])
def test_an_impossible_training_is_named(data, setting, value):
    spec = {**SPEC, "training": {**SPEC["training"], setting: value}}
    with pytest.raises(InputError, match=f"training.{setting}={value}"):
        check_training(spec, data)


@pytest.mark.parametrize("lost", [[1], [0, 2]])
def test_a_model_that_got_lost_is_made_again_to_the_last_bit(place, data, lost):
    """A member's rounding depends on the size of its population: it is retrained with the same members."""
    trained.trained(SPEC, [0, 1, 2], dataset=data, store=place)
    files = {seed: passes.model_file(SPEC, seed, store=place) for seed in (0, 1, 2)}
    before = {seed: path.read_bytes() for seed, path in files.items()}
    files[lost[0]].write_bytes(before[lost[0]][:-7])  # one is damaged
    for seed in lost[1:]:  # others were deleted
        files[seed].unlink()
    trained.trained(SPEC, [0, 1, 2], dataset=data, store=place)
    assert {seed: path.read_bytes() for seed, path in files.items()} == before


def test_a_model_of_a_longer_training_that_got_lost_is_made_again_to_the_last_bit(place, data):
    trained.trained(SPEC, [0, 1, 2], dataset=data, store=place)
    longer = at_epoch(SPEC, SPEC["training"]["epochs"] + 2)
    trained.trained(longer, [0, 1, 2], dataset=data, store=place)
    before = {path: path.read_bytes() for path in (place / "models").iterdir()}
    passes.model_file(longer, 1, store=place).unlink()
    trained.trained(longer, [0, 1, 2], dataset=data, store=place)
    assert {path: path.read_bytes() for path in (place / "models").iterdir()} == before
    assert list((place / "passes").iterdir()) == []
