"""What hydra/launcher=slurm adds to submitit: clear mistakes, and an end on signals."""

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

# How often squeue is called, and for how many seconds: SLURM kills a job 30 s after it has told it to end.
TRIES, PATIENCE = 3, 5.0


def check(launcher: DictConfig) -> None:
    """Raise an InputError for what would fail later, or never, with a message that tells less."""
    check_int("hydra.launcher.jobs_per_task", launcher.jobs_per_task, least=1)
    for program in ("sbatch", "srun"):
        if shutil.which(program) is None:
            other = "start it where SLURM is, or take hydra/launcher=local"
            raise InputError(f"hydra/launcher=slurm: there is no {program} on the PATH of this machine; {other}")
    minutes, delay = launcher.timeout_min, launcher.signal_delay_s
    if minutes * 60 <= delay:
        reason = f"a job would be told to stop {delay} s before its end, which is at once"
        way_out = f"give it more minutes, or less than {minutes * 60} as hydra.launcher.signal_delay_s"
        raise InputError(f"hydra.launcher.timeout_min={minutes}: {reason}; {way_out}")


@cache
def answer_signals() -> None:
    """Answer the signals that end a task, once submitit has made SIGTERM do nothing but a line in the log.

    Once in a process: its jobs share the answers.
    """
    _Signals().listen()


class _Signals:
    """A task's answers to SIGTERM, and to the signal at which submitit requeues it; the first one counts."""

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
    """Return whether SLURM has this job still running; one that was cancelled or requeued it has not."""
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
