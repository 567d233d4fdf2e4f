"""Sweeps as local processes and on a real SLURM: the numbers of the basic launcher, whatever happens on the way."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from itertools import pairwise
from multiprocessing.connection import Pipe
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT, SMALL, composed, environment, results, run_command
from hydra.core.config_store import ConfigStore
from hydra.errors import MissingConfigException
from slurm.cluster import CannotStartError, Cluster, cluster

from cftransfer import store
from cftransfer.commands import local_sweep
from cftransfer.commands import slurm as slurm_task
from cftransfer.commands.mistakes import one_line
from cftransfer.commands.plan import plan
from cftransfer.errors import InputError
from cftransfer.report import collect
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
    assert is_whole(folder)
    return folder


def is_whole(folder):
    """Whether a report takes every job for one of the sweep, and lacks none."""
    found = collect.jobs([folder])
    return (len(found.jobs), found.earlier, found.never, found.failed) == (4, (), 0, {})


@pytest.mark.slow
def test_local_processes_give_the_numbers_of_the_basic_launcher(basic, tmp_path):
    done = run_command(tmp_path, "transfer.py", "-m", "hydra/launcher=local", *DEPTHS)
    assert done.returncode == 0, done.stderr
    assert metrics(tmp_path) == metrics(basic)
    assert is_whole(tmp_path)
    assert "jobs: 4 done, 0 failed, 0 left" in done.stderr
    assert len(list(tmp_path.glob("multirun/*/*/.workers/*.log"))) == 2  # two processes did four jobs
    assert done.stdout.splitlines()[:5] == basic_table(basic)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("hydra.launcher.processes=0", "hydra.launcher.processes=0: must be a whole number ≥ 1"),
        ("hydra.launcher.memory_gb=0", "hydra.launcher.memory_gb=0: must be a number > 0"),
        (
            "hydra.sweeper.max_batch_size=4",
            "hydra.sweeper.max_batch_size=4: hydra/launcher=local has no batches; hydra.launcher.processes=4 sets",
        ),
    ],
)
def test_settings_that_the_local_launcher_cannot_follow_are_named(word, line):
    with pytest.raises(InputError) as caught:
        local_sweep.check(composed("hydra/launcher=local", word, hydra=True).hydra)
    assert str(caught.value).startswith(line)


def test_no_job_at_a_time_is_refused(tmp_path):
    done = run_command(tmp_path, "transfer.py", "-m", "hydra.sweeper.max_batch_size=0", *PLAIN)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "transfer.py: hydra.sweeper.max_batch_size=0: must be a whole number"
    )
    assert "Traceback" not in done.stderr


# A process that answers as `cftransfer.commands.worker`, without its imports: a job of 9 kills it.
WORKER = """
import os, signal, sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
while (job := connection.recv()) is not None:
    if job == 9:
        print("out of cheese", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    connection.send((os.getpid(), None, job))
"""


def answers(folder, jobs, *, processes, most=100):
    """The outcomes of jobs: (job, the process that ran it, why it has no result)."""

    def start(number):
        ours, theirs = Pipe()
        path = folder / f"{number}.log"
        with theirs, path.open("ab") as words:
            command = [sys.executable, "-c", WORKER, str(theirs.fileno())]
            process = subprocess.Popen(command, stdout=words, pass_fds=[theirs.fileno()])
        started.append(process)
        return local_sweep.Worker(process, ours, path)

    started = []
    found = list(local_sweep._answers(iter(jobs), len(jobs), start, processes, most))
    assert all(process.returncode is not None for process in started)
    return found


def test_a_process_does_many_jobs_and_each_is_done_once(tmp_path):
    done = answers(tmp_path, range(8), processes=2)
    assert sorted(job for job, _, _ in done) == list(range(8))
    assert len({process for _, process, _ in done}) == 2


def test_a_process_that_is_killed_loses_its_job_alone(tmp_path):
    done = answers(tmp_path, [1, 9, 2, 3], processes=1)
    assert [(job, reason) for job, _, reason in done if reason] == [
        (9, f"lost: its process was killed by SIGKILL; its last words, in {tmp_path / '1.log'}: out of cheese")
    ]
    assert len({process for _, process, reason in done if not reason}) == 2


def test_a_process_that_holds_too_much_memory_is_replaced(tmp_path):
    done = answers(tmp_path, [1, 101, 2, 3], processes=1)
    first, *others = (process for _, process, _ in done)
    assert others[0] == first != others[1] == others[2]


def test_jobs_for_which_no_process_can_be_started_are_lost():
    def start(number):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    done = list(local_sweep._answers(iter("ab"), 2, start, 1, 100))
    assert [(job, reason) for job, _, reason in done] == [
        (job, "lost: no process can be started (Cannot allocate memory)") for job in "ab"
    ]


def test_local_processes_divide_the_cores_among_them(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    for exported, processes, threads in (("", 1, 8), ("", 3, 2), ("", 9, 1), ("5", 2, 5)):
        monkeypatch.setenv("OMP_NUM_THREADS", exported)
        worker = local_sweep._starter(tmp_path, processes, None)(1)
        place, deadline = Path(f"/proc/{worker.process.pid}/environ"), time.monotonic() + 30
        while not (variables := place.read_bytes()) and time.monotonic() < deadline:  # empty until the program begins
            time.sleep(0.01)
        worker.process.kill()
        worker.wait()
        assert f"OMP_NUM_THREADS={threads}".encode() in variables.split(b"\0")


def test_local_processes_import_from_where_the_command_does(tmp_path, monkeypatch):
    """In a second clone with the environment of the first, that is the second one's code."""
    (tmp_path / "hydra").mkdir()
    (tmp_path / "hydra" / "__init__.py").write_text("raise SystemExit('not the installed one')")
    monkeypatch.syspath_prepend(tmp_path)
    worker = local_sweep._starter(tmp_path, 1, None)(1)
    worker.wait()
    assert worker.log.read_text() == "not the installed one\n"


def test_progress_is_logged_now_and_then_and_at_the_end(monkeypatch, caplog):
    clock = iter(range(0, 44, 4))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    caplog.set_level("INFO")
    progress = local_sweep.Progress(10)
    for job in range(10):
        progress.count("failed: too small" if job == 4 else None)
    assert caplog.messages == [
        "jobs: 1 done, 0 failed, 9 left, about 0:00:36",
        "jobs: 4 done, 0 failed, 6 left, about 0:00:24",
        "jobs: 6 done, 1 failed, 3 left, about 0:00:12",
        "jobs: 9 done, 1 failed, 0 left",
    ]


@pytest.mark.parametrize("subdir", ["../elsewhere/${hydra.job.num}", "/tmp/elsewhere"])
def test_jobs_do_not_land_outside_their_sweep(tmp_path, subdir):
    done = run_command(tmp_path, "transfer.py", "-m", *PLAIN, f"hydra.sweep.subdir={subdir}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"transfer.py: hydra.sweep.subdir={subdir}: leads out of the sweep's folder")
    assert list(tmp_path.iterdir()) == []


def test_where_no_job_has_a_result_their_reasons_are_said(tmp_path):
    done = run_command(tmp_path, "transfer.py", "-m", "hydra/launcher=local", *PLAIN, "model.layers=0", IN)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "sweep/0: failed: model.layers=0: must be a whole number ≥ 1"


def test_a_job_that_died_in_its_imports_is_named_with_its_last_words(tmp_path):
    (tmp_path / "torch.py").write_text("import os\nprint('no room for libtorch')\nos._exit(3)\n")
    words = ["-m", "hydra/launcher=local", "hydra/hydra_logging=disabled", *PLAIN, "model.layers=1", IN]
    done = run_command(tmp_path, "transfer.py", *words, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    log = "sweep/.workers/1.log"
    assert done.stderr == (
        f"sweep/0: lost: its process ended with exit status 3; its last words, in {log}: no room for libtorch\n"
    )


@pytest.mark.slow
def test_train_names_the_jobs_that_failed(tmp_path):
    words = ["-m", "hydra/launcher=local", "training.epochs=1", "wandb=disabled", "model.layers=0,1", IN]
    done = run_command(tmp_path, "train.py", "hydra/job_logging=disabled", *words)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "sweep/0: failed: model.layers=0: must be a whole number ≥ 1"
    assert (tmp_path / "sweep" / "1" / "result.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "basic"])
def test_a_job_that_failed_without_its_hydra_folder_is_named(launcher, tmp_path):
    words = ["-m", f"hydra/launcher={launcher}", "hydra.output_subdir=null", *PLAIN, "model.layers=0,1", IN]
    done = run_command(tmp_path, "transfer.py", *words)
    assert done.returncode == 1
    assert len(metrics(tmp_path)) == 1
    assert (tmp_path / "sweep" / "report.html").exists()
    assert done.stderr.splitlines()[-1] == "sweep/0: failed: model.layers=0: must be a whole number ≥ 1"


@pytest.mark.long
def test_a_killed_process_loses_its_job_which_the_next_run_makes(tmp_path):
    words = [word for word in MORE if not word.startswith("model.layers")]
    words = ["-m", "hydra/launcher=local", "hydra.launcher.processes=1", *words, "model.layers=1", "seed=0,1", IN]
    sweep = started(tmp_path, *words)
    until(lambda: list(tmp_path.glob("store/passes/*.safetensors")), "the first job trains")
    (worker,) = children(sweep.pid)
    os.kill(worker, signal.SIGKILL)
    out, err = sweep.communicate(timeout=200)
    assert sweep.returncode == 1
    assert re.search(r"sweep/0: lost: its process was killed by SIGKILL; its last words, in \S+: .*training 2 mod", err)
    assert "Traceback" not in err
    assert [path.parent.name for path in tmp_path.rglob("result.json")] == ["1"]
    assert "failed: sweep/0 (" in out
    done = run_command(tmp_path, "transfer.py", *words)
    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.glob("sweep/0/transfer.log")
    assert re.search(r"training 2 models .*epochs ([2-9]|\d\d+) to 40", made.read_text())  # it went on


@pytest.mark.slow
@pytest.mark.parametrize(("end", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_no_job_outlives_a_local_sweep_that_was_ended(end, code, tmp_path):
    """Interrupted and killed, the command alone, and in either case the jobs end as on Ctrl-C."""
    words = [word for word in MORE if not word.startswith("training.epochs")] + ["training.epochs=100000"]
    sweep = started(tmp_path, "-m", "hydra/launcher=local", *words, "model.layers=1,2,4", IN)
    until(lambda: len(list(tmp_path.glob("store/passes/*.safetensors"))) == 2, "two jobs train")
    workers = children(sweep.pid)
    assert len(workers) == 2
    sweep.send_signal(end)
    _, err = sweep.communicate(timeout=60)
    assert sweep.returncode == code
    assert "Traceback" not in err
    assert end != signal.SIGINT or err.splitlines()[-1] == "transfer.py: interrupted"
    until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers), "its processes have ended")
    for job in range(2):
        assert "interrupted; the same command goes on" in log(tmp_path, job)
    assert not (tmp_path / "sweep" / "2").exists()
    assert "Traceback" not in "".join(path.read_text() for path in tmp_path.glob("sweep/.workers/*.log"))


def started(folder: Path, *words: str) -> "subprocess.Popen[str]":
    """`python transfer.py …`, left to itself."""
    command = [sys.executable, str(ROOT / "transfer.py"), *words]
    return subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def children(process: int) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def basic_table(folder: Path) -> list[str]:
    done = run_command(folder, "-m", "cftransfer.report", "multirun")
    return done.stdout.splitlines()[:5]


@pytest.mark.parametrize("option", ["local", "slurm"])
def test_a_launcher_without_a_sweep_is_refused(option, tmp_path):
    done = run_command(tmp_path, "transfer.py", f"hydra/launcher={option}")
    assert done.returncode == 1
    assert done.stderr == f"transfer.py: hydra/launcher={option}: launches sweeps; add -m (a sweep may have one job)\n"


def test_without_slurm_it_says_so_in_one_line(tmp_path):
    done = run_command(tmp_path, "transfer.py", "-m", "hydra/launcher=slurm", PATH=str(tmp_path))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("transfer.py: hydra/launcher=slurm: sbatch is not on the PATH of this machine;")


def test_without_the_extra_it_names_what_to_install(monkeypatch):
    composed()  # Hydra's plugins come with the first
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"]["launcher"], "cftransfer_slurm.yaml")
    composed("hydra/launcher=local")
    with pytest.raises(MissingConfigException) as caught:
        composed("hydra/launcher=slurm")
    assert "pip install 'cftransfer[slurm]'" in one_line(caught.value)


def test_settings_of_a_task_that_make_no_sense_are_refused(monkeypatch):
    monkeypatch.setattr("shutil.which", str)
    with pytest.raises(InputError, match=r"hydra.launcher.timeout_min=1: SLURM would stop a job 60 s before"):
        slurm_task.check(SimpleNamespace(jobs_per_task=1, timeout_min=1, signal_delay_s=60))
    with pytest.raises(InputError, match=r"hydra.launcher.jobs_per_task=0: must be a whole number ≥ 1"):
        slurm_task.check(SimpleNamespace(jobs_per_task=0, timeout_min=2, signal_delay_s=60))
    slurm_task.check(SimpleNamespace(jobs_per_task=9, timeout_min=2, signal_delay_s=60))


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
    assert slurm_task._makes_room() is makes_room
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
        time.sleep(0.05)


def log(folder: Path, job: int | str = "*") -> str:
    """Return the log of the jobs, all of their tries one after the other."""
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
def test_a_task_of_several_jobs_goes_on_after_a_failed_job_and_after_making_room(slurm, tmp_path):
    """Four jobs, and one that fails, in two tasks; SLURM takes the second task's node away in its second job."""
    words = [*MORE, "model.layers=0,1,2,4,8"]
    done = submit(slurm, tmp_path, *words, "hydra.launcher.jobs_per_task=3", "hydra.launcher.partition=spare")
    until(lambda: "training 3 models" in log(tmp_path, 4), "the second job of the second task trains")
    began = (tmp_path / "sweep" / "3" / "result.json").stat().st_mtime_ns
    slurm("srun", "--partition=main", "--nodes=2", "--exclusive", "true")
    out, err = done.communicate(timeout=240)
    assert done.returncode == 1
    assert "failed: sweep/0 (" in out
    assert "Traceback" not in err
    assert [path.parent.name for path in sorted(tmp_path.glob("sweep/*/result.json"))] == list("1234")
    assert (tmp_path / "sweep" / "3" / "result.json").stat().st_mtime_ns == began
    assert "which is queued again and goes on where it was" in log(tmp_path, 4)
    quiet = run_command(tmp_path, "transfer.py", "-m", *words, "hydra.sweep.dir=quiet", "paths.store=quiet-store")
    assert quiet.returncode == 1
    assert metrics(tmp_path / "sweep") == metrics(tmp_path / "quiet")


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
    """The array has two jobs, since one of them has the number of the whole array."""
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
    """A sweep: job 1 is cancelled, the node of job 2 is lost, and job 3 runs out of time.

    The shortest time limit is a minute, and SLURM looks at limits every half minute; so the other jobs get longer ones,
    and job 3, which could be done too soon, meets another process that makes one of its references.
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
