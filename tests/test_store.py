"""The store: whole or not at all, one maker at a time, and nothing damaged goes unnoticed."""

import multiprocessing
import os
import resource
import threading
import time
from contextlib import contextmanager

import pytest
import torch
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from cftransfer import store
from cftransfer.errors import InputError

TENSORS = {"a": torch.arange(6, dtype=torch.float32).reshape(2, 3), "b": torch.tensor([True, False])}
ABOUT = {"spec": {"layers": 4}, "seed": 1}


@pytest.fixture
def place(tmp_path):
    return store.prepare(tmp_path / "store")


def test_what_was_saved_is_loaded(place):
    store.save(place, "models", "k", TENSORS, ABOUT)
    tensors, about = store.load(place, "models", "k")
    assert about == ABOUT
    assert all(
        torch.equal(tensors[name], TENSORS[name]) and tensors[name].dtype == TENSORS[name].dtype for name in TENSORS
    )


def test_nothing_is_loaded_where_nothing_was_saved(place):
    assert store.load(place, "models", "k") is None


def test_a_truncated_artifact_is_named_and_left_alone(place):
    path = store.save(place, "models", "k", TENSORS, ABOUT)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"k.safetensors: damaged .* delete this file and run again"):
            store.load(place, "models", "k")
    assert path.exists()


@given(st.data())
def test_a_flipped_bit_is_noticed(tmp_path_factory, data):
    place = store.prepare(tmp_path_factory.mktemp("store"))
    path = store.save(place, "models", "k", TENSORS, ABOUT)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"k.safetensors: damaged"):
        store.load(place, "models", "k")


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "result.json"
    store.write(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # what the kernel says when no more can be written
    try:
        with pytest.raises(InputError, match=r"result.json: cannot be written .* free some space"):
            store.write(path, b"x" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result.json"]


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/report.html: cannot be written"):
        store.write(tmp_path / "file" / "report.html", b"x")


@contextmanager
def as_nobody():
    """Without root's right to read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_store_that_may_not_be_used_is_named(tmp_path):
    tmp_path.chmod(0o755)
    closed = tmp_path / "closed"
    store.prepare(closed)
    closed.chmod(0o000)
    try:
        with as_nobody(), pytest.raises(InputError, match=r"paths.store=.*closed.*set paths.store to another"):
            store.prepare(closed)
    finally:
        closed.chmod(0o755)


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
    orders = (["a", "b"], ["b", "a"], ["b", "a"])  # in whatever order they are asked for: no deadlock
    makers = [
        context.Process(target=_hold_and_count, args=(place, keys, barrier, counter), daemon=True) for keys in orders
    ]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(60)
    assert [maker.exitcode for maker in makers] == [0, 0, 0]


def test_who_waits_for_a_lock_holds_none_that_comes_after_it(place):
    """Hence two who want the same locks, in whatever order they name them, cannot block each other."""

    def want_both():
        with store.hold(place, ["b", "a"]):
            pass

    waiting = threading.Thread(target=want_both, daemon=True)
    with store.hold(place, ["a"]):
        waiting.start()
        time.sleep(0.3)
        lock = FileLock(place / "locks" / "b.lock")
        lock.acquire(blocking=False)
        lock.release()
    waiting.join(10)
    assert not waiting.is_alive()
