"""cftransfer validate: green as it is, red where the library is broken."""

import sys
from types import SimpleNamespace

import pytest
import torch

from cftransfer.counterfactuals import growing_spheres as spheres
from cftransfer.errors import InputError
from cftransfer.measuring import controls, counts, result
from cftransfer.measuring.statistics import two_way_interval
from cftransfer.searching import engine, judging
from cftransfer.store import artifacts
from cftransfer.validate import measuring_traps
from cftransfer.validate.__main__ import command
from cftransfer.validate.check import Row, at_least, at_most, equal, refused
from cftransfer.validate.suite import FAMILIES, QUICK, checks


def validate(monkeypatch, capsys, *words):
    """The command's exit status and output."""
    monkeypatch.setattr(sys, "argv", ["cftransfer validate", *words])
    with pytest.raises(SystemExit) as ended:
        command()
    return ended.value.code, capsys.readouterr().out


@pytest.mark.parametrize("family", QUICK)
def test_what_takes_seconds_is_green(family, monkeypatch, capsys):
    status, printed = validate(monkeypatch, capsys, "--only", family)
    assert (status, "FAILED" in printed) == (0, False), printed
    assert printed.count("  ok\n") > 10


@pytest.mark.slow
@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in QUICK])
def test_what_takes_a_minute_is_green(family, monkeypatch, capsys):
    status, printed = validate(monkeypatch, capsys, "--only", family)
    assert (status, "FAILED" in printed) == (0, False), printed
    assert printed.count("  ok\n") > 5


def without_biases(*asked, real=artifacts.load):
    tensors, described = real(*asked)
    return {name: weight * (weight.dim() > 1) for name, weight in tensors.items()}, described


def halved(x, reached, *, generator, real=controls.random_points):
    return real(x, x + (reached - x) / 2, generator=generator)


def all_count(transfers, real=counts.count):
    """Counts with every factual in the denominator."""
    return real(transfers.assign(found=True, transferred=transfers.transferred.fillna(False)))


def claims_are_found(model, x, candidates, *, real=judging.judged, **asked):
    found = real(model, x, candidates, **asked)
    found.found[:] = candidates.claimed
    return found


def one_pool(*asked):
    return list(range(asked[-1]))


def off_the_logit(rates, **asked):
    return two_way_interval(rates)


def unprojected(*asked, constraint, real=spheres.grow, **settings):
    return real(*asked, constraint=SimpleNamespace(project=lambda z, _: z), **settings)


@pytest.mark.parametrize(
    ("only", "place", "name", "mutant"),
    [
        ("the base as its reference", result, "count", all_count),
        ("the base as its reference", artifacts, "load", without_biases),
        ("the second opinion", engine, "judged", claims_are_found),
        ("seeds of three pools", measuring_traps, "member_seeds", one_pool),
        ("an interval on the logit", result, "rate_interval", off_the_logit),
        ("random control", controls, "random_points", halved),
        ("constraints are kept", spheres, "grow", unprojected),
    ],
)
def test_a_mutation_turns_a_check_red_and_the_exit_status_to_1(only, place, name, mutant, monkeypatch, capsys):
    monkeypatch.setattr(place, name, mutant)
    status, printed = validate(monkeypatch, capsys, "--only", only)
    assert status == 1
    assert "FAILED" in printed
    assert "ended in" not in printed  # it measured, and something else


def test_a_check_that_breaks_is_a_row_that_failed(monkeypatch, capsys):
    def broken():
        yield equal("first", 1, 1)
        raise RuntimeError("no\nidea")

    monkeypatch.setattr(measuring_traps, "CHECKS", {"breaks": broken})
    status, printed = validate(monkeypatch, capsys, "--only", "breaks")
    assert status == 1
    assert "breaks: ended in RuntimeError: no " in printed
    assert "1 of 2 checks failed" in printed


def test_a_word_that_no_check_has_is_one_line(monkeypatch, capsys):
    status, _ = validate(monkeypatch, capsys, "--only", "nonsense")
    assert str(status).startswith("cftransfer validate: --only=nonsense: no check has this word; the families are")


def test_words_choose_families_and_names_in_any_case():
    assert {family for family, *_ in checks("TRAPS")} == {"traps of searches", "traps of measures"}
    assert [name for _, name, _ in checks("jiang")] == ["COMPAS, nearest rows (Jiang et al. 2024)"]
    assert len({name for _, name, _ in checks()}) == len(checks())  # --only can choose each


@pytest.mark.parametrize(
    ("row", "passed"),
    [
        (equal("", 1, 1.01, 0.02), True),
        (equal("", 1, 1.03, 0.02), False),
        (equal("", 0, float("nan"), 1), False),
        (at_least("", 0.9, 0.9), True),
        (at_least("", 0.9, 0.89), False),
        (at_most("", 0.1, 0.1), True),
        (at_most("", 0.1, float("nan")), False),
        (refused("", lambda: torch.ones(1), says=""), False),
    ],
)
def test_a_row_passes_within_its_tolerance_and_never_without_a_number(row, passed):
    assert isinstance(row, Row)
    assert row.passed == passed


def test_a_refusal_is_a_row_that_passes():
    def call():
        raise InputError("x=1: is wrong; leave it out")

    assert refused("", call, says="is wrong").passed
    assert not refused("", call, says="is late").passed
