"""A real SLURM on this machine alone: two nodes, accounting, loopback only; everything is stopped by the pid it had.

python tests/slurm/cluster.py FOLDER      starts one, prints what to export, and stops it on Ctrl-C

Debian's packages have everything: slurmctld slurmd slurm-client slurmdbd munge mariadb-server (tests/slurm/install.sh).
All state, sockets, keys and logs are in FOLDER, the ports are free ones, and SLURM_CONF tells the clients where it is,
so that it lives beside any other SLURM. The nodes are two slurmd of one machine, which must be root's, as slurmd is.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "sbatch", "munged", "mariadbd", "mariadb-install-db", "setpriv")
NODES = ("one", "two")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])  # daemons are not on every user's PATH

ACCOUNTING = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={dbd}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageUser=root
StorageLoc=accounting
CommunicationParameters=NoInAddrAny
"""

# cred_expire: SLURM starts a requeued job only so many seconds later. PreemptType … GraceTime: jobs of the partition
# `spare` give way to those of `main`. task/none: nothing confines jobs, SLURM only counts cores.
CLUSTER = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=0
KillWait=10
SlurmdTimeout=300
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort={dbd}
AccountingStoragePass={folder}/munge/socket
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
    "CPUs=4 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=40000\n"
)
PARTITIONS = """\
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE PriorityTier=2 PreemptMode=OFF
PartitionName=spare Nodes=ALL MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE GraceTime=60
"""


class CannotStartError(RuntimeError):
    """Why there is no SLURM here, in one line."""


