"""The commands as a user runs them: the README's, twice, killed, two at once, and with mistakes."""

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, environment, results, run_command, table
from offline_run import read

MAIN = "python transfer.py -m model.layers=2,4,8"
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.partition("#")[0].split()
    for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("python ")
]
SMALL = [
    "dataset=moons",
    "training.epochs=2",
    "model.layers=1",
    "replicates.bases=2",
    "replicates.references=3",
    "samples=40",
]


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
    assert lines[4].startswith("trend: slope")
    place = folder / re.fullmatch(r"report: (.*)/report.html", lines[5])[1]
    assert {path.name for path in place.iterdir()} >= {"report.html", "trend.png", "trend.svg", "0", "1", "2"}


def test_the_main_job_gives_what_the_readme_says(main_job):
    """Numbers to two digits: another processor may round a row or two to the other side."""
    _, (done, _) = main_job
    promised = [line.split() for line in re.search(r"```\n( model.layers.*?)```", README, re.DOTALL)[1].splitlines()]
    printed = [line.split() for line in done.stdout.splitlines()]
    assert promised[0] == printed[0]
    for said, got in zip(promised[1:4], printed[1:4]):
        numbers = [[float(part) for word in row for part in word.split("–")] for row in (said, got)]
        np.testing.assert_allclose(*numbers, atol=0.02)


def test_repeated_it_trains_and_searches_nothing(main_job):
    _, (first, again) = main_job
    assert again.returncode == 0
    assert first.stderr.count("training ") == 6
    assert first.stderr.count("searched ") == 15
    assert "training " not in again.stderr
    assert "searched " not in again.stderr
    assert again.stdout.splitlines()[:5] == first.stdout.splitlines()[:5]


def test_result_json_has_what_the_docs_promise(main_job):
    folder, _ = main_job
    documented = set(re.findall(r"`(\w+)`", (ROOT / "docs" / "output.md").read_text()))
    for result in results(folder):
        assert set(result["metrics"]) <= documented
        assert set(result["metrics"]) >= {
            "rate", "rate_low", "rate_high", "found", "agreement", "rate_conditional", "rate_end_to_end", "rate_to_0",
            "rate_to_1", "base_accuracy", "reference_accuracy", "distance_l2", "pairs",
        }  # fmt: skip
        assert set(result) == {"config", "choices", "overrides", "metrics", "versions", "git", "wandb"}
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
        difference = np.stack(found.counterfactual).astype(float) - np.stack(found.x)
        np.testing.assert_allclose(found.distance_l2, np.linalg.norm(difference, axis=1), rtol=1e-12)


def test_the_offline_wandb_run_holds_the_metrics_of_result_json(main_job):
    folder, _ = main_job
    groups = set()
    for path in folder.rglob("result.json"):
        result, run = json.loads(path.read_text()), read(path.parent)
        groups.add(run["group"])
        assert (run["id"], run["exit_code"], run["job_type"]) == (result["wandb"], 0, "transfer")
        assert {name: run["summary"].get(name) for name in result["metrics"]} == result["metrics"]
        assert run["config"]["model.layers"] == result["config"]["model"]["layers"]
        assert run["config"]["counterfactual.confidence"] == 0.5
        assert run["summary"]["pairs.nrows"] == 50 if "pairs.nrows" in run["summary"] else run["summary"]["pairs"] == 50
    assert len(groups) == 2  # one per sweep


@pytest.mark.parametrize("command", [c for c in COMMANDS if " ".join(c) != MAIN], ids=" ".join)
def test_every_command_of_the_readme_runs(command, main_job, tmp_path):
    folder, _ = main_job  # warm: its store has most of the models
    tiny = ["debug=fast", f"paths.store={tmp_path}"] if "-m" in command and "cftransfer.report" not in command else []
    done = run_command(folder, *command[1:], *tiny)
    assert done.returncode == 0, done.stderr


def test_a_single_pair_is_the_papers(tmp_path):
    done = run_command(tmp_path, "transfer.py", *SMALL, "replicates.bases=1", "replicates.references=1")
    assert done.returncode == 0, done.stderr
    (result,) = results(tmp_path)
    assert result["metrics"]["pairs"] == 1
    assert "Wilson" in result["metrics"]["interval"]


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


@pytest.fixture(scope="module")
def good_job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    assert run_command(folder, "transfer.py", *SMALL).returncode == 0
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.layres=4"], "model.layres: no such key"),
        (["model.layers=0"], "model.layers=0: takes a whole number ≥ 1"),
        (["dataset=nope"], "dataset=nope: no such option; there are: compas, moons"),
        (["counterfactual.iterations=-1"], "counterfactual.iterations=-1: takes a whole number ≥ 0"),
        (["+reference.model.layres=8"], "reference.model.layres: no such key"),
        (["reference.seeds=base"], "reference.seeds=base: without a patch"),
        (["paths.store=/dev/null"], "paths.store=/dev/null: cannot be used"),
        (["wandb=online", "wandb.project=x"], "wandb.mode=online"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_loses_nothing(good_job, words, said):
    before = {path: path.stat().st_mtime_ns for path in (good_job / "store").rglob("*.*")}
    done = run_command(
        good_job,
        "transfer.py",
        *[word for word in SMALL if word.partition("=")[0] not in {w.partition("=")[0] for w in words}],
        *words,
        WANDB_BASE_URL="http://127.0.0.1:9",
        HOME=str(good_job),
    )
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert said in line
    assert {path: path.stat().st_mtime_ns for path in (good_job / "store").rglob("*.*")} == before


def test_a_truncated_artifact_is_named_and_can_be_made_again(good_job):
    path = min((good_job / "store" / "models").glob("*.safetensors"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    done = run_command(good_job, "transfer.py", *SMALL)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert f"store/models/{path.name}: damaged" in line
    path.unlink()
    assert run_command(good_job, "transfer.py", *SMALL).returncode == 0
    assert path.exists()
    first, *_, last = results(good_job)
    assert last["metrics"] == pytest.approx(first["metrics"])


def test_a_sweep_goes_on_past_a_failing_job_and_names_it(tmp_path):
    small = [word for word in SMALL if not word.startswith("model.layers")]
    done = run_command(tmp_path, "transfer.py", "-m", *small, "model.layers=0,1,2")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "transfer.py: model.layers=0: takes a whole number ≥ 1"
    assert "Traceback" not in done.stderr
    assert [result["config"]["model"]["layers"] for result in results(tmp_path)] == [1, 2]
    assert re.search(r"failed: multirun/\S+/0 \(.*model.layers=0\)", done.stdout)
    page = next(tmp_path.rglob("report.html")).read_text()
    assert "1 job without a result" in page
    assert "model.layers=0" in page


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dataset=nope,moons"], "dataset=nope: no such option; there are: compas, moons"),
        (["model.layres=4,8"], "model.layres: no such key"),
        (["model.layers=0,-1"], "model.layers=0: takes a whole number"),
    ],
    ids=["option", "key", "value"],
)
def test_a_sweep_without_any_result_ends_with_its_reason(tmp_path, words, said):
    done = run_command(tmp_path, "transfer.py", "-m", *words)
    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not results(tmp_path)


def test_a_result_does_not_outlive_a_failed_try_in_its_folder(tmp_path):
    place = f"hydra.run.dir={tmp_path}/job"
    assert run_command(tmp_path, "transfer.py", *SMALL, place).returncode == 0
    small = [word for word in SMALL if not word.startswith("model.layers")]
    assert run_command(tmp_path, "transfer.py", *small, place, "model.layers=0").returncode == 1
    assert not results(tmp_path)


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
