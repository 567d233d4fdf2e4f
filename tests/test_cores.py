"""The cores of a job, and threads that sleep while they wait."""

import os

import pytest

from cftransfer import __main__, cores
from cftransfer.commands import train, transfer
from cftransfer.report import __main__ as report
from cftransfer.report import study


@pytest.mark.parametrize(("said", "share"), [(None, 3), ("", 3), ("2", 2), ("64", 3), ("0", 3), ("4,2", 3)])
def test_the_share_is_what_a_process_may_run_on_or_less(monkeypatch, said, share):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 5, 7})
    monkeypatch.delenv("OMP_NUM_THREADS")
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert cores.share() == share


@pytest.mark.parametrize("command", [transfer.command, train.command, report.command, study.command, __main__.main])
@pytest.mark.parametrize("exported", [None, "active"])
def test_every_command_that_computes_waits_passively_unless_the_user_says_otherwise(command, exported, monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", exported or "passive")  # so that it is put back
    if exported is None:
        del os.environ["OMP_WAIT_POLICY"]
    monkeypatch.setattr("sys.argv", ["command", "--help"])
    with pytest.raises(SystemExit):
        command()
    assert os.environ["OMP_WAIT_POLICY"] == (exported or "passive")
