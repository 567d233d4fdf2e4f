"""The engine: it believes the base, not the method, and asks each question once."""

import pytest
import torch
from conftest import composed
from omegaconf import OmegaConf

from cftransfer import store as artifacts
from cftransfer.commands.plan import plan
from cftransfer.errors import InputError
from cftransfer.models.build import build
from cftransfer.models.prediction import logits, predicted
from cftransfer.searching.candidates import Candidates
from cftransfer.store.searched import check_search, factuals, run_search, searched

SETTINGS = OmegaConf.to_container(composed().counterfactual, resolve=True)


def nobody(seed, count):
    raise AssertionError("gradient searches on the base alone")


def boastful(model, x, target, *, beyond):
    """A method that claims success for rows it did not touch, and for rows outside the box."""
    reached = x.clone()
    reached[: len(x) // 2] += beyond
    return Candidates(reached, torch.ones(len(x), dtype=torch.bool), torch.zeros(len(x), dtype=torch.long))


@pytest.mark.parametrize("beyond", [0.0, 5.0])
def test_a_methods_word_is_not_enough(trained_models, compas, beyond, own_methods):
    settings = {"_target_": f"{__name__}__boastful", "constraints": "box", "beyond": beyond}
    result = run_search(trained_models[0], compas.x_test[:40], settings=settings, dataset=compas)
    assert result.claimed.all()
    assert not result.found.any()


def modest(model, x, target):
    """A method that reaches the target and does not claim it: short of the confidence that was set."""
    reached = torch.where(target[:, None] == 1, torch.ones_like(x), torch.zeros_like(x))
    return Candidates(reached, torch.zeros(len(x), dtype=torch.bool), torch.ones(len(x), dtype=torch.long))


def test_what_a_method_does_not_claim_is_not_found(compas, own_methods):
    settings = {"_target_": f"{__name__}__modest", "constraints": "box"}
    result = run_search(lambda x: x.sum(1) - 7, compas.x_test[:40], settings=settings, dataset=compas)
    assert (predicted(result.logit) == result.target).all()
    assert not result.found.any()


def test_targets_are_the_other_class(trained_models, compas):
    result = run_search(trained_models[0], compas.x_test[:40], settings=SETTINGS, dataset=compas)
    assert torch.equal(result.target, 1 - predicted(logits(trained_models[0], compas.x_test[:40])))


def test_counterfactuals_are_searched_once_and_kept_to_the_bit(trained_models, compas, base_spec, tmp_path, caplog):
    caplog.set_level("INFO")
    place = artifacts.prepare(tmp_path)
    ask = {"spec": base_spec, "settings": SETTINGS, "samples": 30, "dataset": compas, "store": place}
    ask["generating"] = nobody
    first = searched(trained_models[:2], [0, 1], **ask)
    again = searched(trained_models, [0, 1, 2], **ask)
    assert [record.getMessage() for record in caplog.records] == [
        f"searched 30 counterfactuals on base {seed}: found 30" for seed in range(3)
    ]
    for before, after in zip(first, again, strict=False):
        assert torch.equal(before.counterfactual, after.counterfactual)
        assert before.counterfactual.dtype == torch.float32
    other = searched(trained_models[:1], [0], **{**ask, "settings": {**SETTINGS, "lr": 0.02}})
    assert not torch.equal(other[0].counterfactual, first[0].counterfactual)


def test_stored_counterfactuals_score_as_recorded_in_any_pass(trained_models, compas, base_spec, tmp_path):
    ask = {"spec": base_spec, "settings": SETTINGS, "dataset": compas, "store": artifacts.prepare(tmp_path)}
    ask["generating"] = nobody
    (result,) = searched(trained_models[:1], [0], samples=None, **ask)
    assert len(result.factual) == len(compas.x_test)
    for batch_size in (1, 7, 100, 5000):
        fresh = predicted(logits(trained_models[0], result.counterfactual, batch_size=batch_size))
        assert ((fresh == result.target) == result.found)[result.claimed].all()


def test_samples_are_the_first_of_the_test_split(compas):
    assert torch.equal(factuals(compas, 5), compas.x_test[:5])
    assert torch.equal(factuals(compas, None), compas.x_test)
    with pytest.raises(InputError, match="samples=0"):
        factuals(compas, 0)


def test_settings_are_checked_before_anything_is_searched(compas):
    with pytest.raises(InputError, match=r"counterfactual.iterations=-1"):
        check_search({**SETTINGS, "iterations": -1}, compas, lambda x: x.sum(1))


def between(model, x, target, *, constraint):
    """A method that claims points outside the constraint: half of a category."""
    reached = torch.where(target[:, None] == 1, torch.ones_like(x), torch.zeros_like(x))
    return Candidates(
        reached.clamp(0.1, 0.9), torch.ones(len(x), dtype=torch.bool), torch.ones(len(x), dtype=torch.long)
    )


@pytest.mark.parametrize(("constraints", "found"), [("none", True), ("box", True), ("possible", False)])
def test_what_the_constraint_does_not_allow_is_not_found(compas, constraints, found, own_methods):
    settings = {"_target_": f"{__name__}__between", "constraints": constraints}
    result = run_search(lambda x: x.sum(1) - 7, compas.x_test[:40], settings=settings, dataset=compas)
    assert (predicted(result.logit) == result.target).all()
    assert bool(result.found.all()) is found
    assert bool(result.found.any()) is found


def test_a_search_without_constraints_may_leave_the_box(trained_models, compas):
    x = compas.x_test[:100]
    free = run_search(trained_models[0], x, settings={**SETTINGS, "constraints": "none"}, dataset=compas)
    assert free.found.float().mean() > 0.95
    assert ((free.counterfactual < 0) | (free.counterfactual > 1))[free.found].any()


def test_constraints_are_named_in_every_mistake(compas):
    for settings, said in (
        (
            {**SETTINGS, "constraints": "likely"},
            "counterfactual.constraints=likely: must be one of none, box, possible",
        ),
        ({name: value for name, value in SETTINGS.items() if name != "constraints"}, "constraints: is missing"),
    ):
        with pytest.raises(InputError, match=said):
            check_search(settings, compas, lambda x: x.sum(1))


def test_a_base_without_a_gradient_is_refused_before_anything_is_trained(compas):
    tree = build(composed("model=decision_tree").model, input_shape=(14,), seed=0)
    with pytest.raises(InputError, match="follows gradients, and the base's model has none; counterfactual=nearest"):
        check_search(SETTINGS, compas, tree)


def test_where_it_was_before_projection_is_kept_to_the_bit(trained_models, compas, base_spec, tmp_path):
    ask = {"spec": base_spec, "settings": SETTINGS, "samples": 30, "dataset": compas, "generating": nobody}
    ask["store"] = artifacts.prepare(tmp_path)
    (result,) = searched(trained_models[:1], [0], **ask)
    fresh = run_search(trained_models[0], compas.x_test[:30], settings=SETTINGS, dataset=compas)
    assert torch.equal(result.relaxed, fresh.relaxed)
    assert torch.equal(result.relaxed_found, fresh.relaxed_found)


def test_more_bases_than_have_models_of_their_own_are_refused_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fifty, one_more = (composed("counterfactual=ensemble", f"replicates.bases={n}") for n in (50, 51))
    plan(fifty)
    with pytest.raises(InputError, match=r"replicates\.bases: at most 50"):
        plan(one_more)
    plan(composed("replicates.bases=1000"))
