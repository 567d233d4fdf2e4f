"""Sweeps as local processes and on a real SLURM: the numbers of the basic launcher, whatever happens on the way."""

import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from cftransfer.commands.launchers import check
from conftest import ROOT, SMALL, composed, environment, results, run_command
from hydra.core.config_store import ConfigStore
from hydra.errors import MissingConfigException
from slurm.cluster import CannotStartError, Cluster, cluster

from cftransfer import store
from cftransfer.commands import launchers
from cftransfer.commands.plan import plan
from cftransfer.commands.resolvers import cores_shared_by
from cftransfer.commands.runner import one_line
from cftransfer.errors import InputError
from cftransfer.spec import family_key, lineage_key

PLAIN = [word for word in SMALL if not word.startswith("model.layers")] + ["wandb=disabled"]
MORE = [word for word in PLAIN if not word.startswith("training.epochs")] + ["training.epochs=40"]
DEPTHS, LONG = [*PLAIN, "model.layers=1,2,4,8"], [*MORE, "model.layers=1,2,4,8"]
IN = "hydra.sweep.dir=sweep"  # so that a second run finds the first


def metrics(folder: Path) -> list[dict]:
    return [result["metrics"] for result in results(folder)]


@pytest.fixture(scope="module")
def basic(tmp_path_factory):
    """The sweep by Hydra's own launcher, job after job."""
    folder = tmp_path_factory.mktemp("basic")
    done = run_command(folder, "transfer.py", "-m", *DEPTHS)
    assert done.returncode == 0, done.stderr
    assert len(metrics(folder)) == 4
    return folder


@pytest.mark.slow
def test_local_processes_give_the_numbers_of_the_basic_launcher(basic, tmp_path):
    done = run_command(tmp_path, "transfer.py", "-m", "hydra/launcher=local", *DEPTHS)
    assert done.returncode == 0, done.stderr
    assert metrics(tmp_path) == metrics(basic)
    assert done.stderr.count("Submitit 'local'") == 2  # two batches of two
    assert done.stdout.splitlines()[:5] == basic_table(basic)


