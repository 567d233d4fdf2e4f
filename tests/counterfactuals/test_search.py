"""The engine: it believes the base, not the method, and asks each question once."""

import pytest
import torch
from conftest import composed
from omegaconf import OmegaConf

from cftransfer import store as artifacts
from cftransfer.counterfactuals.search import check, factuals, search, searched
from cftransfer.errors import InputError
from cftransfer.models.prediction import logits, predicted

SETTINGS = OmegaConf.to_container(composed().counterfactual, resolve=True)


def boastful(model, x, target, *, space, beyond):
    """A method that claims success for rows it did not touch, and for rows outside the box."""
    reached = x.clone()
    reached[: len(x) // 2] += beyond
    return reached, torch.ones(len(x), dtype=torch.bool), torch.zeros(len(x), dtype=torch.long)


@pytest.mark.parametrize("beyond", [0.0, 5.0])
def test_a_methods_word_is_not_enough(trained_models, compas, beyond):
    settings = {"_target_": f"{__name__}.boastful", "beyond": beyond}
    result = search(trained_models[0], compas.x_test[:40], settings=settings, dataset=compas)
    assert result.done.all()
    assert not result.found.any()


def modest(model, x, target, *, space):
    """A method that reaches the target and does not claim it: short of the confidence that it was asked for."""
    reached = torch.where(target[:, None] == 1, torch.ones_like(x), torch.zeros_like(x))
    return reached, torch.zeros(len(x), dtype=torch.bool), torch.ones(len(x), dtype=torch.long)


def test_what_a_method_does_not_claim_is_not_found(compas):
    settings = {"_target_": f"{__name__}.modest"}
    result = search(lambda x: x.sum(1) - 7, compas.x_test[:40], settings=settings, dataset=compas)
    assert (predicted(result.logit) == result.target).all()
    assert not result.found.any()


def test_targets_are_the_other_class(trained_models, compas):
    result = search(trained_models[0], compas.x_test[:40], settings=SETTINGS, dataset=compas)
    assert torch.equal(result.target, 1 - predicted(logits(trained_models[0], compas.x_test[:40])))


def test_counterfactuals_are_searched_once_and_kept_to_the_bit(trained_models, compas, base_spec, tmp_path, caplog):
    caplog.set_level("INFO")
    place = artifacts.prepare(tmp_path)
    ask = {"spec": base_spec, "settings": SETTINGS, "samples": 30, "dataset": compas, "store": place}
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
    (result,) = searched(trained_models[:1], [0], samples=None, **ask)
    assert len(result.factual) == len(compas.x_test)
    for batch_size in (1, 7, 100, 5000):
        fresh = predicted(logits(trained_models[0], result.counterfactual, batch_size=batch_size))
        assert ((fresh == result.target) == result.found)[result.done].all()


def test_samples_are_the_first_of_the_test_split(compas):
    assert torch.equal(factuals(compas, 5), compas.x_test[:5])
    assert torch.equal(factuals(compas, None), compas.x_test)
    with pytest.raises(InputError, match="samples=0"):
        factuals(compas, 0)


def test_settings_are_checked_before_anything_is_searched(compas):
    with pytest.raises(InputError, match=r"counterfactual.iterations=-1"):
        check({**SETTINGS, "iterations": -1}, compas)
