"""Changes of nothing are the base, and small ones go there: identities of the experiments on rows and weights."""

from dataclasses import replace

import pytest
import torch
from conftest import composed

import cftransfer as cft
from cftransfer.commands import experiment
from cftransfer.commands.plan import plan as plan_of
from cftransfer.errors import InputError
from cftransfer.models.build import build_for
from cftransfer.models.population import Population
from cftransfer.models.training_rows import training_rows

SMALL = ["dataset=moons", "training.epochs=15", "training.batch_size=16", "model.layers=1", "model.width=16"]
SMALL += ["replicates.bases=2", "replicates.references=3", "samples=30"]
MOONS = cft.dataset("moons", rows=200)


def test_all_rows_of_the_bases_own_seed_are_refused_as_equal(tmp_path):
    words = [*SMALL, "experiment=bootstrap", "rows@reference.rows=all", f"paths.store={tmp_path}"]
    with pytest.raises(InputError, match=r"reference=.*_target_.*all.*: changes nothing"):
        plan_of(composed(*words))
    with pytest.raises(InputError, match=r"reference=.*: changes nothing"):  # nor does it with other seeds
        plan_of(composed(*words, "reference.seeds=reference"))


@pytest.mark.parametrize(
    "words",
    [
        ["experiment=leave_out", "reference.rows.count=0"],
        ["experiment=leave_out", "reference.rows.share=0"],
        ["experiment=label_noise", "reference.rows.share=0"],
        ["experiment=weight_noise", "reference.perturbation.epsilon=0"],
        ["experiment=weight_noise", "reference.perturbation.epsilon=0", "reference.perturbation.norm=relative"],
        ["experiment=dropout_models", "reference.perturbation.share=0"],
    ],
)
def test_a_change_of_nothing_is_the_base_on_the_whole_test_split(words, tmp_path):
    result = experiment.run(plan_of(composed(*SMALL, *words, f"paths.store={tmp_path}")))
    assert result.metrics["n_tried"] > 0
    assert result.metrics["rate"] == result.metrics["agreement"] == 1
    for distance in ("disagreement", "prob_difference", "logit_rmse"):
        assert (result.tables["pairs"][distance] == 0).all()


def test_noise_that_gets_smaller_goes_to_the_base(tmp_path):
    words = [*SMALL, "experiment=weight_noise", f"paths.store={tmp_path}"]
    told = [
        experiment.run(plan_of(composed(*words, f"reference.perturbation.epsilon={size}"))).metrics
        for size in (1.0, 0.1, 1e-3, 1e-7)
    ]
    apart = [metrics["logit_rmse"] for metrics in told]
    assert apart == sorted(apart, reverse=True)
    assert 0 < apart[-1] < 1e-5
    rates = [metrics["rate"] for metrics in told]
    assert rates[0] < 1
    assert abs(rates[1] - 1) <= abs(rates[0] - 1)
    assert rates[-1] == 1  # no counterfactual lies so close to the boundary


def test_a_bootstraps_multiplicities_are_those_of_its_seed_stacked_or_alone():
    settings, splits = {"_target_": "bootstrap", "draw": 0}, ("x_train", "y_train", "x_test", "y_test")

    def seen(seeds):
        """How often each row of the training split comes in an epoch of each member."""
        numbered = {name: getattr(MOONS, name) for name in splits}
        numbered["x_train"] = torch.arange(len(MOONS.x_train)).float()[:, None].expand(-1, 2)
        members = [build_for(MOONS, {"_target_": "mlp", "layers": 1, "width": 4}, seed=seed) for seed in seeds]
        rows = [training_rows(MOONS, settings, seed=seed) for seed in seeds]
        whole = Population(members, splits=numbered, seeds=seeds, lr=0.001, batch_size=32, rows=rows)
        batches = torch.cat([x[:, :, 0] for x, *_ in whole.train_dataloader()], dim=1).long()
        return [member.bincount(minlength=len(MOONS.x_train)) for member in batches]

    stacked = seen([3, 8, 5])
    for place, seed in enumerate([3, 8, 5]):
        (alone,) = seen([seed])
        assert torch.equal(alone, stacked[place])
        expected = training_rows(MOONS, settings, seed=seed).index.bincount(minlength=len(MOONS.x_train))
        assert torch.equal(alone, expected)
    assert not torch.equal(stacked[0], stacked[1])


def test_leaving_out_any_row_that_weighs_nothing_changes_nothing():
    """For several seeds; each leaves out another row."""
    settings = {"_target_": "drop", "count": 1, "share": None, "draw": 0}
    for seed in (0, 1, 2):
        kept = training_rows(MOONS, settings, seed=seed).kept
        weighted = replace(MOONS, weight=kept.clone())
        one, other = (
            cft.train(weighted, layers=1, width=8, epochs=2, seeds=[seed], rows=rows) for rows in (None, settings)
        )
        for left, right in zip(one[0].parameters(), other[0].parameters(), strict=True):
            assert torch.equal(left, right)
