"""hydra/launcher=local: the jobs of a sweep in a few processes on this machine, which live as long as the sweep.

Why our own launcher: a process costs seconds of imports and a small job takes less than one, so a process must run many
jobs (200 jobs of .6 s took 1,162 s with one process each, 120 s in one process). submitit starts a process per job.
Hydra's joblib launcher keeps its processes, but a process that dies ends the whole sweep. Here it loses only its own
job, a free process takes the next job, and no process outlives the command; a socket and `subprocess` suffice for this.
"""

import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobRuntime, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from cftransfer.commands.runner import OutputFolder
from cftransfer.commands.worker import Answer, place_of
from cftransfer.errors import InputError, plain
from cftransfer.settings import check_float, check_int

log = logging.getLogger(__name__)

LOGS = ".workers"  # in the sweep's folder
PATIENCE = 10.0  # seconds for a process to end by itself
EVERY = 10.0  # least seconds between two lines on progress
RECENT = 20  # jobs for the estimate of the time left; finished jobs end at once, and often come first


def check(hydra: DictConfig) -> None:
    """Raise an InputError for Hydra's settings that this launcher does not support."""
    check_int("hydra.launcher.processes", hydra.launcher.processes, least=1)
    check_float("hydra.launcher.memory_gb", hydra.launcher.memory_gb, inside="> 0", among=lambda value: value > 0)
    if many := hydra.sweeper.get("max_batch_size"):
        way_out = f"hydra.launcher.processes={many} sets the jobs at once"
        raise InputError(f"hydra.sweeper.max_batch_size={many}: hydra/launcher=local has no batches; {way_out}")


def run_sweep(
    jobs: Sequence[Sequence[str]],
    *,
    first: int,
    config: DictConfig,
    context: HydraContext,
    task: TaskFunction,
    processes: int,
    memory_gb: float,
) -> list[JobReturn]:
    """Run jobs, each a list of overrides; return each job's value, NaN for a job without a result.

    first: the number of the first job. config: of the sweep. processes: jobs at a time. memory_gb: a process with more
    memory after a job is replaced.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    folder = Path(str(config.hydra.sweep.dir)) / LOGS
    folder.mkdir(parents=True, exist_ok=True)
    processes = min(processes, len(jobs))
    log.info("jobs: %d, %d at a time; the output of their processes is in %s", len(jobs), processes, folder)
    start = _starter(folder, processes, (context.callbacks, JobRuntime.instance().get("name"), place_of(task)))
    composed = (_composed(context, config, list(words), first + number) for number, words in enumerate(jobs))
    values, progress = dict.fromkeys(range(first, first + len(jobs)), math.nan), Progress(len(jobs))
    with closing(_answers(composed, len(jobs), start, processes, memory_gb * 2**30)) as answers:
        for job, value, reason in answers:
            values[job.hydra.job.num] = value
            if reason:
                log.error("%s: %s", OutputFolder.note(job, reason), reason)
            progress.count(reason)
    return [_returned(words, values[first + number]) for number, words in enumerate(jobs)]


def _composed(context: HydraContext, config: DictConfig, words: list[str], number: int) -> DictConfig:
    composed = context.config_loader.load_sweep_config(config, words)
    with open_dict(composed):
        composed.hydra.job.id = composed.hydra.job.num = number
    return composed


def _returned(words: Sequence[str], value: float) -> JobReturn:
    returned = JobReturn(overrides=words, status=JobStatus.COMPLETED)  # even if it failed: the sweep goes on
    returned.return_value = value
    return returned


@dataclass
class Progress:
    """The progress of the sweep."""

    left: int
    done: int = 0
    failed: int = 0
    ends: "deque[float]" = field(default_factory=lambda: deque([time.monotonic()], maxlen=RECENT + 1))
    shown: float = -math.inf  # when the last line was logged

    def count(self, reason: str | None) -> None:
        """Count an ended job, and log a line if the last line is old enough."""
        self.left, self.done, self.failed = self.left - 1, self.done + (not reason), self.failed + bool(reason)
        self.ends.append(time.monotonic())
        if self.left and self.ends[-1] - self.shown < EVERY:
            return
        self.shown = self.ends[-1]
        seconds = self.left * (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)
        rest = f", about {timedelta(seconds=round(seconds))}" if self.left else ""
        log.info("jobs: %d done, %d failed, %d left%s", self.done, self.failed, self.left, rest)


@dataclass
class Worker:
    """A process that runs jobs (`cftransfer.commands.worker`), and its current job."""

    process: "subprocess.Popen[bytes]"
    connection: Connection
    log: Path
    job: DictConfig | None = None
    said: int = 0  # the length of its log when the job began

    def send(self, message: Any) -> None:
        """Send a job, or None after the last job; a dead process is noticed when its answer is read."""
        with suppress(ConnectionError):
            self.connection.send(message)

    def give(self, job: DictConfig) -> None:
        """Give the process a job to run."""
        self.job, self.said = job, self.log.stat().st_size
        self.send(job)

    def answer(self) -> Answer:
        """Return the process's answer on its job, or how it died."""
        try:
            return self.connection.recv()
        except (EOFError, ConnectionError):
            return math.nan, f"lost: its process {_death(self.process.wait())}; {self._last_words()}", 0

    def _last_words(self) -> str:
        with self.log.open("rb") as file:
            file.seek(self.said)
            lines = file.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), None)
        return f"its last words, in {self.log}: {plain(last[:200])}" if last else f"{self.log} has no word of it"

    def wait(self) -> None:
        """Wait for the process to end, and kill it after `PATIENCE` seconds."""
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.connection.close()


