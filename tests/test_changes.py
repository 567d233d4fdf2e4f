"""How far references are from their bases, how rates are spread over references, and both in a report."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import composed

from cftransfer.commands import experiment
from cftransfer.commands.plan import plan as plan_of
from cftransfer.measuring.model_distance import MEASURES, mean_distances, model_distances, seen
from cftransfer.measuring.severity import by_severity, fraction_lost
from cftransfer.measuring.tails import accepted_by, tails
from cftransfer.report import collect
from cftransfer.report.changes import changes, severities
from cftransfer.report.compared import asked


def far(name, base, reference):
    """The distance of two models of these logits."""
    return MEASURES[name](seen(base), seen(reference))


def test_two_classes_as_one_logit_or_as_two_are_equally_far_apart():
    base, reference = torch.randn(500, dtype=torch.double), torch.randn(500, dtype=torch.double)
    pair = [torch.stack([torch.zeros_like(one), one], 1) for one in (base, reference)]
    for name in ("disagreement", "prob_difference"):
        assert far(name, *pair).item() == pytest.approx(far(name, base, reference).item(), abs=1e-12)
    # Logits of ±z / 2 differ by half as much as z itself.
    assert far("logit_rmse", *pair).item() == pytest.approx(far("logit_rmse", base, reference).item() / 2)


@pytest.mark.parametrize("shape", [(300,), (300, 4)])
def test_distances_are_0_of_a_model_from_itself_and_symmetric(shape):
    base, reference = torch.randn(shape), torch.randn(shape)
    for name in MEASURES:
        assert far(name, base, base) == 0
        assert far(name, base, reference) == far(name, reference, base) > 0


def test_distances_by_hand_and_a_shift_of_all_logits_is_none():
    base, reference = torch.tensor([1.0, -1.0, 2.0, 0.5]), torch.tensor([1.0, 1.0, -2.0, 0.5])
    assert far("disagreement", base, reference) == 0.5
    assert far("logit_rmse", base, reference).item() == pytest.approx(math.sqrt((4 + 16) / 4))
    sigmoid = lambda z: 1 / (1 + math.exp(-z))  # noqa: E731
    expected = (sigmoid(1) - sigmoid(-1) + sigmoid(2) - sigmoid(-2)) / 4
    assert far("prob_difference", base, reference).item() == pytest.approx(expected)
    several = torch.randn(50, 3)
    for name in MEASURES:
        assert far(name, several, several + torch.arange(50.0)[:, None]).item() == pytest.approx(0, abs=1e-5)


def test_every_pair_has_a_row_and_references_made_of_bases_their_own_logits():
    bases = [torch.tensor([1.0, 1.0]), torch.tensor([-1.0, 1.0])]
    same = [[torch.tensor([1.0, 1.0])], [torch.tensor([-1.0, -1.0])]]
    table = model_distances(bases, same, nested=False)
    assert table[["base", "reference", "disagreement"]].values.tolist() == [
        [0, 0, 0],
        [0, 1, 1],
        [1, 0, 0.5],
        [1, 1, 0.5],
    ]
    assert model_distances(bases, same, nested=True).reference.tolist() == [0, 1]
    made = [bases, [-logits for logits in bases]]
    assert model_distances(bases, made, nested=False).disagreement.tolist() == [0, 1, 0, 1]
    means = mean_distances(table.assign(base_seed=0, reference_seed=0))
    assert means["disagreement"] == 0.5
    assert 0 <= means["disagreement_low"] <= 0.5 <= means["disagreement_high"] <= 1


def pairs_of(rates):
    rows = [{"base": i, "reference": j, "rate": rate} for i, row in enumerate(rates) for j, rate in enumerate(row)]
    return pd.DataFrame(rows)


def holds_of(accepts):
    """accepts[base][factual]: how many of four references accept."""
    rows = [
        {"base": i, "factual": k, "n_references": 4, "share": many / 4}
        for i, row in enumerate(accepts)
        for k, many in enumerate(row)
    ]
    return pd.DataFrame(rows)


def test_tails_by_hand():
    """Two bases, four references: rates of references are .4, .6, .75, 1 on base 0, and 1 on base 1."""
    pairs = pairs_of([[0.4, 0.6, 0.75, 1.0], [1.0, 1.0, 1.0, 1.0]])
    holds = holds_of([[4, 2, 1, 4], [4, 4]])
    found = tails(pairs, holds)
    assert found["rate_all"] == (2 / 4 + 1) / 2
    assert found["rate_min"] == pytest.approx((0.4 + 1) / 2)
    assert found["rate_p10"] == pytest.approx((0.46 + 1) / 2)  # .3 of the way from the first to the second
    assert found["rate_all_low"] < found["rate_all"] < found["rate_all_high"] <= 1
    assert tails(pairs[pairs.reference == 0], holds) == {}  # one reference has no tail
    table = accepted_by(holds)
    assert table.k.tolist() == [1, 2, 3, 4]
    assert table.share.tolist() == [1, (3 / 4 + 1) / 2, (2 / 4 + 1) / 2, (2 / 4 + 1) / 2]


def test_thirds_of_pairs_by_disagreement():
    pairs = pd.DataFrame({"disagreement": [0.3, 0.1, 0.2, 0.1, 0.5, 0.4], "rate": [0.6, 0.9, 0.8, 0.7, 0.2, 0.4]})
    table = by_severity(pairs)
    assert table.severity.tolist() == ["near", "middle", "far"]
    assert table.pairs.tolist() == [2, 2, 2]
    assert table.rate.tolist() == pytest.approx([0.8, 0.7, 0.3])
    equal = by_severity(pairs.assign(disagreement=0.1))
    assert (equal.severity.tolist(), equal.pairs.tolist()) == (["near"], [6])  # equal ones stay together
    assert by_severity(pairs.assign(rate=np.nan)).empty


def test_the_curve_is_that_of_its_own_points():
    apart = np.array([0.01, 0.05, 0.2, 0.0, 0.1])
    scale, exponent = fraction_lost(apart, 1 - 1.5 * apart**0.6)
    assert (scale, exponent) == pytest.approx((1.5, 0.6))
    assert fraction_lost(apart, np.ones(5)) is None
    assert fraction_lost(np.full(5, 0.1), apart) is None
    assert fraction_lost(apart[apart > 0], 1 - 0.001 / apart[apart > 0]) is None  # a curve that does not begin at 0


SMALL = ["dataset=moons", "training.epochs=15", "training.batch_size=16", "model.layers=1", "model.width=16"]
SMALL += ["replicates.bases=2", "replicates.references=3", "samples=30"]


def test_a_jobs_distances_are_those_of_its_models_on_the_test_split(tmp_path):
    from cftransfer.store.trained import trained

    plan = plan_of(composed(*SMALL, f"paths.store={tmp_path}"))
    result = experiment.run(plan)
    pairs = result.tables["pairs"].set_index(["base", "reference"])
    bases, references = (
        trained(plan.base, seeds, dataset=plan.dataset, store=tmp_path)
        for seeds in (plan.base_seeds, plan.reference_seeds)
    )
    x = plan.dataset.x_test
    for i, base in enumerate(bases):
        for j, reference in enumerate(references):
            expected = ((base(x) > 0) != (reference(x) > 0)).double().mean().item()
            assert pairs.disagreement[i, j] == pytest.approx(expected)
    assert result.metrics["disagreement"] == pytest.approx(pairs.disagreement.mean())
    whole = result.tables["holds"]
    every = (whole.share == 1).groupby(whole.base).mean().mean()
    assert result.metrics["rate_all"] == pytest.approx(every)
    assert result.metrics["rate_min"] <= result.metrics["rate_p10"] <= result.metrics["rate"]
    assert result.metrics["rate_all"] <= result.metrics["rate_min"] + 1e-12


def test_experiments_with_a_job_each_share_a_panel_and_one_axis(tmp_path):
    from report.test_collect import write_job

    names = ["bootstrap", "growth", "optimizer", "seed"]
    for number, name in enumerate(names):
        write_job(tmp_path / str(number), rates=[[0.9 - 0.1 * number, 0.8], [0.7, 0.75]], experiment=name, seed=number)
        file, path = tmp_path / str(number) / "pairs.parquet", tmp_path / str(number) / "result.json"
        apart = [0.01 * (number + 1), 0.02, 0.03, 0.05]
        pd.read_parquet(file).assign(disagreement=apart).to_parquet(file)
        result = json.loads(path.read_text())
        more = {"disagreement": float(np.mean(apart)), "disagreement_low": 0.0, "disagreement_high": 0.1}
        path.write_text(json.dumps({**result, "metrics": {**result["metrics"], **more}}))
    jobs = collect.jobs([tmp_path])
    (panel,) = jobs.panels
    assert "hold on models changed in one way each (bootstrap, growth, optimizer, seed)?" in asked(panel)
    assert [panel.place(job) for job in panel.jobs] == [f"experiment={name}" for name in names]
    figure = changes(jobs)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(names) | {"another seed alone"} < set(labels)
    assert [name for name, _ in severities(jobs)] == names
    assert changes(collect.jobs([tmp_path / "0"])) is None
