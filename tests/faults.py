"""Faults injected into real jobs: `python tests/faults.py` prints the outcome of each.

A job is a process of its own, which runs transfer.py as a user's shell would. It is forked from one that has imported
everything, so that dozens of them take minutes. Faults strike in the job (a thread that kills it at a drawn moment), or
around it (a full disk, a store that can only be read, another machine). After each, the same command runs undisturbed,
and is compared with a run that never was disturbed.
"""

import argparse
import ctypes
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # no threads before a fork
os.environ["WANDB_SILENT"] = "true"
ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import pandas as pd  # noqa: E402
import wandb  # noqa: E402, F401  (before any fork)
from filelock import SoftFileLease  # noqa: E402
from wandb_server import environment_of, serving  # noqa: E402

import cftransfer.commands.experiment  # noqa: E402  (before any fork)
import cftransfer.models.population  # noqa: E402
import cftransfer.report.collect  # noqa: E402
import cftransfer.report.figures  # noqa: E402
import cftransfer.report.page  # noqa: E402, F401
from cftransfer import atomic, store, tracking  # noqa: E402, F401
from cftransfer.store import locks, passes, searched  # noqa: E402

WORDS = [
    "dataset=moons",
    "dataset.rows=1000",
    "training.batch_size=128",
    "model.layers=2",
    "model.width=32",
    "training.epochs=12",
    "trainer.threads=1",
]
WORDS += ["replicates.bases=2", "replicates.references=3", "samples=200", "wandb=disabled"]
KILLS = 24  # a third each in training, in searching and in writing
SEED = 0
OTHER_USER = 54321  # without a name, and in no group of root's
CLONE_NEWUTS = 0x04000000

Hook = Callable[[], None]


@dataclass
class Ended:
    """How a job ended: its exit code (negative: the signal), and its output."""

    code: int
    said: str


@dataclass
class Row:
    """A line of the table: after how many of `times` faults …"""

    fault: str
    times: int = 0
    equal: int = 0  # the numbers were those of the undisturbed run
    clean: int = 0  # nothing half-written was left
    kept: int = 0  # nothing that had been made was lost
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether all was well, and there was something to be well."""
        return 0 < self.times == self.equal == self.clean == self.kept and not self.notes


def start(place: Path, hook: Hook | None = None, *more: str) -> int:
    """Start a job in a folder, with `hook` called in it first; return its process."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.chdir(place)
        log = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if hook:
            hook()
        sys.argv = [str(ROOT / "transfer.py"), *WORDS, "hydra.run.dir=job", *more]
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # the parent reads it in the log
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def ended(pid: int, place: Path) -> Ended:
    """Wait for a job."""
    _, status = os.waitpid(pid, 0)
    said = (place / "said").read_text(errors="replace")
    (place / "said").unlink()
    return Ended(os.waitstatus_to_exitcode(status), said)


def run(place: Path, hook: Hook | None = None, *more: str) -> Ended:
    """Run a job in a folder to its end, whatever that is."""
    return ended(start(place, hook, *more), place)


def judge(row: Row, place: Path, quiet: Path, before: dict[Path, bytes], *, aside: int = 0) -> None:
    """Run the job once more, undisturbed, and compare: before holds the store's files after the fault.

    aside: how many damaged artifacts must have been moved aside.
    """
    done = run(place)
    row.times += 1
    if done.code != 0:
        row.notes.append(f"ended with {done.code}: {done.said[-300:]}")
        return
    row.equal += same_numbers(place, quiet)
    moved = {path for path in stored(place) if path.parts[0] == "damaged"}
    now = {path: content for path, content in stored(place).items() if path not in moved}
    expected = stored(quiet)
    left = set(now) - set(expected) | set(jobs_files(place)) - set(jobs_files(quiet))
    row.clean += not left and len(moved) == aside
    if left or len(moved) != aside:
        row.notes.append(f"left: {sorted(map(str, left))}, aside: {len(moved)}")
    row.kept += now == expected and all(now.get(path) == content for path, content in before.items())


def same_numbers(place: Path, quiet: Path) -> bool:
    """Whether two jobs' metrics and tables are equal to the last digit."""
    one, other = (json.loads((folder / "job" / "result.json").read_text()) for folder in (place, quiet))
    same = one["metrics"] == other["metrics"] and one["files"] == other["files"]
    tables = [name for name in one["files"] if name.endswith(".parquet")]
    return same and all(
        pd.read_parquet(place / "job" / name).equals(pd.read_parquet(quiet / "job" / name)) for name in tables
    )


