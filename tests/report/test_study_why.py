"""The page on why counterfactuals transfer: every number on it is one that the jobs' tables give."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from test_collect import write_job

from cftransfer.jobs.read import long_tables
from cftransfer.measuring.answers_by_base import answers_by_base
from cftransfer.measuring.equal_margin import at_equal_margin
from cftransfer.measuring.interval_ends import interval_ends
from cftransfer.measuring.rate_curve import rate_curve
from cftransfer.measuring.transfer_probits import effects, transfer_probits
from cftransfer.report.collect import jobs
from cftransfer.report.study import TABULAR_PARTS, write
from cftransfer.report.study_running import Outcome
from cftransfer.report.study_why import write_why
from cftransfer.report.why_words import cell, difference_cell

PARTS = {part.name: part for part in TABULAR_PARTS}
BASES, REFERENCES, FACTUALS = 4, 6, 150


def put_tables(folder, *, seed, by_target, by_margin=1.0, beyond=0.0, ages=()):
    """The long tables of a job in which a probit decides; by_target: its standard deviation over pairs."""
    rng = np.random.default_rng(seed)
    counterfactuals, transfers = [], []
    for base in range(BASES):
        columns = {
            "factual": range(FACTUALS),
            "target": rng.integers(0, 2, FACTUALS),
            "margin": beyond + rng.random(FACTUALS),
            "distance_l2": rng.exponential(size=FACTUALS),
            "knn_distance": rng.exponential(size=FACTUALS),
        }
        rows = pd.DataFrame(columns).assign(base=base, base_seed=base, found=True, status="found")
        counterfactuals.append(rows)
        for reference in [base] if ages else range(REFERENCES):
            for age in ages or [None]:
                index = by_margin * rows.margin + by_target * rng.normal() * (rows.target - 0.5)
                said = index + rng.normal(size=FACTUALS) > 0.5
                transfers.append(
                    rows[["base", "factual", "found"]].assign(
                        reference=reference, agreement=rng.random(FACTUALS) < 0.9, transferred=said,
                        **({} if age is None else {"extra_epochs": age}),
                    )
                )  # fmt: skip
    pd.concat(counterfactuals).to_parquet(folder / "counterfactuals.parquet")
    pd.concat(transfers).astype({"transferred": "boolean"}).to_parquet(folder / "transfers.parquet")


def outcome(folder, name, settings, **tables):
    """A part of a study with jobs of these settings: the words typed, by the keywords of `write_job`."""
    rates = np.full((BASES, REFERENCES), 0.5)
    for job, (typed, how) in enumerate(settings.items()):
        write_job(
            folder / str(job), rates=rates, overrides=[typed], samples=FACTUALS, dataset="compas",
            replicates={"bases": BASES, "references": REFERENCES}, **how,
        )  # fmt: skip
        put_tables(folder / str(job), seed=job, **tables)
    return Outcome(
        part=PARTS[name], dataset="compas", command="python transfer.py", jobs=jobs([folder]), lines=[],
        seconds=61.4, passes=3, searches=5,
    )  # fmt: skip


def searched(**more):
    return {"counterfactual": {"constraints": "none", **more}}


@pytest.fixture
def outcomes(tmp_path):
    depths = {f"model.layers={layers}": {"model__layers": layers, **searched()} for layers in (2, 4)}
    sure = {f"counterfactual.confidence={p}": searched(confidence=p) for p in (0.8, 0.9)}
    return [
        outcome(tmp_path / "seed", "seed", depths, by_target=1.5),
        outcome(tmp_path / "confidence", "confidence", sure, by_target=1.5, beyond=5),
    ]


def of_seed(outcomes, layers):
    return next(job for job in outcomes[0].jobs.jobs if job.settings["model.layers"] == layers)


def test_the_page_says_what_the_tables_say(tmp_path, outcomes):
    write_why(outcomes, tmp_path / "out" / "why.md")
    text = (tmp_path / "out" / "why.md").read_text()
    seed, other = (answers_by_base(*long_tables(of_seed(outcomes, layers).folder)) for layers in (4, 2))
    told = {effect.name: effect for effect in effects(transfer_probits(seed))}
    for name, effect in told.items():
        row = re.search(rf"^\| {name} \| (.+) \|$", text, re.MULTILINE)[1].split(" | ")
        assert [row[1], row[4], row[5]] == [
            difference_cell(effect.coefficient), cell(effect.alone), cell(effect.beyond),
        ]  # fmt: skip
    apart = at_equal_margin(other, seed, same_bases=False)
    row = re.findall(r"^\| another seed, 2 hidden layers \| (.+) \|$", text, re.MULTILINE)[-1].split(" | ")
    assert row[:2] == [cell(apart.rate), difference_cell(apart.difference)]
    assert row[3:5] == [cell(apart.at_margins), difference_cell(apart.remains)]
    assert "| 0.9 confidence of the base | " in text
    assert "| no common margins | — |" in text
    (picture,) = re.findall(r"\((figures/.+?\.png)\)", text)
    assert (tmp_path / "out" / picture).read_bytes().startswith(b"\x89PNG")
    for row in re.findall(r"^\|.*\|$", text, re.MULTILINE):
        assert "nan" not in row


def test_the_first_three_sentences_answer(tmp_path, outcomes):
    write_why(outcomes, tmp_path / "why.md")
    margin, most, remains = re.findall(r"^- (\*\*.+)$", (tmp_path / "why.md").read_text(), re.MULTILINE)
    (low, high) = re.findall(r"margins(?: in the most confident search)?, (\S+) \(", margin)
    assert float(low) < 0.7 < float(high)
    usual = rate_curve(answers_by_base(*long_tables(of_seed(outcomes, 4).folder))).iloc[0]  # not another depth's
    ends = "–".join(end.removeprefix("0") for end in interval_ends(usual.rate_low, usual.rate_high, 2))
    assert f"smallest margins, {f'{usual.rate:.2f}'.removeprefix('0')} ({ends}) hold on another seed" in margin
    assert "the target class matters most: without it, a probit of transfer explains ." in most
    assert "the class that transfers better changes from pair to pair" in most
    assert "the rates of 0 jobs are shown to differ from the rate of another seed, 1 jobs compared." in remains
    assert "2 further jobs have too few margins in common with it." in remains


def test_where_the_margin_explains_most_the_page_says_so(tmp_path):
    some = outcome(tmp_path / "seed", "seed", {"seed=0": searched()}, by_target=0.1, by_margin=4.0)
    write_why([some], tmp_path / "why.md")
    (most,) = re.findall(r"^- (\*\*Within.+)$", (tmp_path / "why.md").read_text(), re.MULTILINE)
    assert re.search(
        r", the base's margin at x′ matters most: without it, a probit of transfer explains \.\d\d \(\S+\) less", most
    )


def test_jobs_without_long_tables_are_named_and_make_no_page_alone(tmp_path, outcomes):
    lost = of_seed(outcomes, 2).folder
    (lost / "transfers.parquet").unlink()
    write_why(outcomes, tmp_path / "why.md")
    assert (
        "another seed, 2 hidden layers (compas)"
        in (tmp_path / "why.md").read_text().partition("Left out")[2].partition("\n")[0]
    )
    for job in outcomes[0].jobs.jobs:
        (job.folder / "counterfactuals.parquet").unlink()
    write_why(outcomes, tmp_path / "none.md")
    assert not (tmp_path / "none.md").exists()


def test_constraints_are_told_apart_and_continued_training_counts_at_its_last_age(tmp_path, outcomes):
    other = {"counterfactual.constraints=possible": {"counterfactual": {"constraints": "possible"}}}
    possible = outcome(tmp_path / "possible", "seed", other, by_target=1.5)
    ages = outcome(tmp_path / "ages", "seed", {"seed=0": {**searched(), "extra_epochs": 2}}, by_target=1.5, ages=(1, 2))
    (job,) = ages.jobs.jobs
    _, last = long_tables(job.folder)
    assert set(last.extra_epochs) == {2}
    write_why([*outcomes, possible, replace(ages, part=PARTS["continued_training"])], tmp_path / "why.md")
    text = (tmp_path / "why.md").read_text()
    assert "![rate against margin and distance: COMPAS, free search](figures/why-compas-none.png)" in text
    assert "![rate against margin and distance: COMPAS, possible inputs only](figures/why-compas-possible.png)" in text
    assert re.search(r"^\| 2 extra epochs \| .* \| 4 of 4 \|$", text, re.MULTILINE)


def test_the_study_on_tables_writes_both_pages(tmp_path, outcomes):
    page = write(outcomes, tmp_path / "out", name="tabular")
    assert page.name == "tabular.md"
    assert (tmp_path / "out" / "why.md").exists()
