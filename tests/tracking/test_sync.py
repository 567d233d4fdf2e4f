"""The files that sync reads in job folders, and its line for each; test_server.py has a server that it uploads to."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import composed, environment
from omegaconf import OmegaConf

from cftransfer.errors import InputError
from cftransfer.jobs.provenance import RunningJob
from cftransfer.jobs.read import PNG
from cftransfer.jobs.schema import digest
from cftransfer.tracking import catch_up, job_run, publish_job, sync
from cftransfer.tracking.connection import Run

COUNTS = ["pairs", "n_searched", "n_tried", "n_agreeing", "n_to_0", "n_to_1"]
RATES = ["found", "agreement", "rate", "rate_low", "rate_high", "rate_conditional", "rate_end_to_end", "distance_l2"]
METRICS = dict.fromkeys(RATES, 0.5) | dict.fromkeys(COUNTS, 10) | {"interval": "pairs"}


@functools.cache
def moons_config() -> dict:
    return OmegaConf.to_container(composed("dataset=moons"), resolve=True)


def put_job(folder: Path, **changes) -> Path:
    """A job's folder, with the files that are published to W&B."""
    table = pd.DataFrame({"base": [0]}).to_parquet()
    chosen = {"experiment": "seed", "dataset": "moons", "model": "mlp"}
    result = {"config": moons_config(), "choices": chosen, "overrides": [], "metrics": METRICS, "versions": {}}
    result |= {"git": None, "wandb": "abc", "files": {"pairs.parquet": digest(table)}} | changes
    folder.mkdir(parents=True)
    (folder / "pairs.parquet").write_bytes(table)
    (folder / "result.json").write_text(json.dumps(result))
    return folder


class FakeRun:
    """A run that keeps every call."""

    def __init__(self) -> None:
        self.summary, self.logged, self.offline, self.starting_step = {}, {}, False, 0

    def log(self, values, step=0) -> None:
        assert step >= self.starting_step
        self.logged |= values

    def define_metric(self, *words, **named) -> None:
        pass


@pytest.fixture
def uploads(monkeypatch):
    """The runs that would be uploaded: the arguments that they began with, and every call."""
    seen = []

    def begin(settings, folder, **known):
        seen.append({**settings, **known})
        return Run(FakeRun(), [])

    def end(run, tell=None, *, exit_code=0):
        tell(run.run)
        seen[-1] |= {"summary": run.run.summary, "logged": run.run.logged}

    monkeypatch.setattr(job_run, "unreached", lambda: None)
    monkeypatch.setattr(sync, "unreached", lambda: None)
    monkeypatch.setattr(job_run, "_unreached_once", lambda: None)
    monkeypatch.setattr(job_run, "begin", begin)
    monkeypatch.setattr(job_run, "end", end)
    return seen


def said(capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_job_is_uploaded_from_its_folder_under_its_id_once(tmp_path, uploads, capsys):
    put_job(tmp_path / "job", sweep="multirun/a")
    assert sync.sync([tmp_path]) == 0
    (told,) = uploads
    assert (told["id"], told["mode"], told["group"]) == ("abc", "online", "multirun/a")
    assert told["summary"] == METRICS
    assert list(told["logged"]) == ["rates_by_pair"]
    assert said(capsys) == [f"{tmp_path}/job: uploaded"]
    assert sync.sync([tmp_path]) == 0
    assert said(capsys) == [f"{tmp_path}/job: already there"]
    assert len(uploads) == 1


def test_a_job_that_was_made_again_since_is_uploaded_again(tmp_path, uploads):
    put_job(tmp_path / "job")
    sync.sync([tmp_path])
    path = tmp_path / "job" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"metrics": METRICS | {"rate": 0.6}}))
    assert sync.sync([tmp_path]) == 0
    assert [told["summary"]["rate"] for told in uploads] == [0.5, 0.6]