def stored(place: Path) -> dict[Path, bytes]:
    """Return the content of every file of the store."""
    store = place / "store"
    return {path.relative_to(store): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def whole(place: Path) -> dict[Path, bytes]:
    """Return the files that a store must never lose: all artifacts except passes."""
    kinds = ("models", "counterfactuals")
    return {
        path: content
        for path, content in stored(place).items()
        if path.parts[0] in kinds and not path.name.startswith(".")
    }


def jobs_files(place: Path) -> list[Path]:
    """Return the files of the job's folder, but for W&B's own."""
    job = place / "job"
    return [
        path.relative_to(job) for path in job.rglob("*") if path.is_file() and path.relative_to(job).parts[0] != "wandb"
    ]


def dies() -> None:
    """End this process as kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


def dies_inside(module: object, name: str, *, call: int, after: float) -> Hook:
    """Return a hook: the job is killed `after` seconds after the call number `call` of a function has begun."""

    def hook() -> None:
        real, calls = getattr(module, name), []

        def called(*args: object, **kwargs: object) -> object:
            calls.append(None)
            if len(calls) == call + 1:
                threading.Timer(after, dies).start()
            return real(*args, **kwargs)

        setattr(module, name, called)

    return hook


def dies_before(thing: object, name: str, *, call: int) -> Hook:
    """Return a hook: the job is killed when it is about to make the call number `call` of a function."""

    def hook() -> None:
        real, calls = getattr(thing, name), []

        def called(*args: object, **kwargs: object) -> object:
            calls.append(None)
            if len(calls) == call + 1:
                dies()
            return real(*args, **kwargs)

        setattr(thing, name, called)

    return hook


def dies_writing(*, call: int, at: str) -> Hook:
    """Return a hook: the job is killed at its write number `call`, before, halfway, or after the file is in place."""

    def hook() -> None:
        real, calls = atomic._replace, []

        def called(path: Path, content: bytes) -> None:
            calls.append(None)
            if len(calls) != call + 1:
                return real(path, content)
            if at == "halfway":
                path.with_name(f".{path.name}.killed-1-00000000.part").write_bytes(content[: len(content) // 2])
            if at == "after":
                real(path, content)
            return dies()

        atomic._replace = called

    return hook


def counted(place: Path) -> dict[str, list[float]]:
    """Run a job undisturbed; return the seconds that each call of its parts took, in order."""
    took: dict[str, list[float]] = {"train_pass": [], "run_search": [], "_replace": []}

    def hook() -> None:
        for module, name in ((passes, "train_pass"), (searched, "run_search"), (atomic, "_replace")):
            setattr(module, name, timed(getattr(module, name), name))

    def timed(real: Callable, name: str) -> Callable:
        def called(*args: object, **kwargs: object) -> object:
            began = time.perf_counter()
            try:
                return real(*args, **kwargs)
            finally:
                took[name].append(time.perf_counter() - began)
                Path("took.json").write_text(json.dumps(took))

        return called

    assert run(place, hook).code == 0
    took = json.loads((place / "took.json").read_text())
    (place / "took.json").unlink()
    return took


def kills(folder: Path, quiet: Path, took: dict[str, list[float]]) -> Iterator[Row]:
    """SIGKILL at drawn moments, each in a folder of its own."""
    draw = random.Random(SEED)
    parts = {"training": (passes, "train_pass"), "search": (searched, "run_search")}
    for part in ("training", "search", "writing"):
        row = Row(f"SIGKILL in {part}")
        for number in range(KILLS // 3):
            place = fresh(folder, f"{part}-{number}")
            if part == "writing":
                hook = dies_writing(
                    call=draw.randrange(len(took["_replace"])), at=draw.choice(["before", "halfway", "after"])
                )
            else:
                module, name = parts[part]
                call = draw.randrange(len(took[name]))
                hook = dies_inside(module, name, call=call, after=draw.uniform(0, 0.9 * took[name][call]))
            first = run(place, hook)
            if first.code != -signal.SIGKILL:
                row.notes.append(f"{place.name} was to be killed, and ended with {first.code}: {first.said[-200:]}")
            judge(row, place, quiet, whole(place))
        yield row


def without_a_name(folder: Path, quiet: Path) -> Iterator[Row]:
    """SIGKILL between creating a lock and writing its holder into it: no process can be found for it."""
    row = Row("SIGKILL in taking a lock")
    for lock in (0, 2):  # of a model to be trained, and of its pass
        place = fresh(folder, f"lock-{lock}")
        run(place, on_host("dying", dies_making_lock(lock)))
        before = whole(place)
        if not [path for path in (place / "store" / "locks").iterdir() if not path.stat().st_size]:
            row.notes.append(f"{place.name}: no empty lock was left")
        second = run(place, on_host("living"))
        if second.code != 0:
            row.notes.append(second.said[-300:])
        judge(row, place, quiet, before)
    yield row


def dies_making_lock(number: int) -> Hook:
    """Return a hook: the job is killed when it has just made the lock number `number`."""

    def hook() -> None:
        real, made = os.open, []

        def opened(path: str, flags: int, *args: object, **kwargs: object) -> int:
            file = real(path, flags, *args, **kwargs)
            if str(path).endswith(".lock") and flags & os.O_EXCL:
                made.append(None)
                if len(made) == number + 1:
                    dies()
            return file

        os.open = opened

    return hook


def last_steps(folder: Path, quiet: Path) -> Iterator[Row]:
    """SIGKILL when all models of a pass are stored: no later job needs its leftovers."""
    row = Row("SIGKILL when all is made")
    moments = {"passes": (passes, "drop_done", 0), "locks": (SoftFileLease, "release", 1)}  # of the bases, both
    for left, (thing, name, call) in moments.items():
        place = fresh(folder, f"last-{left}")
        first = run(place, dies_before(thing, name, call=call))
        if first.code != -signal.SIGKILL:
            row.notes.append(f"{place.name} was to be killed, and ended with {first.code}: {first.said[-200:]}")
        if not list((place / "store" / left).iterdir()):
            row.notes.append(f"{place.name}: nothing was left")
        judge(row, place, quiet, whole(place))
    yield row


def disk_full(folder: Path, quiet: Path) -> Iterator[Row]:
    """A file system that fills up, under the store and under the job's folder."""
    needs = {
        "store": sum(map(len, stored(quiet).values())),
        "job": sum((quiet / "job" / p).stat().st_size for p in jobs_files(quiet)),
    }
    for part, needed in needs.items():
        row = Row(f"disk full under the {part}")
        for share in (0.2, 0.5, 0.8):
            place = fresh(folder, f"full-{part}-{share}")
            with tmpfs(place / part, int(share * needed)) as grown:
                first = run(place)
                if first.code != 1 or "free some space" not in first.said:
                    row.notes.append(f"{place.name} ended with {first.code}: {first.said[-300:]}")
                before = whole(place)
                if [path for path in stored(place) if path.name.endswith(".part")]:
                    row.notes.append("a part was left on the full disk")
                grown(10 * needed + 10**6)
                judge(row, place, quiet, before)
        yield row


def damages(folder: Path, quiet: Path) -> Iterator[Row]:
    """An artifact that is shorter than it was, or has another bit somewhere."""
    draw = random.Random(SEED)
    for how in ("truncated", "bit flipped"):
        row = Row(f"artifact {how}")
        for kind in ("models", "models", "counterfactuals", "counterfactuals"):
            place = fresh(folder, f"{how}-{kind}-{row.times}")
            shutil.copytree(quiet / "store", place / "store")
            path = draw.choice(sorted((place / "store" / kind).glob("*.safetensors")))
            content = bytearray(path.read_bytes())
            if how == "truncated":
                content = content[: draw.randrange(len(content))]
            else:
                content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            path.write_bytes(content)
            before = {name: content for name, content in whole(place).items() if name.name != path.name}
            judge(row, place, quiet, before, aside=1)
        yield row
    row = Row("pass damaged after a kill")
    place = fresh(folder, "pass")
    run(place, dies_inside(atomic, "_replace", call=12, after=0))
    for path in (place / "store" / "passes").glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-100])
    judge(row, place, quiet, whole(place), aside=1)
    yield row


