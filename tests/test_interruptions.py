"""Killed, interrupted, two at once: the numbers are those of an undisturbed run, and nothing is lost."""

import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from conftest import ROOT, SMALL, environment, results, run_command, table
from photos import put_cifar10


@pytest.mark.slow
def test_killed_while_it_trains_and_started_again_it_gives_the_same_numbers(tmp_path):
    long = [*SMALL, "training.epochs=80", "model.layers=2", "wandb=disabled"]
    quiet, killed = tmp_path / "undisturbed", tmp_path / "killed"
    quiet.mkdir(), killed.mkdir()
    assert run_command(quiet, "transfer.py", *long).returncode == 0
    kills = 0
    for _ in range(2):  # once among the bases, once among the references
        job = subprocess.Popen(
            [sys.executable, ROOT / "transfer.py", *long], cwd=killed, env=environment(), stderr=subprocess.PIPE
        )
        until = time.monotonic() + 60
        while job.poll() is None and time.monotonic() < until:
            if list((killed / "store").glob("passes/*.safetensors")):
                time.sleep(0.2)
                job.send_signal(signal.SIGKILL)
                break
            time.sleep(0.005)
        kills += job.wait() == -signal.SIGKILL
        job.stderr.close()
    assert kills == 2
    done = run_command(killed, "transfer.py", *long)
    assert done.returncode == 0, done.stderr
    assert re.search(r"training \d models .*epochs ([2-9]|\d\d+) to 80", done.stderr)  # it went on, not over
    (expected,), (got,) = results(quiet), results(killed)
    assert got["metrics"] == expected["metrics"]
    pd.testing.assert_frame_equal(table(killed, "counterfactuals"), table(quiet, "counterfactuals"))
    pd.testing.assert_frame_equal(table(killed, "transfers"), table(quiet, "transfers"))
    stores = [
        {path.relative_to(place / "store"): path.read_bytes() for path in (place / "store").rglob("*.*")}
        for place in (quiet, killed)
    ]
    assert stores[0] == stores[1]  # the same files to the last byte: nothing half-written, nothing left over


@pytest.mark.slow
def test_two_jobs_at_once_on_an_empty_store_train_each_model_once(tmp_path):
    words = [sys.executable, ROOT / "transfer.py", *SMALL, "training.epochs=20", "wandb=disabled"]
    jobs = [
        subprocess.Popen(words, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = "".join(job.communicate(timeout=200)[1] for job in jobs)
    assert [job.returncode for job in jobs] == [0, 0], said
    assert said.count("training 2 models") == said.count("training 3 models") == 1
    assert said.count("searched ") == 2
    first, second = results(tmp_path)
    assert first["metrics"] == second["metrics"]


def test_interrupted_it_says_so_and_goes_on_later(tmp_path):
    words = [sys.executable, ROOT / "transfer.py", *SMALL, "training.epochs=200", "wandb=disabled"]
    job = subprocess.Popen(words, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list(tmp_path.glob("store/passes/*.safetensors")) and time.monotonic() < until:
        time.sleep(0.01)
    job.send_signal(signal.SIGINT)
    said = job.communicate(timeout=60)[1]
    assert job.returncode == 130, said
    assert said.splitlines()[-1].endswith("interrupted; the same command goes on where this one ended")


@pytest.mark.slow
def test_killed_while_it_trains_a_cnn_and_started_again_it_gives_the_same_numbers(tmp_path):
    """As above, where each member is a pass of its own."""
    words = ["dataset=cifar10_airplane", "model.layers=2", "model.width=4", "training.epochs=40", "wandb=disabled"]
    words += ["replicates.bases=2", "replicates.references=2", "samples=20", f"paths.data={tmp_path / 'data'}"]
    put_cifar10(tmp_path / "data")
    quiet, killed = tmp_path / "undisturbed", tmp_path / "killed"
    quiet.mkdir(), killed.mkdir()
    assert run_command(quiet, "transfer.py", *words).returncode == 0
    job = subprocess.Popen(
        [sys.executable, ROOT / "transfer.py", *words], cwd=killed, env=environment(), stderr=subprocess.PIPE
    )
    until = time.monotonic() + 60
    while not list((killed / "store").glob("passes/*.safetensors")) and time.monotonic() < until:
        time.sleep(0.005)
    time.sleep(0.5)
    job.send_signal(signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL
    job.stderr.close()
    done = run_command(killed, "transfer.py", *words)
    assert done.returncode == 0, done.stderr
    assert re.search(r"training 1 model .*epochs ([2-9]|\d\d+) to 40", done.stderr)  # it went on, not over
    (expected,), (got,) = results(quiet), results(killed)
    assert got["metrics"] == expected["metrics"]
    stores = [
        {path.relative_to(place / "store"): path.read_bytes() for path in (place / "store").rglob("*.*")}
        for place in (quiet, killed)
    ]
    assert stores[0] == stores[1]
