"""The run of a sweep's figures and words is made from the data that its report has read."""

import json
from functools import partial

import numpy as np
import pandas as pd
import pytest
import wandb
from conftest import ROOT, SMALL, run_command
from offline_run import read as offline_run
from report.test_collect import write_job

from cftransfer.jobs import read
from cftransfer.report import collect, report
from cftransfer.report.verdict_words import pooled, sentence
from cftransfer.tracking import publish_report, report_run


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    done = run_command(folder, "transfer.py", "-m", *SMALL, "seed=0,1", "wandb=offline", "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stderr
    assert len(list((folder / "sweep").glob("wandb/offline-run-*"))) == 1
    return folder / "sweep"


@pytest.mark.slow
def test_jobs_are_read_once_for_a_sweeps_report_and_its_run(sweep, monkeypatch):
    reads, told = [], []
    monkeypatch.setattr(collect, "read", lambda folder: reads.append(folder.name) or read.read(folder))
    monkeypatch.setattr(report_run, "upload_report", lambda *words: told.append(words))
    report([sweep], then=partial(publish_report, sweep))
    assert sorted(reads) == ["0", "1"]
    ((where, jobs, lines, settings),) = told
    assert (where, len(jobs.jobs), lines, settings["mode"]) == (sweep, 2, [], "offline")


@pytest.mark.slow
def test_a_report_that_wandb_lacks_is_a_line(sweep, monkeypatch, caplog):
    monkeypatch.setattr(report_run, "upload_report", lambda *_: "gone")
    jobs = collect.jobs([sweep])
    publish_report(sweep, jobs, [])
    assert f"W&B lacks the report of {sweep} (gone); it is there as report.html" in caplog.text
    jobs.jobs[0].result.config["wandb"]["mode"] = "disabled"
    caplog.clear()
    publish_report(sweep, jobs, [])
    assert not caplog.text


def published(sweep):
    """Jobs and trends of a sweep, and the summary of the offline run that W&B's own client wrote about them."""
    collected = collect.jobs([sweep])
    lines = collect.lines(collected)
    settings = {"mode": "offline", "project": "cftransfer", "finish_timeout": 60}
    assert report_run.upload_report(sweep, collected, lines, settings) is None
    wandb.teardown()  # ends W&B's process, which writes the rest of the file
    return collected, lines, offline_run(sweep)["summary"]


def test_the_words_say_whether_the_extremes_of_a_sweep_without_a_trend_differ(tmp_path):
    for name, rate in (("minimal", 0.3), ("nearest", 0.9)):
        words = [f"counterfactual={name}"]
        rates = np.full((5, 10), rate)
        write_job(tmp_path / name, rates=rates, overrides=words, choices={"counterfactual": name})
    told = report_run.words(collect.jobs([tmp_path]), [])
    assert set(told) == {"lowest_and_highest"}
    said = "lowest and highest rate (minimal, nearest): the two rates differ by +0.600 ("
    assert told["lowest_and_highest"].startswith(said)


def test_a_runs_summary_has_the_verdict_on_a_trend_and_on_each_job_against_seed_alone(tmp_path):
    for layers in (2, 4, 6):
        where = tmp_path / str(layers)
        seed = 0.8 - 0.1 * layers
        rates = seed - 0.1 * (layers < 6) + 0.01 * np.random.default_rng(layers).normal(size=(3, 4))
        write_job(where, rates=rates, overrides=[f"model.layers={layers}"], model__layers=layers)
        path = where / "pairs.parquet"
        pd.read_parquet(path).assign(rate=rates.ravel(), rate_seed=seed).to_parquet(path)
    _, (line,), summary = published(tmp_path)
    assert summary["verdict"] == sentence(line)
    assert summary["verdict"].startswith("falls: -0.")
    assert summary["than_seed_alone"] == "layers=2: lower. layers=4: lower. layers=6: alike, less than ±.05 apart"
    assert "pooled" not in summary
    (table,) = tmp_path.glob("wandb/**/trends_*.table.json")
    columns, data = json.loads(table.read_text()).values()
    row = dict(zip(columns, data[0], strict=True))
    assert (row["knob"], row["verdict"], row["sentence"]) == ("model.layers", "falls", sentence(line))


def test_a_runs_summary_has_the_pooled_rate_of_swept_seeds_and_no_verdict(tmp_path):
    for seed, rate in enumerate((0.5, 0.6, 0.7)):
        write_job(tmp_path / str(seed), rates=[[rate, rate]] * 2, overrides=[f"seed={seed}"], seed=seed)
    collected, lines, summary = published(tmp_path)
    assert lines == []
    assert summary["pooled"] == pooled(collected.panels[0])[0]
    assert summary["pooled"].startswith("3 replicates over seed, rate 0.600 (95 % interval over replicates ")
    assert {"verdict", "trends", "than_seed_alone"}.isdisjoint(summary)


IMPORTED = """
import runpy, sys
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("wandb" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "imported"), [("disabled", "False"), ("offline", "True")])
def test_wandb_is_not_imported_for_a_sweep_of_wandb_disabled(tmp_path, mode, imported):
    words = [str(ROOT / "transfer.py"), "-m", *SMALL, "seed=0", f"wandb={mode}"]
    code = f"import sys; sys.argv[:] = {words!r}{IMPORTED}"
    done = run_command(tmp_path, "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == imported
