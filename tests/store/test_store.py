"""The store: whole or not at all, one maker at a time, and nothing damaged goes unnoticed."""

import multiprocessing
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from conftest import as_nobody
from filelock import SoftFileLease, Timeout
from hypothesis import given
from hypothesis import strategies as st

from cftransfer import atomic, store
from cftransfer.errors import InputError
from cftransfer.spec import FORMAT
from cftransfer.store import inventory, locks
from cftransfer.store.artifacts import DamagedError, _set_aside

TENSORS = {"a": torch.arange(6, dtype=torch.float32).reshape(2, 3), "b": torch.tensor([True, False])}
ABOUT = {"spec": {"layers": 4}, "seed": 1}


@pytest.fixture
def place(tmp_path):
    return store.prepare(tmp_path / "store")


def test_what_was_saved_is_loaded(place):
    store.save(place, "models", "k", TENSORS, ABOUT)
    tensors, about = store.load(place, "models", "k")
    assert about == {**ABOUT, "format": FORMAT}
    assert all(
        torch.equal(tensors[name], TENSORS[name]) and tensors[name].dtype == TENSORS[name].dtype for name in TENSORS
    )


def test_nothing_is_loaded_where_nothing_was_saved(place):
    assert store.load(place, "models", "k") is None


def test_a_truncated_artifact_is_named_and_moved_aside(place, caplog):
    path = store.save(place, "models", "k", TENSORS, ABOUT)
    whole = path.read_bytes()
    for number, length in enumerate(range(len(whole))):
        path.write_bytes(whole[:length])
        assert store.load(place, "models", "k") is None
        aside = place / "damaged" / "models" / f"k-{number}.safetensors"
        assert aside.read_bytes() == whole[:length]
        assert f"{path}: damaged" in caplog.messages[-1]
        assert str(aside) in caplog.messages[-1]
        assert not path.exists()


@given(st.data())
def test_a_flipped_bit_is_noticed(tmp_path_factory, data):
    place = store.prepare(tmp_path_factory.mktemp("store"))
    path = store.save(place, "models", "k", TENSORS, ABOUT)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    assert store.load(place, "models", "k") is None
    assert inventory.leftovers(place) == [place / "damaged" / "models" / "k-0.safetensors"]


