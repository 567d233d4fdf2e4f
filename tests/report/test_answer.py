"""The first sentence of a report goes by the numbers and the verdicts of its jobs."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_collect import put_sweep, write_job

from cftransfer.measuring.verdicts import verdict
from cftransfer.report import report
from cftransfer.report.answer import answer, percent
from cftransfer.report.cells import number
from cftransfer.report.collect import jobs, lines
from cftransfer.report.compared import asked, listed
from cftransfer.report.tables import MINUS_FIRST, WIDEST, first, rest
from cftransfer.report.terminal import show
from cftransfer.report.verdict_words import against_first, pooled


def answered(folder):
    collected = jobs([folder])
    (panel,) = collected.panels
    return answer(panel, lines(collected))


def with_metrics(folder, **metrics):
    path = folder / "result.json"
    result = json.loads(path.read_text())
    path.write_text(json.dumps({**result, "metrics": result["metrics"] | metrics}))


def with_pairs(folder, **columns):
    path = folder / "pairs.parquet"
    pd.read_parquet(path).assign(**columns).to_parquet(path)


def test_one_job_says_its_rate_interval_and_control(tmp_path):
    write_job(tmp_path / "0", rates=[[0.6, 0.7], [0.7, 0.8]])
    with_metrics(tmp_path / "0", rate_low=0.61, rate_high=0.77, found=1.0)
    with_pairs(tmp_path / "0", control_random=0.13)
    told = "70 % (95 % interval 61 to 77) of the counterfactuals held; of random points at the same distance, 13 %."
    assert answered(tmp_path) == told
    page = report([tmp_path]).read_text()
    assert page.index(told) < page.index("<svg") < page.index("The comparison") < page.index("<table")


def test_a_narrow_interval_in_percent_does_not_look_like_a_point(tmp_path):
    write_job(tmp_path / "0", rates=[[0.6, 0.7], [0.7, 0.8]])
    for ends, said in ({(0.698, 0.702): "69.8 to 70.2", (0.9996, 0.9999): "99.96 to 99.99"}).items():
        with_metrics(tmp_path / "0", rate_low=ends[0], rate_high=ends[1])
        assert f"(95 % interval {said})" in answered(tmp_path)


def test_the_control_of_replicates_is_that_of_the_jobs_that_found_something(tmp_path):
    for seed in range(3):
        write_job(tmp_path / str(seed), rates=[[0.6, 0.7]] * 2, seed=seed, overrides=[f"seed={seed}"])
        with_pairs(tmp_path / str(seed), control_random=0.2)
    with_pairs(tmp_path / "2", rate=np.nan, found=0, control_random=np.nan)
    assert "; of random points at the same distance, 20 %." in answered(tmp_path)


def test_draws_of_one_pair_of_models_are_not_said_to_be_over_models(tmp_path):
    for draw, rate in enumerate((0.5, 0.6, 0.8)):
        some = {"rows": {"_target_": "part", "draw": draw}, "overrides": [f"rows.draw={draw}"]}
        write_job(tmp_path / str(draw), rates=[[rate]], **some)
    (panel,) = jobs([tmp_path]).panels
    (told,) = pooled(panel)
    assert "(95 % interval over replicates 0." in told


@pytest.mark.parametrize("splits", [1, 2])
def test_draws_of_several_models_or_splits_name_the_units_of_the_interval(tmp_path, splits):
    rates = np.array([[0.5, 0.6], [0.7, 0.9]])
    for draw in range(3):
        some = {"rows": {"_target_": "part", "draw": draw}, "overrides": [f"rows.draw={draw}"]}
        write_job(tmp_path / str(draw), rates=rates, **some)
        path = tmp_path / str(draw) / "pairs.parquet"
        if splits > 1:
            of = pd.read_parquet(path)
            pd.concat([of.assign(split=split, rate=of.rate - 0.05 * split) for split in range(splits)]).to_parquet(path)
            with_metrics(tmp_path / str(draw), splits=splits)
    (panel,) = jobs([tmp_path]).panels
    said = f"(95 % interval over {'splits' if splits > 1 else 'replicates'} and models "
    assert said in pooled(panel)[0]
    assert said in answered(tmp_path)


def test_a_change_of_nothing_has_no_minus():
    assert number(-1e-17, signed=True) == "+0.000"
    assert number(-0.01, signed=True) == "-0.010"


def test_failed_searches_and_one_pair_are_said(tmp_path):
    write_job(tmp_path / "0", rates=[[0.6]])
    assert "interval over the counterfactuals of one pair of models" in answered(tmp_path)
    assert "50 % of the searches found a counterfactual." in answered(tmp_path)


def test_a_job_that_found_nothing_is_said_beside_the_rate_of_the_others(tmp_path):
    for job, layers in enumerate((2, 4)):
        write_job(tmp_path / str(job), rates=[[0.6, 0.7]] * 2, model__layers=layers)
    with_pairs(tmp_path / "1", rate=np.nan, found=0)
    told = answered(tmp_path)
    assert told.startswith("65 % (95 % interval 60 to 70) of the counterfactuals held")  # of one job: not replicates
    assert told.endswith(". In 1 of 2 jobs, no counterfactual was found.")


def test_repeated_single_pairs_have_an_interval_over_replicates(tmp_path):
    for seed, rate in enumerate((0.5, 0.6, 0.7)):
        write_job(tmp_path / str(seed), rates=[[rate]], seed=seed)
    assert answered(tmp_path).startswith("60 % (95 % interval over replicates ")


def test_a_rate_beside_another_seed_is_not_shown_to_differ_where_it_is_undecided(tmp_path):
    rates = 0.5 + 0.1 * np.random.default_rng(0).normal(size=(3, 4))
    write_job(tmp_path / "0", rates=[[0.5] * 4] * 3)
    with_pairs(tmp_path / "0", rate=rates.ravel(), rate_seed=0.45)
    assert answered(tmp_path).endswith("Against references that differ in their seed alone: not shown to differ.")


def test_no_counterfactual_is_an_answer(tmp_path):
    write_job(tmp_path / "0", rates=[[0.6, 0.5]])
    with_pairs(tmp_path / "0", rate=np.nan, found=0)
    assert answered(tmp_path).startswith("No counterfactual was found")


def put_searches(folder, rates, **settings):
    """A job for each search method; all have the same bases."""
    for name, matrix in rates.items():
        words = [f"counterfactual={name}"]
        write_job(folder / name, rates=matrix, choices={"counterfactual": name}, overrides=words, **settings)
        with_pairs(folder / name, rate=np.ravel(matrix))  # to the last digit


def test_searches_are_named_from_the_least_to_the_most_and_their_difference_has_a_verdict(tmp_path):
    put_searches(tmp_path, {name: [[rate] * 20] * 20 for name, rate in (("minimal", 0.5), ("sns", 0.9), ("roar", 0.7))})
    told = answered(tmp_path)
    assert told.startswith("From 50 % (minimal; 95 % interval 50 to ")
    assert "to 90 % (sns; 95 % interval " in told
    assert " The two rates differ by +0.400 (95 % interval +0." in told
    assert told.endswith(", adjusted for 3 differences).")


BASES = 0.2 * np.random.default_rng(0).normal(size=(4, 1))
NOISE = 0.005 * np.random.default_rng(1).normal(size=(3, 4, 6))


@pytest.mark.parametrize(
    ("apart", "said"),
    [
        (0.1, "The two rates differ by +0.0"),  # the intervals overlap, but the bases are the same
        (0.01, "The two rates differ by less than .05: +0.0"),
        (0.0, "The two rates differ by less than .05: +0.0"),
    ],
)
def test_bases_that_searches_share_cancel_in_their_difference(tmp_path, apart, said):
    put_searches(tmp_path, {"minimal": 0.5 + BASES + NOISE[0], "sns": 0.5 + apart + BASES + NOISE[1]})
    assert said in answered(tmp_path)


def test_the_same_rates_of_other_models_are_not_shown_to_differ(tmp_path):
    for job, (name, apart) in enumerate([("a", 0.0), ("b", 0.1)]):
        more = {"choices": {"dataset": name}, "overrides": [f"dataset={name}"], "dataset": {"_target_": name}}
        write_job(tmp_path / name, rates=[[0.5] * 6] * 4, **more)
        with_pairs(tmp_path / name, rate=(0.5 + apart + BASES + NOISE[job]).ravel())
    told = answered(tmp_path)
    assert "The two rates are not shown to differ: +0.098 (95 % interval -0.012 to +0.208; p = 0.072); " in told
    assert re.search(r"; about \d+ bases × \d+ references would decide\.$", told)


def test_the_terminal_says_whether_the_lowest_and_the_highest_rate_differ(tmp_path, capsys):
    put_searches(tmp_path, {"minimal": 0.5 + BASES + NOISE[0], "sns": 0.6 + BASES + NOISE[1]})
    show(jobs([tmp_path]), [])
    assert "lowest and highest rate (minimal, sns): the two rates differ by +0.098 (" in capsys.readouterr().out
    put_searches(tmp_path / "one", {"minimal": [[0.5]]})
    show(jobs([tmp_path / "one"]), [])
    assert "lowest" not in capsys.readouterr().out


def test_a_table_wider_than_the_terminal_is_printed_in_parts(tmp_path, capsys, monkeypatch):
    put_searches(tmp_path, {"minimal": 0.5 + BASES + NOISE[0], "sns": 0.6 + BASES + NOISE[1]})
    for name in ("minimal", "sns"):
        with_pairs(tmp_path / name, rate_seed=0.55)
    show(jobs([tmp_path]), [])
    whole = capsys.readouterr().out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    show(jobs([tmp_path]), [])
    parts = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    heads = [line.split() for line in parts.splitlines() if line.split()[:1] == whole.split()[:1]]
    assert len(heads) > 1
    assert [word for head in heads for word in head if word in whole.splitlines()[0].split()[1:]] == (
        whole.splitlines()[0].split()[1:]
    )
    tables = parts[: parts.index("than seed alone, minimal: undecided; about ")].splitlines()
    assert max(map(len, tables)) <= 60
    assert re.search(r"^than seed alone, sns: undecided; about \d+ bases × \d+ references would decide$", whole, re.M)
    assert max(map(len, whole[: whole.index("than seed alone, ")].splitlines())) < 120


def test_jobs_that_differ_only_in_numbers_of_models_are_not_compared(tmp_path):
    for bases in (2, 4):
        words = [f"replicates.bases={bases}"]
        write_job(
            tmp_path / str(bases), rates=[[0.2 * bases, 0.1]] * bases, replicates={"bases": bases}, overrides=words
        )
    told = answered(tmp_path)
    assert told.startswith("From 25 % (bases=2; ")
    assert "differ" not in told


def test_rates_of_one_pair_each_are_not_shown_to_differ(tmp_path):
    put_searches(tmp_path, {"minimal": [[0.2]], "sns": [[0.9]]})
    assert answered(tmp_path).endswith("The two rates are not shown to differ, since their difference has no interval.")


def test_replicates_of_two_searches_are_paired_by_their_seeds(tmp_path):
    for seed, (rate, apart) in enumerate(((0.3, 0.31), (0.5, 0.29), (0.7, 0.3))):
        put_searches(tmp_path / str(seed), {"minimal": [[rate - 0.2]], "sns": [[rate - 0.2 + apart]]}, seed=seed)
    told = answered(tmp_path)
    assert "The two rates differ by +0.300 (95 % interval +0.275 to +0.325; p below 0.001)." in told


def test_the_first_table_compares_each_job_with_the_first(tmp_path):
    put_searches(tmp_path, {"a": 0.5 + BASES + NOISE[0], "b": 0.7 + BASES + NOISE[1], "c": 0.5 + BASES + NOISE[2]})
    (panel,) = jobs([tmp_path]).panels
    table = first(panel)
    at = table.heads.index("− first")
    assert table.heads[at : at + 2] == ["− first", "than the first"]
    assert len(table.heads) <= WIDEST
    told = [[cell for cell, _ in row[at : at + 2]] for _, row in table.rows]
    assert told[0] == ["—", "—"]
    assert told[1][0].startswith("+0.198 (+.")
    assert [words for _, words in told[1:]] == ["higher", "alike, less than ±.05 apart"]
    assert all(set(MINUS_FIRST).isdisjoint(one.heads) for one in rest(panel, list("abc")))


def test_a_first_job_that_found_nothing_is_compared_with_none(tmp_path):
    put_searches(tmp_path, {"a": [[0.5, 0.6]] * 2, "b": [[0.7, 0.6]] * 2, "c": [[0.7, 0.6]] * 2})
    with_pairs(tmp_path / "b", rate=np.nan, found=0)
    (panel,) = jobs([tmp_path]).panels
    assert [of is None for of in against_first(panel)] == [True, True, False]
    with_pairs(tmp_path / "a", rate=np.nan, found=0)
    (panel,) = jobs([tmp_path]).panels
    assert against_first(panel) == []


def test_a_trend_goes_by_its_verdict(tmp_path):
    for job, layers in enumerate((2, 4, 6)):
        rates = 0.7 - 0.1 * job + np.array([[0.05, 0], [0, 0.05], [0.1, 0.05]])
        write_job(tmp_path / str(job), rates=rates, overrides=[f"model.layers={layers}"], model__layers=layers)
    collected = jobs([tmp_path])
    (panel,), (line,) = collected.panels, lines(collected)
    change = line.trend.change
    said = {p: answer(panel, [replace(line, verdict=verdict(change, p=p))]) for p in (0.001, 0.5)}
    assert said[0.001].startswith("74 % of the counterfactuals held with model.layers at 2, and 54 % with model.layers")
    assert "the rate falls, -0.200 (95 % interval" in said[0.001]
    assert "not shown to differ, -0.200" in said[0.5]
    assert "would decide" in said[0.5]
    assert "the rate is flat, less than ±.5 either way" in answer(
        panel, [replace(line, verdict=verdict(change, margin=0.5))]
    )


def test_of_several_trends_each_verdict_is_counted(tmp_path):
    rng = np.random.default_rng(0)
    for slope, width in ((-0.1, 8), (0.1, 16), (0, 32)):
        for layers in (2, 4, 6):
            rates = 0.5 + slope * (layers - 4) / 2 + rng.normal(0, 0.03, (4, 6))
            where = tmp_path / f"{width}-{layers}"
            write_job(where, rates=rates, model={"layers": layers, "width": width})
    assert answered(tmp_path).endswith("Over model.layers, the rate falls in 1, rises in 1, is flat in 1 of 3 series.")


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.694, "69 %"),
        (1.0, "100 %"),
        (1 - 1e-16, "100 %"),
        (0.0, "0 %"),
        (0.996, "99.6 %"),
        (0.9997, "over 99.9 %"),
        (0.004, "0.4 %"),
        (0.0004, "below 0.1 %"),
    ],
)
def test_a_share_is_none_or_all_only_where_it_is(share, said):
    assert percent(share) == said


def test_techniques_are_named_and_base_and_reference_told_apart(tmp_path):
    for base in ("mlp", "svm"):
        for reference in ("svm", "random_forest"):
            write_job(
                tmp_path / f"{base}-{reference}",
                rates=[[0.5, 0.6]],
                overrides=[f"model={base}", f"model@reference.model={reference}"],
                choices={"model": base, "reference.model": reference},
                reference={"model": {"_target_": reference, "C": 1}},
            )
    (panel,) = jobs([tmp_path]).panels
    assert "hold on random forests or SVMs, trained from other seeds?" in asked(panel)
    assert panel.keys == "model → reference.model"
    assert {panel.values(job) for job in panel.jobs} == {
        "mlp → svm", "mlp → random_forest", "svm → svm", "svm → random_forest",
    }  # fmt: skip
    assert panel.label(panel.jobs[0]) == "model=mlp reference.model=random_forest"


def test_one_job_is_no_in_each_job(tmp_path):
    write_job(tmp_path / "0", rates=[[0.5]])
    (panel,) = jobs([tmp_path]).panels
    assert "One job: 1,000 searches on base models (MLPs), and 1 pair of a base" in asked(panel)


def test_words_are_listed_as_in_a_sentence():
    assert [listed(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def sweep(folder, key, values, **more):
    """A sweep of jobs over one setting of the model."""
    typed = [[f"model.{key}={value}"] for value in values]
    for job, (value, words) in enumerate(zip(values, typed, strict=True)):
        model = {"layers": 4, "width": 64} | {key: value}
        write_job(folder / str(job), rates=[[0.5, 0.6], [0.55, 0.6]], overrides=words, model=model, **more)
    put_sweep(folder, typed)
    path = folder / "multirun.yaml"
    task = json.dumps([f"model.{key}={','.join(map(str, values))}"])
    path.write_text(path.read_text().removesuffix("}") + f", overrides: {{task: {task}, hydra: []}}}}")


def test_each_sweep_has_a_section_and_a_job_of_two_sweeps_is_in_both_and_counts_once(tmp_path):
    sweep(tmp_path / "a", "layers", (2, 4, 8))
    sweep(tmp_path / "b", "width", (16, 32, 64))  # the job with layers 4 and width 64 is in both
    collected = jobs([tmp_path])
    assert [(panel.knob, len(panel.jobs)) for panel in collected.panels] == [("model.layers", 3), ("model.width", 3)]
    assert [panel.title for panel in collected.panels] == ["seed · layers", "seed · width"]
    assert (len(collected.jobs), collected.copies) == (5, 1)
    page = report([tmp_path]).read_text()
    assert page.index("seed · width</a>: ") < page.index("<h2>seed · layers</h2>")


def test_sweeps_over_the_same_setting_are_one_section(tmp_path):
    sweep(tmp_path / "a", "layers", (2, 4))
    sweep(tmp_path / "b", "layers", (8, 16))
    sweep(tmp_path / "c", "layers", (2, 4), seed=1)
    (panel,) = jobs([tmp_path]).panels
    assert (panel.knob, panel.replicates, len(panel.jobs)) == ("model.layers", ("seed",), 6)
