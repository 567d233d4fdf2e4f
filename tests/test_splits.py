"""replicates.splits: one job on several splits of the rows, with intervals over splits and over models."""

import json
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, SMALL, composed, environment, run_command

import cftransfer as cft
from cftransfer.commands import experiment
from cftransfer.commands.plan import plan as plan_of
from cftransfer.commands.splits import check_splits
from cftransfer.errors import InputError
from cftransfer.jobs.schema import what
from cftransfer.measuring.over_splits import spread_of, spread_over_splits
from cftransfer.measuring.planning import plan_of as models_plan
from cftransfer.measuring.split_metrics import SplitAnswers, metrics_over_splits
from cftransfer.measuring.statistics import change_interval, on_logit, spread, student, two_way_interval
from cftransfer.measuring.trends import trend

QUICK = ["dataset=moons", "training.epochs=3", "model.layers=1", "model.width=8", "samples=30"]
QUICK += ["training.batch_size=16", "replicates.bases=2", "replicates.references=3"]


def run(tmp_path, *words):
    return experiment.run(plan_of(composed(*QUICK, f"paths.store={tmp_path}", *words)))


def frame(table):
    return table if isinstance(table, pd.DataFrame) else table.to_pandas()


def drawn(rng, shape, *, split=0.0, base=0.0, reference=0.0, error=0.0, same_base=0.0, same_reference=0.0):
    """Rates around .5. same_…: of a seed, on all splits."""
    S, I, J = shape
    parts = ((split, (S, 1, 1)), (base, (S, I, 1)), (reference, (S, 1, J)), (error, shape))
    parts += ((same_base, (1, I, 1)), (same_reference, (1, 1, J)))
    return 0.5 + sum(sd * rng.normal(size=size) for sd, size in parts)


@pytest.mark.parametrize("words", [["experiment=more_layers"], ["experiment=continued_training", "extra_epochs=2"]])
def test_each_split_has_the_numbers_of_a_job_of_its_own(tmp_path, words):
    together = run(tmp_path, "replicates.splits=2", "dataset.split_seed=4", *words)
    alone = [run(tmp_path, f"dataset.split_seed={seed}", *words) for seed in (4, 5)]
    for name in set(together.tables) - {"survivorship", "examples", "extremes"}:
        table = frame(together.tables[name])
        assert table.split.unique().tolist() == [4, 5], name
        for seed, job in zip((4, 5), alone, strict=True):
            own = table[table.split == seed].drop(columns="split").reset_index(drop=True)
            pd.testing.assert_frame_equal(own, frame(job.tables[name]).reset_index(drop=True), check_exact=True)
    for name in ("rate", "agreement", "distance_l2", "base_accuracy", "control_random", "rate_conditional"):
        assert together.metrics[name] == pytest.approx(np.mean([job.metrics[name] for job in alone]), rel=1e-12)
    for name in ("pairs", "n_searched", "n_found", "n_tried"):
        assert together.metrics[name] == sum(job.metrics[name] for job in alone)
    assert together.metrics["splits"] == 2
    assert set(alone[0].metrics) < set(together.metrics)
    pairs = frame(together.tables["pairs"])
    if together.curve is not None:
        assert together.curve.rate.iloc[-1] == pytest.approx(together.metrics["rate"])
        for name in together.curve.columns.drop("extra_epochs"):
            assert together.curve[name].iloc[-1] == pytest.approx(together.metrics[name]), name
        pairs = pairs[pairs.extra_epochs == pairs.extra_epochs.max()]
    last = frame(together.tables["survivorship"]).iloc[-1]
    assert last.rate == pytest.approx(together.metrics["rate"])
    assert last.rate_high == pytest.approx(together.metrics["rate_high"])
    means = pairs.groupby("split").rate.mean()
    assert together.metrics["rate_low"] < means.mean() < together.metrics["rate_high"]


def test_one_split_is_as_before_there_was_the_setting(tmp_path):
    job = run(tmp_path, "replicates.splits=1")
    assert not [name for name in job.metrics if "split" in name or "variance" in name]
    assert not [name for name, table in job.tables.items() if "split" in frame(table)]
    config = {"seed": 0, "replicates": {"bases": 2, "references": 3}}
    assert what(config) == what({**config, "replicates": {**config["replicates"], "splits": 1}})
    assert what(config) != what({**config, "replicates": {**config["replicates"], "splits": 2}})