def _death(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"


def _starter(folder: Path, processes: int, message: Any) -> Callable[[int], Worker]:
    """Return a function that starts process number n, with its share of the cores and a log in `folder`."""
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, len(os.sched_getaffinity(0)) // processes))
    # Like `-m`, but with this process's import paths: a clone runs its own code, not an installed version.
    module = "runpy.run_module('cftransfer.commands.worker', run_name='__main__', alter_sys=True)"
    command = [sys.executable, "-uPc", f"import runpy, sys; sys.path[:] = {sys.path}; {module}"]

    def start(number: int) -> Worker:
        ours, theirs = Pipe()
        path = folder / f"{number}.log"
        with theirs, path.open("ab") as words:
            process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                env={**os.environ, "OMP_NUM_THREADS": threads},
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                pass_fds=[theirs.fileno()],
            )
        worker = Worker(process, ours, path)
        worker.send(message)
        return worker

    return start


def _answers(
    composed: Iterator[DictConfig], jobs: int, start: Callable[[int], Worker], processes: int, most: float
) -> Generator[tuple[DictConfig, float, str | None]]:
    """Run jobs in `processes` processes; a free process takes the next job. Yield each job as it ends."""
    workers: dict[int, Worker] = {}
    busy: dict[Any, int] = {}  # connection → number of the process
    free = deque(range(1, processes + 1))
    try:
        while jobs or busy:
            while jobs and free:
                number, job, jobs = free.popleft(), next(composed), jobs - 1
                try:
                    worker = workers[number] = workers.get(number) or start(number)
                except OSError as error:
                    free.append(number)
                    yield job, math.nan, f"lost: no process can be started ({error.strerror})"
                    continue
                worker.give(job)
                busy[worker.connection] = number
            for connection in wait(list(busy)) if busy else []:
                number = busy.pop(connection)
                free.append(number)
                worker = workers[number]
                value, reason, memory = worker.answer()
                if memory > most or worker.process.poll() is not None:
                    worker.send(None)
                    workers.pop(number).wait()
                yield worker.job, value, reason  # type: ignore[misc]
    except BaseException:  # also Ctrl-C: each process interrupts its job when its socket closes
        for worker in workers.values():
            worker.connection.close()
        raise
    else:
        for worker in workers.values():
            worker.send(None)
    finally:
        for worker in workers.values():
            worker.wait()
