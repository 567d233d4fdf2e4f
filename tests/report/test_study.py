"""The results page: every word on it follows from the jobs."""

import json
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

from cftransfer.errors import InputError
from cftransfer.report.cells import curve
from cftransfer.report.collect import jobs, judged, lines
from cftransfer.report.figures import trend
from cftransfer.report.study import STUDIES, TABULAR_PARTS, write
from cftransfer.report.study_answers import Series, answer, evidence, overall, share, tally, verdict
from cftransfer.report.study_found import RANDOM, found_table
from cftransfer.report.study_running import Outcome, combined

PARTS = {part.name: part for part in TABULAR_PARTS}


def swept(folder, name, slope, *, searches=("",), noise=0.03, dataset="compas"):
    """Three jobs for each search; their rates follow a line of `slope` per layer and vary by `noise` around it."""
    rng = np.random.default_rng(1)
    for search in searches:
        for layers in (2, 4, 6):
            bent = slope[search] if isinstance(slope, dict) else slope
            rates = 0.5 + bent * (layers - 4) + noise * rng.normal(size=(4, 6))
            typed = [f"model.layers={layers}"] + [f"counterfactual.constraints={search}"] * bool(search)
            write_job(folder / f"{search}{layers}", rates=rates.clip(0, 1), overrides=typed, model__layers=layers,
                      samples=20, counterfactual={"constraints": search} if search else {}, dataset=dataset,
                      replicates={"bases": 4, "references": 6})  # fmt: skip
    collected = jobs([folder])
    return Outcome(
        part=PARTS[name], dataset=dataset, command="python transfer.py", jobs=collected, lines=lines(collected),
        seconds=61.4, passes=3, searches=5,
    )  # fmt: skip


def series_of(outcome):
    return [Series("COMPAS", line.label, line.points, line) for line in outcome.lines]


def answers_on(text):
    """The bullet of each question, by the question."""
    bullets = re.findall(r"^- \*\*(.+?)\*\* \(.+?\) (.+?)$((?:\n    - .+$)*)", text, re.MULTILINE)
    return {asked: (said, lines.strip()) for asked, said, lines in bullets}


def test_the_verdict_goes_by_direction_and_adjusted_p(tmp_path):
    line = swept(tmp_path, "seed", -0.1).lines[0]
    assert verdict(line, -1) == "as expected"
    assert verdict(line, 1) == "the opposite"
    assert verdict(line, 0) == "falls"
    assert verdict(judged(line, 0.06), -1) == "undecided"
    assert verdict(None, -1) == "no trend"


@pytest.mark.parametrize(
    ("slope", "expected", "said"),
    [
        (-0.1, -1, "Yes: from 2 to 6 hidden layers, the rate falls from ."),
        (-0.1, 1, "No: from 2 to 6 hidden layers, the rate falls from ."),
        (-0.1, 0, "Yes: from 2 to 6 hidden layers, the rate falls from ."),
        (0.0, -1, "Hardly: from 2 to 6 hidden layers, the rate changes by less than .05 either way."),
        (0.0, 0, "Hardly: from 2 to 6 hidden layers, the rate changes by less than .05 either way."),
    ],
)
def test_a_question_is_answered_in_a_sentence(tmp_path, slope, expected, said):
    outcome = swept(tmp_path, "seed", slope)
    assert answer(replace(PARTS["seed"], expected=expected), series_of(outcome)).startswith(said)


def test_an_undecided_trend_names_the_models_that_would_decide(tmp_path):
    outcome = swept(tmp_path, "seed", -0.015, noise=0.15)
    (line,) = outcome.lines
    assert line.verdict.direction == "undecided"
    bases, references = line.verdict.needed
    assert answer(PARTS["seed"], series_of(outcome)).startswith("Undecided: from 2 to 6 hidden layers")
    (said,) = evidence(series_of(outcome))
    assert f"about {bases} bases × {references} references would decide" in said


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (["as expected"] * 4, "Yes"),
        (["flat", "flat"], "Hardly"),
        (["flat", "the opposite"], "Hardly in 1 of 2 cases, no in 1"),
        (["undecided", "no trend"], "Undecided"),
        (["falls", "undecided", "flat", "rises"], "Yes in 2 of 4 cases, hardly in 1, undecided in 1"),
        (["undecided", "flat", "flat"], "Hardly in 2 of 3 cases, undecided in 1"),
    ],
)
def test_cases_that_differ_are_counted(verdicts, said):
    assert tally(verdicts) == said


