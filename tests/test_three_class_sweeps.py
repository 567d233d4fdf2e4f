"""Sweeps on a data set of three classes, from the plan to the report."""

import importlib.metadata

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import composed, results, run_command, table
from irises import installed, irises
from omegaconf import OmegaConf

from cftransfer import targets
from cftransfer.commands import experiment
from cftransfer.commands.plan import plan as plan_of
from cftransfer.errors import InputError
from cftransfer.measuring.metric import TransferabilityRate
from cftransfer.models.prediction import logits, predicted
from cftransfer.store import artifacts, prepare, trained

SMALL = [
    "dataset=moons", "model.layers=1", "model.width=16", "training.epochs=30", "training.lr=0.02",
    "training.batch_size=16", "replicates.bases=2", "replicates.references=2", "samples=45",
]  # fmt: skip
METHODS = ["gradient", "minimal", "nearest", "growing_spheres", "sns", "trex", "wachter", "ensemble"]


@pytest.fixture(autouse=True)
def offered(monkeypatch):
    """Offer the irises as an installed package would."""
    point = importlib.metadata.EntryPoint("irises", "irises:irises", "cftransfer.datasets")

    def entry_points(*, group, name=None):
        return [point] if group == point.group and name in (None, point.name) else []

    monkeypatch.setattr(targets, "entry_points", entry_points)
    targets._function.cache_clear()
    yield
    targets._function.cache_clear()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")  # of all tests: models are trained once


def planned(store, *words, weighted=False, small=SMALL):
    cfg = composed(*small, f"paths.store={store}", *words)
    OmegaConf.set_struct(cfg, False)
    cfg.dataset = {"_target_": "irises", "split_seed": 0, "weighted": weighted}
    OmegaConf.set_struct(cfg, True)
    return plan_of(cfg)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_searches_and_its_rates_are_those_of_the_tables(method, store):
    plan = planned(store, f"counterfactual={method}")
    result = experiment.run(plan)
    found, asked, metrics = result.tables["counterfactuals"], result.tables["transfers"].to_pandas(), result.metrics
    assert metrics["found"] > 0.8
    assert set(found.target) <= {0, 1, 2}
    by_target = asked[asked.found].groupby("target").transferred
    assert [metrics[f"n_to_{target}"] for target in range(3)] == by_target.size().reindex(
        range(3), fill_value=0
    ).tolist()
    pairs = asked[asked.found].groupby(["base", "reference"])
    shares = pd.DataFrame({t: pairs.target.apply(lambda column, t=t: (column == t).mean()) for t in range(3)}).mean()
    parts = [shares[t] * metrics[f"rate_to_{t}"] for t in range(3) if shares[t]]
    assert sum(parts) == pytest.approx(metrics["rate"])
    models = [
        trained.trained(spec, seeds, dataset=plan.dataset, store=plan.store)
        for spec, seeds in ((plan.base, plan.base_seeds), (plan.reference, plan.reference_seeds))
    ]
    for name, some in zip(("base", "reference"), models, strict=True):
        right = [(predicted(logits(one, plan.dataset.x_test)) == plan.dataset.y_test).double().mean() for one in some]
        assert metrics[f"{name}_accuracy"] == pytest.approx(float(torch.stack(right).mean()), abs=1e-6)
    for (base, reference), rows in asked.groupby(["base", "reference"]):
        reached = torch.from_numpy(np.stack(found[found.base == base].counterfactual).astype(np.float32))
        here = rows.found.to_numpy()
        said = predicted(logits(models[1][reference], reached)).numpy() == rows.target.to_numpy()
        assert (rows.transferred[here].to_numpy(dtype=bool) == said[here]).all()
        aims = predicted(logits(models[0][base], reached)).numpy()
        assert (aims[here] == rows.target[here]).all()


def test_an_example_tells_the_class_of_the_base_and_the_probability_of_the_target(store):
    plan = planned(store)
    result = experiment.run(plan)
    bases = trained.trained(plan.base, plan.base_seeds, dataset=plan.dataset, store=plan.store)
    references = trained.trained(plan.reference, plan.reference_seeds, dataset=plan.dataset, store=plan.store)
    some = result.tables["examples"].drop_duplicates("example")
    names = list(plan.dataset.classes)
    for row in some.to_dict("records"):
        x = plan.dataset.x_test[row["factual"]][None]
        base = bases[plan.base_seeds.index(row["base_seed"])]
        reference = references[plan.reference_seeds.index(row["reference_seed"])]
        order = logits(base, x)[0].argsort(descending=True).tolist()
        assert (row["from_class"], row["target_class"]) == (names[order[0]], names[order[1]])
        for role, model in (("base", base), ("reference", reference)):
            share = logits(model, x).softmax(-1)[0, order[1]]
            assert row[f"{role}_factual"] == pytest.approx(float(share), abs=1e-5)
        assert (row["base_counterfactual"] > row["base_factual"]) or row["base_factual"] > 0.4
    pairs = {(0, 1), (1, 0), (1, 2), (2, 1)}
    assert {(names.index(a), names.index(b)) for a, b in zip(some.from_class, some.target_class)} <= pairs


