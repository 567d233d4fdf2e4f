"""The README's commands, as a user types them."""

import json
import re
import shlex

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, SMALL, results, run_command
from offline_run import read

from cftransfer.measuring import rate_intervals, rates
from cftransfer.measuring.counts import count

MAIN = "python transfer.py -m model.layers=2,4,8"
README = (ROOT / "README.md").read_text()
START = (ROOT / "docs" / "start.md").read_text()
DOCS = (ROOT / "docs" / "reference" / "output.md").read_text()
ALL = "python transfer.py sweep=changes"


@pytest.fixture(scope="module")
def main_job(tmp_path_factory):
    """The README's first command, twice in the same folder."""
    assert MAIN in README
    folder = tmp_path_factory.mktemp("main")
    return folder, [run_command(folder, *MAIN.split()[1:]) for _ in range(2)]


def test_the_main_job_prints_its_table_and_its_report(main_job):
    folder, (done, _) = main_job
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["model.layers", "2", "4", "8"]
    assert re.match(r"trend: undecided: -0\.0\d+ \(95 % interval .*; about \d+ bases × \d+ references would", lines[4])
    place = folder / re.fullmatch(r"report: (.*)/report.html", lines[5])[1]
    assert {path.name for path in place.iterdir()} >= {"report.html", "trend.png", "trend.svg", "0", "1", "2"}


@pytest.mark.parametrize("page", [README, START], ids=["README.md", "start.md"])
def test_the_main_job_gives_what_the_readme_says(main_job, page):
    """Numbers to two digits: another processor may round a row or two to the other side."""
    _, (done, _) = main_job
    promised = [line.split() for line in re.search(r"```\n( model.layers.*?)```", page, re.DOTALL)[1].splitlines()]
    printed = [line.split() for line in done.stdout.splitlines()]
    assert promised[0] == printed[0]
    for said, got in zip(promised[1:4], printed[1:4]):
        numbers = [[float(number) for number in re.findall(r"\d*\.?\d+", " ".join(row))] for row in (said, got)]
        np.testing.assert_allclose(*numbers, atol=0.02)


def test_repeated_it_trains_and_searches_nothing(main_job):
    _, (first, again) = main_job
    assert again.returncode == 0
    assert len(re.findall(r"training \d+ model", first.stderr)) == 6
    assert first.stderr.count("searched ") == 15
    assert not re.search(r"training \d+ model", again.stderr)
    assert "searched " not in again.stderr
    assert again.stdout.splitlines()[:5] == first.stdout.splitlines()[:5]


def test_result_json_has_what_the_docs_promise(main_job):
    folder, _ = main_job
    documented = set(re.findall(r"`(\w+)`", DOCS))
    for result in results(folder):
        assert set(result["metrics"]) <= documented
        assert set(result["metrics"]) >= {
            "rate", "rate_low", "rate_high", "found", "agreement", "rate_conditional", "rate_end_to_end", "rate_to_0",
            "rate_to_1", "base_accuracy", "reference_accuracy", "distance_l2", "pairs",
        }  # fmt: skip
        assert set(result) == {
            "config", "choices", "overrides", "metrics", "data", "counterfactuals", "versions", "git", "sweep", "wandb",
            "files", "notes", "seconds", "timed",
        }  # fmt: skip
        tables = {path.name for path in folder.rglob("*.parquet")}
        assert {name.partition(".")[0] for name in tables} == {
            "counterfactuals", "transfers", "pairs", "survivorship", "curves", "examples",
            "extremes", "holds",
        }  # fmt: skip
        assert all(f"`{name}`" in DOCS for name in tables)
        assert result["metrics"]["pairs"] == 50
        assert result["metrics"]["found"] >= 0.95
        assert 0.6 < result["metrics"]["base_accuracy"] < 0.75


def test_every_rate_can_be_recomputed_from_the_tables(main_job):
    folder, _ = main_job
    for path in folder.rglob("result.json"):
        metrics = json.loads(path.read_text())["metrics"]
        transfers, found = (
            pd.read_parquet(path.parent / "transfers.parquet"),
            pd.read_parquet(path.parent / "counterfactuals.parquet"),
        )
        assert transfers.groupby(["base", "reference"]).transferred.mean().mean() == pytest.approx(
            metrics["rate"], abs=1e-12
        )
        assert found.found.mean() == metrics["found"]
        counts = count(transfers)
        again = (
            rates.rates(found, counts)
            | rates.before_projection(found, counts)
            | rate_intervals.intervals(found, counts)
        )
        assert again == {name: metrics[name] for name in again}
        for name in ("control_random", "control_nearest", "control_prior"):
            assert transfers.groupby(["base", "reference"])[name].mean().mean() == pytest.approx(metrics[name])
        difference = np.stack(found.counterfactual).astype(float) - np.stack(found.x)
        np.testing.assert_allclose(found.distance_l2, np.linalg.norm(difference, axis=1), rtol=1e-12)