def test_two_searches_are_two_series_with_names(tmp_path):
    outcome = swept(tmp_path / "a", "seed", {"none": -0.1, "possible": 0.0}, searches=("none", "possible"))
    other = swept(tmp_path / "b", "seed", -0.1, searches=("none", "possible"), dataset="acs_employment")
    text = write([outcome, other], tmp_path / "out", name="tabular").read_text()
    said, told = answers_on(text)[PARTS["seed"].asks]
    assert said.startswith("Yes in 3 of 4 cases, hardly in 1: from 2 to 6 hidden layers, the rate changes by −.4")
    free, possible = told.splitlines()
    assert re.fullmatch(r"- free search: COMPAS falls, .+ · ACS Employment falls, .+", free)
    assert re.fullmatch(r"    - possible inputs only: COMPAS flat within ±.05, .+ · ACS Employment falls, .+", possible)
    rows = re.findall(r"^\| Model parameters \| (.+?) \| (.+?) \|", text, re.MULTILINE)
    assert rows == [
        (dataset, search)
        for dataset in ("COMPAS", "ACS Employment")
        for search in ("free search", "possible inputs only")
    ]
    assert "on COMPAS and ACS Employment with 4 bases, 6" in text
    assert "**free search** (`counterfactual.constraints=none`)" in text
    assert "**possible inputs only** (`counterfactual.constraints=possible`)" in text


def against_random(point, above):
    """Random changes hold less often by `above`, the same for all pairs but for a little noise."""
    pairs = point.job.pairs
    noise = np.random.default_rng(0).normal(size=len(pairs)) / 1000
    pairs["control_random"] = pairs.rate - above + noise


def test_whether_counterfactuals_transfer_at_all_goes_by_random_changes(tmp_path):
    """The part's middle value is the one of the question; the verdict on rate − random decides."""
    some = series_of(swept(tmp_path, "seed", -0.1, searches=("none", "possible")))
    one, other = (series.points[1] for series in some)
    at = [round(point.job.metrics["rate"], 3) for point in (one, other)]
    against_random(one, 0.2), against_random(other, 0.2)
    said, told = overall(PARTS["seed"], some)
    ends = f"{share(min(at))} to {share(max(at))}"
    assert said.startswith(f"Yes: on another model of the same design (4 hidden layers), {ends} of the counterfactuals")
    assert said.endswith("random changes of the same length.")
    assert len(told) == 2
    assert all("random .500" in line for line in told)
    one.job.metrics.update({"control_random_low": 0.45, "control_random_high": 0.5512})
    _, (line, _) = overall(PARTS["seed"], some)
    assert line.endswith("random .500 (.450 to .551), where both agreed before .500")
    against_random(one, 0.01)
    said, _ = overall(PARTS["seed"], some)
    assert said.startswith("Yes in 1 of 2 cases, hardly in 1: ")
    assert said.endswith("; the two rates differ by less than .05 in 1 of 2 cases.")
    against_random(other, -0.2)
    assert overall(PARTS["seed"], some)[0].startswith("Hardly in 1 of 2 cases, no in 1: ")


def test_a_data_set_beside_the_study_s_own_has_no_part_in_the_answer(tmp_path):
    images = series_of(swept(tmp_path / "images", "seed", 0.0, dataset="cifar10_airplane"))
    images = [replace(one, dataset="CIFAR-10 airplane") for one in images]
    tables = series_of(swept(tmp_path / "tables", "seed", 0.0))
    against_random(images[0].points[1], 0.0), against_random(tables[0].points[1], 0.3)
    said, (told,) = overall(replace(PARTS["seed"], beside=("compas",)), [*tables, *images])
    assert said.startswith("Hardly: ")
    assert said.endswith("; the two rates differ by less than .05.")
    assert told.startswith("COMPAS .490 (")


def test_every_number_of_the_table_of_findings_has_its_interval(tmp_path):
    (one,) = series_of(swept(tmp_path, "seed", 0.0, noise=0.0))
    points = [replace(point, low=0.42, high=0.58) for point in one.points]
    for point in points:
        point.job.metrics.update({"control_random_low": 0.455, "control_random_high": 0.52})
    heads, rows = found_table([{"part": PARTS["seed"], "series": [replace(one, points=points)]}])
    assert heads == ["reference", "COMPAS, "]
    assert rows == [["another seed", "50 % (42–58)"], [RANDOM, "50 % (46–52)"]]


