"""Seconds by stage, and the estimate for other numbers of models."""

import numpy as np
import pytest
import torch
from conftest import SMALL, composed, results, run_command

import cftransfer as cft
from cftransfer.commands import experiment
from cftransfer.commands.plan import plan as plan_of_job
from cftransfer.jobs.schema import Result
from cftransfer.measuring.models_needed import Models
from cftransfer.measuring.planning import plan_of
from cftransfer.measuring.stage_seconds import Seconds, Stopwatch, timed

TOOK = Seconds(training=30.0, searching=10.0, asking=5.0, models=15, bases=5, pairs=50)
RATES = 0.6 + 0.1 * np.random.default_rng(0).normal(size=(5, 10))


def test_an_estimate_is_linear_in_models_searches_and_pairs():
    assert TOOK.estimate(Models(5, 10)) == pytest.approx(30 + 10 + 5)
    assert TOOK.estimate(Models(7, 3)) == pytest.approx(10 * 2 + 7 * 2 + 21 * 0.1)
    assert TOOK.each() == pytest.approx((4, 2, 0.1))


def test_references_of_the_bases_spec_are_trained_for_each_reference():
    both = Seconds(training=50.0, searching=10.0, asking=5.0, models=25, bases=5, pairs=50, models_each=2)
    assert both.estimate(Models(5, 10)) == pytest.approx(50 + 10 + 5)


def test_references_that_are_made_from_the_bases_cost_no_training(tmp_path):
    words = ["dataset=moons", "training.epochs=1", "samples=20", "replicates.bases=2", "replicates.references=3"]
    job = experiment.run(plan_of_job(composed(*words, "experiment=weight_noise", f"paths.store={tmp_path}")))
    assert (job.seconds.models, job.seconds.models_each) == (2, 0)
    base, reference, _ = job.seconds.each()
    assert (base > 0, reference) == (True, 0)


@pytest.mark.parametrize(
    ("stage", "unit", "said"),
    [("training", "models", "the models"), ("searching", "bases", "the counterfactuals")],
)
def test_a_stage_that_came_from_the_store_is_unknown_and_not_free(stage, unit, said):
    some = Seconds(**{**vars(TOOK), stage: None, unit: 0})
    assert some.estimate(Models(5, 10)) is None
    plan = plan_of(RATES).timed(some)
    assert plan.seconds is None
    assert str(plan).endswith(f", time unknown, since {said} came from the store")


def test_a_plan_says_the_time_of_its_models():
    plan = plan_of(RATES).timed(TOOK)
    assert plan.seconds == pytest.approx(TOOK.estimate(plan.models))
    assert str(plan).endswith(f"references, {plan.seconds:,.0f} s")
    own = plan_of(RATES, seconds=(9.0, 3.0, 1.0))
    assert own.timed(TOOK) == own  # a user's own seconds stand


def test_models_that_were_given_are_left_out_of_the_estimate():
    given = Seconds(searching=10.0, asking=5.0, bases=5, pairs=50, of_models=False)
    assert given.estimate(Models(7, 3)) == pytest.approx(7 * 2 + 21 * 0.1)
    assert str(plan_of(RATES).timed(given)).endswith(" s without training")


def test_a_stage_inside_another_counts_once(monkeypatch):
    clock = iter([0.0, 1.0, 5.0, 7.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    watch = Stopwatch()
    with watch.stage("searching", 1), watch.stage("training", 3):
        pass
    took = watch.seconds()
    assert (took.searching, took.training, took.asking) == (3.0, 4.0, None)
    assert (took.bases, took.models, took.pairs) == (1, 3, 0)


def test_nothing_made_is_no_stage():
    watch = Stopwatch()
    with timed(watch, "training", 0), timed(None, "searching", 2):
        pass
    assert watch.seconds() == Seconds()


def test_a_measurement_has_seconds_of_searching_and_asking_for_all_of_its_groups():
    def line(bias):
        return lambda x: x.sum(1) + bias

    bases, x = [line(-1.0), line(-0.9)], torch.rand(20, 2)
    groups = {"a": [line(-0.8), line(-0.7)], "b": [line(-1.1), line(-1.2), line(-1.3)]}
    result = cft.measure(bases, groups, x, method="minimal")
    took = result.seconds
    assert (took.bases, took.pairs, took.training) == (2, 10, None)
    assert took.searching > 0 < took.asking
    assert result["a"].seconds == took
    judged = cft.measure(bases, groups["a"], x, counterfactuals=[1 - x, 1 - x])
    assert judged.seconds.searching is None
    later = cft.measure(cft.ask([cft.search(base, x, method="minimal") for base in bases], {"c": groups["b"]}))
    assert (result + later).seconds.pairs == 16
    assert later.seconds.missing() == "unknown, since the counterfactuals existed before"


def test_a_job_writes_its_seconds_and_null_for_what_came_from_the_store(tmp_path):
    for _ in range(2):
        done = run_command(tmp_path, "transfer.py", *SMALL, "wandb=disabled")
        assert done.returncode == 0, done.stderr
    first, again = results(tmp_path)
    assert first["timed"] == {"models": 5, "bases": 2, "pairs": 6, "models_each": 1}
    assert min(first["seconds"].values()) > 0
    assert again["timed"] == {"models": 0, "bases": 0, "pairs": 6, "models_each": 1}
    assert [again["seconds"][stage] for stage in ("training", "searching")] == [None, None]
    assert first["metrics"] == again["metrics"]
    pages = [path.read_text() for path in sorted(tmp_path.rglob("report.html"))]
    assert "unknown, since the models came from the store" not in pages[0]
    assert "unknown, since the models came from the store" in pages[1]


@pytest.mark.parametrize("wrong", [{"seconds": {"training": -1.0}}, {"timed": {"models": 1.5}}, {"seconds": 3}])
def test_seconds_that_no_job_writes_make_it_a_failed_one(wrong):
    whole = {"config": {}, "choices": {}, "overrides": [], "metrics": {}, "versions": {}, "git": None}
    assert Result.model_validate(whole).seconds == {}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Result.model_validate(whole | wrong)
