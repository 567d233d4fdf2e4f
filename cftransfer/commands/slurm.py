"""Additions of hydra/launcher=slurm to submitit: early checks, and a clean end on signals."""

import logging
import os
import shutil
import signal
import subprocess
import time
from functools import cache
from types import FrameType

from omegaconf import DictConfig

from cftransfer.errors import InputError
from cftransfer.settings import check_int

log = logging.getLogger(__name__)

# Calls of squeue and seconds for each; SLURM kills a job 30 s after SIGTERM.
TRIES, PATIENCE = 3, 5.0


def check(launcher: DictConfig) -> None:
    """Raise an InputError for settings that would fail later with a less clear message, or silently."""
    check_int("hydra.launcher.jobs_per_task", launcher.jobs_per_task, least=1)
    for program in ("sbatch", "srun"):
        if shutil.which(program) is None:
            other = "start it on a machine with SLURM, or use hydra/launcher=local"
            raise InputError(f"hydra/launcher=slurm: {program} is not on the PATH of this machine; {other}")
    minutes, delay = launcher.timeout_min, launcher.signal_delay_s
    if minutes * 60 <= delay:
        reason = f"SLURM would stop a job {delay} s before its end, which is at once"
        way_out = f"give it more minutes, or less than {minutes * 60} as hydra.launcher.signal_delay_s"
        raise InputError(f"hydra.launcher.timeout_min={minutes}: {reason}; {way_out}")


@cache
def answer_signals() -> None:
    """Handle the signals that end a task, after submitit has reduced SIGTERM to a line in the log.

    Once per process, because its jobs share the handlers.
    """
    _Signals().listen()


class _Signals:
    """A task's handlers of SIGTERM and of submitit's requeue signal; only the first signal counts."""

    def __init__(self) -> None:
        self.requeuing = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}")
        self.requeue = signal.getsignal(self.requeuing)
        self.leaving = False

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self.on_end)
        signal.signal(self.requeuing, self.on_requeue)

    def on_requeue(self, number: int, frame: FrameType | None) -> None:
        """Let submitit requeue the job and end it; SLURM then also sends SIGTERM."""
        self.leaving = True
        if callable(self.requeue):
            self.requeue(number, frame)

    def on_end(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """End as on Ctrl-C: stored artifacts stay, no result.json is written, and the W&B run is closed.

        A preempted job still counts as running in SLURM, which would take the end of its process for the end of the
        job. It therefore requeues itself first, as at its time limit.
        """
        if self.leaving:
            return
        self.leaving = True
        if _makes_room():
            log.warning("another job needs the place of this job, which is queued again and goes on where it was")
            self.on_requeue(self.requeuing, frame)
        else:
            log.error("cancelled: stopped by SIGTERM, for example by scancel; a requeued job resumes by itself")
            raise KeyboardInterrupt


def _makes_room() -> bool:
    """Return whether SLURM still lists this job as running, unlike a cancelled or requeued job."""
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
    """Return the number of this job alone; SLURM_JOB_ID of one task in an array names the whole array."""
    if "SLURM_ARRAY_TASK_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]
