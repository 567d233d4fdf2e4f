"""A process of hydra/launcher=local: a program, started by `local_sweep`, that runs jobs from a socket.

It is a separate program, not a fork or spawn of `multiprocessing`, so that its environment is set and its output goes
to its log from the start: torch reads the number of threads once, and a process may die during imports.
"""

import importlib
import math
import os
import select
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from hydra.core.utils import JobRuntime, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from cftransfer.commands.mistakes import one_line, reason_of
from cftransfer.cores import wait_passively
from cftransfer.errors import LOGGED, print_in_any_encoding

# A job's value (NaN if it failed), the reason of a failure, and the process's memory in bytes after the job.
Answer = tuple[float, str | None, int]


def work(connection: Connection) -> None:
    """Run jobs until None arrives; end in the middle of a job if the other end of the socket closes."""
    signal.signal(signal.SIGINT, _interrupt)
    threading.Thread(target=_interrupt_when_closed, args=(connection.fileno(),), daemon=True).start()
    try:
        callbacks, name, place = connection.recv()
        setup_globals()
        JobRuntime.instance().set("name", name)
        task = _function(*place)
        while (config := connection.recv()) is not None:
            # A job uses only the callbacks of this context, because its config arrives composed.
            value, reason = _run(config, HydraContext(config_loader=None, callbacks=callbacks), task)  # type: ignore[arg-type]
            connection.send((value, reason, _resident()))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the socket closes at the end of the sweep
    except (KeyboardInterrupt, EOFError, ConnectionError):
        sys.exit(130)  # the command was interrupted or killed


def place_of(task: TaskFunction) -> tuple[str, str]:
    """Return module and name of a function decorated by hydra.main."""
    return task.__module__, task.__qualname__


def _function(module: str, name: str) -> TaskFunction:
    """Return the undecorated function, since its name refers to the one decorated by hydra.main."""
    return getattr(importlib.import_module(module), name).__wrapped__


def _run(config: DictConfig, context: HydraContext, task: TaskFunction) -> tuple[float, str | None]:
    try:
        done = run_job(
            hydra_context=context,
            task_function=task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        return done.return_value, None  # re-raises the job's exception
    except Exception as error:  # the command reports it
        if LOGGED not in getattr(error, "__notes__", []) and one_line(error) is None:
            traceback.print_exception(error)
        return math.nan, f"failed: {reason_of(error)}"


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """Interrupt the job once: Ctrl-C arrives from the terminal, and again from the ending command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _interrupt_when_closed(file: int) -> None:
    """Interrupt the job of a killed command, so that it does not go on with locks and folder."""
    poll = select.poll()
    poll.register(file, 0)  # only a hang-up
    poll.poll()
    os.kill(os.getpid(), signal.SIGINT)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    wait_passively()
    print_in_any_encoding()
    work(Connection(int(sys.argv[1])))