def test_a_single_pair_on_each_split_has_students_interval_over_splits(tmp_path):
    job = run(tmp_path, "replicates.splits=3", "replicates.bases=1", "replicates.references=1")
    rates = frame(job.tables["pairs"]).rate.to_numpy()
    assert job.metrics["interval"].startswith("splits")
    over = on_logit(spread(rates[:, None]))
    assert (job.metrics["rate_low"], job.metrics["rate_high"]) == pytest.approx((over.low, over.high))
    assert job.metrics["rate_variance_split"] == pytest.approx(np.var(rates, ddof=1))
    parts = [job.metrics[f"rate_variance_{name}"] for name in ("base", "reference", "pair")]
    assert np.isnan(parts).all()  # unknown, and not 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("replicates.splits=0", "replicates.splits=0: must be a whole number from 1 to 100"),
        ("replicates.splits=101", "replicates.splits=101: must be a whole number from 1 to 100"),
        ("replicates.splits=2 ~dataset.split_seed", "replicates.splits=2: dataset=moons has one fixed split; leave"),
        ("replicates.splits=2 +dataset.test_path=x.csv", "replicates.splits=2: dataset=moons has one fixed split; lea"),
        ("replicates.splits=2 counterfactual=imported", "replicates.splits=2: files of counterfactuals are of one"),
        ("replicates.splits=2 dataset.split_seed=4294967295", "dataset.split_seed=4294967296"),
    ],
)
def test_splits_that_are_not_there_are_one_line(tmp_path, words, said):
    with pytest.raises(InputError) as caught:
        run(tmp_path, *words.split())
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_images_whose_test_split_is_fixed_are_refused(tmp_path):
    from photos import put_cifar10

    put_cifar10(tmp_path / "data")
    words = ["dataset=cifar10_airplane", "replicates.splits=2", f"paths.data={tmp_path / 'data'}"]
    with pytest.raises(InputError, match=r"^replicates\.splits=2: dataset=.* has one fixed split; leave out"):
        plan_of(composed(*words, f"paths.store={tmp_path}"))


def split_of(*classes):
    """A data set with these test rows, a list of numbers for each class."""
    x = torch.tensor([[float(row)] for rows in classes for row in rows])
    y = torch.tensor([number for number, rows in enumerate(classes) for _ in rows])
    return SimpleNamespace(name="some", classes=[*map(str, range(len(classes)))], x_test=x, y_test=y)


def test_a_rare_class_with_the_same_test_rows_is_chance_and_a_large_one_is_a_fixed_split():
    check_splits([split_of(range(20), [90]), split_of(range(5, 25), [90])])
    for second in (split_of(range(20), [91]), split_of(range(20), [90])):
        with pytest.raises(InputError, match=r"^replicates\.splits=2: dataset=some has one fixed split; leave out"):
            check_splits([split_of(range(20), [90]), second])
    with pytest.raises(InputError, match="has one fixed split"):
        check_splits([split_of([1], [2])] * 2)


