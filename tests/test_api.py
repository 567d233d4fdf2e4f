"""The public API: anybody's models, and the numbers of the sweep."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import results, run_command, table
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch import nn

import cftransfer as cft
from cftransfer.columns import matrix
from cftransfer.errors import InputError
from cftransfer.jobs.read import read
from cftransfer.measuring.model_distance import MEASURES
from cftransfer.measuring.planning import plan_of
from cftransfer.models.adapter import as_model
from cftransfer.models.prediction import logits, predicted

JOB = ["samples=150", "training.epochs=3", "replicates.bases=2", "replicates.references=3", "wandb=disabled"]


@pytest.fixture(scope="module")
def data():
    return cft.dataset("compas")


@pytest.fixture(scope="module")
def bases(data):
    return cft.train(data, model="mlp", layers=4, seeds=range(2), epochs=3)


@pytest.fixture(scope="module")
def references(data):
    return cft.train(data, model="mlp", layers=4, seeds=range(1000, 1003), epochs=3)


@pytest.fixture(scope="module")
def result(data, bases, references):
    x, background = data.x_test[:150], (data.x_train, data.y_train)
    return cft.measure(bases, references, x, space=data.space, background=background, test=data.x_test)


def test_every_public_name_is_there_and_typed():
    assert all(getattr(cft, name) is not None for name in cft.__all__)
    assert callable(cft.search)
    assert callable(cft.measure)  # and no module, whatever has been imported before
    with pytest.raises(AttributeError, match="nothing"):
        _ = cft.nothing


def test_a_job_by_the_command_and_by_the_api_is_the_same_to_the_last_bit(tmp_path, result):
    done = run_command(tmp_path, "transfer.py", *JOB, "hydra.run.dir=job")
    assert done.returncode == 0, done.stderr
    for name, ours in (
        ("counterfactuals", result.counterfactuals),
        ("transfers", result.table.drop(columns="group")),
        ("pairs", result.pairs.drop(columns="group")),
    ):
        theirs = table(tmp_path, name)
        seeds = ["reference_seed"] if name != "counterfactuals" else []  # which the API numbers from 0
        for column in theirs.columns.drop(seeds):
            left, right = theirs[column], ours[column]
            if left.dtype == object and isinstance(left.iloc[0], np.ndarray):
                left, right = (pd.Series(np.stack(list(part)).tolist()) for part in (left, right))
            pd.testing.assert_series_equal(left, right, check_dtype=False, check_names=False, rtol=0, atol=0)
    (metrics,) = [job["metrics"] for job in results(tmp_path)]
    for ours in (result.tails(), result.mean_distances()):
        assert ours.drop(columns="group").to_dict("records") == [
            {name: metrics[name] for name in ours if name != "group"}
        ]
    (ours,) = result.summary.rename(columns={"low": "rate_low", "high": "rate_high", "over": "interval"}).to_dict(
        "records"
    )
    assert {name: ours[name] for name in ours if name != "group"} == {
        name: metrics[name] for name in ours if name in metrics
    }
    assert len([name for name in ours if name.endswith("_low")]) == 10
    for row in result.by_target.itertuples():
        to = [metrics[f"rate_to_{row.target}{end}"] for end in ("", "_low", "_high")]
        assert [row.rate, row.low, row.high] == to
    assert result.accepted_by.share.iloc[-1] == pytest.approx(metrics["rate_all"])
    assert result.accepted_by.share.mean() == pytest.approx(metrics["rate"])
    text = f"{result.rate:.3f}"
    assert text in done.stdout
    low, high = (f"{end:.3f}".removeprefix("0") for end in (result.interval().low, result.interval().high))
    assert f"{text} ({low}–{high})" in done.stdout
    job = read(tmp_path / "job")
    assert plan_of(matrix(job.pairs), job.sampling).timed(result.seconds) == result.plan()


def test_the_sweeps_settings_are_the_apis_defaults_for_every_constraint(data, bases, references):
    for constraints in ("none", "box", "actionable"):
        found = cft.search(bases[0], data.x_test[:40], space=data.space, constraints=constraints)
        assert found.settings["constraints"] == constraints
        assert found.found.any()


def test_three_steps_are_one(data, bases, references, result):
    found = [cft.search(base, data.x_test[:150], space=data.space) for base in bases]
    answers = cft.ask(found, references, background=(data.x_train, data.y_train))
    steps = cft.measure(answers)
    pd.testing.assert_frame_equal(steps.pairs, result.pairs.drop(columns=[*MEASURES]))
    assert steps.distances is None
    assert str(steps) == str(result)
    tested = cft.measure(cft.ask(found, references, background=(data.x_train, data.y_train), test=data.x_test))
    pd.testing.assert_frame_equal(tested.pairs, result.pairs)
    with pytest.raises(InputError, match="distances: are measured on test rows; pass test=x_test to measure or ask"):
        steps.mean_distances()
    with pytest.raises(InputError, match="measure: pass answers alone"):
        cft.measure(answers, test=data.x_test)


def test_distances_are_those_of_the_models_on_the_test_rows(data, bases, references, result):
    apart = result.distances
    assert len(apart) == 6
    for row in apart.itertuples():
        said = [predicted(logits(model, data.x_test)) for model in (bases[row.base], references[row.reference])]
        assert row.disagreement == (said[0] != said[1]).double().mean().item()
    frame = data.space.decode(data.x_test.numpy())
    again = cft.measure(bases[:1], references[:1], data.x_test[:20], space=data.space, test=frame).distances
    assert again.disagreement[0] == apart.disagreement[0]
    nested = cft.measure(bases, references[:2], data.x_test[:20], space=data.space, test=data.x_test, nested=True)
    assert nested.distances[["base", "reference"]].values.tolist() == [[0, 0], [1, 1]]
    assert nested.distances.disagreement.tolist() == [apart.disagreement[0], apart.disagreement[4]]
    assert nested.tails().rate_all.isna().all()  # one reference has no tail
    with pytest.raises(InputError, match="test: has no rows"):
        cft.measure(bases, references, data.x_test[:20], space=data.space, test=data.x_test[:0])
    with pytest.raises(InputError, match=r"test: column .* arrays are in"):
        cft.measure(bases, references, data.x_test[:20], space=data.space, test=data.x_test * 40)


def test_what_cannot_be_asked_has_no_distance(data, bases, references):
    (found,) = [cft.search(bases[0], data.x_test[:20], space=data.space)]
    stored = cft.StoredLogits(references[0](found.factual), references[0](found.counterfactual))
    result = cft.measure(cft.ask(found, {"here": references[1:], "stored": stored}, test=data.x_test))
    assert result.distances.groupby("group").disagreement.count().to_dict() == {"here": 2, "stored": 0}
    means = result.mean_distances().set_index("group")
    assert means.disagreement.isna().to_dict() == {"here": False, "stored": True}
    assert result["here"].distances.group.tolist() == ["here"] * 2
    later = cft.measure(cft.ask(found, {"later": references[0]}))
    joined = later + result
    assert joined.pairs.disagreement.isna().tolist() == [True, False, False, True]
    assert joined.mean_distances().disagreement.isna().tolist() == [True, False, True]


def test_tails_have_the_level_that_one_asks_for(result):
    wide, narrow = result.tails(0.99).loc[0], result.tails(0.5).loc[0]
    assert wide.rate_all_low <= narrow.rate_all_low <= narrow.rate_all <= narrow.rate_all_high <= wide.rate_all_high
    assert wide.rate_all_high - wide.rate_all_low > narrow.rate_all_high - narrow.rate_all_low
    far, near = result.mean_distances(0.99).loc[0], result.mean_distances(0.5).loc[0]
    assert far.disagreement_low < near.disagreement_low < near.disagreement_high < far.disagreement_high
    for wrong in (result.tails, result.mean_distances):
        with pytest.raises(InputError, match="level=95: must be a number between 0 and 1"):
            wrong(95)


def test_a_plan_counts_the_bases_that_have_a_rate(data, bases, references, result):
    x = data.x_test[:150]
    found = [cft.search(base, x, space=data.space) for base in bases]
    nothing = cft.judge(references[0], x, x, space=data.space)  # factuals are not counterfactuals
    more = cft.measure(cft.ask([*found, nothing], references[1:]))
    without = cft.measure(cft.ask(found, references[1:]))
    assert more.counterfactuals.groupby("base").found.any().tolist() == [True, True, False]
    assert more.plan(half_width=0.05) == without.plan(half_width=0.05)


def test_groups_have_names_and_their_own_numbers(data, bases, references):
    forest = cft.train(data, model="random_forest", n_estimators=10, seeds=[5])
    groups = {"other seeds": references, "forest": forest}
    both = cft.measure(bases, groups, data.x_test[:60], space=data.space)
    assert both.groups == ["other seeds", "forest"]
    assert set(both.rate) == set(both.interval()) == set(groups)
    assert both["forest"].rate == both.rate["forest"]
    assert list(both.summary.pairs) == [6, 2]
    seeds = cft.measure(bases, {"other seeds": references}, data.x_test[:60], space=data.space)
    later = cft.measure(bases, {"forest": forest}, data.x_test[:60], space=data.space)
    pd.testing.assert_frame_equal((seeds + later).table, both.table)
    with pytest.raises(InputError, match="'forest': is in both"):
        _ = both + later
    with pytest.raises(InputError, match="other counterfactuals"):
        _ = seeds + cft.measure(bases, {"late": forest}, data.x_test[60:120], space=data.space)
    with pytest.raises(InputError, match="there are: other seeds, forest"):
        _ = both["trees"]


def test_stored_logits_stand_for_models(data, bases, references):
    found = [cft.search(base, data.x_test[:60], space=data.space) for base in bases]
    with torch.no_grad():
        stored = [
            cft.StoredLogits(
                torch.stack([model(one.factual) for one in found]),
                np.stack([model(one.counterfactual).numpy() for one in found]),
            )
            for model in references
        ]
    asked, told = cft.measure(cft.ask(found, references)), cft.measure(cft.ask(found, stored))
    columns = ["base", "reference", "factual", "found", "agreement", "transferred", "margin", "control_prior"]
    pd.testing.assert_frame_equal(asked.table[columns], told.table[columns])
    assert told.table.control_random.isna().all()
    with pytest.raises(InputError, match=r"StoredLogits.factual: has shape \(3,\)"):
        cft.ask(found[0], cft.StoredLogits(np.zeros(3), np.zeros(60)))


def test_an_interval_has_the_level_that_one_asks_for(result):
    wide, narrow = result.interval(0.99), result.interval(0.5)
    assert wide.low < result.interval().low < narrow.low < result.rate < narrow.high < wide.high
    assert result.summary.low[0] == result.interval().low
    (far,), (near,) = (result.summarised(level).to_dict("records") for level in (0.99, 0.5))
    for name in (
        "agreement",
        "rate_conditional",
        "rate_end_to_end",
        "control_random",
        "rate_minus_random",
        "distance_l2",
    ):
        assert far[f"{name}_low"] < near[f"{name}_low"] < near[name] < near[f"{name}_high"] < far[f"{name}_high"], name
    with pytest.raises(InputError, match="level=95"):
        result.interval(95)


def test_a_result_says_what_was_done(result):
    said = str(result)
    assert said == repr(result)
    assert "gradient (constraints=possible): found 300 of 300 counterfactuals on 2 bases" in said
    (row,) = result.summary.to_dict("records")
    for name in ("rate_conditional", "control_random", "found", "distance_l2"):
        ends = (f"{row[f'{name}_{end}']:.3f}".removeprefix("0") for end in ("low", "high"))
        assert f"{row[name]:.3f} ({'–'.join(ends)})" in said, name
    assert f"{result.rate:.3f} (" in said
    assert "bases × references" in said
    assert result._repr_html_().count("<tr>") == 2
    assert r"95 \% interval" in result.to_latex()
    assert max(map(len, said.splitlines())) <= 120
    assert len(said.splitlines()[-2]) <= 100  # the table


def test_a_single_pair_has_a_number_without_an_interval(data, bases, references):
    result = cft.measure(bases[0], references[0], data.x_test[:40], space=data.space)
    (row,) = result.summary.to_dict("records")
    assert row["low"] < row["rate"] < row["high"]  # Wilson's
    assert np.isnan([row["found_low"], row["rate_conditional_high"], row["rate_minus_random_low"]]).all()
    said = str(result)
    assert said.splitlines()[-2].split()[-2:] == [f"{row[name]:.3f}" for name in ("rate_conditional", "control_random")]
    assert "over bases" not in said


def test_a_result_draws_itself_and_goes_to_parquet(result, tmp_path):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    drawn = result.plot(axes, level=0.9)
    assert drawn["rates"][0].get_xdata()[0] == pytest.approx(result.rate)
    assert axes.get_yticklabels()[0].get_text() == "references"
    for path, name in zip(result.to_parquet(tmp_path / "out"), ("counterfactuals", "transfers", "pairs")):
        assert path.name == f"{name}.parquet"
        assert len(pd.read_parquet(path)) > 0


def test_per_target_rates_add_up(result):
    both = result.by_target
    assert list(both.target) == [0, 1]
    assert both.n_tried.sum() == result.table.found.sum()


# --- anybody's models ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loans():
    """A table in original units, with a category, and its feature space."""
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "income": draw.uniform(10_000, 90_000, 400).round(),
            "age": draw.integers(18, 80, 400),
            "job": draw.choice(["none", "part", "full"], 400),
        }
    )
    score = frame.income / 10_000 + 2 * (frame.job == "full") - frame.age / 40 + draw.normal(0, 0.5, 400)
    label = np.where(score > 4.5, "yes", "no")
    space = cft.FeatureSpace(
        (
            cft.Feature(name="income", kind="continuous", low=10_000, high=90_000),
            cft.Feature(name="age", kind="integer", low=18, high=80, mutable=False),
            cft.Feature(name="job", kind="categorical", categories=("none", "part", "full")),
        )
    )
    return frame, label, space


def pipeline(estimator):
    columns = make_column_transformer((OneHotEncoder(), ["job"]), (StandardScaler(), ["income", "age"]))
    return make_pipeline(columns, estimator)


def test_a_pipeline_on_a_dataframe_is_asked_in_its_own_columns_and_units(loans):
    frame, label, space = loans
    base = pipeline(LogisticRegression()).fit(frame[:300], label[:300])
    forest = pipeline(RandomForestClassifier(20, random_state=0)).fit(
        frame[["job", "age", "income"]][:300], label[:300]
    )
    result = cft.measure(
        base, {"forest": forest}, frame[300:], space=space, method="growing_spheres", constraints="actionable",
        iterations=3000, draws=50,
    )  # fmt: skip
    found = result.counterfactuals[result.counterfactuals.found]
    assert result.found > 0.7
    assert 0 < result.rate < 1
    x, reached = (space.decode(np.stack(list(found[name]))) for name in ("x", "counterfactual"))
    assert (x.age == reached.age).all()
    before, after = base.predict(x), base.predict(reached)
    assert (before != after).all()
    transfers = result.table[result.table.found]
    agree = forest.predict(reached[["job", "age", "income"]]) == np.where(found.target == 1, "yes", "no")
    assert (transfers.transferred.to_numpy(bool) == agree).all()


def test_a_torch_module_of_three_outputs_keeps_its_units():
    """A linear softmax model in dollars; the same model in [0, 1] has the same counterfactuals."""
    low, high = torch.tensor([0.0, -50.0]), torch.tensor([1000.0, 50.0])
    space = cft.FeatureSpace(
        tuple(cft.Feature(name=f"f{i}", kind="continuous", low=float(low[i]), high=float(high[i])) for i in range(2))
    )
    torch.manual_seed(0)
    inside = nn.Linear(2, 3)
    outside = nn.Linear(2, 3)
    with torch.no_grad():
        inside.weight.mul_(8), inside.bias.copy_(-inside.weight @ torch.full((2,), 0.5))
        outside.weight.copy_(inside.weight / (high - low))
        outside.bias.copy_(inside.bias - outside.weight @ low)
    x = torch.rand(60, 2, generator=torch.Generator().manual_seed(1))
    asked = {"space": space, "method": "minimal"}
    ours = cft.search(inside, x, **asked)
    theirs = cft.search(cft.Model(outside, units="original"), x, **asked)
    frame = cft.search(cft.Model(outside, units="original"), space.decode(x.numpy()), **asked)
    assert ours.found.all()
    torch.testing.assert_close(theirs.counterfactual, ours.counterfactual, atol=1e-4, rtol=0)
    torch.testing.assert_close(frame.counterfactual, ours.counterfactual, atol=1e-4, rtol=0)
    rate = cft.measure(cft.ask(ours, cft.Model(outside, units="original"))).rate
    assert rate > 0.95  # of points a hair beyond the boundary, rounding turns some


def test_a_plain_function_is_a_model_too(loans):
    frame, _, space = loans
    rich = cft.Model(lambda x: x[:, 0] > 50_000, output="labels", units="original", classes=[False, True])
    clerk = cft.Model(
        lambda frame: np.where(frame.job == "full", 0.9, 0.2),
        output="probabilities",
        takes="frame",
        classes=[False, True],
    )
    found = cft.search(rich, frame[:50], space=space, method="growing_spheres", iterations=2000, draws=50)
    assert found.found.all()
    result = cft.measure(cft.ask(found, {"clerk": clerk}))
    jobs = space.decode(found.counterfactual.numpy()).job
    assert result.rate == pytest.approx(((jobs == "full").to_numpy() == (found.target == 1).numpy()).mean())


def test_what_was_made_elsewhere_is_judged_like_our_own(data, bases):
    x = data.x_test[:40]
    ours = cft.search(bases[0], x, space=data.space)
    theirs = cft.judge(bases[0], x, ours.counterfactual, space=data.space)
    assert torch.equal(theirs.found, ours.found)
    table = cft.judge(bases[0], data.space.decode(x.numpy()), data.space.decode(ours.counterfactual.numpy()),
                      space=data.space)  # fmt: skip
    assert torch.equal(table.found, ours.found)
    nothing = cft.judge(bases[0], x, x, space=data.space)
    assert set(nothing.status) == {"lost"}
    between = ours.counterfactual.clone()
    between[:, 0] = (between[:, 0] + 0.003).clamp(max=1)  # a third of a year
    impossible = cft.judge(bases[0], x, between, space=data.space)
    assert "not_possible" in set(impossible.status)
    assert cft.judge(bases[0], x, between, space=data.space, constraints="box").found.sum() >= impossible.found.sum()


def test_a_factual_in_its_target_class_is_no_success(data, bases):
    target = 1
    found = cft.search(bases[0], data.x_test[:80], space=data.space, target=target)
    already = (bases[0](data.x_test[:80]) > 0).numpy()
    assert (found.status[already] == "in_target").all()
    assert not found.found[torch.from_numpy(already)].any()
    result = cft.measure(cft.ask(found, lambda x: x[:, 0] * 0 + 1.0))
    assert result.found == found.found.numpy()[~already].mean()
    assert f"found {found.found.sum()} of {(~already).sum()} counterfactuals" in str(result)
    assert f"not counted: {already.sum()} already in the target class" in str(result)
    assert (result.counterfactuals[result.counterfactuals.found].target == 1).all()


def test_classes_in_any_order_and_of_any_type(loans):
    frame, label, space = loans
    x = torch.from_numpy(space.encode(frame))
    base = LogisticRegression().fit(x.numpy(), label)
    same = LogisticRegression().fit(x.numpy(), np.where(label == "yes", "A yes", "no"))  # its classes come first
    turned = cft.Model(same.predict_proba, output="probabilities", takes="array", classes=["yes", "no"])
    found = cft.search(base, x[:60], space=space, method="growing_spheres", iterations=3000, draws=50)
    assert found.found.any()
    assert cft.measure(cft.ask(found, turned)).rate == 1.0
    with pytest.raises(InputError, match=r"has the classes \['A yes', 'no'\], and the base \['no', 'yes'\]"):
        cft.ask(found, same)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x: cft.search(RandomForestClassifier(5).fit(x, x[:, 0] > 0.5), x), "this method follows gradients"),
        (lambda x: cft.search(RandomForestClassifier(5), x), "is not a fitted classifier"),
        (lambda x: cft.search(RandomForestClassifier(5).fit(x, [1] * len(x)), x), "was fitted on one class"),
        (lambda x: cft.search(lambda x: x, x[:, :1].repeat(1, 4).unsqueeze(0)), "gives logits of shape"),
        (lambda x: cft.search(lambda x: x.sum(1)[:3], x), "gives logits of shape (3,) for 30 rows"),
        (lambda x: cft.search(lambda x: x.sum(1) * torch.nan, x), "gives logits that are not a number"),
        (lambda x: cft.search("model", x), "str cannot predict"),
        (lambda x: cft.search(lambda x: x.sum(1), x * torch.inf), "has numbers that are not finite, first in row 0"),
        (lambda x: cft.search(lambda x: x.sum(1), x * 80), "and arrays are in [0, 1]; give a DataFrame"),
        (lambda x: cft.judge(lambda x: x.sum(1), x - 3, x), "and arrays are in [0, 1]; give a DataFrame"),
        (lambda x: cft.search(lambda x: x.sum(1), x, method="nearest", background=x), "(x_train, y_train)"),
        (lambda x: cft.search(lambda x: x.sum(1), x, method="gradent"), "counterfactual._target_=gradent"),
        (lambda x: cft.search(lambda x: x.sum(1), x, step=3), "counterfactual.step: no such key"),
        (lambda x: cft.search(lambda x: x.sum(1), x, constraints="possible"), "needs space=FeatureSpace"),
        (lambda x: cft.search(lambda x: x.sum(1), x, target=2), "target=2: the base has the classes 0, 1"),
        (lambda x: cft.search(lambda x: x.sum(1), x, target=0.5), "target=0.5: the base has the classes 0, 1"),
        (lambda x: cft.search(lambda x: x.sum(1), x, target=[0, 1]), "has 2 classes for 30 rows"),
        (lambda x: cft.search(lambda x: x.sum(1), x, method="nearest"), "needs the training split"),
        (lambda x: cft.search(lambda x: x.sum(1), pd.DataFrame(x)), "a DataFrame is in original units"),
        (lambda x: cft.search(cft.Model(lambda x: x, units="original"), x), "units='original' needs space"),
        (lambda _: cft.Model(lambda x: x, output="margin"), "must be one of logits, probabilities, labels"),
        (lambda _: cft.Model(lambda x: x, classes=["a"]), "must be two different classes or more"),
        (lambda x: cft.search(cft.Model(lambda x: ["a"] * len(x), output="labels"), x), "gives the label 'a'"),
        (lambda x: cft.judge(lambda x: x.sum(1), x, x[:3]), "counterfactuals: have shape (3, 4)"),
        (lambda _: cft.ask([], []), "found: is empty"),
        (lambda _: cft.measure(lambda x: x.sum(1)), "pass answers alone, or bases, references and x"),
        (lambda _: cft.train(cft.dataset("moons", rows=100), seeds=[-1]), "seeds=[-1]"),
        (lambda _: cft.train(cft.dataset("moons", rows=100), model="mlq"), "model._target_=mlq"),
        (lambda _: cft.dataset("moon"), "dataset._target_=moon"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_clear_line(call, said):
    with pytest.raises(InputError) as caught:
        call(torch.rand(30, 4, generator=torch.Generator().manual_seed(0)))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_base_is_no_reference_of_its_own(data, bases):
    found = cft.search(bases[0], data.x_test[:10], space=data.space)
    for alias in (bases[0], cft.Model(bases[0])):
        with pytest.raises(InputError, match="reference 1 of 'references': is a base itself"):
            cft.ask(found, [bases[1], alias])


def test_base_and_reference_need_the_same_number_of_classes(data, bases):
    found = cft.search(bases[0], data.x_test[:10], space=data.space)
    with pytest.raises(InputError, match="has 3 classes, and the base 2"):
        cft.ask(found, nn.Linear(14, 3))


def test_nested_references_meet_their_own_base_alone(data, bases, references):
    found = [cft.search(base, data.x_test[:20], space=data.space) for base in bases]
    result = cft.measure(cft.ask(found, references[:2], nested=True))
    assert list(result.pairs.base) == list(result.pairs.reference) == [0, 1]
    assert result.interval().method == "bases"
    with pytest.raises(InputError, match="nested needs one per base, 2, and has 3"):
        cft.ask(found, references, nested=True)


def test_a_methods_own_function_searches_too(data, bases):
    from cftransfer.searching.candidates import Candidates

    def jump(model, x, target, *, constraint, size=0.3):
        point = constraint.project(x + size * (2 * target.view(-1, 1) - 1), x)
        return Candidates(point, torch.ones(len(x), dtype=torch.bool), torch.ones(len(x), dtype=torch.long))

    found = cft.search(bases[0], data.x_test[:30], space=data.space, method=jump, size=0.5)
    assert found.settings == {"method": "jump", "constraints": "possible", "size": 0.5}
    assert found.found.any()
    assert not found.found.all()


# --- numbers that would be wrong ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wine():
    from sklearn.datasets import load_wine

    x, y = load_wine(return_X_y=True, as_frame=True)
    x = x.iloc[:, :6]
    return x, y, cft.FeatureSpace.fit([cft.Feature(name=name, kind="continuous") for name in x], x)


def test_a_module_is_asked_in_evaluation_mode_however_it_is_given(data):
    net = nn.Sequential(nn.Linear(14, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1)).train()
    before = net[1].running_mean.clone()
    cft.search(cft.Model(net), data.x_test[:8], space=data.space, iterations=5)
    assert not net.training
    assert torch.equal(net[1].running_mean, before)


def test_an_estimator_whose_scores_are_not_its_predictions_is_refused(wine):
    from sklearn.neighbors import NearestCentroid
    from sklearn.svm import SVC

    x, y, space = wine
    rows = torch.from_numpy(space.encode(x))
    for estimator in (SVC(decision_function_shape="ovo"), NearestCentroid()):
        fitted = make_pipeline(StandardScaler(), estimator).fit(x, y)
        with pytest.raises(InputError, match="and its predict differ on"):
            logits(as_model(fitted, space=space), rows + torch.rand(rows.shape) * 0.3)
    fitted = make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)).fit(x, y)
    codes = predicted(logits(as_model(fitted, space=space), rows))
    assert (codes.numpy() == fitted.predict(space.decode(space.encode(x)))).all()
    labels = cft.Model(fitted.predict, output="labels", takes="frame", classes=[0, 1, 2])
    assert (predicted(logits(as_model(labels, space=space), torch.from_numpy(space.encode(x)))).numpy()
            == fitted.predict(space.decode(space.encode(x)))).all()  # fmt: skip


def test_an_estimator_without_names_is_not_asked_about_a_dataframe(wine):
    x, y, space = wine
    nameless = LogisticRegression(max_iter=2000).fit(x.to_numpy(), y)
    with pytest.raises(InputError, match="keeps no names of columns, and x is a DataFrame"):
        cft.search(nameless, x, space=space, method="growing_spheres")
    said = cft.Model(nameless.predict_proba, output="probabilities", takes="array", units="original", classes=[0, 1, 2])
    found = cft.search(said, x[:20], space=space, method="growing_spheres")
    assert torch.equal(predicted(found.factual_logit), torch.from_numpy(nameless.predict(x[:20].to_numpy())))


def test_bases_of_different_classes_are_refused(data, bases):
    turned = cft.Model(lambda x: -bases[1](x), classes=["yes", "no"])
    straight = cft.Model(bases[0], classes=["no", "yes"])
    with pytest.raises(InputError, match="bases: have different classes"):
        cft.measure([straight, turned], lambda x: x.sum(1), data.x_test[:10], space=data.space)


@pytest.mark.parametrize("aim", [1, 2])
def test_labels_and_targets_are_said_in_the_bases_own_words(wine, aim):
    x, y, space = wine
    found = []
    for names in ([0, 1, 2], [1, 2, 3], ["a", "b", "c"]):
        named = np.array(names)[y]
        base = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, named)
        how = {"space": space, "method": "nearest", "background": (x, named), "target": names[aim]}
        found.append(cft.search(base, x[:30], **how))
    assert found[0].found.any()
    assert found[0].target.eq(aim).all()
    for other in found[1:]:
        assert torch.equal(other.target, found[0].target)
        assert torch.equal(other.counterfactual, found[0].counterfactual)
    with pytest.raises(InputError, match="has the label 'z'"):
        cft.search(base, x[:3], space=space, method="nearest", background=(x, np.array(["z"] * len(x))))


def test_a_model_counts_once(data, bases, references):
    found = cft.search(bases[0], data.x_test[:10], space=data.space)
    with pytest.raises(InputError, match="reference 1 of 'references': is in the group already"):
        cft.ask(found, [references[0], references[0]])
    with pytest.raises(InputError, match="base 1: is one of the bases before it"):
        cft.ask([found, found], references)
    with pytest.raises(InputError, match="generating: holds the base itself"):
        cft.search(bases[0], data.x_test[:3], space=data.space, method="ensemble", models=1, generating=[bases[0]])
    helped = cft.search(
        bases[0], data.x_test[:3], space=data.space, method="ensemble", models=1, generating=references[:2]
    )
    with pytest.raises(InputError, match=r"reference 1 of 'references': helped to search \(`generating`\)"):
        cft.ask(helped, [references[1], cft.Model(references[0])])
    assert len(cft.ask(helped, references[1:]).transfers) == 6  # the second model was not searched on
    with pytest.raises(InputError, match="ensemble searches on several models"):
        cft.search(bases[0], data.x_test[:3], space=data.space, method="ensemble")


def test_arguments_that_would_be_ignored_are_refused(data, bases, references):
    found = cft.search(bases[0], data.x_test[:5], space=data.space)
    answers = cft.ask(found, references)
    with pytest.raises(InputError, match="pass answers alone"):
        cft.measure(answers, nested=True)
    with pytest.raises(InputError, match="are judged, not searched"):
        cft.measure(bases[0], references, data.x_test[:5], counterfactuals=found.counterfactual, lr=0.1)
    with pytest.raises(InputError, match="two groups have one name"):
        cft.ask(found, {1: references[:1], "1": references[1:]})
    with pytest.raises(InputError, match="seeds: has 2 for 1 bases"):
        cft.ask(found, references, seeds=[1, 2])


def test_a_feature_beyond_its_range_that_did_not_change_did_not_change(loans):
    frame, _, space = loans
    older = frame[:6].assign(age=95)
    base = cft.Model(lambda f: f.income > 40_000, output="labels", takes="frame", classes=[False, True])
    moved = older.assign(income=np.where(older.income > 40_000, 20_000.0, 60_000.0))
    judged = cft.judge(base, older, moved, space=space, constraints="actionable")
    assert set(judged.status) == {"found"}
    noisy = torch.from_numpy(space.encode(moved)) + 3e-7  # another library's rounding
    assert set(cft.judge(base, older, noisy, space=space, constraints="box").status) == {"found"}


def test_what_a_judged_point_of_three_classes_aims_at_is_what_it_reaches():
    logits_ = lambda x: torch.stack([x[:, 0], x[:, 1], 0.9 * x[:, 2]], 1)  # noqa: E731
    x = torch.tensor([[0.9, 0.5, 0.1]])
    judged = cft.judge(logits_, x, torch.tensor([[0.1, 0.2, 0.9]]))
    assert judged.target.tolist() == [2]
    assert judged.found.all()


def test_probabilities_are_probabilities(data):
    with pytest.raises(InputError, match=r"probabilities outside \[0, 1\]"):
        cft.search(cft.Model(lambda x: 5 * x.sum(1), output="probabilities"), data.x_test[:3], space=data.space)
