"""Killed, interrupted, two at once: the numbers are those of an undisturbed run, and nothing is lost."""

import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, SMALL, environment, results, run_command
from photos import put_cifar10


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


@pytest.mark.long
def test_killed_while_it_trains_a_cnn_and_started_again_it_gives_the_same_numbers(tmp_path):
    """As tests/faults.py has it of tables, where each member is a pass of its own."""
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


@pytest.mark.long
def test_a_sweep_of_local_processes_that_was_killed_twice_has_all_its_results():
    words = [sys.executable, ROOT / "benchmarks" / "sweep.py", "--jobs", "3"]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in ("local", "killed"):
        assert f"{kind}: results 3, equal 3; files in one store alone 0\n" in done.stdout
