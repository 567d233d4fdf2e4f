"""What a sweep still lacks, and that the printed commands make it, and only it."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, SMALL, results, run_command
from hydra.core.override_parser.overrides_parser import OverridesParser

from cftransfer.errors import InputError
from cftransfer.report.missing import KILLED, NEVER, OTHER, show, sweeps

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
    whole_ = (folder / "pairs.parquet").read_bytes()
    (folder / "pairs.parquet").write_bytes(whole_[:100])  # a result without its tables is none
    again = run_command(tmp_path, "transfer.py", *SMALL, "wandb=disabled", f"hydra.run.dir={folder}")
    assert "is without pairs.parquet as it was written; it is kept as result-damaged.json" in again.stderr
    assert (folder / "pairs.parquet").read_bytes() == whole_


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


def test_a_sweep_that_cannot_be_listed_hides_no_other(sweep, capsys):
    shutil.copytree(sweep / "multirun" / "it", sweep / "multirun" / "cut")
    (sweep / "multirun" / "cut" / "multirun.yaml").write_text("")
    (sweep / "multirun" / "cut" / "1" / "result.json").unlink()
    show(sweeps([Path("multirun")]))
    said = capsys.readouterr().out
    assert (
        "multirun/cut: 2 of 3 jobs have their result\n  multirun/cut/multirun.yaml: its jobs cannot be listed" in said
    )
    assert "give the sweep's command again, with hydra.sweep.dir=multirun/cut" in said
    assert "multirun/cut/1: ended without a word, or still runs" in said
    assert "multirun/it: 3 of 3 jobs have their result" in said


def test_a_result_of_other_settings_in_a_jobs_folder_is_not_its_own(sweep):
    text = (sweep / "multirun" / "it" / "multirun.yaml").read_text()
    (sweep / "multirun" / "it" / "multirun.yaml").write_text(text.replace("extra_layers=1,2,3", "extra_layers=1,4,3"))
    (found,) = sweeps([Path("multirun")])
    assert [(job.folder.name, job.reason) for job in found.missing] == [("1", OTHER)]
    assert "extra_layers=4" in found.missing[0].command


def renamed(sweep, subdir):
    """Let the jobs' folders be called otherwise, as if the sweep had been run so."""
    place = sweep / "multirun" / "it"
    text = (place / "multirun.yaml").read_text()
    (place / "multirun.yaml").write_text(text.replace("subdir: ${hydra.job.num}", f"subdir: {subdir}"))
    for number in range(3):
        (place / f"s{number}").mkdir()
        (place / str(number)).rename(place / f"s{number}" / "job")
    return place


def test_jobs_whose_folders_are_not_numbered_are_known_by_their_words(sweep):
    place = renamed(sweep, "s${hydra.job.num}/job")
    (found,) = sweeps([Path("multirun")])
    assert (found.jobs, found.missing) == (3, [])
    (place / "s1" / "job" / "result.json").unlink()
    shutil.rmtree(place / "s2")
    (found,) = sweeps([Path("multirun")])
    assert [(job.folder.name, job.reason) for job in found.missing] == [("job", KILLED), ("job 2", NEVER)]
    assert found.missing[0].command.endswith("hydra.run.dir=multirun/it/s1/job hydra.mode=RUN")
    assert found.missing[1].command is None  # the folder is the sweep's to name


@pytest.mark.parametrize("name", ["a=b", "ü", "x,y", "p(1)", "q[1]", "a b", "it's", "seed=1,model.layers=2", "$x"])
def test_the_printed_folder_is_read_as_it_is(sweep, name):
    (sweep / "multirun" / "it").rename(sweep / name)
    (sweep / name / "0" / "result.json").unlink()
    (found,) = sweeps([Path(name)])
    words = OverridesParser.create().parse_overrides(typed(found.missing[0].command)[1:])
    assert {word.key_or_group: word.value() for word in words}["hydra.run.dir"] == f"{name}/0"
    (word,) = OverridesParser.create().parse_overrides(typed(found.command)[-1:])
    assert word.value() == name


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
    (found,) = sweeps([tmp_path])
    assert f"{tmp_path}/multirun.yaml: its jobs cannot be listed (" in found.trouble
    assert (found.jobs, found.command) == (0, None)


@pytest.mark.parametrize("overrides", ["3", "{a: 1}", "- [a]", "- &a b\n- *a"])
def test_overrides_that_cannot_be_read_are_named(tmp_path, overrides):
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "hydra.yaml").write_text("hydra: {job: {name: transfer}}")
    (tmp_path / ".hydra" / "overrides.yaml").write_text(overrides)
    (found,) = sweeps([tmp_path])
    assert found.trouble == f"{tmp_path}/.hydra: does not say what was run"
    assert [job.command for job in found.missing] == [None]


def test_a_folder_whose_name_steers_a_terminal_is_printed_plain(tmp_path, capsys):
    job = tmp_path / "a\x1b[2Jb"
    (job / ".hydra").mkdir(parents=True)
    (job / ".hydra" / "hydra.yaml").write_text("hydra: {job: {name: transfer}}")
    (job / ".hydra" / "overrides.yaml").write_text("- seed=1")
    show(sweeps([tmp_path]))
    said = capsys.readouterr().out
    assert r"a\x1b[2Jb: 0 of 1 jobs have their result" in said
    assert "\x1b" not in said
