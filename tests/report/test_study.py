"""The results page: every word on it follows from the jobs."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT, environment
from hydra import compose, initialize_config_dir
from photos import put_cifar10
from test_collect import write_job

from cftransfer.report.collect import jobs, judged, lines
from cftransfer.report.study import STUDIES, TABULAR_PARTS, write
from cftransfer.report.study_running import Outcome
from cftransfer.report.study_trends import answer, verdict

PARTS = {part.name: part for part in TABULAR_PARTS}


def swept(folder, name, slope):
    """Three jobs with rates that follow a line of `slope` per layer, and vary little around it."""
    rng = np.random.default_rng(1)
    for job, layers in enumerate([2, 4, 6]):
        rates = 0.5 + slope * (layers - 4) + 0.01 * rng.normal(size=(4, 6))
        typed = [f"model.layers={layers}"]
        write_job(folder / str(job), rates=rates, overrides=typed, model__layers=layers, samples=20,
                  replicates={"bases": 4, "references": 6}, dataset="compas")  # fmt: skip
    collected = jobs([folder])
    return Outcome(
        part=PARTS[name], dataset="compas", command="python transfer.py", jobs=collected, lines=lines(collected),
        seconds=61.4, passes=3, searches=5,
    )  # fmt: skip


def test_the_verdict_goes_by_direction_and_adjusted_p(tmp_path):
    line = swept(tmp_path, "seed", -0.1).lines[0]
    assert verdict(line, -1) == "as expected"
    assert verdict(line, 1) == "the opposite"
    assert verdict(judged(line, 0.06), -1) == "undecided"
    assert verdict(None, -1) == "no trend"


@pytest.mark.parametrize(
    ("slope", "expected", "said"),
    [(-0.1, -1, "yes, the rate falls: -0.4"), (-0.1, 1, "no, the rate falls: -0.4"), (0.0, -1, "no, the rate is flat")],
)
def test_an_assumption_is_answered_in_a_sentence(tmp_path, slope, expected, said):
    (line,) = swept(tmp_path, "seed", slope).lines
    assert answer(line, expected).startswith(said)
    assert answer(judged(line, 1.0), expected).startswith("undecided: -0.4" if slope else said)


def test_the_page_says_what_the_jobs_say(tmp_path):
    falling, flat = swept(tmp_path / "a", "seed", -0.1), swept(tmp_path / "b", "more_layers", 0.0)
    text = write([falling, flat], tmp_path / "out", name="tabular").read_text()
    summary = re.findall(r"^\| \[(.+?)\]\(#(.+?)\) \| compas \| (.+?) \| (.+?) \| .* \| (.+?) \|$", text, re.MULTILINE)
    assert [row[0] for row in summary] == ["Model parameters", "More layers"]
    assert [row[4] for row in summary] == ["as expected", "flat"]
    for _, anchor, *_ in summary:
        assert anchor in [title.lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", text, re.MULTILINE)]
    first, last = (falling.lines[0].points[index].rates.mean() for index in (0, -1))
    assert summary[0][2] == f"{first:.3f} at 2, {last:.3f} at 6"
    assert f"{falling.lines[0].trend.change.mean:+.3f} (95 % interval" in summary[0][3]
    for row in re.findall(r"^\|.*\|$", text, re.MULTILINE):
        assert not row.startswith("| |")
    for picture in re.findall(r"\((figures/.+?\.png)\)", text):
        assert (tmp_path / "out" / picture).read_bytes().startswith(b"\x89PNG")
    assert "`python transfer.py`: 61 s, 3 training passes, 5 searches." in text


def test_the_words_of_a_section_go_by_the_p_of_the_page(tmp_path):
    """Beside many other trends, a p of .03 is not a finding, and its sentence must not say otherwise."""
    outcome = swept(tmp_path, "seed", -0.1)
    line = judged(replace(outcome.lines[0], trend=replace(outcome.lines[0].trend, p=0.03)), 0.03)
    assert line.verdict.direction == "falls"
    weak = [replace(outcome, lines=[line])] * 3
    text = write(weak, tmp_path / "out", name="tabular").read_text()
    assert text.count("**Undecided**: undecided: -") == 3
    assert text.count("| 0.09 | undecided | undecided |") == 3


@pytest.mark.parametrize(
    ("study", "part"),
    [(name, part) for name, study in STUDIES.items() for part in study.parts],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_every_command_composes(study, part):
    words = [word for word in part.words.split() if word != "-m"]
    first = [f"{name}={values.split(',')[0]}" for name, _, values in (word.partition("=") for word in words)]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        assert compose("transfer", overrides=[*first, f"dataset={part.dataset or STUDIES[study].datasets[0]}"])


def test_a_command_that_fails_ends_the_study_with_its_reason(tmp_path):
    shutil.copy(ROOT / "transfer.py", tmp_path)
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    words = [sys.executable, "-m", "cftransfer.report.study", "--datasets", "moons", "model.layers=0"]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("cftransfer.report.study: python transfer.py experiment=continued_training dataset=moons")
    assert "model.layers=0: takes a whole number" in line


@pytest.mark.long
def test_the_study_from_nothing(tmp_path):
    shutil.copy(ROOT / "transfer.py", tmp_path)
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    small = ["training.epochs=15", "samples=50", "replicates.bases=2", "replicates.references=3"]
    words = [sys.executable, "-m", "cftransfer.report.study", "--datasets", "moons", *small]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "docs" / "results" / "tabular.md").read_text()
    assert len(re.findall(r"^### .*: moons$", text, re.MULTILINE)) == len(TABULAR_PARTS)


@pytest.mark.long
def test_the_study_on_images_puts_tables_beside_them(tmp_path):
    shutil.copy(ROOT / "transfer.py", tmp_path)
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    put_cifar10(tmp_path / "data")
    small = ["training.epochs=2", "samples=20", "replicates.bases=2", "replicates.references=2", "model.layers=2"]
    words = [sys.executable, "-m", "cftransfer.report.study", "--study", "images", "--datasets", "cifar10_airplane"]
    done = subprocess.run(
        [*words, *small], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "docs" / "results" / "images.md").read_text()
    assert "**Which images:** cifar10_airplane: 180 of 360 train images (CIFAR-10 has 50,000)" in text
    rows = re.findall(r"^\| \[(.+?)\]\(#(.+?)\) \| (\w+) \|", text, re.MULTILINE)
    assert [(title, dataset) for title, _, dataset in rows] == [
        ("Continued training", "cifar10_airplane"),
        ("Model parameters, tables beside images", "compas"),
        ("Model parameters, tables beside images", "cifar10_airplane"),
    ]
    assert "examples" not in {path.name for path in (tmp_path / "docs").rglob("*")}  # no picture of anybody's data


@pytest.mark.slow
def test_the_study_of_changes_from_nothing(tmp_path):
    shutil.copy(ROOT / "transfer.py", tmp_path)
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    small = ["training.epochs=12", "training.batch_size=32", "model.layers=1", "model.width=8", "samples=40"]
    small += ["replicates.bases=2", "replicates.references=3"]
    words = [sys.executable, "-m", "cftransfer.report.study", "--study", "changes", "--datasets", "moons", *small]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "docs" / "results" / "changes.md").read_text()
    changes, audit = (text.partition(f"\n## {title}")[2] for title in ("Every kind", "An audit's families"))
    named = re.findall(r"^\| (\w+) \| [\d.]+ \| \S+ \| [\d.]+ \|", changes.partition("<details>")[0], re.MULTILINE)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        hydra = compose("transfer", overrides=["sweep=changes"], return_hydra_config=True).hydra
    assert sorted(named) == sorted(hydra.sweeper.params["experiment"].split(","))
    assert "Each family has 2 × 3 pairs" in audit
    beside = audit.partition("| the audit's family |")[2]
    assert len(re.findall(r"^\| \w+ \| [a-z ]+ \| [\d.]+ \| [\d.]+ \|", beside, re.MULTILINE)) == 9