def test_a_difference_from_the_seed_alone_has_its_number_and_the_models_that_would_decide(tmp_path):
    outcome = swept(tmp_path / "jobs", "more_layers", 0.0, noise=0.3)
    for job in outcome.jobs.jobs:
        job.pairs["rate_seed"] = 0.45
        job.metrics.update({"rate_minus_seed": 0.05, "rate_minus_seed_low": -0.25, "rate_minus_seed_high": 0.35})
    text = write([outcome], tmp_path / "out", name="tabular").read_text()
    rows = re.findall(r"^\| \d .*\| \+0\.050 \(-\.250 to \+\.350\) \| (.+) \|$", text, re.MULTILINE)
    assert len(rows) == 3
    for said in rows:
        assert re.fullmatch(r"undecided; about \d+ bases × \d+ references would decide", said)


@pytest.mark.parametrize("more", [{}, {"agreement": 0.9, "agreement_low": 0.85, "agreement_high": 0.9312}])
def test_a_table_of_every_extra_epoch_has_the_intervals_that_the_job_kept(tmp_path, more):
    """Jobs of earlier versions kept the rate's interval alone."""
    rates = [np.full((4, 1), 0.6) for _ in range(2)]
    write_job(tmp_path / "0", rates=rates[-1], curve=rates, experiment="continued_training")
    path = tmp_path / "0" / "result.json"
    result = json.loads(path.read_text())
    result["curve"] = [point | more for point in result["curve"]]
    path.write_text(json.dumps(result))
    heads, rows = curve(jobs([tmp_path]).jobs[0])
    cells = dict(zip(heads, (text for text, _ in rows[0])))
    assert cells["rate"] == "0.600 (.600–.600)"
    assert cells["agreement"] == ("0.900 (.850–.931)" if more else "—")


def test_continued_training_says_what_the_first_epoch_costs(tmp_path):
    rates = [np.full((4, 1), 0.6) + 0.001 * np.arange(4)[:, None] for _ in range(5)]
    write_job(tmp_path / "0", rates=rates[-1], curve=rates, experiment="continued_training")
    collected = jobs([tmp_path])
    some = [Series("COMPAS", "", line.points, line) for line in lines(collected)]
    said = answer(PARTS["continued_training"], some)
    assert "from 1 to 5 extra epochs" in said
    assert said.endswith("After the first extra epoch .600 still hold; before it, all do.")


def test_a_trend_that_bends_is_marked(tmp_path):
    (one,) = series_of(swept(tmp_path, "seed", -0.1))
    assert "not along a line" not in evidence([one])[0]
    assert "not along a line" in evidence([replace(one, p_bend=0.01)])[0]


def test_the_page_says_what_the_jobs_say(tmp_path):
    falling, flat = swept(tmp_path / "a", "seed", -0.1), swept(tmp_path / "b", "more_layers", 0.0)
    text = write([falling, flat], tmp_path / "out", name="tabular").read_text()
    said = {asked: answer.partition(":")[0] for asked, (answer, _) in answers_on(text).items()}
    assert said[PARTS["seed"].asks] == "Yes"
    assert said[PARTS["more_layers"].asks] == "Hardly"
    assert len(said) == 3  # the overall one, and those that have an outcome
    first, last = (falling.lines[0].points[index].rates.mean() for index in (0, -1))
    (row,) = re.findall(r"^\| Model parameters \| COMPAS \|.*$", text, re.MULTILINE)
    assert f"| .{1000 * first:.0f} at 2 | .{1000 * last:.0f} at 6 |" in row
    assert row.endswith("| falls, as expected |")
    for row in re.findall(r"^\|.*\|$", text, re.MULTILINE):
        assert not row.startswith("| |")
    pictures = re.findall(r"\((figures/.+?\.png)\)", text)
    assert len(pictures) == 2
    for picture in pictures:
        assert (tmp_path / "out" / picture).read_bytes().startswith(b"\x89PNG")
    assert "`python transfer.py`: 61 s, 3 training passes, 5 searches." in text
    assert text.count("<details>") == text.count("</details>") == 3


def test_answers_go_by_the_p_of_the_page(tmp_path):
    """Beside many other trends, a p of .03 is not a finding, and no answer may say otherwise."""
    outcome = swept(tmp_path, "seed", -0.1)
    line = judged(replace(outcome.lines[0], trend=replace(outcome.lines[0].trend, p=0.03)), 0.03)
    assert line.verdict.direction == "falls"
    weak = [replace(outcome, lines=[line])] * 3
    text = write(weak, tmp_path / "out", name="tabular").read_text()
    assert answers_on(text)[PARTS["seed"].asks][0].startswith("Undecided:")
    assert len(re.findall(r"\| 0\.09 \| \S+ \| undecided \|$", text, re.MULTILINE)) == 3


