"""The rows that a model is trained on: everything kept equal is equal, to the bit."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import composed

import cftransfer as cft
from cftransfer.commands import experiment
from cftransfer.commands.plan import plan as plan_of
from cftransfer.data.dataset import encoded
from cftransfer.data.feature import Feature
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError
from cftransfer.models.population import EpochBatches
from cftransfer.models.training_rows import shifted, split_of, training_rows
from cftransfer.spec import ALL_ROWS, model_key

MOONS = cft.dataset("moons", rows=400)
NONE = {"drop": {"count": 0, "share": None}, "label_noise": {"share": 0.0}}
SOME = {
    "bootstrap": {},
    "drop": {"count": 1, "share": None},
    "label_noise": {"share": 0.1},
    "part": {"share": 0.5},
}


def rule(name, **settings):
    return {"_target_": name, "draw": 0, **settings}


def trained(rows=None, *, seeds=(0, 1), data=MOONS, model="mlp", **settings):
    settings = {"layers": 1, "width": 8, "epochs": 2} if model == "mlp" else settings
    return cft.train(data, model=model, seeds=seeds, rows=rows, **settings)


def same(models, others):
    pairs = zip(models, others, strict=True)
    return all(torch.equal(a, b) for m, o in pairs for a, b in zip(m.parameters(), o.parameters(), strict=True))


def test_rules_that_change_no_row_give_the_base_to_the_bit():
    base = trained()
    for name, settings in NONE.items():
        assert same(trained(rule(name, **settings)), base)
    for name, settings in SOME.items():
        assert not same(trained(rule(name, **settings)), base)


@pytest.mark.parametrize("name", SOME)
def test_rows_are_those_of_the_seed_stacked_or_alone(name):
    settings = rule(name, **SOME[name])
    alone, stacked = trained(settings, seeds=[1]), trained(settings)
    for one, other in zip(alone[0].parameters(), stacked[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
    first, again, other, draw = (
        training_rows(MOONS, {**settings, "draw": draw}, seed=seed) for seed, draw in ((1, 0), (1, 0), (2, 0), (1, 1))
    )
    for part in ("index", "labels", "kept"):
        if getattr(first, part) is not None:
            assert torch.equal(getattr(first, part), getattr(again, part))
            assert not torch.equal(getattr(first, part), getattr(other, part))
            assert not torch.equal(getattr(first, part), getattr(draw, part))


def test_a_bootstrap_draws_as_many_rows_as_there_are_with_replacement():
    index = training_rows(MOONS, rule("bootstrap"), seed=3).index
    counts = index.bincount(minlength=320)
    assert counts.sum() == 320
    assert 0.3 < (counts == 0).float().mean() < 0.43  # 1/e of the rows are left out


def test_larger_parts_and_more_noise_hold_smaller_ones():
    parts = [set(training_rows(MOONS, rule("part", share=s), seed=5).index.tolist()) for s in (0.5, 0.55, 0.625, 1)]
    assert [len(part) for part in parts] == [160, 176, 200, 320]
    assert parts[0] < parts[1] < parts[2] < parts[3]
    wrong = [training_rows(MOONS, rule("label_noise", share=s), seed=5).labels != MOONS.y_train for s in (0.01, 0.1, 1)]
    assert [int(moved.sum()) for moved in wrong] == [3, 32, 320]
    assert (wrong[0] <= wrong[1]).all()


def test_noise_of_three_classes_gives_every_other_class():
    three = replace(MOONS, y_train=torch.arange(320.0) % 3, classes=("a", "b", "c"))
    labels = training_rows(three, rule("label_noise", share=1), seed=0).labels
    moved = (labels - three.y_train) % 3
    assert sorted(moved.unique().tolist()) == [1, 2]


def test_dropped_rows_stay_in_their_batches_and_count_nothing():
    """The rows that stay meet in the same batches as before; leaving out a row of weight 0 changes nothing."""
    kept = training_rows(MOONS, rule("drop", count=1, share=None), seed=0).kept
    assert int((kept == 0).sum()) == 1
    weighted = replace(MOONS, weight=kept.clone())
    assert same(trained(data=weighted, seeds=[0]), trained(rule("drop", **SOME["drop"]), data=weighted, seeds=[0]))
    assert same(trained(data=weighted, seeds=[0]), trained(rule("drop", **SOME["drop"]), seeds=[0]))


def test_a_batch_of_dropped_rows_alone_has_no_gradient():
    assert all(p.isfinite().all() for p in trained(rule("drop", count=300, share=None), seeds=[0])[0].parameters())
    (alone,) = cft.train(MOONS, layers=1, width=8, epochs=1, batch_size=1, rows=rule("drop", count=300, share=None))
    assert all(p.isfinite().all() for p in alone.parameters())


def test_batches_hold_the_rows_of_each_member_once():
    index = torch.stack([training_rows(MOONS, rule("bootstrap"), seed=seed).index for seed in (0, 1)])
    places = torch.arange(320.0)
    epoch = EpochBatches(places, places, seeds=(0, 1), epoch=4, batch_size=64, index=index)
    seen = torch.cat([x for x, _ in epoch], dim=1)
    assert torch.equal(seen.long().sort(1).values, index.sort(1).values)


def test_a_model_fitted_in_one_go_gets_the_same_rows():
    for name, settings in SOME.items():
        rows = training_rows(MOONS, rule(name, **settings), seed=0)
        split = split_of(MOONS, rows)
        assert len(split.x_train) == {"bootstrap": 320, "drop": 319, "label_noise": 320, "part": 160}[name]
        (tree,) = trained(rule(name, **settings), seeds=[0], model="decision_tree", max_depth=3)
        (by_hand,) = trained(data=split, seeds=[0], model="decision_tree", max_depth=3)
        assert torch.equal(tree(MOONS.x_test), by_hand(MOONS.x_test))


def test_models_of_all_rows_keep_their_keys():
    """Keys made before `rows` existed stay valid."""
    spec = {"dataset": {"_target_": "moons"}, "model": {"_target_": "mlp"}, "training": {"epochs": 1}}
    assert model_key(spec, 0) == model_key({**spec, "rows": ALL_ROWS}, 0)
    assert model_key(spec, 0) != model_key({**spec, "rows": rule("bootstrap")}, 0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (rule("drop", count=320, share=None), "rows.count=320: must be a whole number from 0 to 319"),
        (rule("drop", count=1, share=1.0), "rows.share=1.0: must be a number from 0 up to, not including, 1"),
        (rule("part", share=0.0), "rows.share=0: leaves no row"),
        (rule("label_noise", share=2), "rows.share=2: must be a number from 0 to 1"),
        (rule("bootstrap", draw=-1) | {"draw": -1}, "rows.draw=-1: must be a whole number ≥ 0"),
        (rule("bootstrap", share=0.1), "rows.share: no such key"),
        (rule("boot"), "rows._target_=boot: no such rows"),
    ],
)
def test_rules_that_are_not_possible_are_one_line(settings, said):
    with pytest.raises(InputError, match="^" + said):
        trained(settings)


AGES = FeatureSpace(
    (
        Feature(name="age", kind="integer", low=0, high=10),
        Feature(name="job", kind="categorical", categories=("a", "b", "c")),
    )
)


def people(ages, jobs, *, space=AGES, classes=("no", "yes")):
    table = pd.DataFrame({"age": ages, "job": jobs})
    label = np.arange(len(table)) % 2
    return encoded("people", space, (table, label), (table, label), classes=classes)


def test_shifted_rows_are_encoded_in_the_bases_space():
    wide = FeatureSpace(
        (
            Feature(name="job", kind="categorical", categories=("b", "a", "d")),
            Feature(name="age", kind="integer", low=0, high=20),
        )
    )
    ours, theirs = people([1, 9, 5, 2], list("abca")), people([20, 4, 6, 3], list("abdb"), space=wide)
    moved = shifted(ours, theirs)
    assert AGES.decode(moved.x_train.numpy()).values.tolist() == [[10, "a"], [4, "b"], [3, "b"]]
    assert moved.y_train.tolist() == [0, 1, 1]
    assert torch.equal(moved.x_test, ours.x_test)
    assert moved.model_version != ours.model_version
    assert "shifted training values beyond the range of their feature, put at its end: age 1 of 3" in moved.notes
    assert "shifted training rows: left out 1 of 4 with a category that the base lacks" in moved.notes


def test_data_that_cannot_be_shifted_are_one_line():
    ours = people([1, 9], list("ab"))
    with pytest.raises(InputError, match="has the classes x, y, not no, yes"):
        shifted(ours, people([1, 9], list("ab"), classes=("x", "y")))
    with pytest.raises(InputError, match="lacks the features age, job"):
        shifted(ours, MOONS.__class__(**{**MOONS.__dict__, "classes": ("no", "yes")}))


SMALL = ["dataset=moons", "training.epochs=15", "training.batch_size=16", "model.layers=1", "model.width=16"]
SMALL += ["replicates.bases=2", "samples=30"]


@pytest.mark.parametrize("name", ["bootstrap", "leave_out", "growth", "label_noise"])
def test_a_family_is_pure_and_nested_in_its_base(name, tmp_path):
    plan = plan_of(composed(*SMALL, f"experiment={name}", f"paths.store={tmp_path}"))
    assert plan.nested
    assert plan.reference_seeds == plan.base_seeds
    assert {part for part in plan.base if plan.base[part] != plan.reference[part]} == {"rows"}
    assert not plan.continued
    if name == "bootstrap":  # the others differ in the plan alone
        assert experiment.run(plan).metrics["pairs"] == 2


def test_shift_is_of_another_data_set_and_of_references_alone(tmp_path):
    words = [*SMALL, "experiment=shift", f"paths.store={tmp_path}"]
    plan = plan_of(composed(*words, "+reference.rows.dataset.noise=0.4"))
    assert not torch.equal(plan.dataset.x_train, plan.reference_dataset.x_train)
    assert torch.equal(plan.dataset.x_test, plan.reference_dataset.x_test)
    assert plan.base["data"] != plan.reference["data"]
    for wrong, said in (
        (words, "reference.rows.dataset: must have the settings"),
        ([*SMALL, "rows=shift", f"paths.store={tmp_path}"], "rows=shift: is for references only"),
    ):
        with pytest.raises(InputError, match=said):
            plan_of(composed(*wrong))
