"""Plausibility: whether x′ lies where the training data have rows of its target class."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, composed
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

import cftransfer as cft
from cftransfer.commands import experiment
from cftransfer.commands.plan import _plausibility
from cftransfer.commands.plan import plan as plan_of
from cftransfer.data.pixels import PixelSpace
from cftransfer.errors import InputError
from cftransfer.measuring.plausibility import plausible
from cftransfer.measuring.statistics import share_interval, two_way_interval
from cftransfer.report.cells import PAGE
from cftransfer.searching.candidates import Background

COLUMNS = ["knn_distance", "knn_share", "lof"]


def at(points, target=1, found=None):
    """A search that ended at these points, all of one target."""
    points = torch.as_tensor(points, dtype=torch.float32)
    model = cft.Model(lambda x: x[:, 0] - x[:, 0] + (1.0 if target else -1.0))
    made = cft.judge(model, torch.zeros_like(points), points, constraints="none", target=target)
    flags = torch.ones(len(points), dtype=torch.bool) if found is None else torch.tensor(found)
    return replace(made, found=flags)


def of(points, x, y, **how):
    (columns,) = plausible([at(points, **how)], Background(torch.as_tensor(x), torch.as_tensor(y)))
    return {name: columns[name].tolist() for name in COLUMNS}


def clusters(rows=60, seed=0):
    """A dense cluster of each class, around (.2, .2) and (.8, .8)."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[0.2, 0.2], [0.8, 0.8]]).repeat_interleave(rows, 0)
    return centres + 0.03 * torch.randn(2 * rows, 2, generator=generator), torch.arange(2).repeat_interleave(rows)


def test_a_training_row_of_the_class_is_at_distance_0_of_its_own_copies():
    own = torch.rand(8, 6, generator=torch.Generator().manual_seed(0)).div(2).add(0.5)
    x = torch.cat([own.repeat(5, 1), torch.rand(20, 6, generator=torch.Generator().manual_seed(1)) / 4])
    said = of(own, x, torch.tensor([1] * 40 + [0] * 20))
    assert said["knn_distance"] == [0] * 8
    assert said["knn_share"] == [1] * 8


def test_a_grid_by_hand():
    x, y = torch.arange(11.0)[:, None] / 10, torch.tensor([0] * 6 + [1] * 5)
    said = of([[0.56], [1.0], [0.1]], x, y)
    assert said["knn_distance"] == pytest.approx([0.24, 0.2, 0.7], abs=1e-6)
    assert said["knn_share"] == pytest.approx([3 / 5, 1, 0])  # of .56: .4 to .8
    assert of([[0.1]], x, y, target=0)["knn_distance"] == pytest.approx([0.14], abs=1e-6)