def test_the_answers_stand_before_every_figure(tmp_path):
    """A reader of the first screen has the answer to each question."""
    text = write([swept(tmp_path, "seed", -0.1)], tmp_path / "out", name="tabular").read_text()
    assert 0 < text.index(PARTS["seed"].asks) < text.index("![") < text.index("## How to read")
    assert text.index(PARTS["seed"].asks) < 2500  # characters: about one screen
    assert text.count("F. Hüttemann") == 1


def test_a_figure_names_its_series_and_its_axis(tmp_path):
    outcome = swept(tmp_path, "seed", -0.1, searches=("none", "possible"))
    names = {line.label: name for line, name in zip(outcome.lines, ("free", "possible only"))}
    figure = trend(outcome.jobs, outcome.lines, names=names, unit="hidden layers")
    (legend,) = figure.legends
    assert {"free", "possible only"} <= {text.get_text() for text in legend.get_texts()}
    assert figure.axes[0].get_xlabel() == "hidden layers"


def test_a_later_setting_replaces_an_earlier_one():
    assert combined(["replicates.bases=20", "a=1", "replicates.bases=3"]) == ["replicates.bases=3", "a=1"]


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
    assert line.startswith("cftransfer.report.study: python transfer.py -m experiment=continued_training dataset=moons")
    assert "model.layers=0: must be a whole number" in line


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
    assert "**Which images:** CIFAR-10 airplane: 180 of 360 train images (CIFAR-10 has 50,000)" in text
    table = text.partition("trends in one table</summary>")[2].partition("</details>")[0]
    assert re.findall(r"^\| ([A-Z].+?) \| (.+?) \| (.+?) \|", table, re.MULTILINE) == [
        (title, dataset, search)
        for title, dataset in (
            ("Continued training", "CIFAR-10 airplane"),
            ("Model parameters, tables beside images", "COMPAS"),
            ("Model parameters, tables beside images", "CIFAR-10 airplane"),
        )
        for search in ("free search", "possible inputs only")
    ]
    assert "examples" not in {path.name for path in (tmp_path / "docs").rglob("*")}  # no picture of anybody's data


@pytest.mark.long
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
    assert len(re.findall(r"^\| \w+ \| [a-z ]+ \| [\d.]+(?: \(\S+\))? \| [\d.]+ \|", beside, re.MULTILINE)) == 9


def test_the_table_of_findings_has_the_rates_of_the_jobs_in_percent(tmp_path):
    outcome = swept(tmp_path / "a", "seed", {"none": -0.1, "possible": 0.0}, searches=("none", "possible"))
    other = swept(tmp_path / "b", "more_layers", -0.1, searches=("none", "possible"))
    readme = tmp_path / "README.md"
    readme.write_text("Before.\n<!-- found: by make study -->\nold\n<!-- end of found -->\nAfter.\n")
    page = write([outcome, other], tmp_path / "out", name="tabular", readme=readme).read_text()
    rows = [row for row in readme.read_text().splitlines() if row.startswith("|")]
    assert all(row in page for row in rows)
    assert rows[0] == "| reference | COMPAS, free search | COMPAS, possible inputs only |"
    assert rows[3] == "| the same, random points at the same distance | 50 % | 50 % |"
    (first, last) = (line.points for line in (outcome.lines[0], other.lines[0]))
    at_4, at_6 = first[1], last[2]  # the seed part at 4 layers, the other at the last value
    for row, point in ((rows[2], at_4), (rows[4], at_6)):
        assert row.split(" | ")[1] == f"{100 * point.rates.mean():.0f} % ({100 * point.low:.0f}–{100 * point.high:.0f})"
    assert readme.read_text().startswith("Before.\n")
    assert readme.read_text().endswith("After.\n")


def test_a_readme_without_a_place_for_the_table_is_refused(tmp_path):
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(InputError, match=r"has no comments <!-- found: … -->"):
        write([swept(tmp_path / "a", "seed", 0.0)], tmp_path / "out", name="tabular", readme=tmp_path / "README.md")


def test_the_readme_has_the_table_of_the_study():
    readme, page = ((ROOT / name).read_text() for name in ("README.md", "docs/results/tabular.md"))
    block = re.search(r"<!-- found: .*? -->\n\n(.*?)\n<!-- end of found -->", readme, re.DOTALL)[1]
    assert block.strip() in page
