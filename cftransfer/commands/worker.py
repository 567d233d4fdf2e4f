"""A process of hydra/launcher=local, which `local_sweep` starts as a program: it runs the jobs that come over a socket.

It is a program of its own, and no fork or spawn of `multiprocessing`, so that its environment is set and its words go
to its log from its first moment: how many threads torch has is read once, and a process may die in its imports.
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

# A job's value, why it has none (then NaN), and the bytes of memory that its process holds afterwards.
Answer = tuple[float, str | None, int]


def work(connection: Connection) -> None:
    """Run jobs until None comes instead of one; end within a job when the other end of the socket closes."""
    signal.signal(signal.SIGINT, _interrupt)
    threading.Thread(target=_interrupt_when_closed, args=(connection.fileno(),), daemon=True).start()
    try:
        callbacks, name, place = connection.recv()
        setup_globals()
        JobRuntime.instance().set("name", name)
        task = _function(*place)
        while (config := connection.recv()) is not None:
            # A job only uses the callbacks of this context: its configuration comes composed.
            value, reason = _run(config, HydraContext(config_loader=None, callbacks=callbacks), task)  # type: ignore[arg-type]
            connection.send((value, reason, _resident()))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end of the sweep closes the socket
    except (KeyboardInterrupt, EOFError, ConnectionError):
        sys.exit(130)  # the command was interrupted or killed


def place_of(task: TaskFunction) -> tuple[str, str]:
    """Return the module and the name of a function that is decorated by hydra.main."""
    return task.__module__, task.__qualname__


def _function(module: str, name: str) -> TaskFunction:
    """Return the function itself: hydra.main has left its decorated form under its name."""
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
        return done.return_value, None  # which raises what the job has raised
    except Exception as error:  # the command names it
        if LOGGED not in getattr(error, "__notes__", []) and one_line(error) is None:
            traceback.print_exception(error)
        return math.nan, f"failed: {reason_of(error)}"


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """Interrupt the job once: Ctrl-C comes from the terminal, and then from the command that ends by it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _interrupt_when_closed(file: int) -> None:
    """Leave no job running for a command that was killed, with its locks and in its folder."""
    poll = select.poll()
    poll.register(file, 0)  # no event but a hang-up
    poll.poll()
    os.kill(os.getpid(), signal.SIGINT)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    wait_passively()
    print_in_any_encoding()
    work(Connection(int(sys.argv[1])))
