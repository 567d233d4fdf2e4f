"""Noisy execution: which share of x′ + noise keeps its class, on the base and on references."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, composed, transfer_table
from torch import nn

import cftransfer as cft
from cftransfer.columns import CONTROLS
from cftransfer.commands import experiment
from cftransfer.commands.plan import plan as plan_of
from cftransfer.data.pixels import PixelSpace, nearest_greys
from cftransfer.errors import InputError
from cftransfer.measuring.counts import count
from cftransfer.measuring.noisy_execution import invalidation, noise_on, noisy_points
from cftransfer.measuring.rate_intervals import intervals
from cftransfer.measuring.rates import pairs, rates
from cftransfer.measuring.statistics import share_interval
from cftransfer.report.cells import PAGE
from cftransfer.searching.row_random import normal, row_seeds

FEATURES = (
    cft.Feature(name="age", kind="integer", low=0, high=50, mutable=False),
    cft.Feature(name="debts", kind="integer", low=0, high=10, direction="down"),
    cft.Feature(name="income", kind="continuous", low=0, high=1),
    cft.Feature(name="job", kind="categorical", categories=("none", "part", "full")),
)
SPACE = cft.FeatureSpace(FEATURES)


def linear(*weight, bias=0.0):
    model = nn.Linear(len(weight), 1)
    model.load_state_dict({"weight": torch.tensor([weight]), "bias": torch.tensor([bias])})
    return model


def judged(model, rows=200, constraints="none"):
    """Counterfactuals at many distances beyond the boundary of a linear model of three features."""
    x = torch.rand(rows, 3, generator=torch.Generator().manual_seed(0))
    made = torch.rand(rows, 3, generator=torch.Generator().manual_seed(1))
    return cft.judge(model, x, made, constraints=constraints)


def ends(rows, seed=0):
    """Points that the space allows, of a person each."""
    generator = np.random.default_rng(seed)
    people = {"age": generator.integers(0, 51, rows), "debts": generator.integers(0, 11, rows)}
    people |= {"income": generator.random(rows), "job": generator.choice(["none", "part", "full"], rows)}
    return torch.from_numpy(SPACE.encode(pd.DataFrame(people)))


@pytest.mark.parametrize("sigma", [0.03, 0.1, 0.4])
def test_on_a_linear_model_the_share_that_stays_is_phi_of_margin_over_spread(sigma):
    base, reference, draws = linear(2.0, -1.0, 0.5, bias=-0.7), linear(1.0, -2.0, 1.0), 1000
    found = judged(base)
    noisy = cft.noisy_execution(found, [base, reference], sigma=sigma, draws=draws)
    assert len(noisy) == 2 * int(found.found.sum()) > 100
    for number, model in enumerate((base, reference)):
        with torch.no_grad():
            logit = model(found.counterfactual[found.found])[:, 0]
        margin = torch.where(found.target[found.found] == 1, logit, -logit).double()
        stays = torch.special.ndtr(margin / (sigma * model.weight.norm())).detach().numpy()
        seen = 1 - noisy[noisy.model == number].invalidation.to_numpy()
        error = np.sqrt(stays * (1 - stays) / draws)
        assert (np.abs(seen - stays) <= 4.5 * error + 1 / draws).all()
        assert abs((seen - stays).mean()) <= 4 * np.sqrt((error**2).mean() / len(seen)) + 1e-12


def test_without_noise_the_base_loses_nothing_and_a_reference_what_did_not_transfer():
    base, reference = linear(2.0, -1.0, 0.5, bias=-0.7), linear(1.0, -2.0, 1.0)
    found = judged(base)
    nearly = cft.noisy_execution(found, [base, reference], sigma=1e-7, draws=3)
    assert nearly[nearly.model == 0].invalidation.max() == 0
    table = cft.measure(cft.ask(found, reference)).table
    lost = 1 - table.transferred[table.found].astype(float).to_numpy()
    assert 0 < lost.mean() < 1
    assert nearly[nearly.model == 1].invalidation.tolist() == lost.tolist()


def test_more_noise_along_the_same_directions_never_brings_back_what_it_took_on_a_linear_model():
    base = linear(2.0, -1.0, 0.5, bias=-0.7)
    found = judged(base)
    small, large = (cft.noisy_execution(found, base, sigma=sigma).invalidation for sigma in (0.05, 0.2))
    assert (large >= small).all()
    assert large.mean() > small.mean() > 0


@pytest.mark.parametrize("constraints", ["none", "box", "possible", "actionable"])
def test_the_noise_of_a_row_does_not_know_its_neighbours(constraints):
    noise = noise_on(SPACE, constraints, sigma=0.3, draws=4)
    x, reached = ends(30), ends(30, seed=1)
    every = torch.stack(list(noisy_points(x, reached, noise)))
    for order in (torch.arange(29, -1, -1), torch.tensor([7]), torch.tensor([3, 3, 20])):
        some = torch.stack(list(noisy_points(x[order], reached[order], noise)))
        assert torch.equal(some, every[:, order])
    assert not torch.equal(every[0], every[1])


def test_noisy_points_keep_the_constraint_and_immutable_features():
    x, reached = ends(300), ends(300, seed=1)
    for constraints in ("none", "box", "possible", "actionable"):
        noise = noise_on(SPACE, constraints, sigma=0.4, draws=3)
        own = torch.where(torch.tensor(constraints == "actionable"), noise.constraint.project(reached, x), reached)
        for points in noisy_points(x, own, noise):
            assert torch.equal(points[:, 0], own[:, 0])  # age
            assert (points[:, 1:] != own[:, 1:]).any(1).float().mean() > 0.9
            assert noise.constraint.holds(points, x).all()
            assert bool(((points < 0) | (points > 1)).any()) == (constraints == "none")
            if constraints == "actionable":
                assert (points[:, 1] <= x[:, 1]).all()  # debts
                assert (points[:, 1] > own[:, 1]).any()  # up to the factual's


def test_noisy_images_are_whole_grey_levels_where_only_these_are_possible():
    x = torch.randint(50, 200, (5, 3, 8, 8), generator=torch.Generator().manual_seed(0)) / 255
    for constraints, whole in (("possible", True), ("box", False)):
        noise = noise_on(PixelSpace((3, 8, 8)), constraints, sigma=0.05, draws=1)
        (points,) = noisy_points(x, x, noise)
        assert torch.equal(nearest_greys(points), points) == whole
        assert points.min() >= 0
        assert points.max() <= 1
        assert 0.045 < (points - x).std() < 0.055


def test_the_noise_is_standard_normal_and_none_that_a_method_has_fitted_the_row_to():
    x = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0))
    noise = noise_on(None, "none", sigma=0.1, draws=2, inputs=x)
    first, second = ((points - x) / 0.1 for points in noisy_points(x, x, noise))
    for step in (first, second):
        assert step.mean().abs() < 4 / 12_000**0.5
        assert step.std() == pytest.approx(1, abs=0.03)
    shifted = (first[:, 1:], second[:, :-1])  # as draws that share numbers would be
    for one, other in ((first, second), shifted, (first[:, 0], first[:, 1]), (first, normal(row_seeds(x), 3))):
        assert torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].abs() < 0.06


def test_a_model_of_three_classes_is_asked_for_the_target():
    x, made = torch.tensor([[0.9, 0.1, 0.1]] * 2), torch.tensor([[0.1, 0.9, 0.1], [0.1, 0.1, 0.9]])
    found = cft.judge(nn.Identity(), x, made)
    other = cft.Model(lambda x: x[:, [0, 2, 1]])
    noisy = cft.noisy_execution(found, [found.base, other], sigma=0.01, draws=5)
    assert noisy.invalidation.tolist() == [0, 0, 1, 1]
    with pytest.raises(InputError, match=r"^models: number 0 has 2 classes, and the base 3"):
        cft.noisy_execution(found, linear(1.0, 1.0, 1.0), sigma=0.1)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sigma": 0}, "sigma=0: must be a number above 0, up to 1"),
        ({"sigma": 1.5}, "sigma=1.5: must be a number above 0, up to 1"),
        ({"sigma": 0.1, "draws": 0}, "draws=0: must be a whole number from 1 to 1000"),
    ],
)
def test_mistakes_are_one_line(settings, said):
    base = linear(2.0, -1.0, 0.5)
    with pytest.raises(InputError, match=said):
        cft.noisy_execution(judged(base), base, **settings)
    with pytest.raises(InputError, match=r"^models: is empty"):
        cft.noisy_execution(judged(base), [], sigma=0.1)


def test_what_was_not_found_is_not_asked_about_and_stored_logits_say_nothing_of_noise():
    base, reference = linear(2.0, -1.0, 0.5, bias=-0.7), linear(1.0, -2.0, 1.0)
    found = judged(base, constraints="box")
    noise = noise_on(None, "box", sigma=0.1, draws=5, inputs=found.factual)
    shares = invalidation(found, [found.base], noise)[0]
    assert torch.equal(shares.isnan(), ~found.found)
    stored = cft.StoredLogits(found.factual_logit, found.logit)
    how = {"nearest": [None], "base_seeds": [0], "reference_seeds": None, "nested": False}
    table = transfer_table([found], [cft.Model(reference), stored], noise=noise, **how)
    assert table.invalidation[table.reference == 1].isna().all()
    assert table.invalidation[table.reference == 0].isna().tolist() == (~found.found).tolist()
    assert "invalidation" not in transfer_table([found], [cft.Model(reference)], **how)


def test_the_interval_of_the_invalidation_is_over_bases_and_references():
    lost = np.array([[0.30, 0.34, 0.31], [0.33, 0.36, 0.32]])
    rows = [
        {"base": i, "reference": j, "base_seed": i, "reference_seed": j, "factual": k, "target": 1, "found": True,
         "agreement": True, "transferred": k < 9, **dict.fromkeys(CONTROLS, 0.5), "invalidation": lost[i, j]}
        for i in range(2) for j in range(3) for k in range(10)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    found = table[table.reference == 0].assign(status="found")
    given, over = intervals(found, count(table)), share_interval(lost)
    assert 0 < over.low < lost.mean() < over.high < 1
    assert (given["invalidation_low"], given["invalidation_high"]) == pytest.approx((over.low, over.high))
    assert "invalidation_low" not in intervals(found, count(table.drop(columns="invalidation")))


def test_every_factual_weighs_the_same_however_many_proposals_it_has():
    base = linear(1.0, bias=-0.5)
    made = torch.tensor([[0.51], [0.99], [0.51]])
    found = cft.judge(base, torch.tensor([[0.1], [0.2]]), made, factual=[0, 0, 1])
    steep = cft.Model(lambda x: x[:, 0] - 0.9)
    noise = noise_on(None, "box", sigma=1e-6, draws=2, inputs=found.factual)
    how = {"nearest": [None], "base_seeds": [0], "reference_seeds": None, "nested": False}
    counts = count(transfer_table([found], [steep], noise=noise, **how))
    assert pairs(counts).invalidation.tolist() == [0.75]  # (1/2 + 1) / 2
    table = cft.measure(cft.ask(found, steep)).counterfactuals
    assert rates(table.assign(invalidation_base=[1.0, 0.0, 1.0]), counts)["invalidation_base"] == 0.75


SMALL = ["dataset=moons", "training.epochs=5", "model.layers=1", "model.width=16", "samples=30"]
SMALL += ["replicates.bases=2", "replicates.references=3"]


def test_a_jobs_invalidation_is_that_of_its_counterfactuals_on_its_models(tmp_path):
    from cftransfer.store.trained import trained

    place = f"paths.store={tmp_path}"
    plan = plan_of(composed(*SMALL, place, "execution.sigma=0.1", "execution.draws=7"))
    result = experiment.run(plan)
    bases, references = (
        trained(plan.base, seeds, dataset=plan.dataset, store=tmp_path)
        for seeds in (plan.base_seeds, plan.reference_seeds)
    )
    found = [cft.search(base, plan.dataset.x_test[:30], space=plan.dataset.space) for base in bases]
    noisy = cft.noisy_execution(found, list(references), sigma=0.1, draws=7)
    table, metrics = result.tables["pairs"], result.metrics
    assert table.invalidation.tolist() == noisy.groupby(["base", "model"]).invalidation.mean().tolist()
    assert metrics["invalidation"] == pytest.approx(table.invalidation.mean())
    assert 0 <= metrics["invalidation_low"] < metrics["invalidation"] < metrics["invalidation_high"] <= 1
    by_base = [cft.noisy_execution(one, one.base, sigma=0.1, draws=7).invalidation.mean() for one in found]
    assert metrics["invalidation_base"] == pytest.approx(np.mean(by_base))
    assert {"invalidation", "invalidation_base"} <= {name for name, _ in PAGE.values()}
    documented = (ROOT / "docs" / "reference" / "output.md").read_text()
    assert all(f"`{name}`" in documented for name in metrics if "invalidation" in name)
    without = experiment.run(plan_of(composed(*SMALL, place)))
    assert set(metrics) - set(without.metrics) == {
        f"invalidation{end}" for end in ("", "_low", "_high", "_base", "_base_low", "_base_high")
    }
    for name, value in without.metrics.items():
        assert metrics[name] == value or np.isnan([metrics[name], value]).all(), name


@pytest.mark.parametrize("sigma", ["-0.1", "1.5", "little", "null", "true"])
def test_a_sigma_that_is_none_ends_a_job_before_it_begins(sigma, tmp_path):
    with pytest.raises(InputError, match=r"^execution.sigma=.*: must be a number from 0, no noise, up to 1"):
        plan_of(composed(*SMALL, f"execution.sigma={sigma}", f"paths.store={tmp_path}"))


def test_the_same_counterfactuals_have_the_same_noise_alone_and_among_others():
    base = linear(2.0, -1.0, 0.5, bias=-0.7)
    found = judged(base)
    half = torch.arange(len(found)) % 2 == 0
    kept = {name: part[half] for name, part in vars(found).items() if isinstance(part, torch.Tensor)}
    some = cft.noisy_execution(replace(found, **kept), base, sigma=0.1).invalidation
    every = invalidation(found, [found.base], noise_on(None, "none", sigma=0.1, inputs=found.factual))[0]
    assert some.tolist() == every[half & found.found].tolist()