def test_the_offline_wandb_run_holds_the_metrics_of_result_json(main_job):
    folder, _ = main_job
    groups = set()
    for path in folder.rglob("result.json"):
        result, run = json.loads(path.read_text()), read(path.parent)
        groups.add(run["group"])
        assert (run["id"], run["exit_code"], run["job_type"]) == (result["wandb"], 0, "seed")
        assert {name: run["summary"].get(name) for name in result["metrics"]} == result["metrics"]
        assert run["config"]["model"] == result["config"]["model"]
        assert run["config"]["counterfactual"]["confidence"] == 0.5
        assert run["config"]["code"] == result["git"]
        assert run["summary"]["rates_by_pair.nrows"] == result["metrics"]["pairs"]
        caps = pd.read_parquet(path.parent / "survivorship.parquet")
        assert run["summary"]["survivorship.nrows"] == len(caps)
        assert run["summary"]["examples.nrows"] == len(pd.read_parquet(path.parent / "examples.parquet"))
    assert len(groups) == 2  # one per sweep


@pytest.mark.slow
def test_a_single_pair_is_the_papers_and_a_single_job_has_a_report(tmp_path):
    done = run_command(tmp_path, "transfer.py", *SMALL, "replicates.bases=1", "replicates.references=1")
    assert done.returncode == 0, done.stderr
    (result,) = results(tmp_path)
    assert result["metrics"]["pairs"] == 1
    assert "Wilson" in result["metrics"]["interval"]
    (page,) = tmp_path.rglob("report.html")
    assert page.parent == next(tmp_path.rglob("result.json")).parent
    assert done.stdout.splitlines()[-1] == f"report: {page.relative_to(tmp_path)}"


@pytest.mark.slow
def test_a_trained_population_is_what_transfer_uses(tmp_path):
    words = [word for word in SMALL if not word.startswith(("replicates", "samples"))]
    done = run_command(tmp_path, "train.py", *words, "population.size=2")
    assert done.returncode == 0, done.stderr
    (result,) = results(tmp_path)
    assert result["metrics"]["models"] == 2
    run = read(next(tmp_path.rglob("result.json")).parent)
    assert [row["epoch"] for row in run["history"] if "epoch" in row] == [1, 2]
    done = run_command(tmp_path, "transfer.py", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "training 2 models" not in done.stderr


CHANGES = [
    "seed", "bootstrap", "leave_out", "growth", "label_noise", "optimizer", "weight_noise", "dropout_models",
    "more_layers", "more_features", "continued_training",
]  # fmt: skip


@pytest.fixture(scope="module")
def every_experiment(tmp_path_factory):
    """The command of docs/guides/changes.md for all kinds of change, on small models."""
    assert ALL in (ROOT / "docs" / "guides" / "changes.md").read_text()
    folder = tmp_path_factory.mktemp("every")
    small = [word for word in SMALL if not word.startswith("training.epochs")] + ["training.epochs=8"]
    return folder, run_command(folder, *shlex.split(ALL)[1:], *small)


@pytest.mark.slow
def test_all_kinds_of_change_stand_in_one_report_on_one_axis(every_experiment):
    folder, done = every_experiment
    assert done.returncode == 0, done.stderr
    assert {result["choices"]["experiment"] for result in results(folder)} == set(CHANGES)
    assert [line.split()[0] for line in done.stdout.splitlines()[1 : len(CHANGES) + 1]] == CHANGES
    (page,) = folder.rglob("report.html")
    text = page.read_text()
    assert "models changed in one way each (seed, bootstrap, " in text
    assert "python transfer.py -m sweep=changes" in text
    assert text.count("<svg") == 6  # the first one is there for wide and for narrow screens
    assert (page.parent / "changes.png").exists()


@pytest.mark.slow
def test_a_curve_is_in_result_json_and_in_the_history_of_wandb(every_experiment):
    folder, _ = every_experiment
    (path,) = [p for p in folder.rglob("result.json") if "curve" in json.loads(p.read_text())]
    result, run = json.loads(path.read_text()), read(path.parent)
    curve = result["curve"]
    assert [point["extra_epochs"] for point in curve] == list(range(1, 21))
    assert set(curve[0]) == {
        "extra_epochs", "rate", "rate_low", "rate_high", "rate_conditional", "rate_conditional_low",
        "rate_conditional_high", "agreement", "agreement_low", "agreement_high", "found", "found_low", "found_high",
        "reference_accuracy",
    }  # fmt: skip
    logged = [row for row in run["history"] if "extra_epochs" in row]
    assert [row["_step"] for row in logged] == [row["extra_epochs"] for row in logged] == list(range(1, 21))
    assert [row["rate"] for row in logged] == [point["rate"] for point in curve]
    for name in set(curve[0]) - {"extra_epochs"}:
        assert curve[-1][name] == result["metrics"][name]
        assert run["summary"][name] == result["metrics"][name]


@pytest.mark.slow
def test_a_curve_of_nothing_found_is_null(tmp_path):
    words = ["experiment=continued_training", "extra_epochs=2", "counterfactual.iterations=0", "wandb=disabled"]
    done = run_command(tmp_path, "transfer.py", *SMALL, *words)
    assert done.returncode == 0, done.stderr
    (result,) = results(tmp_path)
    assert [point["rate"] for point in result["curve"]] == [None, None]
    assert list(tmp_path.rglob("report.html"))