@pytest.mark.parametrize(
    "technique", ["random_forest", "logistic_regression", "decision_tree", "gradient_boosting", "knn"]
)
def test_another_technique_is_asked(technique, store):
    result = experiment.run(planned(store, "experiment=technique", f"model@reference.model={technique}"))
    assert result.metrics["reference_accuracy"] > 0.85
    assert 0 < result.metrics["rate"] < 1
    assert "rate_minus_seed" in result.metrics


def test_a_forest_is_searched(store):
    words = [word for word in SMALL if not word.startswith("model.")]
    result = experiment.run(planned(store, "model=random_forest", "counterfactual=growing_spheres", small=words))
    assert result.metrics["found"] > 0.8
    assert result.metrics["rate"] > 0.3


def test_continued_training_has_its_curve(store):
    result = experiment.run(planned(store, "experiment=continued_training", "extra_epochs=3"))
    assert result.curve.extra_epochs.tolist() == [1, 2, 3]
    assert result.metrics["rate"] == result.curve.rate.iloc[-1]


def test_a_technique_of_two_classes_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(InputError) as caught:
        planned(tmp_path, "experiment=technique", "model@reference.model=svm")
    said = "reference.model=svm: is for two classes, but the data have 3; dataset.positive makes two of them"
    assert str(caught.value).startswith(said)
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_killed_pass_goes_on_where_it_was(weighted, tmp_path, monkeypatch):
    plan = planned(tmp_path / "plans", "training.epochs=6", weighted=weighted)
    undisturbed, place = prepare(tmp_path / "undisturbed"), prepare(tmp_path / "store")
    expected = trained.trained(plan.base, [0, 1], dataset=plan.dataset, store=undisturbed)
    save, saved = artifacts.save, []

    def dying(*words):
        if len(saved) == 3:
            raise KeyboardInterrupt
        saved.append(save(*words))

    with monkeypatch.context() as killed:
        killed.setattr(artifacts, "save", dying)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            trained.trained(plan.base, [0, 1], dataset=plan.dataset, store=place)
    resumed = trained.trained(plan.base, [0, 1], dataset=plan.dataset, store=place)
    for one, other in zip(expected, resumed, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    curves = [trained.curves(plan.base, [0, 1], store=where) for where in (undisturbed, place)]
    assert curves[0].equals(curves[1])


def test_weights_make_other_models_under_another_key(tmp_path):
    plain, weighted = (planned(tmp_path, weighted=heavy) for heavy in (False, True))
    assert plain.dataset.version != weighted.dataset.version
    rows = irises(None).x_test
    shares = []
    for plan in (plain, weighted):
        models = trained.trained(plan.base, [0, 1], dataset=plan.dataset, store=plan.store)
        shares.append(torch.stack([logits(model, rows).softmax(-1)[:, 2].mean() for model in models]))
    assert (shares[1] > shares[0]).all()  # the class that counts four times


@pytest.mark.slow
def test_a_sweep_leaves_a_report_that_names_the_classes_and_boundary_pictures(tmp_path):
    paths = installed(tmp_path)
    words = [word for word in SMALL if not word.startswith("dataset=")]
    sweep = ["-m", "--config-dir", "configs", "dataset=irises", *words, "seed=0,1", "hydra.sweep.dir=sweep"]
    done = run_command(tmp_path, "transfer.py", *sweep, "wandb=disabled", **paths)
    assert done.returncode == 0, done.stderr
    for result in results(tmp_path):
        assert result["data"]["classes"] == ["setosa", "versicolor", "virginica"]
        assert {"rate_to_2", "n_to_2"} <= set(result["metrics"])
    page = (tmp_path / "sweep" / "report.html").read_text()
    assert "<button>to class 2 (virginica)</button>" in page
    again = run_command(tmp_path, "transfer.py", *sweep, "wandb=disabled", **paths)
    assert (again.stdout + again.stderr).count("has its result already") == 2
    drawn = run_command(tmp_path, "-m", "cftransfer.report.boundary", "sweep/0", **paths)
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "sweep" / "0" / "boundary-pca.svg").exists()
    single = run_command(
        tmp_path, "train.py", "--config-dir", "configs", "dataset=irises", "training.epochs=2", "population.size=2",
        "wandb=disabled", "hydra.run.dir=trained", **paths,
    )  # fmt: skip
    assert single.returncode == 0, single.stderr
    assert table(tmp_path / "trained", "curves").test_auroc.between(0, 1).all()


def test_the_metric_counts_targets_of_three_classes():
    rate = TransferabilityRate(classes=3)
    base = torch.tensor([[0, 1], [1, 2], [2, 0], [0, 2]])
    reference = torch.tensor([[0, 1], [1, 0], [2, 0], [1, 2]])
    rate.update(base, reference, target=base[:, 1], found=torch.ones(4))
    named = {name: float(value) for name, value in rate.compute().items()}
    assert [named[f"rate_to_{target}"] for target in range(3)] == [1.0, 1.0, 0.5]
    assert (named["rate"], named["agreement"], named["rate_disagree"]) == (0.75, 0.75, 1.0)
    with pytest.raises(ValueError, match="target: has classes beyond 0 to 1"):
        TransferabilityRate().update(base, reference, target=base[:, 1], found=torch.ones(4))