@dataclass
class Cluster:
    """A running SLURM.

    environment: variables that its clients need, the process that submits jobs among them. daemons: pids by name.
    """

    folder: Path
    environment: dict[str, str]
    daemons: dict[str, int] = field(default_factory=dict)

    def __call__(self, *words: str) -> str:
        """Run one of SLURM's commands, and return its output."""
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise CannotStartError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def lose(self, node: str) -> None:
        """Take a node away, as when its power fails: its daemon and all of its jobs' processes vanish together."""
        jobs = _with_descendants(_steps(self.folder / f"spool-{node}", node))
        for pid in (self.daemons.pop(f"slurmd {node}"), *jobs):
            _signal(pid, signal.SIGKILL)
        self("scontrol", "update", f"nodename={node}", "state=down", "reason=lost")

    def queue(self) -> list[tuple[str, str, str]]:
        """Return the queued and running jobs: tasks of arrays one by one, as (job, state, node)."""
        lines = self("squeue", "--noheader", "--array", "--format=%i|%T|%N").splitlines()
        return [tuple(line.split("|")) for line in lines]  # type: ignore[misc]


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start a SLURM in an empty folder, and stop all of it in the end; CannotStartError where that cannot be."""
    if missing := [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]:
        raise CannotStartError(f"not installed: {', '.join(missing)} (tests/slurm/install.sh)")
    if os.geteuid() != 0:
        raise CannotStartError("slurmd runs jobs of other users, and so must be started by root")
    made = Cluster(folder, {**os.environ, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")})
    with ExitStack() as stack:
        stack.callback(_stop_daemons, made)
        _configure(folder)
        _start_daemons(made)
        stack.callback(_stop_jobs, made)
        yield made


def _configure(folder: Path) -> None:
    ctld, dbd, *ports = _free_ports(2 + len(NODES))
    places = {"folder": folder, "host": socket.gethostname().partition(".")[0], "ctld": ctld, "dbd": dbd}
    nodes = "".join(NODE.format(name=name, port=port, **places) for name, port in zip(NODES, ports, strict=True))
    (folder / "slurm.conf").write_text(CLUSTER.format(**places) + nodes + PARTITIONS)
    (folder / "slurmdbd.conf").write_text(ACCOUNTING.format(**places))
    (folder / "slurmdbd.conf").chmod(0o600)
    (folder / "munge").mkdir()
    (folder / "munge" / "key").write_bytes(os.urandom(128))
    (folder / "munge" / "key").chmod(0o400)
    for place in ("state", "mariadb"):
        (folder / place).mkdir()


def _start_daemons(made: Cluster) -> None:
    folder, munge = made.folder, made.folder / "munge"
    words = [f"--socket={munge / 'socket'}", f"--key-file={munge / 'key'}", f"--log-file={munge / 'log'}"]
    _start(made, "munged", "munged", "--foreground", "--force", *words, f"--seed-file={munge / 'seed'}",
           f"--pid-file={munge / 'pid'}")  # fmt: skip
    # A database for this test alone: root's through its socket, and so without a password; not flushed at every commit.
    data, sql = f"--datadir={folder / 'mariadb'}", folder / "mariadb.socket"
    made("mariadb-install-db", "--no-defaults", "--user=root", data, "--skip-test-db",
         "--auth-root-authentication-method=socket", "--auth-root-socket-user=root")  # fmt: skip
    _start(made, "mariadbd", "mariadbd", "--no-defaults", "--user=root", data, "--skip-networking", f"--socket={sql}",
           f"--pid-file={folder / 'mariadb.pid'}", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0",
           "--innodb-buffer-pool-size=64M")  # fmt: skip
    _until(made, lambda: made("mariadb-admin", "--no-defaults", f"--socket={sql}", "ping"), "mariadbd answers")
    made.environment["MYSQL_UNIX_PORT"] = str(sql)  # where slurmdbd's client library looks
    _start(made, "slurmdbd", "slurmdbd", "-D")
    _until(made, lambda: made("sacctmgr", "--noheader", "show", "cluster"), "slurmdbd answers")
    made("sacctmgr", "--immediate", "--quiet", "add", "cluster", "test")
    _start(made, "slurmctld", "slurmctld", "-D")
    for node in NODES:
        _start(made, f"slurmd {node}", "slurmd", "-D", "-N", node)
    _until(made, lambda: _idle(made) == len(NODES), "all nodes are idle")


def _start(made: Cluster, name: str, *words: str) -> None:
    with (made.folder / f"{name.replace(' ', '-')}.out").open("wb") as out:
        process = subprocess.Popen(  # which must not outlive these tests, even if these are killed
            ["setpriv", "--pdeathsig=TERM", *words],
            env=made.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    made.daemons[name] = process.pid
    _CHILDREN[process.pid] = process


_CHILDREN: dict[int, "subprocess.Popen[bytes]"] = {}  # waited for, otherwise dead processes would look alive


def _idle(made: Cluster) -> int:
    return made("sinfo", "--noheader", "--Node", "--partition=main", "--format=%T").split().count("idle")


def _until(made: Cluster, condition: Callable[[], object], what: str, *, seconds: float = 30) -> None:
    end, last = time.monotonic() + seconds, ""
    while time.monotonic() < end:
        try:
            if condition() is not False:
                return
        except CannotStartError as error:
            last = f": {error}"
        if dead := [name for name, pid in made.daemons.items() if _CHILDREN[pid].poll() is not None]:
            raise CannotStartError(f"{dead[0]} ended at once; its log is in {made.folder}")
        time.sleep(0.1)
    raise CannotStartError(f"waited {seconds:.0f} s until {what}{last}; logs are in {made.folder}")


def _stop_jobs(made: Cluster) -> None:
    for job in {job.partition("_")[0] for job, _, _ in made.queue()}:
        for words in (["--signal=KILL", "--full"], []):
            with suppress(CannotStartError):  # it has ended meanwhile
                made("scancel", *words, job)
    end = time.monotonic() + 15
    while made.queue() and time.monotonic() < end:
        time.sleep(0.2)
    for node in NODES:
        for pid in _with_descendants(_steps(made.folder / f"spool-{node}", node)):
            _signal(pid, signal.SIGKILL)


def _stop_daemons(made: Cluster) -> None:
    for pid in reversed(made.daemons.values()):  # dependent daemons first
        _signal(pid, signal.SIGTERM)
        try:
            _CHILDREN.pop(pid).wait(timeout=20)
        except subprocess.TimeoutExpired:
            _signal(pid, signal.SIGKILL)


def _steps(spool: Path, node: str) -> list[int]:
    """Return the pids of slurmstepd on a node, one for each step of a job, with a socket in `spool`."""
    jobs = {path.name.removeprefix(f"{node}_").partition(".")[0] for path in spool.glob(f"{node}_*.*")}
    named = {pid: re.match(r"slurmstepd: \[(\d+)\.", words) for pid, words in _processes()}
    return [pid for pid, match in named.items() if match and match[1] in jobs]


def _with_descendants(pids: list[int]) -> list[int]:
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # ended meanwhile
            continue
    found = list(pids)
    for pid in found:  # grows while it is walked
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def _processes() -> Iterator[tuple[int, str]]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield int(path.parent.name), path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


if __name__ == "__main__":
    place = Path(sys.argv[1]).resolve()
    if place.exists():
        sys.exit(f"{place}: is there already; name a new folder")
    place.mkdir(parents=True)
    with cluster(place) as running:
        print(f"export SLURM_CONF={running.environment['SLURM_CONF']}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopping")