def read_only(folder: Path, quiet: Path) -> Iterator[Row]:
    """A store that can only be read: stored models are served, and a missing one is an error that loses nothing."""
    row = Row("read-only store that has all")
    place = fresh(folder, "read-only")
    shutil.copytree(quiet / "store", place / "store")
    with mounted_read_only(place / "store"):
        judge(row, place, quiet, whole(place))
    yield row
    row = Row("read-only store that lacks some")
    place = fresh(folder, "read-only-lacking")
    shutil.copytree(quiet / "store", place / "store")
    min((place / "store" / "models").glob("*.safetensors")).unlink()
    before = whole(place)
    with mounted_read_only(place / "store"):
        first = run(place)
        if first.code != 1 or "paths.store=store: cannot be used" not in first.said:
            row.notes.append(f"ended with {first.code}: {first.said[-300:]}")
    judge(row, place, quiet, before)
    yield row


def machines(folder: Path, quiet: Path) -> Iterator[Row]:
    """Two machines on one store; here, two host names, so that neither can see the other's processes."""
    row = Row("two hosts write one store")
    place = fresh(folder, "hosts")
    both = [start(fresh_in(place, name), on_host(name), f"paths.store={place / 'store'}") for name in ("one", "two")]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in both]
    said = "".join((place / name / "said").read_text() for name in ("one", "two"))
    if codes != [0, 0] or said.count("training 2 models") != 1 or said.count("training 3 models") != 1:
        row.notes.append(f"ended with {codes}, and trained: {said}")
    judge(row, place, quiet, whole(place))
    yield row
    row = Row("the other host dies with its locks")
    place = fresh(folder, "host-dies")
    on_dying = on_host("dying", dies_before(passes, "train_pass", call=1))
    run(place, on_dying)
    before = whole(place)
    if not list((place / "store" / "locks").iterdir()):
        row.notes.append("it left no lock")
    second = run(place, on_host("living"))
    if second.code != 0:
        row.notes.append(second.said[-300:])
    judge(row, place, quiet, before)
    yield row
    row = Row("a host sleeps longer than its lease")
    place = fresh(folder, "sleeps")
    sleeper = start(
        fresh_in(place, "sleeper"),
        on_host("sleeper", stops_inside(passes, "train_pass")),
        f"paths.store={place / 'store'}",
    )
    os.waitpid(sleeper, os.WUNTRACED)
    second = run(fresh_in(place, "other"), on_host("other"), f"paths.store={place / 'store'}")
    os.kill(sleeper, signal.SIGCONT)
    woken = ended(sleeper, place / "sleeper")
    if (second.code, woken.code) != (0, 0) or "was lost" not in woken.said:
        row.notes.append(f"ended with {second.code} and {woken.code}: {second.said[-200:]} {woken.said[-300:]}")
    judge(row, place, quiet, whole(place))
    yield row


