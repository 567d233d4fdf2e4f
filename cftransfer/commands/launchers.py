"""What hydra/launcher=local and hydra/launcher=slurm add to submitit: clear mistakes, and an end on signals.

Hydra finds launchers in its own plugins only, but calls callbacks of anybody, before a sweep and in each of its jobs.
Nothing heavy is imported here.
"""

import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from cftransfer.commands.killed_jobs import outlive_killed_jobs
from cftransfer.errors import InputError, refuse

log = logging.getLogger(__name__)

# How often squeue is called, and for how many seconds: SLURM kills a job 30 s after it has told it to end.
TRIES, PATIENCE = 3, 5.0


class _Submitit(Callback):
    """What both launchers need of Hydra's callbacks."""

    option: str  # of hydra/launcher

    def on_run_start(self, config: DictConfig, **_: Any) -> None:  # noqa: ARG002
        """Hydra calls this before a single job, for which it ignores the launcher."""
        refuse(f"hydra/launcher={self.option}: launches sweeps; add -m (a sweep may have one job)")

    def on_job_start(self, config: DictConfig, **_: Any) -> None:  # noqa: ARG002
        """Hydra calls this where a job runs, after submitit has made SIGTERM do nothing but a line in the log."""
        _Signals().listen()


class Local(_Submitit):
    """hydra/launcher=local."""

    option = "local"

    def __init__(self, processes: int) -> None:
        self.processes = processes  # the sweeper reads it from the configuration

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:  # noqa: ARG002
        """Hydra calls this before the first job of a sweep."""
        outlive_killed_jobs()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:  # noqa: ARG002
        """Hydra calls this where a job has run: also run the batches after one with a failed job.

        Hydra would end the sweep there. The job has logged its failure and leaves no result, which the report, and the
        command's exit status, say in the end.
        """
        if job_return.status == JobStatus.FAILED:
            job_return.status, job_return.return_value = JobStatus.COMPLETED, float("nan")


class Slurm(_Submitit):
    """hydra/launcher=slurm."""

    option = "slurm"

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Hydra calls this before the first job of a sweep is submitted."""
        try:
            check(config.hydra.launcher, which=shutil.which)
        except InputError as error:
            refuse(str(error))


def check(launcher: DictConfig, *, which: Callable[[str], str | None]) -> None:
    """Raise an InputError for what would fail later, or never, with a message that tells less."""
    for program in ("sbatch", "srun"):
        if which(program) is None:
            other = "start it where SLURM is, or take hydra/launcher=local"
            raise InputError(f"hydra/launcher=slurm: there is no {program} on the PATH of this machine; {other}")
    minutes, delay = launcher.timeout_min, launcher.signal_delay_s
    if minutes * 60 <= delay:
        reason = f"a job would be told to stop {delay} s before its end, which is at once"
        way_out = f"give it more minutes, or less than {minutes * 60} as hydra.launcher.signal_delay_s"
        raise InputError(f"hydra.launcher.timeout_min={minutes}: {reason}; {way_out}")


class _Signals:
    """A job's answers to SIGTERM, and to the signal at which submitit requeues it; the first one counts."""

    def __init__(self) -> None:
        self.requeuing = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}")
        self.requeue = signal.getsignal(self.requeuing)
        self.leaving = False

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self.on_end)
        signal.signal(self.requeuing, self.on_requeue)

    def on_requeue(self, number: int, frame: FrameType | None) -> None:
        """Let submitit requeue the job and leave it; SLURM then also sends SIGTERM."""
        self.leaving = True
        if callable(self.requeue):
            self.requeue(number, frame)

    def on_end(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Leave as on Ctrl-C: what is stored stays, no result.json is written, the W&B run is closed.

        A job that is to make room for another still runs for SLURM, which would take the end of its process for its
        own: it requeues itself first, as at the end of its time.
        """
        if self.leaving:
            return
        self.leaving = True
        if _makes_room():
            log.warning("another job needs the place of this one, which is queued again and goes on where it was")
            self.on_requeue(self.requeuing, frame)
        else:
            log.error("cancelled: stopped by SIGTERM, for example by scancel; a requeued job resumes by itself")
            raise KeyboardInterrupt


def _makes_room() -> bool:
    """Return whether SLURM has this job still running; one that was cancelled or requeued it has not.

    A local process in an allocation of SLURM's is no job of SLURM's.
    """
    if "SLURM_JOB_ID" not in os.environ or os.environ.get("SUBMITIT_EXECUTOR") == "local":
        return False
    words, said = ["squeue", "--noheader", "--format=%T", f"--jobs={_own_number()}"], ""
    for _ in range(TRIES):
        try:
            answer = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            said = str(error)
            continue
        if answer.returncode == 0:
            return answer.stdout.strip() in ("RUNNING", "SIGNALING", "PREEMPTED")
        said = answer.stderr
        time.sleep(1)
    log.warning("squeue did not say whether this job was cancelled or makes room: %s", " ".join(said.split()))
    return False


def _own_number() -> str:
    """Return what names this job alone: one task of an array has the array's number as its own."""
    if "SLURM_ARRAY_TASK_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]
