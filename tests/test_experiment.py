"""A job's plan: everything is checked before anything is made."""

from functools import partial

import pytest
import torch
from conftest import composed

from cftransfer.commands import experiment
from cftransfer.commands.first_checks import check_settings
from cftransfer.commands.plan import plan as plan_of
from cftransfer.commands.plan import plan_training
from cftransfer.errors import InputError
from cftransfer.measuring.accuracy import learned_nothing
from cftransfer.store.trained import trained

SMALL = ["dataset=moons", "training.epochs=1", "model.layers=1", "model.width=8", "replicates.bases=2", "samples=30"]


def checked(cfg):
    check_settings(cfg, models="replicates")
    return cfg


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("+training.momentum=0.1", "training.momentum: no such key; training has: epochs, lr, batch_size"),
        ("+trainer.thread=3", "trainer.thread: no such key"),
        ("+replicates.base=3", "replicates.base: no such key"),
        ("+wandb.colour=x", "wandb.colour: no such key"),
        ("+paths.stores=x", "paths.stores: no such key"),
        ("+model.input_shape=[3]", "model.input_shape: no such key"),
        ("~model.layers", "model.layers: is missing"),
        ("trainer.accelerator=nope", "trainer.accelerator=nope: must be one of cpu"),
        ("trainer.threads=0", "trainer.threads=0"),
        ("replicates.bases=0", "replicates.bases=0: must be a whole number from 1 to 1000"),
        ("replicates.references=1001", "replicates.references=1001"),
        ("seed=-1", "seed=-1"),
        ("seed=999999999999999999", "seed=999999999999999999"),
        ("samples=0", "samples=0"),
        ("dataset.split_seed=99999999999", "dataset.split_seed=99999999999"),
        ("+reference.model.layers=0", "reference.model.layers=0: must be a whole number"),
        ("paths.store=null", "paths.store=None: must be a folder"),
        (
            "experiment=continued_training training.epochs=[1]",
            "reference.training.epochs=${add:${training.epochs},${extra_epochs}}: cannot be computed",
        ),
        ("experiment=more_layers model.layers=null", "reference.model.layers=${add:"),
        ("paths.data=null", "paths.data=None: must be a folder"),
        ("experiment=more_layers extra_layers=0", "extra_layers=0: must be a whole number ≥ 1"),
        ("experiment=more_layers extra_layers=two", "extra_layers=two: must be a whole number"),
        ("experiment=more_features extra_features=-8", "extra_features=-8: must be a whole number"),
        ("experiment=continued_training extra_epochs=2.5", "extra_epochs=2.5: must be a whole number"),
        ("experiment=continued_training reference.training.epochs=1", "changes nothing"),
        ("experiment=continued_training reference.training.epochs=0", "reference.training.epochs=0"),
        ("training.epochs=5 reference.seeds=base +reference.training.epochs=3", "must be at least training.epochs"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_made(override, said, tmp_path):
    store = [] if override.startswith("paths.store") else [f"paths.store={tmp_path}"]
    cfg = composed(*SMALL, *store, *override.split())
    with pytest.raises(InputError) as caught:
        plan_of(checked(cfg))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.safetensors"))


LEARNT = ["training.epochs=15", "training.batch_size=16", "model.width=16"]  # enough to find counterfactuals


def run(tmp_path, *words):
    return experiment.run(plan_of(composed(*SMALL, *LEARNT, f"paths.store={tmp_path}", *words)))


def test_train_is_checked_too(tmp_path):
    for override, said in (("population.pool=all", "population.pool=all"), ("population.size=0", "population.size=0")):
        with pytest.raises(InputError, match=said):
            plan_training(composed(f"paths.store={tmp_path}", override, name="train"))


def test_threads_of_one_job_do_not_leak_into_the_next(tmp_path):
    experiment.run(plan_of(composed(*SMALL, f"paths.store={tmp_path}", "trainer.threads=3")))
    assert torch.get_num_threads() == 3
    experiment.run(plan_of(composed(*SMALL, f"paths.store={tmp_path}")))
    assert torch.get_num_threads() == 1  # the default for tables


def test_a_patched_reference_and_a_nested_one(tmp_path):
    cfg = composed(
        *SMALL, f"paths.store={tmp_path}", "reference.seeds=base", "training.epochs=12", "+reference.training.epochs=15"
    )
    plan = plan_of(cfg)
    assert plan.base_seeds == plan.reference_seeds == [0, 1]
    result = experiment.run(plan)
    assert result.metrics["pairs"] == 2
    assert list(result.tables["pairs"].base) == list(result.tables["pairs"].reference)
    assert result.metrics["interval"] == "bases"


def test_accuracies_are_those_of_their_own_models(tmp_path):
    cfg = composed(*SMALL, f"paths.store={tmp_path}", "+reference.training.epochs=40")
    plan = plan_of(cfg)
    metrics = experiment.run(plan).metrics
    for name, spec, seeds in (
        ("base", plan.base, plan.base_seeds),
        ("reference", plan.reference, plan.reference_seeds),
    ):
        models = trained(spec, seeds, dataset=plan.dataset, store=plan.store)
        right = [((model(plan.dataset.x_test) > 0) == plan.dataset.y_test).double().mean().item() for model in models]
        assert metrics[f"{name}_accuracy"] == pytest.approx(sum(right) / len(right), abs=1e-6)
    assert metrics["reference_accuracy"] > metrics["base_accuracy"]


def test_models_that_answer_one_class_for_all_are_named(tmp_path, caplog):
    """Nothing can be found on such a base, and the rate of such a reference would be the share of its class."""
    broken = run(tmp_path, "+reference.training.lr=1000", "replicates.references=2")
    (note,) = broken.notes
    assert note.startswith("2 of 2 references put all rows of the test split in one class: seed 1000 in ")
    assert note in caplog.messages
    assert run(tmp_path, "replicates.references=2").notes == []


def test_a_model_of_one_class_is_told_from_one_that_is_hardly_better():
    y = torch.tensor([0.0] * 6 + [1.0] * 4)
    right, all_zero, all_one = y.long(), torch.zeros(10, dtype=torch.long), torch.ones(10, dtype=torch.long)
    say = partial(learned_nothing, y=y, seeds=range(7, 99), role="base", names=("no", "yes"))
    assert say(torch.stack([right, right])) == []
    (note,) = say(torch.stack([right, all_zero, all_one]))
    assert note.startswith("2 of 3 bases put all rows of the test split in one class: seed 8 in 'no' (right on 0.60), ")
    assert "seed 9 in 'yes' (right on 0.40); rates say nothing about such models;" in note
    (note,) = say(torch.stack([all_one] * 5))
    assert "and 2 more;" in note
    (note,) = say(torch.stack([1 - right]))  # worse than one answer for all, and not one
    assert note.startswith("bases are right on 0.00 of the test split, a constant answer on 0.60;")
    y = torch.tensor([0.0] * 60 + [1.0] * 40)
    by_one, by_three = torch.zeros(2, 100, dtype=torch.long)
    by_one[60], by_three[60:63] = 1, 1
    (note,) = say(torch.stack([by_one]), y=y)
    assert note.startswith("bases are right on 0.61 of the test split, a constant answer on 0.60;")
    assert say(torch.stack([by_three]), y=y) == []


def test_a_job_that_finds_nothing_has_a_result(tmp_path):
    result = experiment.run(plan_of(composed(*SMALL, f"paths.store={tmp_path}", "counterfactual.iterations=0")))
    assert result.metrics["found"] == result.metrics["rate_end_to_end"] == 0
    assert result.metrics["rate"] != result.metrics["rate"]  # nan, because nothing was found


def test_continued_training_has_a_curve_from_one_pass(tmp_path, caplog):
    caplog.set_level("INFO")
    result = run(tmp_path, "experiment=continued_training", "extra_epochs=4")
    passes = [record.getMessage() for record in caplog.records if record.getMessage().startswith("training ")]
    assert [line.rpartition(", ")[2] for line in passes] == ["epochs 1 to 15", "epochs 16 to 19"]
    assert list(result.curve.columns) == [
        "extra_epochs", "rate", "rate_low", "rate_high", "rate_conditional", "rate_conditional_low",
        "rate_conditional_high", "agreement", "agreement_low", "agreement_high", "found", "found_low", "found_high",
        "reference_accuracy",
    ]  # fmt: skip
    assert result.curve.extra_epochs.tolist() == [1, 2, 3, 4]
    last = result.curve.iloc[-1]
    for name in result.curve.columns.drop("extra_epochs"):
        assert last[name] == pytest.approx(result.metrics[name], nan_ok=True)
    rows = result.tables["transfers"].to_pandas().groupby(["extra_epochs", "base", "reference"]).transferred.mean()
    assert rows.groupby("extra_epochs").mean().tolist() == pytest.approx(result.curve.rate.tolist())
    assert (result.tables["pairs"].groupby("extra_epochs").size() == 2).all()


def test_every_point_of_the_curve_is_a_job_of_its_own(tmp_path):
    """A job of one age gives the curve's numbers; and references of no extra epoch would be the bases."""
    curve = run(tmp_path, "experiment=continued_training", "extra_epochs=3").curve
    for extra in (1, 2):
        alone = run(tmp_path / "alone", "experiment=continued_training", f"extra_epochs={extra}")
        for name in ("rate", "agreement", "rate_conditional", "reference_accuracy"):
            assert alone.metrics[name] == curve[name].iloc[extra - 1], name


def test_later_epochs_leave_the_first_points_as_they_were(tmp_path, caplog):
    first = run(tmp_path, "experiment=continued_training", "extra_epochs=3").curve
    caplog.set_level("INFO")
    longer = run(tmp_path, "experiment=continued_training", "extra_epochs=6").curve
    passes = [record.getMessage() for record in caplog.records if record.getMessage().startswith("training ")]
    assert [line.rpartition(", ")[2] for line in passes] == ["epochs 19 to 21"]
    assert longer[:3].equals(first)


@pytest.mark.slow
def test_another_architecture_is_compared_with_another_seed(tmp_path):
    result = run(tmp_path, "experiment=more_layers", "extra_layers=1", "replicates.references=3")
    seed = run(tmp_path, "experiment=seed", "replicates.references=3")
    assert result.metrics["rate_seed"] == pytest.approx(seed.metrics["rate"], abs=1e-12)
    difference = result.metrics["rate"] - seed.metrics["rate"]
    assert result.metrics["rate_minus_seed"] == pytest.approx(difference, abs=1e-12)
    assert result.metrics["rate_minus_seed_low"] <= difference <= result.metrics["rate_minus_seed_high"]
    assert result.tables["transfers_seed"].equals(seed.tables["transfers"])
    by_pair = ["base", "reference"]
    rates = (job.tables["pairs"].set_index(by_pair) for job in (result, seed))
    assert next(rates).rate_seed.to_dict() == next(rates).rate.to_dict()
    assert "rate_seed" not in seed.metrics
    assert "rate_seed" not in run(tmp_path, "experiment=continued_training", "extra_epochs=1").metrics


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [(["experiment=more_layers", "extra_layers=3"], "layers", 4), (["experiment=more_features"], "width", 72)],
)
def test_experiments_patch_what_they_say(words, name, value):
    plan = plan_of(composed(*SMALL, *words))
    assert {**plan.reference["model"]} == {**plan.base["model"], name: value}
    assert plan.reference["training"] == plan.base["training"]
    assert set(plan.base_seeds).isdisjoint(plan.reference_seeds)