def clocks(folder: Path, quiet: Path) -> Iterator[Row]:
    """A clock that jumps by days in either direction, and files from a machine with a wrong clock."""
    row = Row("clock jumps")
    for number, day in enumerate((-400, 400)):
        place = fresh(folder, f"clock-{number}")
        first = run(place, jumps(day, dies_inside(passes, "train_pass", call=1, after=0.05)))
        if first.code != -signal.SIGKILL:
            row.notes.append(f"was to be killed, and ended with {first.code}: {first.said[-200:]}")
        before = whole(place)
        for path in (place / "store").rglob("*"):
            os.utime(path, (time.time() + 86400 * day,) * 2)
        second = run(place, jumps(-day))
        if second.code != 0:
            row.notes.append(second.said[-300:])
        judge(row, place, quiet, before)
    yield row


def tracked(folder: Path, quiet: Path) -> Iterator[Row]:
    """W&B's server goes, or its disk fills up, in mid-run: the job ends well, and says what W&B lacks."""
    row = Row("W&B's server goes in mid-run")
    for way in ("silent", "gone"):
        place = fresh(folder, f"server-{way}")
        with serving() as server:
            server.lost_after, server.lost = "file_stream", way
            known = environment_of(server)
            first = run(place, lambda known=known: os.environ.update(known), "wandb=online", "wandb.finish_timeout=2")
        _tracked(row, place, quiet, first)
    yield row
    row = Row("W&B's disk is full in mid-run")
    for kilobytes in (16, 24):  # one for too few for its tables, one for its last records
        place = fresh(folder, f"full-wandb-{kilobytes}")
        (place / "job").mkdir()
        with tmpfs(place / "job" / "wandb", 2**10 * kilobytes):
            _tracked(row, place, quiet, run(place, None, "wandb=offline"))
    yield row


def _tracked(row: Row, place: Path, quiet: Path, first: Ended) -> None:
    if first.code != 0 or "W&B lacks" not in first.said or not (place / "job" / "result.json").exists():
        row.notes.append(f"{place.name} ended with {first.code}: {first.said[-300:]}")
    judge(row, place, quiet, whole(place))  # finds its result on disk


