"""Commands in processes that are forked from one which has imported everything: 5 s less for each.

    with forking() as run:
        done = run(["transfer.py", …], folder, environment)

A forked process is one of its own as a user's is: own folder, environment, output, exit status, and it ends as Python
ends. Only the imports are done before. Tests of imports, of how Python starts, or of variables that imports read start
a real process (conftest.py, `run_command`).
"""

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
Run = Callable[[list[str], Path, dict[str, str]], subprocess.CompletedProcess]


@contextmanager
def forking(environment: dict[str, str], *, timeout: float) -> Iterator[Run]:
    """Start the process that forks; yield a function that runs a command in a fork of it and waits for its end."""
    ours, theirs = socket.socketpair()
    with ours, TemporaryDirectory() as said:
        words = [sys.executable, __file__, str(theirs.fileno())]
        server = subprocess.Popen(words, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        with ours.makefile("rw") as wire:

            def told(message: dict) -> int:
                wire.write(json.dumps(message) + "\n")
                wire.flush()
                return int(wire.readline())

            def run(words: list[str], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess:
                out, err = (Path(said) / name for name in ("out", "err"))
                asked = {"words": words, "folder": str(folder), "environment": environment}
                pid = told(asked | {"out": str(out), "err": str(err)})
                ours.settimeout(timeout)
                try:
                    code = int(wire.readline())
                except TimeoutError:
                    os.kill(pid, signal.SIGKILL)
                    raise
                ours.settimeout(None)
                texts = [path.read_bytes().decode().replace("\r\n", "\n") for path in (out, err)]
                return subprocess.CompletedProcess(words, code, *texts)

            yield run
        ours.shutdown(socket.SHUT_RDWR)
        server.wait()


def serve(wire: socket.socket) -> dict | None:
    """Fork for each requested command; return the command in the fork, None in the server at its end."""
    with wire.makefile("rw") as lines:
        for line in lines:
            pid = os.fork()
            if not pid:
                return json.loads(line)
            lines.write(f"{pid}\n")
            lines.flush()
            _, status = os.waitpid(pid, 0)
            lines.write(f"{os.waitstatus_to_exitcode(status)}\n")
            lines.flush()
    return None


def become(asked: dict) -> None:
    """Run a command as if this process had been started for it."""
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    first, *words = asked["words"]
    module = first == "-m"
    name, *sys.argv[1:] = words if module else [first, *words]
    sys.argv[0] = name
    sys.path[0] = asked["folder"] if module else str(Path(name).parent)
    if module:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(name, run_name="__main__")


def import_everything() -> None:
    """Import the modules of the commands, and nothing that a fork would share or lose.

    W&B is left out: its temporary folder, made when it is imported, would go with the first fork that ends.
    """
    from cftransfer import cores

    cores.wait_passively()
    import cftransfer.commands.experiment
    import cftransfer.commands.transfer
    import cftransfer.models.population
    import cftransfer.models.sklearn_models
    import cftransfer.report.collect
    import cftransfer.report.figures
    import cftransfer.report.page
    import cftransfer.tracking  # noqa: F401


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    import_everything()
    wire = socket.socket(fileno=int(sys.argv[1]))
    asked = serve(wire)
    if asked:
        wire.detach()
        os.close(int(sys.argv[1]))
        become(asked)