def test_a_good_artifact_that_another_process_has_just_put_in_place_is_not_moved_aside(place):
    path = store.save(place, "models", "k", TENSORS, ABOUT)
    _, about = _set_aside(place, path, DamagedError("as it was a moment ago"))
    assert about["seed"] == 1
    assert path.exists()


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "result.json"
    atomic.write(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # the kernel's error for a full disk
    try:
        with pytest.raises(InputError, match=r"result.json: cannot be written .* free some space"):
            atomic.write(path, b"x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/report.html: cannot be written"):
        atomic.write(tmp_path / "file" / "report.html", b"x")


@pytest.fixture
def shared(anybodys):
    """A store where anybody may write, as one of many users."""
    place = store.prepare(anybodys / "shared")
    for path in (place, place / "locks"):
        path.chmod(0o777)
    return place


def test_a_store_that_may_not_be_used_is_named(shared):
    with as_nobody():
        assert store.prepare(shared) == shared
    shared.chmod(0o000)
    with as_nobody(), pytest.raises(InputError, match=r"paths.store=.*shared.*set paths.store to another"):
        store.prepare(shared)


def test_what_another_user_of_a_group_has_made_is_read_and_the_way_to_write_it_named(shared):
    store.save(shared, "models", "k", TENSORS, ABOUT)
    (shared / "locks").chmod(0o755)  # as under umask 022
    with as_nobody():
        assert store.prepare(shared) == shared
        assert store.load(shared, "models", "k") is not None
        with pytest.raises(InputError, match=r"umask 002"), store.hold(shared, ["other"]):
            pass


def test_an_artifact_that_may_not_be_read_is_not_taken_for_none(shared):
    path = store.save(shared, "models", "k", TENSORS, ABOUT)
    path.chmod(0o000)
    with as_nobody():
        with pytest.raises(
            InputError, match=r"k.safetensors: cannot be read \(Permission denied\); fix its permissions"
        ):
            store.load(shared, "models", "k")
        assert [entry.described for entry in inventory.entries(shared)] == [None]
        assert "Permission denied" in inventory.damaged(shared)[path]
    (shared / "models").chmod(0o000)
    with as_nobody(), pytest.raises(InputError, match=r"shared/models: cannot be read; fix its permissions"):
        inventory.entries(shared)
    (shared / "models").chmod(0o755)


def _replace_and_remove(place, begun):
    content = store.save(place, "models", "k", TENSORS, ABOUT).read_bytes()
    begun.set()
    while True:
        atomic.write(place / "models" / "k.safetensors", content)
        (place / "models" / "k.safetensors").unlink()


def test_what_goes_while_it_is_looked_at_is_none(place):
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    other = context.Process(target=_replace_and_remove, args=(place, begun), daemon=True)
    other.start()
    assert begun.wait(60)
    seen = {store.load(place, "models", "k") is None for _ in range(10_000)}
    other.kill()
    other.join()
    assert seen == {True, False}
    assert not (place / "damaged").exists()


def _dead_lock(place, name):
    """Leave the lock of a process of this machine that is no more."""
    path = place / "locks" / f"{name}.lock"
    code = "import os, sys; from filelock import SoftFileLease as L; l = L(sys.argv[1]); l.acquire(); os._exit(0)"
    subprocess.run([sys.executable, "-c", code, path], check=True)
    return path


@pytest.mark.skipif(os.geteuid() != 0, reason="files of two users need root")
def test_a_dead_lock_of_another_user_ends_nothing(shared):
    """In a folder like /tmp, where everybody may write, each may remove his own files only."""
    foreign = _dead_lock(shared, "k0")
    (shared / "locks").chmod(0o1777)
    with as_nobody():
        assert store.prepare(shared) == shared
    assert foreign.exists()
    store.prepare(shared)
    assert not foreign.exists()


@pytest.mark.parametrize(
    "make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to(path), lambda path: path.symlink_to("nowhere")]
)
def test_what_is_no_file_in_the_place_of_an_artifact_is_moved_aside(place, make, caplog):
    path = place / "models" / "k.safetensors"
    path.parent.mkdir()
    make(path)
    assert [entry.described for entry in inventory.entries(place)] == [None]
    assert inventory.damaged(place) == {path: "it is not a file"}
    assert store.load(place, "models", "k") is None
    assert "k.safetensors: damaged (it is not a file); moved to" in caplog.text
    assert inventory.entries(place) == []


def test_a_file_in_the_place_of_the_store_is_named(tmp_path):
    (tmp_path / "store").write_text("not a folder")
    with pytest.raises(InputError, match=r"paths.store=.*store: cannot be used"):
        store.prepare(tmp_path / "store")


def _hold_and_count(place, keys, barrier, counter):
    barrier.wait()
    for _ in range(20):
        with store.hold(place, keys):
            with counter.get_lock():
                counter.value += 1
                assert counter.value == 1
            time.sleep(0.005)
            with counter.get_lock():
                counter.value -= 1


def test_one_maker_at_a_time(place):
    context = multiprocessing.get_context("spawn")
    barrier, counter = context.Barrier(3), context.Value("i", 0)
    orders = (["a", "b"], ["b", "a"], ["b", "a"])  # in any order: no deadlock
    makers = [
        context.Process(target=_hold_and_count, args=(place, keys, barrier, counter), daemon=True) for keys in orders
    ]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(60)
    assert [maker.exitcode for maker in makers] == [0, 0, 0]


def test_who_waits_for_a_lock_holds_none_that_comes_after_it(place):
    """Hence two processes that want the same locks, in any order, cannot block each other."""

    def want_both():
        with store.hold(place, ["b", "a"]):
            pass

    waiting = threading.Thread(target=want_both, daemon=True)
    with store.hold(place, ["a"]):
        waiting.start()
        time.sleep(0.3)
        assert not (place / "locks" / "b.lock").exists()
    waiting.join(10)
    assert not waiting.is_alive()


def _hold_for_ever(place, lease, ready):
    locks.LEASE = lease
    with store.hold(place, ["k"]):
        ready.set()
        time.sleep(600)


@pytest.fixture
def holder(place, monkeypatch):
    monkeypatch.setattr(locks, "LEASE", 2.0)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold_for_ever, args=(place, 2.0, ready), daemon=True)
    process.start()
    assert ready.wait(60)
    yield process
    process.kill()
    process.join()


def test_a_dead_holder_blocks_nobody(place, holder):
    waited = _seconds_to_hold(place)
    holder.kill()
    holder.join()
    with store.hold(place, ["k"]):
        pass
    assert list((place / "locks").iterdir()) == []
    assert waited is None


def test_the_lock_of_a_job_killed_at_its_last_step_is_removed_by_the_next_that_does_not_want_it(place, holder):
    holder.kill()
    holder.join()
    assert [path.name for path in (place / "locks").iterdir()] == ["k.lock"]
    store.prepare(place)
    assert list((place / "locks").iterdir()) == []


@pytest.mark.parametrize("lease", [2.0, 30.0], ids=["same lease", "other lease"])
def test_the_lock_of_a_living_job_is_not_removed(place, holder, lease, monkeypatch):
    monkeypatch.setattr(locks, "LEASE", lease)
    store.prepare(place)
    assert [path.name for path in (place / "locks").iterdir()] == ["k.lock"]