def test_two_clusters():
    x, y = clusters()
    inside, elsewhere, between = [0.8, 0.8], [0.2, 0.2], [0.55, 0.55]
    said = of([inside, elsewhere, between], x, y)
    assert said["knn_share"] == [1, 0, 1]
    assert said["lof"][0] == pytest.approx(1, abs=0.1)
    assert said["lof"][1] > said["lof"][2] > 3
    assert said["knn_distance"][0] < 0.02 < said["knn_distance"][2] < said["knn_distance"][1]
    mirrored = of([inside, elsewhere, between], x, y, target=0)
    assert mirrored["knn_share"] == [0, 1, 0]
    assert mirrored["lof"][1] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_no_order_of_the_training_rows_changes_a_bit(seed):
    """Rows on a coarse grid, many of them equal and of both classes, so that the fifth is as far as others."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randint(0, 4, (120, 3), generator=generator) / 3, torch.randint(0, 2, (120,), generator=generator)
    points = torch.randint(0, 7, (40, 3), generator=generator) / 6
    order = torch.randperm(120, generator=generator)
    first = of(points, x, y)
    assert first == of(points, x[order], y[order])
    assert len({round(5 * share, 6) % 1 > 0 for share in first["knn_share"]}) == 2  # of some points, a place is shared


def test_distances_and_factors_are_scikit_learns():
    x, y = clusters(seed=3)
    points = torch.rand(50, 2, generator=torch.Generator().manual_seed(1))
    said = of(points, x, y)
    own = x[y == 1].double().numpy()
    distances, _ = NearestNeighbors(n_neighbors=5).fit(own).kneighbors(points.double().numpy())
    np.testing.assert_allclose(said["knn_distance"], distances.mean(1), rtol=1e-10)
    _, index = NearestNeighbors(n_neighbors=5).fit(x.double().numpy()).kneighbors(points.double().numpy())
    np.testing.assert_allclose(said["knn_share"], y.numpy()[index].mean(1), rtol=1e-12)
    factor = LocalOutlierFactor(n_neighbors=20, novelty=True).fit(own)
    np.testing.assert_allclose(said["lof"], -factor.score_samples(points.double().numpy()), rtol=1e-10)


def test_rows_that_repeat_make_no_infinite_density():
    x, y = clusters()
    many = torch.cat([x, x[-1:].repeat(40, 1)]), torch.cat([y, torch.ones(40, dtype=torch.long)])
    near = (x[-1:] + 0.01).tolist()
    assert of(near, *many)["lof"] == of(near, x, y)["lof"]
    factor = LocalOutlierFactor(n_neighbors=20, novelty=True).fit(many[0][many[1] == 1].numpy())
    assert -factor.score_samples(np.float32(near))[0] > 1e7  # the distinct rows avoid this


def test_few_rows_of_a_class_and_none():
    x = torch.tensor([[0.0], [0.4], [1.0]])
    said = of([[0.5]], x, [1, 1, 0])
    assert said["knn_distance"] == pytest.approx([0.3])
    assert said["knn_share"] == pytest.approx([2 / 3])
    assert np.isfinite(said["lof"]).all()
    none = of([[0.5]], x, [0, 0, 0])
    assert np.isnan(none["knn_distance"] + none["lof"]).all()
    assert none["knn_share"] == [0]


def test_what_was_not_found_has_no_number_and_moves_no_other():
    x, y = clusters()
    points = [[0.8, 0.8], [0.5, 0.5], [0.7, 0.7]]
    some, every = of(points, x, y, found=[True, False, True]), of(points, x, y)
    for name in COLUMNS:
        assert np.isnan(some[name][1])
        assert [some[name][0], some[name][2]] == [every[name][0], every[name][2]]


def test_a_base_that_found_nothing_of_a_target_beside_one_that_did():
    x, y = clusters()
    background = Background(torch.as_tensor(x), torch.as_tensor(y))
    nothing, something = plausible([at([[0.8, 0.8]], found=[False]), at([[0.8, 0.8]])], background)
    assert all(torch.isnan(nothing[name]).all() for name in COLUMNS)
    assert [something[name].tolist() for name in COLUMNS] == [*of([[0.8, 0.8]], x, y).values()]


def test_labels_in_the_bases_own_words():
    x, y = clusters()
    base = cft.Model(lambda x: x[:, 0] - 0.5, classes=["no", "yes"])
    found = cft.search(base, torch.tensor([[0.2, 0.2]]), method="nearest", background=(x, np.array(["no", "yes"])[y]))
    table = cft.plausibility(found, (x, np.array(["no", "yes"])[y]))
    assert table[["base", "factual", "proposal"]].to_numpy().tolist() == [[0, 0, 0]]
    assert table.knn_share[0] == 1
    assert table.knn_distance[0] < 0.1


def test_images_are_refused_by_the_library_and_left_out_of_a_job(caplog):
    images = torch.rand(2, 1, 8, 8)
    found = cft.judge(cft.Model(lambda x: x.flatten(1).sum(1) - 32), images * 0, images * 0 + 1)
    with pytest.raises(InputError, match=r"^found: holds images"):
        cft.plausibility(found, (images, torch.tensor([0, 1])))
    cfg = composed("plausibility=true")
    with caplog.at_level("INFO"):
        assert _plausibility(cfg, SimpleNamespace(space=PixelSpace((1, 8, 8)))) is False
    assert "plausibility=true: applies to tables only" in caplog.text
    assert _plausibility(cfg, SimpleNamespace(space=None)) is True


def test_a_job_has_the_columns_of_the_library_and_their_means_over_bases(tmp_path):
    small = ["dataset=moons", "training.epochs=5", "model.layers=1", "replicates.bases=2", "replicates.references=1"]
    small += ["samples=30", f"paths.store={tmp_path}"]
    plan = plan_of(composed(*small, "plausibility=true"))
    result = experiment.run(plan)
    table = result.tables["counterfactuals"]
    found = [at(np.stack(some.counterfactual), found=some.found.tolist()) for _, some in table.groupby("base")]
    targets = [torch.tensor(some.target.to_numpy()) for _, some in table.groupby("base")]
    searches = [replace(one, target=target) for one, target in zip(found, targets, strict=True)]
    expected = cft.plausibility(searches, (plan.dataset.x_train, plan.dataset.y_train.long()))
    own = table[table.found].reset_index(drop=True)
    pd.testing.assert_frame_equal(own[COLUMNS], expected[COLUMNS])
    for name in COLUMNS:
        means = own.groupby("base")[name].mean()
        assert result.metrics[name] == pytest.approx(means.mean())
        over = (share_interval if name == "knn_share" else two_way_interval)(means.to_numpy()[:, None])
        ends = [result.metrics[f"{name}_{end}"] for end in ("low", "high")]
        np.testing.assert_allclose(ends, [max(over.low, 0), over.high])
    assert set(COLUMNS) <= {name for name, _ in PAGE.values()}
    assert all(f"`{name}`" in (ROOT / "docs" / "reference" / "output.md").read_text() for name in COLUMNS)
    without = experiment.run(plan_of(composed(*small)))
    ends = {f"{name}_{end}" for name in COLUMNS for end in ("low", "high")}
    assert set(result.metrics) - set(without.metrics) == {*COLUMNS, *ends}
    assert set(table) - set(without.tables["counterfactuals"]) == set(COLUMNS)
