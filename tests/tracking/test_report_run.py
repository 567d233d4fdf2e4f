"""The run of a sweep's figures is made from the data that its report has read."""

from functools import partial

import pytest
from conftest import ROOT, SMALL, run_command

from cftransfer.jobs import read
from cftransfer.report import collect, report
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