def _seconds_to_hold(place):
    """Return None if another process holds k."""
    try:
        with SoftFileLease(place / "locks" / "k.lock", lease_duration=locks.LEASE, timeout=0.5):
            return True
    except Timeout:
        return None


@pytest.mark.parametrize("clock", [-(10**6), 10**6], ids=["behind", "ahead"])
def test_a_holder_on_another_machine_is_dead_when_its_lock_is_not_renewed(place, holder, clock):
    """The other machine's process cannot be asked, and its clock, hence the time of its file, may be days off."""
    marker = place / "locks" / "k.lock"
    with SoftFileLease(place / "locks" / "other.lock", lease_duration=2.0):
        content = (place / "locks" / "other.lock").read_bytes()
    holder.kill()
    holder.join()
    marker.write_bytes(content.replace(socket.gethostname().encode(), b"another-machine"))
    os.utime(marker, (time.time() + clock,) * 2)
    began = time.monotonic()
    with store.hold(place, ["k"]):
        assert time.monotonic() - began >= 2.0
    assert not marker.exists()


def _of_another_machine(path):
    """Put a lock there that is never renewed, with a holder that cannot be looked up."""
    path.parent.mkdir(exist_ok=True)
    with SoftFileLease(path.with_name("mine.lock"), lease_duration=1.0):
        content = path.with_name("mine.lock").read_bytes()
    path.write_bytes(content.replace(socket.gethostname().encode(), b"another-machine"))


@pytest.mark.timeout(60)
def test_the_locks_of_a_dead_machine_are_waited_for_together(place, monkeypatch):
    monkeypatch.setattr(locks, "LEASE", 1.0)
    names = [f"k{number}" for number in range(20)]
    for name in names:
        _of_another_machine(place / "locks" / f"{name}.lock")
    began = time.monotonic()
    with store.hold(place, names):
        together = time.monotonic() - began
    _of_another_machine(place / "locks" / "k0.lock")
    began = time.monotonic()
    with store.hold(place, ["k0"]):
        alone = time.monotonic() - began
    assert 1.0 <= together < 10 * alone  # one after the other they would take twenty times as long
    assert list((place / "locks").iterdir()) == []


@pytest.mark.timeout(60)
def test_a_lock_whose_holder_was_killed_before_it_wrote_its_name_blocks_nobody(place, monkeypatch):
    monkeypatch.setattr(locks, "LEASE", 0.5)
    (place / "locks" / "k.lock").touch()
    with store.hold(place, ["k"]):
        pass
    assert list((place / "locks").iterdir()) == []


def test_a_lock_that_is_taken_away_is_told(place, caplog, monkeypatch):
    monkeypatch.setattr(locks, "LEASE", 0.3)
    with store.hold(place, ["k"]):
        (place / "locks" / "k.lock").unlink()
        time.sleep(0.5)
    assert "the lock of k was lost" in caplog.text


def test_ctrl_c_in_a_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic.write(tmp_path / "result.json", b"{}")
    assert list(tmp_path.iterdir()) == []


def test_a_slow_writer_whose_part_is_removed_writes_again(tmp_path, monkeypatch):
    path, replace, parts = tmp_path / "result.json", Path.replace, []

    def losing(self, target):
        if not parts:
            parts.append(self)
            atomic.write(path, b"of another writer")  # it removes files that seem to be a dead writer's
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", losing)
    atomic.write(path, b"mine")
    assert path.read_bytes() == b"mine"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    (tmp_path / ".result.json.somewhere-1-abc.part").write_bytes(b"half")
    atomic.write(tmp_path / "result.json", b"whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_a_store_that_can_only_be_read_serves_what_it_has(tmp_path, caplog):
    tmp_path.chmod(0o755)
    place = store.prepare(tmp_path / "store")
    store.save(place, "models", "k", TENSORS, ABOUT)
    subprocess.run(["mount", "--bind", "-o", "ro", place, place], check=True) if os.geteuid() == 0 else place.chmod(
        0o555
    )
    try:
        assert store.prepare(place) == place
        assert "is read-only" in caplog.text
        assert store.load(place, "models", "k")[1]["seed"] == 1
        with pytest.raises(InputError, match=r"paths.store=.*cannot be used"), store.hold(place, ["k2"]):
            pass
    finally:
        subprocess.run(["umount", place], check=True) if os.geteuid() == 0 else place.chmod(0o755)


def test_loading_is_a_use_and_a_use_by_another_user_ends_nothing(shared):
    path = store.save(shared, "models", "k", TENSORS, ABOUT)
    long_ago = (time.time() - 10**6,) * 2
    os.utime(path, long_ago)
    with as_nobody():
        assert store.load(shared, "models", "k")[1]["seed"] == 1
    assert os.geteuid() != 0 or path.stat().st_mtime == long_ago[0]
    assert store.load(shared, "models", "k")
    assert time.time() - path.stat().st_mtime < 60