def foreign_files(folder: Path, quiet: Path) -> Iterator[Row]:
    """A user's own files, of the names that a job or its report would write, in the job's folder."""
    row = Row("foreign files in a job's folder")
    for name in ("pairs.parquet", "examples/mine.png", "report.html"):
        place = fresh(folder, f"foreign-{row.times}")
        own = place / "job" / name
        own.parent.mkdir(parents=True)
        own.write_text("mine")
        first = run(place)
        left = [path for path in (place / "job").rglob("*") if path.is_file()]
        refused = first.code == 1 and f"job/{name}: cftransfer has not written this file" in first.said
        if not refused or left != [own] or own.read_text() != "mine":
            row.notes.append(f"{name}: ended with {first.code}, left {left}: {first.said[-300:]}")
        shutil.rmtree(place / "job")
        judge(row, place, quiet, whole(place))
    yield row


def surroundings(folder: Path, quiet: Path) -> Iterator[Row]:
    """Faults around a job: a dead service of W&B's, a terminal of few signs, a full disk under stdout."""

    def dead_service() -> None:
        os.environ["WANDB_SERVICE"] = "3-1-unix-/tmp/gone.sock"

    row = Row("a W&B service that has gone")
    place = fresh(folder, "service")
    ends_well(row, place, quiet, dead_service, "wandb=offline")
    yield row
    row = Row("output that is not UTF-8")
    for encoding in ("ascii", "latin-1"):
        place = fresh(folder, f"output-{encoding}")
        ends_well(row, place, quiet, prints_in(encoding))
    yield row
    row = Row("a full disk under stdout")
    place = fresh(folder, "stdout")
    first = run(place, lambda: os.dup2(os.open("/dev/full", os.O_WRONLY), 1) and None)
    if first.code != 1 or "stdout: cannot be written (No space left on device)" not in first.said:
        row.notes.append(f"ended with {first.code}: {first.said[-300:]}")
    if not same_numbers(place, quiet) or not (place / "job" / "report.html").exists():
        row.notes.append("its results, or its report, are not there")
    judge(row, place, quiet, whole(place))
    yield row


def workers(folder: Path, quiet: Path) -> Iterator[Row]:
    """SIGKILL of a process of a local sweep, as the system's when memory runs out."""
    row = Row("local worker killed")
    place = fresh(folder, "worker")
    sweep = start(place, None, "-m", "hydra/launcher=local", "hydra.sweep.dir=.", "hydra.sweep.subdir=job")
    while not list(place.glob("store/passes/*.safetensors")):
        time.sleep(0.01)
    (worker,) = Path(f"/proc/{sweep}/task/{sweep}/children").read_text().split()
    os.kill(int(worker), signal.SIGKILL)
    first = ended(sweep, place)
    if first.code != 1 or "job: lost: its process was killed by SIGKILL" not in first.said:
        row.notes.append(f"ended with {first.code}: {first.said[-300:]}")
    judge(row, place, quiet, whole(place))
    yield row


def ends_well(row: Row, place: Path, quiet: Path, hook: Hook, *more: str) -> None:
    """Run a job that has to end well, report and all, in spite of its hook; then judge it."""
    first = run(place, hook, *more)
    if first.code != 0 or not (place / "job" / "report.html").exists():
        row.notes.append(f"{place.name} ended with {first.code}: {first.said[-300:]}")
    judge(row, place, quiet, whole(place))


def prints_in(encoding: str) -> Hook:
    """Return a hook: stdout and stderr know the signs of an encoding alone."""

    def hook() -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(encoding=encoding, errors="strict")

    return hook


def two_users(folder: Path, quiet: Path) -> Iterator[Row]:
    """A store that another user has made, under umask 022: its files are read, a missing one is a line."""
    row = Row("two users on one store")
    place = fresh(folder, "users")
    folder.chmod(0o755)
    shutil.copytree(quiet / "store", place / "store")
    other = fresh_in(place, "other")
    fresh_in(other, "job").chmod(0o777)
    (place / "store").chmod(0o777)  # the group may write it; only the first user may write the first user's folders
    before, shared = stored(place), f"paths.store={place / 'store'}"
    for word, code, said in (("seed=0", 0, ""), ("seed=1", 1, "umask 002")):
        done = run(other, becomes_another_user, shared, word)
        if done.code != code or said not in done.said:
            row.notes.append(f"{word} ended with {done.code}: {done.said[-300:]}")
        elif code == 0 and not same_numbers(other, quiet):
            row.notes.append("the other user has other numbers")
    if stored(place) != before:
        row.notes.append("the store is not as it was")
    judge(row, place, quiet, whole(place))
    yield row


