"""Who makes what, and who needs what: lock files that a dead holder cannot keep.

A holder renews its file every few seconds. Whoever waits takes it over once the holder's process is gone (where it ran
on the same machine), or once it has not been renewed for `LEASE` seconds of the waiter's own steady clock: machines
need no clocks in step, and the file system no lock daemon, only the exclusive creation of a file.

A holder that was taken for dead and lives, as on a machine that slept, is told, and goes on: both then make the same
bytes, and each puts them in place whole.
"""

import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from filelock import LeaseCompromise, SoftFileLease, Timeout

from cftransfer.atomic import remedy
from cftransfer.errors import InputError

log = logging.getLogger(__name__)

LEASE = 30.0  # seconds without a sign of life; renewed three times as often, so that a busy machine keeps its locks
SURELY = 1.2  # leases without a sign of life after which nobody is waited for
USE = "use"  # what the locks of `using` are called


@contextmanager
def hold(store: Path, keys: Iterable[str]) -> Iterator[None]:
    """Hold the locks of `keys`, so that one process makes them.

    Locks are taken in sorted order: two processes that want the same ones cannot block each other. All are watched from
    the beginning: those of one dead machine are waited for together, not one lease after the other.
    """
    names, began = sorted(set(keys)), time.monotonic()
    seen = {name: _renewed(_file(store, name)) for name in names}
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(_held(store, name, seen[name], began))
        yield


@contextmanager
def _held(store: Path, name: str, seen: int | None = None, since: float = 0.0) -> Iterator[None]:
    lease = _lease(store, name)
    try:
        if not _taken(lease):
            log.info("waiting for another process that is making %s", name)
            _wait(lease, _file(store, name), seen, since)
    except OSError as error:
        raise unusable(store, error) from error
    try:
        yield
    finally:
        lease.release()


def _wait(lease: SoftFileLease, path: Path, seen: int | None, since: float) -> None:
    """Wait until the lock is free, or has not been renewed for `SURELY` leases since it was `seen`.

    filelock would wait for ever for a lock whose holder was killed before it could write into it who it is.
    """
    while not _taken(lease, timeout=min(1.0, LEASE / 4)):
        now = _renewed(path)
        if now != seen:
            seen, since = now, time.monotonic()
        elif now is not None and time.monotonic() - since > SURELY * LEASE:
            path.unlink(missing_ok=True)


def _taken(lease: SoftFileLease, *, timeout: float = 0) -> bool:
    try:
        lease.acquire(timeout=timeout)
    except Timeout:
        return False
    return True


def _file(store: Path, name: str) -> Path:
    return store / "locks" / f"{name}.lock"


@contextmanager
def using(store: Path, families: Iterable[str]) -> Iterator[None]:
    """Say that models of these families, and what was found on them, are in use: nobody prunes them meanwhile.

    Where the store can only be read, nobody can prune it either. Locks that dead jobs have left, of this and of what
    they made, are removed: of this machine at once, of others if this job lasts long enough to see that they are not
    renewed. Nobody else may ever ask for them: a job killed on its last step has made all that it held them for.
    """
    with ExitStack() as stack:
        if os.access(store / "locks", os.W_OK):
            others = {path: _renewed(path) for path in _locks(store) if not _taken_over(path)}
            stack.callback(_remove_dead, others, time.monotonic())
            for family in sorted(set(families)):
                stack.enter_context(_held(store, f"{USE}-{family}-{uuid4().hex[:8]}"))
        yield


def _remove_dead(seen: Mapping[Path, int | None], began: float) -> None:
    if time.monotonic() - began > LEASE:  # not more: who has waited for a dead one has waited that long
        for path in [path for path, before in seen.items() if _renewed(path) == before]:
            _remove(path)


def in_use(store: Path) -> set[str]:
    """Return the families that living jobs use; files of dead jobs are removed.

    It watches the files of jobs on other machines until they are renewed, or for `LEASE` seconds.
    """
    waiting = {path: _renewed(path) for path in _locks(store, f"{USE}-*") if not _taken_over(path)}
    alive, until = set(), time.monotonic() + SURELY * LEASE
    while waiting and time.monotonic() < until:
        for path, before in list(waiting.items()):
            now = _renewed(path)
            if now != before:
                del waiting[path]
                if now is not None:
                    alive.add(path)
        time.sleep(0.1)
    for path in waiting:  # not renewed for longer than a lease: of a machine that is gone
        _remove(path)
    alive |= {*_locks(store, f"{USE}-*")} - {*waiting}  # and those that have begun meanwhile
    return {path.name.split("-")[1] for path in alive}


def _locks(store: Path, name: str = "*") -> list[Path]:
    return sorted((store / "locks").glob(f"{name}.lock"))


def _taken_over(path: Path) -> bool:
    """Remove the lock of a dead process of this machine; return whether it was one."""
    lease = SoftFileLease(path, lease_duration=LEASE)
    try:
        taken = _taken(lease)
    except OSError:  # a lock that may not be touched is somebody's
        return False
    if taken:
        lease.release()
    return taken


def _remove(path: Path) -> None:
    """Remove a dead lock that nobody waits for; one that only another user may remove does no harm."""
    with suppress(OSError):
        path.unlink()


def _renewed(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _lease(store: Path, name: str) -> SoftFileLease:
    return SoftFileLease(store / "locks" / f"{name}.lock", lease_duration=LEASE, on_compromise=_lost)


def _lost(compromise: LeaseCompromise) -> None:
    name = Path(compromise.lock_file).stem
    log.warning("the lock of %s was lost (%s): another process may make the same meanwhile", name, compromise.reason)


def unusable(store: Path, error: OSError) -> InputError:
    """Return what to say of a store that cannot be used."""
    reason = error.strerror or error
    return InputError(f"paths.store={store}: cannot be used ({reason}); {remedy(error)} or set paths.store to another")
