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
from omegaconf import DictConfig, OmegaConf

from cftransfer.errors import InputError, refuse

log = logging.getLogger(__name__)

ASKED, PATIENCE = (
    3,
    5.0,
)  # times, and seconds each, that SLURM is asked: it kills a job 30 s after it has told it to end


def cores_shared_by(processes: int | None) -> int:
    """Return the threads of each of so many jobs at once, at least one; None is any number of jobs."""
    return max(1, len(os.sched_getaffinity(0)) // processes) if processes else 1


def gpus_for(accelerator: str) -> int | None:
    """Return the GPUs to ask for: one for trainer=gpu, and None, which asks for none, for all else."""
    return 1 if accelerator == "gpu" else None


for resolver in (cores_shared_by, gpus_for):
    OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)


class _Submitit(Callback):
    """What both launchers need of Hydra's callbacks."""

    option: str  # of hydra/launcher

    def on_run_start(self, config: DictConfig, **_: Any) -> None:  # noqa: ARG002
        """Hydra calls this before a single job, for which it ignores the launcher."""
        refuse(f"hydra/launcher={self.option}: launches sweeps; add -m (one job is a sweep, too)")

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
        _outlive_killed_jobs()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:  # noqa: ARG002
        """Hydra calls this where a job has run: let the batches after one with a failed job run, too.

        Hydra would end the sweep there. The job has logged its failure and leaves no result, which the report, and the
        command's exit status, say in the end.
        """
        if job_return.status == JobStatus.FAILED:
            job_return.status, job_return.return_value = JobStatus.COMPLETED, float("nan")


def _outlive_killed_jobs() -> None:
    """Let a sweep of local processes go on when one was killed, as for want of memory, as it does when one has failed.

    The launcher waits for its jobs with this method of submitit's, and would end at the first that gives no answer.
    """
    from submitit.core.utils import UncompletedJobError
    from submitit.local.local import LocalJob

    real = LocalJob.results

    def results(job: Any) -> list[Any]:
        try:
            return real(job)
        except UncompletedJobError:
            log.error("a job was killed, or died: process %s; %s has its last words", job.job_id, job.paths.stdout)
            lost = JobReturn(status=JobStatus.COMPLETED)
            lost.return_value = float("nan")
            return [lost]

    LocalJob.results = results  # type: ignore[method-assign, assignment]


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
        """Let submitit requeue the job and leave it; SLURM then sends SIGTERM, too."""
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
            log.error("cancelled: told to stop (SIGTERM), as by scancel; whoever requeued it lets it go on by itself")
            raise KeyboardInterrupt


def _makes_room() -> bool:
    """Return whether SLURM has this job still running; one that was cancelled or requeued it has not.

    A local process in an allocation of SLURM's is no job of SLURM's.
    """
    if "SLURM_JOB_ID" not in os.environ or os.environ.get("SUBMITIT_EXECUTOR") == "local":
        return False
    words, said = ["squeue", "--noheader", "--format=%T", f"--jobs={_own_number()}"], ""
    for _ in range(ASKED):
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