def test_another_content_of_the_data_is_another_model(tmp_path):
    from cftransfer.spec import model_key, with_hashes

    spec = plan_of(composed(*SMALL, f"paths.store={tmp_path}")).base
    assert with_hashes(spec, "") == spec
    assert len({model_key(with_hashes(spec, version), 0) for version in ("", "a", "b")}) == 3


def test_the_nearest_row_is_of_the_training_split_and_the_bases_own(tmp_path):
    plan = plan_of(composed(*SMALL, *LEARNT, f"paths.store={tmp_path}"))
    table = experiment.run(plan).tables["counterfactuals"]
    bases = trained(plan.base, plan.base_seeds, dataset=plan.dataset, store=plan.store)
    for (number, target), rows in table.groupby(["base", "target"]):
        known = plan.dataset.x_train[(bases[number](plan.dataset.x_train) > 0).long() == target]
        factual = torch.tensor([row.tolist() for row in rows.x])
        expected = (factual[:, None].double() - known[None].double()).norm(dim=2).amin(1)
        assert rows.nearest_l2.tolist() == pytest.approx(expected.tolist(), abs=1e-4)


def test_what_identifies_the_data_is_in_every_spec(tmp_path, monkeypatch):
    asked = []
    plan = plan_of(composed(*SMALL, f"paths.store={tmp_path}"))
    assert plan.base["data"] == plan.reference["data"] == plan.dataset.version

    def asking(spec, *_, **__):
        asked.append(spec)
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "trained", asking)
    with pytest.raises(KeyboardInterrupt):
        experiment.train(plan_training(composed(*SMALL[:2], f"paths.store={tmp_path}", name="train")))
    assert [spec["data"] for spec in asked] == [plan.dataset.version]


def test_tables_are_of_their_own_age(tmp_path):
    result = run(tmp_path, "experiment=continued_training", "extra_epochs=4", "replicates.bases=3")
    assert result.curve.rate.iloc[0] != result.curve.rate.iloc[-1]
    assert result.tables["survivorship"].rate.iloc[-1] == pytest.approx(result.metrics["rate"])
    ages = result.tables["curves"].groupby("role").epoch.max()
    assert (ages["base"], ages["reference"]) == (15, 19)