@pytest.mark.slow
def test_killed_between_splits_and_run_again_the_result_is_that_of_an_undisturbed_job(tmp_path):
    words = [*SMALL, "replicates.splits=3", "wandb=disabled", "hydra.run.dir=job"]
    quiet, killed = tmp_path / "quiet", tmp_path / "killed"
    quiet.mkdir(), killed.mkdir()
    assert run_command(quiet, "transfer.py", *words).returncode == 0
    job = subprocess.Popen(
        [sys.executable, ROOT / "transfer.py", *words], cwd=killed, env=environment(), stderr=subprocess.PIPE, text=True
    )
    for line in job.stderr:
        if "split 2 of 3" in line:
            break
    job.send_signal(signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL
    job.stderr.close()
    assert not (killed / "job" / "result.json").exists()
    done = run_command(killed, "transfer.py", *words)
    assert done.returncode == 0, done.stderr
    assert "searched" not in done.stderr.partition("split 1 of 3")[2].partition("split 2 of 3")[0]
    first, second = (json.loads((folder / "job" / "result.json").read_text()) for folder in (quiet, killed))
    own = dict.fromkeys(("sweep", "seconds", "timed"))  # of each run
    assert first | own == second | own
    assert "3 splits of the rows, each with its own models; standard deviation of a pair's rate by split" in done.stdout


def test_the_parts_of_the_variance_are_found_again():
    rng, sizes = np.random.default_rng(0), {"split": 0.04, "base": 0.05, "reference": 0.03, "error": 0.06}
    found = [spread_over_splits([*drawn(rng, (8, 5, 10), **sizes)]).variances for _ in range(600)]
    for name, sd in sizes.items():
        assert np.mean([getattr(one, name) for one in found]) == pytest.approx(sd**2, rel=0.12), name


def test_variances_that_a_design_cannot_show_are_unknown_and_give_no_plan():
    rates = drawn(np.random.default_rng(6), (3, 4, 5), split=0.02, base=0.05, reference=0.05, error=0.02)
    nested = spread_over_splits([*rates[:, :, :1]]).variances
    assert nested.base > 0
    assert np.isnan([nested.reference, nested.error]).all()
    alone = spread_over_splits([*rates[:, :1]]).variances
    assert alone.reference > 0
    assert np.isnan([alone.base, alone.error]).all()
    rates[0, 1:] = np.nan  # only the first base has rates on all splits
    assert models_plan(rates) is None


def test_splits_that_differ_by_a_constant_alone_have_students_interval():
    rates = [0.4 + np.zeros((3, 4)), 0.5 + np.zeros((3, 4)), 0.7 + np.zeros((3, 4))]
    known = spread_over_splits(rates)
    over, alone = student(known), two_way_interval(np.array([[0.4], [0.5], [0.7]]))
    assert (over.low, over.high) == pytest.approx((alone.low, alone.high))
    assert known.variances.split == pytest.approx(np.var([0.4, 0.5, 0.7], ddof=1))


def test_the_same_matrix_on_every_split_has_the_interval_of_one():
    """An effect of seeds on all splits is not averaged away by more splits with the same seeds."""
    rates = np.random.default_rng(1).normal(0.5, 0.1, (4, 6))
    known, one = spread_over_splits([rates] * 5), two_way_interval(rates)
    over = student(known)
    assert (over.low, over.high) == pytest.approx((one.low, one.high))
    assert known.variances.split == 0


def test_it_is_never_narrower_than_students_over_splits_or_than_the_interval_of_the_mean_matrix():
    rng = np.random.default_rng(2)
    for shape in ((2, 5, 10), (3, 2, 3), (6, 4, 1), (4, 1, 5)):
        for split in (0.0, 0.02, 0.1):
            rates = drawn(rng, shape, split=split, base=0.04, reference=0.04, error=0.02)
            over = student(spread_over_splits([*rates]))
            for least in (two_way_interval(rates.mean((1, 2))[:, None]), two_way_interval(rates.mean(0))):
                assert over.high - over.low >= (least.high - least.low) * (1 - 1e-9)


def test_bases_without_counterfactuals_and_splits_without_any_are_left_out():
    rates = drawn(np.random.default_rng(3), (4, 5, 6), split=0.02, base=0.03, error=0.02)
    rates[1, 2], rates[3] = np.nan, np.nan
    known = spread_over_splits([*rates])
    assert known.mean == pytest.approx(np.mean([np.nanmean(one) for one in rates[:3]]))
    assert known.splits == 3
    assert np.isfinite(known.error)
    lone = spread_over_splits([rates[0], rates[3]])
    assert lone.mean == pytest.approx(rates[0].mean())
    assert np.isnan(student(lone).low)
    assert np.isnan(spread_over_splits([rates[3], rates[3]]).mean)


@pytest.mark.slow
@pytest.mark.parametrize("splits", [2, 3, 5, 10])
@pytest.mark.parametrize(
    "sizes",
    [
        {"base": 0.05, "reference": 0.05, "error": 0.02},
        {"split": 0.025, "base": 0.05, "reference": 0.05, "error": 0.02},
        {"split": 0.15, "base": 0.05, "reference": 0.05, "error": 0.02},
        {"same_base": 0.05, "same_reference": 0.05, "error": 0.02},
        {"split": 0.025, "same_base": 0.05, "same_reference": 0.05, "error": 0.02},
        {"split": 0.08, "same_base": 0.05, "same_reference": 0.05, "error": 0.02},
    ],
)
def test_the_interval_covers_the_truth(splits, sizes):
    rng, rounds = np.random.default_rng(0), 1000
    every = [student(spread_over_splits([*drawn(rng, (splits, 5, 10), **sizes)])) for _ in range(rounds)]
    assert np.mean([over.low <= 0.5 <= over.high for over in every]) >= 0.92


def test_a_trend_over_jobs_of_several_splits_has_an_interval_over_splits():
    rng = np.random.default_rng(4)
    rates = drawn(rng, (4, 3, 5), split=0.1, base=0.05, error=0.001)
    steps = [rates + 0.1 * at + rng.normal(0, 0.001, rates.shape) for at in range(3)]
    line = trend([0, 1, 2], steps, sharing="models")
    assert line.slope == pytest.approx(0.1, abs=0.001)
    assert line.low == pytest.approx(0.1, abs=0.002)  # effects of a split or a model at every step cancel
    steps[2][1] += 0.3  # one split that bends
    known = spread_of((steps[2] - steps[0]) / 2)
    over = trend([0, 1, 2], steps, sharing="models")
    assert (over.low, over.high) == pytest.approx((student(known).low, student(known).high))
    assert "splits" in over.method


def test_the_plan_says_what_one_more_split_buys():
    rates = drawn(np.random.default_rng(5), (4, 5, 10), split=0.06, base=0.02, reference=0.02, error=0.02)
    plan = models_plan(rates, half_width=0.05)
    assert plan.one_more_split < plan.half_width
    assert plan.half_width - plan.one_more_split > 5 * (plan.half_width - plan.one_more_base) > 0
    assert plan.splits > 5
    assert f"±0.05: {plan.splits} splits, each with 5 bases × 10 references" in str(plan)
    assert models_plan(rates, half_width=0.2).splits < plan.splits


def test_differences_that_are_alike_on_all_splits_have_the_bound_of_a_change_and_not_certainty():
    matrices = {"rate": np.full((2, 3), 0.5), "rate_minus_seed": np.full((2, 3), 0.1)}
    metrics = {"rate": 0.5, "rate_minus_seed": 0.1, "rate_minus_seed_low": 0.0, "found": 1.0}
    pooled = metrics_over_splits([metrics] * 3, [SplitAnswers(matrices, pd.DataFrame(), pd.DataFrame())] * 3)
    one = change_interval(spread(matrices["rate_minus_seed"]))
    assert (pooled["rate_minus_seed_low"], pooled["rate_minus_seed_high"]) == pytest.approx((one.low, one.high))
    assert pooled["rate_minus_seed_p"] == pytest.approx(one.p)
    assert one.low < 0 < one.high


def test_results_of_several_splits_are_pooled():
    def line(bias):
        model = torch.nn.Linear(2, 1)
        state = {"weight": torch.tensor([[1.0, 1.0]]), "bias": torch.tensor([bias])}
        return model.load_state_dict(state) and model

    x = torch.tensor([[0.2, 0.2], [0.3, 0.1]])
    one = cft.measure([line(-1.0), line(-1.02)], [line(-0.9), line(-1.1)], x, method="minimal")
    other = cft.measure([line(-1.0), line(-0.8)], [line(-0.9), line(-1.1)], x, method="minimal")
    (row,) = cft.pool_splits([one, other]).to_dict("records")
    assert row["rate"] == pytest.approx((one.rate + other.rate) / 2)
    assert row["splits"] == 2
    assert row["low"] <= row["rate"] <= row["high"]
    with pytest.raises(InputError, match="results: has 1; pass two or more"):
        cft.pool_splits([one])
    fewer = cft.measure(line(-1.0), [line(-0.9), line(-1.1)], x, method="minimal")
    with pytest.raises(InputError, match="differs in its numbers of models"):
        cft.pool_splits([one, fewer])
