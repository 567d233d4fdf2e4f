"""A job's plan: everything is checked before anything is made."""

import pytest
import torch
from conftest import composed

from cftransfer import experiment
from cftransfer.errors import InputError
from cftransfer.training import trained

SMALL = ["dataset=moons", "training.epochs=1", "model.layers=1", "model.width=8", "replicates.bases=2", "samples=30"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("+training.weight_decay=0.1", "training.weight_decay: no such key; training has: epochs, lr, batch_size"),
        ("+trainer.thread=3", "trainer.thread: no such key"),
        ("+replicates.base=3", "replicates.base: no such key"),
        ("+wandb.tags=x", "wandb.tags: no such key"),
        ("+paths.stores=x", "paths.stores: no such key"),
        ("+model.input_shape=[3]", "model.input_shape: no such key"),
        ("~model.layers", "model.layers: is missing"),
        ("trainer.accelerator=nope", "trainer.accelerator=nope: takes one of cpu"),
        ("trainer.threads=0", "trainer.threads=0"),
        ("replicates.bases=0", "replicates.bases=0: takes a whole number from 1 to 1000"),
        ("replicates.references=1001", "replicates.references=1001"),
        ("seed=-1", "seed=-1"),
        ("seed=999999999999999999", "seed=999999999999999999"),
        ("samples=0", "samples=0"),
        ("dataset.split_seed=99999999999", "dataset.split_seed=99999999999"),
        ("+reference.model.layers=0", "reference.model.layers=0: takes a whole number"),
        ("paths.store=null", "paths.store=None: takes a folder"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_made(override, said, tmp_path):
    store = [] if override.startswith("paths.store") else [f"paths.store={tmp_path}"]
    with pytest.raises(InputError) as caught:
        experiment.plan(composed(*SMALL, *store, override))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_train_is_checked_too(tmp_path):
    for override, said in (("population.pool=all", "population.pool=all"), ("population.size=0", "population.size=0")):
        with pytest.raises(InputError, match=said):
            experiment.population(composed(f"paths.store={tmp_path}", override, name="train"))


def test_threads_of_one_job_do_not_leak_into_the_next(tmp_path):
    before = torch.get_num_threads()
    experiment.plan(composed(*SMALL, f"paths.store={tmp_path}", "trainer.threads=3"))
    assert torch.get_num_threads() == 3
    experiment.plan(composed(*SMALL, f"paths.store={tmp_path}"))
    assert torch.get_num_threads() == before


def test_a_patched_reference_and_a_nested_one(tmp_path):
    cfg = composed(
        *SMALL, f"paths.store={tmp_path}", "reference.seeds=base", "training.epochs=12", "+reference.training.epochs=15"
    )
    plan = experiment.plan(cfg)
    assert plan.base_seeds == plan.reference_seeds == [0, 1]
    result = experiment.run(plan)
    assert result.metrics["pairs"] == 2
    assert list(result.pairs.base) == list(result.pairs.reference)
    assert result.metrics["interval"] == "bases"


def test_accuracies_are_those_of_their_own_models(tmp_path):
    cfg = composed(*SMALL, f"paths.store={tmp_path}", "+reference.training.epochs=40")
    plan = experiment.plan(cfg)
    metrics = experiment.run(plan).metrics
    for name, spec, seeds in (
        ("base", plan.base, plan.base_seeds),
        ("reference", plan.reference, plan.reference_seeds),
    ):
        models = trained(spec, seeds, dataset=plan.dataset, store=plan.store)
        right = [((model(plan.dataset.x_test) > 0) == plan.dataset.y_test).double().mean().item() for model in models]
        assert metrics[f"{name}_accuracy"] == pytest.approx(sum(right) / len(right), abs=1e-6)
    assert metrics["reference_accuracy"] > metrics["base_accuracy"]


def test_a_job_that_finds_nothing_has_a_result(tmp_path):
    result = experiment.run(experiment.plan(composed(*SMALL, f"paths.store={tmp_path}", "counterfactual.iterations=0")))
    assert result.metrics["found"] == result.metrics["rate_end_to_end"] == 0
    assert result.metrics["rate"] != result.metrics["rate"]  # not a number, for there is none
