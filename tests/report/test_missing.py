"""What a sweep still lacks, and that the printed commands make it, and only it."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, SMALL, results, run_command

from cftransfer.errors import InputError
from cftransfer.report.missing import NEVER, show, sweeps

WORDS = [word for word in SMALL if not word.startswith("model.layers")]
SWEEP = ["-m", *WORDS, "experiment=more_layers", "extra_layers=1,2,3", "model.layers=1", "wandb=disabled"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    done = run_command(folder, "transfer.py", *SWEEP, "hydra.sweep.dir=multirun/it")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def sweep(whole, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(command):
    words = shlex.split(command)
    assert words[0] == "python"
    return words[1:]


def test_a_whole_sweep_lacks_nothing(sweep, capsys):
    (found,) = sweeps([sweep / "multirun"])
    assert (found.jobs, found.missing) == (3, [])
    show([found])
    assert capsys.readouterr().out == f"{found.folder}: 3 of 3 jobs have their result\n"


@pytest.mark.slow
def test_the_printed_commands_make_what_is_missing_and_nothing_else(sweep, capsys):
    before = {path: path.stat().st_mtime_ns for path in (sweep / "store").rglob("*.*")}
    expected = results(sweep)
    job = sweep / "multirun" / "it"
    shutil.rmtree(job / "0")  # never began
    (job / "2" / "result.json").unlink()  # killed
    (found,) = sweeps([sweep / "multirun"])
    assert [(path.folder.name, path.reason) for path in found.missing] == [
        ("0", NEVER),
        ("2", "ended without a word, or still runs"),
    ]
    done = run_command(sweep, *typed(found.missing[0].command))
    assert done.returncode == 0, done.stderr
    done = run_command(sweep, *typed(found.command))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("has its result already") == 2
    assert not re.search(r"training \d|searched", done.stderr)
    assert [result["metrics"] for result in results(sweep)] == [result["metrics"] for result in expected]
    assert {path: path.stat().st_mtime_ns for path in (sweep / "store").rglob("*.*")} == before
    assert sweeps([job])[0].missing == []


def test_a_failed_job_is_missing_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command(tmp_path, "transfer.py", *SMALL, "model.layers=0", "hydra.run.dir=alone").returncode == 1
    (found,) = sweeps([tmp_path / "alone"])
    assert found.missing[0].reason == "failed: model.layers=0: takes a whole number ≥ 1"
    assert typed(found.missing[0].command)[-1] == f"hydra.run.dir={tmp_path / 'alone'}"


@pytest.mark.slow
def test_of_other_settings_a_result_in_the_same_folder_is_not_taken(whole, tmp_path):
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "multirun" / "it" / "0"
    done = run_command(tmp_path, "transfer.py", *SMALL, "wandb=disabled", f"hydra.run.dir={folder}")
    assert done.returncode == 0, done.stderr
    assert "has its result already" not in done.stderr
    again = run_command(
        tmp_path, "transfer.py", *SMALL, "wandb=offline", "trainer.threads=2", f"hydra.run.dir={folder}"
    )
    assert re.search(r"has its result already \(of \w+\); delete its result.json", again.stderr)
    (folder / "pairs.parquet").unlink()  # a result without its tables is none
    again = run_command(tmp_path, "transfer.py", *SMALL, "wandb=disabled", f"hydra.run.dir={folder}")
    assert "has its result already" not in again.stderr
    assert (folder / "pairs.parquet").exists()


@pytest.mark.slow
def test_a_job_of_a_named_sweep_is_made_alone(tmp_path, monkeypatch):
    """conf/sweep makes of every command a sweep; the printed one is of one job, in the folder that the sweep has."""
    monkeypatch.chdir(tmp_path)
    words = ["sweep=depth", *WORDS, "wandb=disabled", "hydra.sweep.dir=it"]
    assert run_command(tmp_path, "transfer.py", *words).returncode == 0
    shutil.rmtree(tmp_path / "it" / "2")
    (found,) = sweeps([Path("it")])
    (job,) = found.missing
    done = run_command(tmp_path, *typed(job.command))
    assert done.returncode == 0, done.stderr
    assert sweeps([Path("it")])[0].missing == []
    assert not (tmp_path / "multirun").exists()


def test_where_nothing_is_a_job_it_says_so(tmp_path):
    with pytest.raises(InputError, match="holds no job"):
        sweeps([tmp_path])
    with pytest.raises(InputError, match="no such folder"):
        sweeps([ROOT / "nowhere"])


SWEPT = (
    "hydra: {{job: {{name: transfer}}, overrides: {{task: {task}, hydra: []}}, sweeper: {{params: null}}, {runtime}}}"
)


@pytest.mark.parametrize(
    ("task", "runtime"),
    [
        ("[]", "runtime: {config_sources: [], version_base: '1.3'}"),
        ("[]", "runtime: {config_sources: null}"),
        ("[]", "runtime: 3"),
        ("[[a]]", "runtime: {config_sources: []}"),
        ("word", "runtime: {config_sources: []}"),
        ("[]", "runtime: {config_sources: [3]}"),
    ],
)
def test_a_sweep_whose_jobs_cannot_be_listed_is_named(tmp_path, task, runtime):
    (tmp_path / "multirun.yaml").write_text(SWEPT.format(task=task, runtime=runtime))
    with pytest.raises(InputError, match=r"multirun.yaml: its jobs cannot be listed \("):
        sweeps([tmp_path])


@pytest.mark.parametrize("overrides", ["3", "{a: 1}", "- [a]", "- &a b\n- *a"])
def test_overrides_that_cannot_be_read_are_named(tmp_path, overrides):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "hydra.yaml").write_text("hydra: {job: {name: transfer}}")
    (tmp_path / ".hydra" / "overrides.yaml").write_text(overrides)
    with pytest.raises(InputError, match=r"overrides.yaml: cannot be read \("):
        sweeps([tmp_path])


def test_a_folder_whose_name_steers_a_terminal_is_printed_plain(tmp_path, capsys):
    job = tmp_path / "a\x1b[2Jb"
    (job / ".hydra").mkdir(parents=True)
    (job / ".hydra" / "hydra.yaml").write_text("hydra: {job: {name: transfer}}")
    (job / ".hydra" / "overrides.yaml").write_text("- seed=1")
    show(sweeps([tmp_path]))
    said = capsys.readouterr().out
    assert r"a\x1b[2Jb: 0 of 1 jobs have their result" in said
    assert "\x1b" not in said
