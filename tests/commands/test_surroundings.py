"""Things that a machine may lack around a job: a home, room for the log, a number of threads, room under stdout."""

import logging
import os
import sys
from pathlib import Path

import pytest

from cftransfer.commands.home import provide_home
from cftransfer.commands.log_file import log_file
from cftransfer.cores import wait_passively
from cftransfer.errors import as_command


def test_a_process_without_a_home_gets_one(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    provide_home()
    assert os.environ["HOME"] == str(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "gone"))
    provide_home()
    assert os.access(os.environ["HOME"], os.W_OK)


def test_a_home_that_the_system_knows_is_taken(monkeypatch):
    """There lies the key of W&B."""
    monkeypatch.delenv("HOME")
    home = Path("~").expanduser()
    if not home.is_dir():
        # Some containers name a home that does not exist.
        pytest.skip(f"{home}: no home here")
    provide_home()
    assert os.environ["HOME"] == str(home)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_log_without_room_is_one_line(capsys):
    handler = log_file("/dev/full")
    logger = logging.Logger("job")
    logger.addHandler(handler)
    for _ in range(3):
        logger.error("a line")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("/dev/full: the log cannot be written (No space left on device); the job goes on")
    with pytest.raises(OSError, match="No space"):  # for the words that the file still holds
        handler.close()


def test_an_empty_number_of_threads_is_none(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.setenv("OMP_WAIT_POLICY", "")
    wait_passively()
    assert "OMP_NUM_THREADS" not in os.environ
    assert os.environ["OMP_WAIT_POLICY"] == "passive"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_stdout_is_one_line(monkeypatch):
    with open("/dev/full", "w") as full:  # noqa: PTH123  (closed by the command)
        monkeypatch.setattr(sys, "stdout", full)
        said = r"^store: stdout: cannot be written \(No space left on device\)"
        with pytest.raises(SystemExit, match=said), as_command("store"):
            print("a line")