def becomes_another_user() -> None:
    """The job goes on as another user when it comes to its store; before, it imports modules that may be root's own."""
    real = store.prepare

    def prepare(place: str) -> Path:
        os.setgroups([])
        os.setresgid(OTHER_USER, OTHER_USER, OTHER_USER)
        os.setresuid(OTHER_USER, OTHER_USER, OTHER_USER)
        return real(place)

    store.prepare = prepare


def on_host(name: str, then: Hook | None = None) -> Hook:
    """Return a hook: the job runs on a machine of another name, with locks of two seconds."""

    def hook() -> None:
        locks.LEASE = 2.0
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWUTS) or libc.sethostname(name.encode(), len(name)):
            raise OSError(ctypes.get_errno(), "cannot take another host name")
        if then:
            then()

    return hook


def stops_inside(module: object, name: str) -> Hook:
    """Return a hook: the job stops, as a machine that falls asleep, when a function is first called."""

    def hook() -> None:
        real, calls = getattr(module, name), []

        def called(*args: object, **kwargs: object) -> object:
            calls.append(None)
            if len(calls) == 1:
                os.kill(os.getpid(), signal.SIGSTOP)
                time.sleep(1.5)  # as long as the next sign of life takes at most
            return real(*args, **kwargs)

        setattr(module, name, called)

    return hook


def jumps(days: float, then: Hook | None = None) -> Hook:
    """Return a hook: with every look at the clock, it has jumped by so many days, or back."""

    def hook() -> None:
        real, looks = time.time, []

        def clock() -> float:
            looks.append(None)
            return real() + 86400 * days * (len(looks) % 2)

        time.time = clock
        if then:
            then()

    return hook


def fresh(folder: Path, name: str) -> Path:
    """Return a new folder."""
    place = folder / name.replace(" ", "-")
    place.mkdir()
    return place


def fresh_in(place: Path, name: str) -> Path:
    """Return a folder inside another, made if need be."""
    (place / name).mkdir(exist_ok=True)
    return place / name


@contextmanager
def tmpfs(place: Path, size: int) -> Iterator[Callable[[int], None]]:
    """Mount a small file system; yield the function that enlarges it."""
    place.mkdir()
    mount("-t", "tmpfs", "-o", f"size={size // 4096 * 4096}", "tmpfs", str(place))
    try:
        yield lambda larger: mount("-o", f"remount,size={larger // 4096 * 4096}", str(place))
    finally:
        subprocess.run(["umount", place], check=True)


@contextmanager
def mounted_read_only(place: Path) -> Iterator[None]:
    """Let nobody write a folder for a while, root included."""
    mount("--bind", str(place), str(place))
    mount("-o", "remount,ro,bind", str(place))
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def mount(*words: str) -> None:
    """Call mount, which needs root."""
    subprocess.run(["mount", *words], check=True)


TOPICS = {
    "kills": (kills, without_a_name, last_steps, workers),
    "store": (disk_full, damages, read_only, clocks, two_users),
    "surroundings": (machines, tracked, foreign_files, surroundings),
}


def table(folder: Path, topics: Sequence[str] = tuple(TOPICS)) -> Iterator[Row]:
    """Do all faults of some topics, in folders of their own under `folder`."""
    quiet = fresh(folder, "undisturbed")
    took = counted(quiet)
    for faults in [one for topic in topics for one in TOPICS[topic]]:
        yield from faults(folder, quiet, took) if faults is kills else faults(folder, quiet)


def main() -> None:
    """Print the table; exit with 1 if one fault did harm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="an empty folder for what the jobs leave, which then stays")
    parser.add_argument("--only", choices=TOPICS, help="the faults of one topic")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        good = True
        print(f"{'fault':36} {'times':>5} {'numbers equal':>14} {'nothing left':>13} {'nothing lost':>13}")
        for row in table(options.keep or Path(made), [options.only] if options.only else tuple(TOPICS)):
            print(f"{row.fault:36} {row.times:5} {row.equal:14} {row.clean:13} {row.kept:13}", flush=True)
            for note in row.notes:
                print(f"    {note}")
            good &= row.good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
