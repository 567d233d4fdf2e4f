"""The cores that this process may use, and how its threads wait for work."""

import os


def share() -> int:
    """Return the cores of this process: those that it may run on, or fewer where OMP_NUM_THREADS says so."""
    cores = len(os.sched_getaffinity(0))
    said = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(said)) if said.isdecimal() and int(said) else cores


def wait_passively() -> None:
    """Have OpenMP's threads sleep while they wait, instead of spinning on cores that others need.

    Every command calls it before torch is imported, which reads it once; the library sets no variable of its user's
    environment. Two sweeps at once on two cores took 278 s with spinning threads, 15.5 s without.
    """
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        if os.environ.get(name) == "":  # means unset, but libgomp complains
            del os.environ[name]
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
