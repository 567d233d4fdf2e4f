"""Locks: files in `<store>/locks` that a dead process cannot keep.

The holder of a lock renews its file every few seconds. A waiting process takes the lock over once the holder's process
is gone (on the same machine), or once the file was not renewed for `LEASE` seconds on the waiting process's monotonic
clock. Clocks need not be in step, and the file system needs no lock daemon, only exclusive creation of files. A live
holder that loses its lock, for example on a machine that slept, logs this and goes on: both processes then make the
same bytes, and each writes them whole.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import LeaseCompromise, SoftFileLease, Timeout

from cftransfer.atomic import remedy
from cftransfer.errors import InputError

log = logging.getLogger(__name__)

LEASE = 30.0  # seconds without renewal; locks are renewed three times as often, so that a busy machine keeps them
SURELY = 1.2  # leases without renewal after which a holder is dead


@contextmanager
def hold(store: Path, keys: Iterable[str]) -> Iterator[None]:
    """Hold the locks of `keys`, so that only one process makes their artifacts.

    Locks are taken in sorted order, so that two processes cannot block each other. All are watched from the beginning,
    so that several locks of a dead machine cost one lease together, not one lease each.
    """
    names, began = sorted(set(keys)), time.monotonic()
    files = {name: store / "locks" / f"{name}.lock" for name in names}
    seen = {name: _renewed(file) for name, file in files.items()}
    with ExitStack() as stack:
        for name in names:
            lease = SoftFileLease(files[name], lease_duration=LEASE, on_compromise=_lost)
            try:
                if not _taken(lease):
                    log.info("waiting for another process that is making %s", name)
                    _wait(lease, files[name], seen[name], began)
            except OSError as error:
                raise unusable(store, error) from error
            stack.callback(lease.release)
        yield


def _wait(lease: SoftFileLease, path: Path, seen: int | None, since: float) -> None:
    """Wait until the lock is free, or has not been renewed for `SURELY` leases since it was `seen`.

    filelock would wait for ever for a lock with a holder that was killed before it wrote its name to the file.
    """
    while not _taken(lease, timeout=min(1.0, LEASE / 4)):
        now = _renewed(path)
        if now != seen:
            seen, since = now, time.monotonic()
        elif now is not None and time.monotonic() - since > SURELY * LEASE:
            path.unlink(missing_ok=True)


def remove_dead(store: Path) -> None:
    """Remove the locks of this machine's dead processes.

    A job killed at its last step leaves locks that no later job would ever request. Locks of another machine are
    removed by a job that requests them, or by `prune --leftovers`.
    """
    for path in (store / "locks").glob("*.lock"):
        with suppress(OSError, ValueError):  # harmless: of another user or version
            lease = SoftFileLease(path, lease_duration=LEASE)
            if _taken(lease):
                lease.release()


def _taken(lease: SoftFileLease, *, timeout: float = 0) -> bool:
    try:
        lease.acquire(timeout=timeout)
    except Timeout:
        return False
    return True


def _renewed(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _lost(compromise: LeaseCompromise) -> None:
    name = Path(compromise.lock_file).stem
    log.warning("the lock of %s was lost (%s): another process may make the same artifact", name, compromise.reason)


def unusable(store: Path, error: OSError) -> InputError:
    """Return the InputError for a store that cannot be used."""
    reason = error.strerror or error
    return InputError(f"paths.store={store}: cannot be used ({reason}); {remedy(error)} or set paths.store to another")
