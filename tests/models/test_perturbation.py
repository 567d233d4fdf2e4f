"""References that are their bases with noise on the weights, or without some features."""

import pytest
import torch
from conftest import composed

import cftransfer as cft
from cftransfer.commands import experiment
from cftransfer.commands.plan import plan as plan_of
from cftransfer.errors import InputError
from cftransfer.models.perturbation import perturbed

MOONS = cft.dataset("moons", rows=200)
(NETWORK,) = cft.train(MOONS, layers=2, width=8, epochs=1)
LEFT_OUT = {"_target_": "dropout_models"}


def noise(epsilon, norm="linf"):
    return {"_target_": "weight_noise", "epsilon": epsilon, "norm": norm}


def test_noise_is_within_epsilon_and_a_function_of_the_seed():
    before = [weight.clone() for weight in NETWORK.parameters()]
    for norm in ("linf", "relative"):
        one, again, other = (perturbed(NETWORK, noise(0.1, norm), seed=seed) for seed in (1, 1, 2))
        for old, new, same, else_ in zip(before, *(model.parameters() for model in (one, again, other))):
            most = 0.1 * (torch.ones_like(old) if norm == "linf" else old.abs())
            assert ((new - old).abs() <= most + 1e-7).all()
            assert torch.equal(new, same)
            assert not torch.equal(new, else_)
    assert all(torch.equal(old, now) for old, now in zip(before, NETWORK.parameters()))  # the base stays


def test_the_same_noise_is_on_every_base():
    (other,) = cft.train(MOONS, layers=2, width=8, epochs=1, seeds=[5])
    moves = [
        [new - old for old, new in zip(base.parameters(), perturbed(base, noise(0.1), seed=3).parameters())]
        for base in (NETWORK, other)
    ]
    for one, two in zip(*moves):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=0)


def test_left_out_features_are_inputs_of_layers_and_the_others_are_scaled_up():
    kept = perturbed(NETWORK, {**LEFT_OUT, "share": 0.5}, seed=0)
    first, *hidden = [module for module in kept.modules() if isinstance(module, torch.nn.Linear)]
    old_first, *old = [module for module in NETWORK.modules() if isinstance(module, torch.nn.Linear)]
    assert torch.equal(first.weight, old_first.weight)
    for now, before in zip(hidden, old):
        ratio = (now.weight / before.weight).unique()
        assert set(ratio.round(decimals=4).tolist()) == {0.0, 2.0}
        assert ((now.weight == 0).all(0) | (now.weight != 0).all(0)).all()  # whole columns


def test_what_has_no_weights_is_one_line():
    (tree,) = cft.train(MOONS, model="decision_tree", max_depth=2)
    with pytest.raises(InputError, match="perturbation=weight_noise: changes weights of a network"):
        perturbed(tree, noise(0.1), seed=0)
    with pytest.raises(InputError, match="the base has no hidden features"):
        perturbed(torch.nn.Linear(2, 1), {**LEFT_OUT, "share": 0.5}, seed=0)
    for settings, said in (
        (noise(-1), "perturbation.epsilon=-1"),
        (noise(1, "l2"), "perturbation.norm=l2: must be one of linf"),
    ):
        with pytest.raises(InputError, match=said):
            perturbed(NETWORK, settings, seed=0)


SMALL = ["dataset=moons", "training.epochs=15", "training.batch_size=16", "model.layers=1", "model.width=16"]
SMALL += ["replicates.bases=2", "replicates.references=3", "samples=30"]


def test_noise_that_goes_to_nothing_leaves_a_rate_of_one(tmp_path):
    """Bases and references cross, and no reference is trained."""
    words = [*SMALL, "experiment=weight_noise", f"paths.store={tmp_path}"]
    result = experiment.run(plan_of(composed(*words, "reference.perturbation.epsilon=0")))
    assert result.metrics["pairs"] == 6
    assert result.metrics["interval"].startswith("bases × references")
    assert result.metrics["rate"] == result.metrics["agreement"] == 1
    assert "rate_seed" not in result.metrics
    assert len(list(tmp_path.glob("models/*.safetensors"))) == 2
    assert experiment.run(plan_of(composed(*words, "reference.perturbation.epsilon=1"))).metrics["rate"] < 1


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("reference.seeds=base", "reference.perturbation=weight_noise: changes the bases themselves"),
        ("+reference.model.layers=2", "reference.perturbation=weight_noise: changes the bases themselves"),
    ],
)
def test_patches_that_do_not_go_together_are_one_line(word, said, tmp_path):
    with pytest.raises(InputError, match=said):
        plan_of(composed(*SMALL, "experiment=weight_noise", f"paths.store={tmp_path}", word))
    with pytest.raises(InputError, match="perturbation: is for references only"):
        plan_of(composed(*SMALL, "perturbation=weight_noise", f"paths.store={tmp_path}"))