def test_once_uploaded_a_run_kept_offline_is_marked_so_that_wandb_sync_passes_over_it(tmp_path, uploads):
    file = put_job(tmp_path / "job") / "wandb" / "offline-run-1-abc" / "run-abc.wandb"
    file.parent.mkdir(parents=True)
    file.touch()
    sync.sync([tmp_path])
    assert file.with_suffix(".wandb.synced").exists()


def test_a_job_without_a_result_is_left_to_wandb_sync(tmp_path, uploads, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a b", "c"):
        (tmp_path / name / ".hydra").mkdir(parents=True)
        (tmp_path / name / ".hydra" / "overrides.yaml").touch()
        (tmp_path / name / "wandb" / "offline-run-1-abc").mkdir(parents=True)
    (tmp_path / "a b" / "wandb" / "offline-run-1-abc" / "run-abc.wandb").touch()  # that of the other has been deleted
    assert sync.sync([tmp_path]) == 0
    assert said(capsys) == [
        "a b: has no result; run it again, or upload how it failed: wandb sync 'a b/wandb/offline-run-1-abc'",
        "c: has no result; run it again",
    ]
    assert not uploads


def test_a_job_of_wandb_disabled_has_no_run(tmp_path, uploads, capsys):
    put_job(tmp_path / "new", wandb=None)
    off = moons_config() | {"wandb": moons_config()["wandb"] | {"mode": "disabled"}}
    put_job(tmp_path / "old", config=off)
    assert sync.sync([tmp_path]) == 0
    assert said(capsys) == [f"{tmp_path}/{name}: has no run in W&B (wandb=disabled)" for name in ("new", "old")]
    catch_up(RunningJob(tmp_path / "new", {"wandb": {"mode": "online", "finish_timeout": 60}}, {}, []))
    assert not uploads


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_a_job_catches_up_only_where_it_is_to_be_online(tmp_path, uploads, monkeypatch, caplog, mode):
    caplog.set_level("INFO")
    put_job(tmp_path / "job")
    job = RunningJob(tmp_path / "job", {"wandb": {"mode": mode, "finish_timeout": 60}}, {}, [])
    catch_up(job)
    assert not uploads
    job.config["wandb"]["mode"] = "online"
    catch_up(job)
    assert "W&B lacked some of this run: uploaded" in caplog.text
    catch_up(job)
    assert len(uploads) == 1


def test_the_command_that_uploads_a_run_can_be_pasted(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO")
    run = Run(FakeRun(), [])
    run.run.offline = True
    for wrong in (None, "gone"):
        monkeypatch.setattr(job_run, "publish", lambda *_, wrong=wrong, **__: wrong)
        publish_job(RunningJob(tmp_path / "a b;c", {}, {}, []), run)
    assert [line.endswith("tracking sync 'a b;c'") for line in caplog.messages] == [True, True]


def nothing(job: Path) -> None:
    """No damage."""


def odd_table(job: Path) -> None:
    (job / "pairs.parquet").write_text("x")


OTHER = pd.DataFrame({"base": [1]}).to_parquet()
MANY = pd.DataFrame({"base": np.zeros(2**25 + 1, np.int8)}).to_parquet()  # small on disk
ODD = {
    "list": ({}, lambda job: (job / "result.json").write_text("[]"), "result.json cannot be read"),
    "half": ({}, lambda job: (job / "result.json").write_text("{"), "result.json cannot be read"),
    "no project": ({"config": {"wandb": {"mode": "offline"}}}, nothing, "wandb.project"),
    "odd table": ({"files": {"pairs.parquet": digest(b"x")}}, odd_table, "pairs.parquet cannot be read"),
    "no files": ({"files": 3}, nothing, "result.json cannot be read"),
    "no table": ({}, lambda job: (job / "pairs.parquet").unlink(), "pairs.parquet cannot be read (it is not a file"),
    "bad table": (
        {},
        lambda job: (job / "pairs.parquet").write_bytes(OTHER),
        "pairs.parquet cannot be read (it has changed since it was written",
    ),
    "many values": (
        {"files": {"pairs.parquet": digest(MANY)}},
        lambda job: (job / "pairs.parquet").write_bytes(MANY),
        "pairs.parquet cannot be read (it has 33,554,433 values, more than 33,554,432); run the job again",
    ),
    "picture": ({"files": {"examples/a.png": ""}}, nothing, "examples/a.png is not as it was written"),
    "above": ({"files": {"examples/../../b.png": digest(PNG)}}, nothing, "examples/../../b.png is not as it was"),
}


@pytest.mark.parametrize(("changes", "damage", "why"), ODD.values(), ids=ODD)
def test_an_odd_job_is_one_line_and_the_others_go_on(tmp_path, uploads, capsys, changes, damage, why):
    (tmp_path / "b.png").write_bytes(PNG)
    put_job(tmp_path / "1", **changes)
    (tmp_path / "1" / "examples").mkdir()
    (tmp_path / "1" / "examples" / "a.png").symlink_to("/etc/passwd")
    damage(tmp_path / "1")
    put_job(tmp_path / "2")
    assert sync.sync([tmp_path]) == 1
    odd, good = said(capsys)
    assert odd.startswith(f"{tmp_path}/1: not uploaded: {why}")
    assert good == f"{tmp_path}/2: uploaded"
    assert len(uploads) == 1


def test_only_tables_that_are_told_are_read(tmp_path, uploads):
    table = pd.DataFrame({"epoch": [1], "seed": [0], "test_loss": [0.5]})
    files = {"curves.parquet": digest(table.to_parquet()), "transfers.parquet": "", "other.parquet": ""}
    for name, metrics in (("transfer", METRICS), ("train", {"test_loss": 0.5})):
        put_job(tmp_path / name, files=files, metrics=metrics)
        (tmp_path / name / "curves.parquet").write_bytes(table.to_parquet())
        for other in ("transfers", "other"):
            (tmp_path / name / f"{other}.parquet").write_bytes(MANY)
    assert sync.sync([tmp_path]) == 0
    train, transfer = uploads
    assert train["logged"] == {"epoch": 1, "test_loss": 0.5}
    assert transfer["logged"] == {}


def test_pictures_are_those_of_the_job_and_pngs(tmp_path, uploads, monkeypatch):
    import wandb

    monkeypatch.setattr(wandb, "Image", lambda _, caption: caption)
    contents = {"a": PNG, "b": b"secret", "unlisted": PNG}
    put_job(tmp_path / "job", files={f"examples/{name}.png": digest(contents[name]) for name in "ab"})
    (tmp_path / "job" / "examples").mkdir()
    for name, content in contents.items():
        (tmp_path / "job" / "examples" / f"{name}.png").write_bytes(content)
    assert sync.sync([tmp_path]) == 0
    assert uploads[0]["logged"]["pictures"] == ["a"]


def test_what_cannot_be_marked_is_uploaded_all_the_same(tmp_path, uploads, capsys):
    put_job(tmp_path / "job")
    (tmp_path / "job" / "wandb").write_text("no folder")  # as a disk that can only be read: tests may be root
    for _ in range(2):
        assert sync.sync([tmp_path]) == 0
        assert said(capsys) == [f"{tmp_path}/job: uploaded"]


def test_a_folder_that_is_not_there_ends_it_before_anything_is_sent(tmp_path, uploads):
    put_job(tmp_path / "good")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"/no: no such folder"):
        sync.sync([tmp_path / "good", tmp_path / "no"])
    with pytest.raises(InputError, match=r"/empty: no job in there"):
        sync.sync([tmp_path / "empty"])
    assert not uploads


def test_a_reader_that_has_seen_enough_of_sync_sees_no_traceback(tmp_path):
    put_job(tmp_path / "job", wandb=None)
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "cftransfer.tracking", "sync", str(tmp_path)]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment(), check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_name_of_a_folder_cannot_steer_a_terminal(tmp_path, uploads, capsys):
    put_job(tmp_path / "a\x1b[2Jb")
    sync.sync([tmp_path])
    assert said(capsys) == [f"{tmp_path}/a\\x1b[2Jb: uploaded"]