@pytest.mark.parametrize("launcher", ["local", "basic"])
def test_no_job_at_a_time_is_refused(launcher, tmp_path):
    done = run_command(
        tmp_path, "transfer.py", "-m", f"hydra/launcher={launcher}", "hydra.sweeper.max_batch_size=0", *PLAIN
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("transfer.py: hydra.sweeper.max_batch_size=0: takes a whole number")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("subdir", ["../elsewhere/${hydra.job.num}", "/tmp/elsewhere"])
def test_jobs_do_not_land_outside_their_sweep(tmp_path, subdir):
    done = run_command(tmp_path, "transfer.py", "-m", *PLAIN, f"hydra.sweep.subdir={subdir}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"transfer.py: hydra.sweep.subdir={subdir}: leads out of the sweep's folder")
    assert list(tmp_path.iterdir()) == []


def test_where_no_job_has_a_result_their_reasons_are_said(tmp_path):
    done = run_command(tmp_path, "transfer.py", "-m", "hydra/launcher=local", *PLAIN, "model.layers=0", IN)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "sweep/0: failed: model.layers=0: takes a whole number ≥ 1"


@pytest.mark.slow
def test_train_names_the_jobs_that_failed(tmp_path):
    words = ["-m", "hydra/launcher=local", "training.epochs=1", "wandb=disabled", "model.layers=0,1", IN]
    done = run_command(tmp_path, "train.py", *words)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "sweep/0: failed: model.layers=0: takes a whole number ≥ 1"
    assert (tmp_path / "sweep" / "1" / "result.json").exists()


@pytest.mark.slow
def test_after_a_batch_with_a_failed_job_the_others_run_too(tmp_path):
    words = ["-m", "hydra/launcher=local", "hydra.sweeper.max_batch_size=1", *PLAIN, "model.layers=0,1"]
    done = run_command(tmp_path, "transfer.py", *words)
    assert done.returncode == 1
    assert len(metrics(tmp_path)) == 1
    assert re.search(r"failed: multirun/\S+/0 \(.*model.layers=0: takes a whole number ≥ 1\)", done.stdout)


@pytest.mark.slow
def test_after_a_job_that_was_killed_the_others_run_too(tmp_path):
    words = [*PLAIN, "hydra/launcher=local", "hydra.sweeper.max_batch_size=1", "seed=0,1", "model.layers=1", IN]
    long = [word for word in words if not word.startswith("training.epochs")] + ["training.epochs=40"]
    command = [sys.executable, ROOT / "transfer.py", "-m", *long]
    sweep = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until(lambda: list(tmp_path.glob("store/passes/*.safetensors")), "the first job trains")
    (folder,) = [path for path in tmp_path.glob("sweep/.submitit/*") if path.name.isdigit()]
    subprocess.run(["pkill", "-KILL", "--parent", folder.name], check=True)  # its controller tells the command
    out, err = sweep.communicate(timeout=200)
    assert sweep.returncode == 1
    assert f"a job was killed, or died: process {folder.name};" in err
    assert "Traceback" not in err
    assert [path.parent.name for path in tmp_path.rglob("result.json")] == ["1"]
    assert "failed: sweep/0 (" in out


def basic_table(folder: Path) -> list[str]:
    done = run_command(folder, "-m", "cftransfer.report", "multirun")
    return done.stdout.splitlines()[:5]


def test_processes_divide_the_cores_among_them(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert [cores_shared_by(n) for n in (1, 2, 3, 8, 9, None)] == [8, 4, 2, 1, 1, 1]


@pytest.mark.parametrize("option", ["local", "slurm"])
def test_a_launcher_without_a_sweep_is_refused(option, tmp_path):
    done = run_command(tmp_path, "transfer.py", f"hydra/launcher={option}")
    assert done.returncode == 1
    assert done.stderr == f"transfer.py: hydra/launcher={option}: launches sweeps; add -m (a sweep may have one job)\n"


def test_without_slurm_it_says_so_in_one_line(tmp_path):
    done = run_command(tmp_path, "transfer.py", "-m", "hydra/launcher=slurm", PATH=str(tmp_path))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("transfer.py: hydra/launcher=slurm: there is no sbatch on the PATH of this machine;")


@pytest.mark.parametrize("option", ["local", "slurm"])
def test_without_the_extra_it_names_what_to_install(option, monkeypatch):
    composed()  # Hydra's plugins come with the first
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"]["launcher"], f"submitit_{option}.yaml")
    with pytest.raises(MissingConfigException) as caught:
        composed(f"hydra/launcher={option}")
    assert "pip install 'cftransfer[slurm]'" in one_line(caught.value)


def test_a_time_limit_that_leaves_no_time_is_refused():
    with pytest.raises(InputError, match=r"hydra.launcher.timeout_min=1: a job would be told to stop 60 s before"):
        check(SimpleNamespace(timeout_min=1, signal_delay_s=60), which=str)
    check(SimpleNamespace(timeout_min=2, signal_delay_s=60), which=str)


def test_sbatch_gets_what_is_asked_for_and_its_no_is_one_line(tmp_path):
    for program in ("sbatch", "srun"):
        (tmp_path / program).write_text('#!/bin/sh\ncp "$1" seen.sh\necho "sbatch: error: closed" >&2\nexit 1\n')
        (tmp_path / program).chmod(0o755)
    words = ["partition=short", "account=me", "timeout_min=240", "array_parallelism=2", "mem_gb=3", "cpus_per_task=5"]
    words += ["+additional_parameters.reservation=course", 'setup=["export SRUN_CPUS_PER_TASK=5","module load cuda"]']
    words = [re.sub(r"^(\+?)", r"\1hydra.launcher.", word) for word in words]
    words = ["-m", "hydra/launcher=slurm", "trainer=gpu", "model.layers=1,2,4", *words]
    done = run_command(tmp_path, "transfer.py", *words, PATH=f"{tmp_path}:/usr/bin:/bin")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("could not be submitted, or one broke off: sbatch: error: closed")
    seen = (tmp_path / "seen.sh").read_text().splitlines()
    asked = [
        "partition=short",
        "account=me",
        "time=240",
        "array=0-2%2",
        "mem=3GB",
        "cpus-per-task=5",
        "gpus-per-node=1",
    ]
    asked += ["reservation=course", "signal=USR2@60", "requeue", "open-mode=append"]
    assert {f"#SBATCH --{word}" for word in asked} <= set(seen)
    assert {"export SRUN_CPUS_PER_TASK=5", "module load cuda"} <= set(seen)


@pytest.mark.parametrize(
    ("answers", "makes_room", "asked"),
    [("echo RUNNING", True, 1), ("echo COMPLETING", False, 1), ("echo busy >&2; exit 1", False, 3)],
)
def test_a_task_asks_slurm_for_itself_alone_and_again_if_it_has_no_answer(
    answers, makes_room, asked, tmp_path, monkeypatch, caplog
):
    (tmp_path / "squeue").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n{answers}\n')
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("time.sleep", lambda _: None)
    for name, value in {"JOB_ID": "7", "ARRAY_JOB_ID": "7", "ARRAY_TASK_ID": "2"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")  # inside an allocation: no job of SLURM's
    assert not launchers._makes_room()
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    assert launchers._makes_room() is makes_room
    assert (tmp_path / "asked").read_text().splitlines() == ["--noheader --format=%T --jobs=7_2"] * asked
    assert ("squeue did not say whether" in caplog.text and "busy" in caplog.text) == (asked == 3)


# --- on a real SLURM -------------------------------------------------------------------------------------------------

SLURM = ["transfer.py", "-m", "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1"]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with ExitStack() as stack:
        try:
            running = stack.enter_context(cluster(tmp_path_factory.mktemp("slurm")))
        except CannotStartError as reason:
            # Starting SLURM needs root and Debian's packages; CI has both.
            pytest.skip(f"no SLURM: {reason}")
        yield running


def submit(slurm: Cluster, folder: Path, *words: str) -> "subprocess.Popen[str]":
    """Start a sweep, and leave it to itself."""
    command = [sys.executable, str(ROOT / SLURM[0]), *SLURM[1:], *words, IN]
    return subprocess.Popen(
        command, cwd=folder, env={**environment(), **slurm.environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def until(condition, what: str, *, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s until {what}"
        time.sleep(0.2)


def log(folder: Path, job: int | str = "*") -> str:
    """Return what the jobs said, all of their tries one after the other."""
    return "".join(path.read_text() for path in sorted(folder.glob(f"sweep/{job}/transfer.log")))


def submitit_log(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.glob("sweep/.submitit/*/*_log.out")))


@pytest.mark.slurm
def test_slurm_gives_the_numbers_of_the_basic_launcher(slurm, basic, tmp_path):
    done = submit(slurm, tmp_path, *DEPTHS)
    out, err = done.communicate(timeout=200)
    assert done.returncode == 0, err
    assert metrics(tmp_path) == metrics(basic)
    assert out.splitlines()[:5] == basic_table(basic)
    jobs = slurm("sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State,AllocCPUS")
    assert [line.partition("_")[2] for line in jobs.splitlines()] == [f"{n}|COMPLETED|1" for n in range(4)]


@pytest.mark.slurm
def test_what_slurm_does_not_take_is_said_in_one_line(slurm, tmp_path):
    done = submit(slurm, tmp_path, *SMALL, "hydra.launcher.partition=nope")
    _, err = done.communicate(timeout=60)
    assert done.returncode == 1
    assert "sbatch: error: invalid partition specified: nope" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.slurm
def test_a_job_that_was_cancelled_before_it_ran_is_said_in_one_line(slurm, tmp_path):
    done = submit(slurm, tmp_path, *SMALL, "+hydra.launcher.additional_parameters.begin=now+1hour")
    until(slurm.queue, "the job is queued")
    slurm("scancel", slurm.queue()[0][0])
    _, err = done.communicate(timeout=60)
    assert done.returncode == 1
    assert "run the same command again with hydra.sweep.dir=sweep" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.slurm
def test_jobs_of_an_array_that_make_room_for_another_go_on_afterwards(slurm, tmp_path):
    """Of two, since one of them has the number of the whole array."""
    words = [word for word in PLAIN if not word.startswith("training.epochs")]
    words += ["training.epochs=120", "hydra.launcher.partition=spare", "model.layers=1,2"]
    done = submit(slurm, tmp_path, *words)
    until(lambda: len(list(tmp_path.glob("store/passes/*.safetensors"))) == 2, "both jobs train")
    slurm("srun", "--partition=main", "--nodes=2", "--exclusive", "true")
    _, err = done.communicate(timeout=180)
    assert done.returncode == 0, err
    for job in range(2):
        assert "which is queued again and goes on where it was" in log(tmp_path, job)
        assert re.search(r"training 2 models .*epochs ([2-9]|\d\d+) to 120", log(tmp_path, job))
    assert len(metrics(tmp_path)) == 2


@pytest.fixture(scope="module")
def disturbed(slurm, tmp_path_factory):
    """A sweep of which job 1 is cancelled, the node of job 2 is lost, and job 3 runs out of time.

    The shortest time limit is a minute, and SLURM looks at limits every half minute; so the other jobs get longer ones,
    and job 3, which could be done too soon, meets somebody who makes one of its references.
    """
    quiet, folder = tmp_path_factory.mktemp("quiet"), tmp_path_factory.mktemp("disturbed")
    undisturbed = subprocess.Popen(
        [sys.executable, ROOT / "transfer.py", "-m", *LONG], cwd=quiet, env=environment(), stderr=subprocess.DEVNULL
    )
    plans = [plan(composed(*MORE, f"model.layers={n}", f"paths.store={quiet / 'plan'}")) for n in (4, 8)]
    passes = f"store/passes/{family_key(plans[0].base)}-*.safetensors"
    with store.hold(store.prepare(folder / "store"), [lineage_key(plans[1].reference, plans[1].reference_seeds[0])]):
        sweep = submit(slurm, folder, *LONG, "hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=5")
        until(lambda: [state for _, state, _ in slurm.queue()] == ["RUNNING"] * 4, "all jobs run")
        jobs = {job.partition("_")[2]: (job, node) for job, _, node in slurm.queue()}
        for number in "012":
            slurm("scontrol", "update", f"jobid={jobs[number][0]}", "timelimit=60")
        until(lambda: "training" in log(folder, 1), "job 1 trains")
        slurm("scancel", jobs["1"][0])
        until(lambda: "cancelled" in log(folder, 1), "job 1 says that it was cancelled")
        until(lambda: list(folder.glob(passes)), "job 2 has done an epoch")
        slurm.lose(jobs["2"][1])
        until(lambda: "this job is timed-out" in submitit_log(folder), "job 3 runs out of time")
    until(lambda: gives_time(slurm, jobs["3"][0]), "job 3 has a longer limit")
    until(lambda: not slurm.queue(), "no job is queued", seconds=240)
    sweep.send_signal(signal.SIGINT)  # it would notice the cancelled job by itself, but looks ever more seldom
    sweep.communicate(timeout=30)
    assert undisturbed.wait(timeout=200) == 0
    return SimpleNamespace(quiet=quiet, folder=folder)


def gives_time(slurm: Cluster, job: str) -> bool:
    try:
        slurm("scontrol", "update", f"jobid={job}", "timelimit=60")
    except CannotStartError:  # while it is on its way out
        return False
    return True


@pytest.mark.slurm
def test_after_a_cancelled_job_a_time_out_and_a_lost_node_a_second_run_completes_the_sweep(slurm, disturbed):
    folder, first = disturbed.folder, [log(disturbed.folder, job) for job in range(4)]
    assert sorted(path.parent.name for path in folder.rglob("result.json")) == ["0", "2", "3"]
    assert "the same command goes on where this one ended" in first[1]
    assert "this job is timed-out" in submitit_log(folder)
    made = {path: path.stat().st_mtime_ns for path in folder.glob("store/models/*")}

    done = submit(slurm, folder, *LONG)
    _, err = done.communicate(timeout=200)
    assert done.returncode == 0, err
    assert metrics(folder) == metrics(disturbed.quiet)
    got, expected = ({p.name: p.read_bytes() for p in f.glob("store/models/*")} for f in (folder, disturbed.quiet))
    assert got == expected  # to the last byte

    assert {path: path.stat().st_mtime_ns for path in made} == made
    said = [log(folder, job) for job in range(4)]
    assert [job for job in range(4) if "training" in said[job].removeprefix(first[job])] == [1]
    for text in said:
        for models in (2, 3):
            starts = [int(epoch) for epoch in re.findall(rf"training {models} models .*epochs (\d+) to 40", text)]
            assert starts[0] == 1
            assert all(later >= earlier for earlier, later in pairwise(starts)), "an epoch was trained twice"
    assert re.search(r"training . models .*epochs ([2-9]|\d\d+) to 40", said[2])  # it went on, not over
