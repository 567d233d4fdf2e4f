"""A folder's earlier result is taken only if it is this job's, and whole."""

import json
import math

import pytest
from conftest import SMALL, composed
from omegaconf import OmegaConf

from cftransfer.jobs.provenance import RunningJob
from cftransfer.jobs.resume import earlier_metric
from cftransfer.jobs.schema import digest

METRIC = "test_accuracy"  # train.py's result has the fewest parts
CONFIG = OmegaConf.to_container(composed(*SMALL), resolve=True)
OTHER = CONFIG | {"model": CONFIG["model"] | {"width": 5}}


def metric_of(folder, *, config=CONFIG, version=None):
    return earlier_metric(RunningJob(folder, config, {}, []), METRIC, version=version)


@pytest.fixture
def job(tmp_path):
    """The folder of a job with a result."""
    (tmp_path / "curves.parquet").write_bytes(b"x")
    good = {
        "config": CONFIG,
        "choices": {},
        "overrides": [],
        "versions": {},
        "metrics": {METRIC: 0.5},
        "git": None,
        "data": {"version": "", "from_files": False},
        "files": {"curves.parquet": digest(b"x")},
    }
    (tmp_path / "result.json").write_text(json.dumps(good))
    assert metric_of(tmp_path) == 0.5
    return tmp_path


@pytest.mark.parametrize(
    "change",
    [
        {"config": []},
        {"metrics": {METRIC: "abc"}},
        {"metrics": {METRIC: 10**400}},
        {"metrics": {}},
        {"versions": None},
        {"git": "x"},
        {"git": {"commit": None}},
        {"files": ["pairs.parquet"]},
        {"files": {}},
        {"data": None},
        "{",
        "[" * 100_000,
    ],
    ids=lambda change: str(change)[:30],
)
def test_an_odd_result_is_none(job, caplog, change):
    path = job / "result.json"
    good = json.loads(path.read_text())
    path.write_text(change if isinstance(change, str) else json.dumps(good | change))
    assert metric_of(job) is None
    assert not path.exists()
    assert "is invalid" in caplog.text


def test_a_result_that_is_no_file_of_the_folder_is_none(job, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in ("curves.parquet", "result.json"):
        moved = (job / name).replace(elsewhere / name)
        (job / name).symlink_to(moved)
        assert metric_of(job) is None
        (job / "result-damaged.json").replace(job / "result.json")
        (job / name).unlink()
        moved.rename(job / name)
        assert metric_of(job) == 0.5


def test_a_result_that_was_deleted_is_made_again(job):
    """Also if a damaged result with the same tables lies beside it."""
    result = (job / "result.json").read_bytes()
    (job / "curves.parquet").write_bytes(b"")
    assert metric_of(job) is None
    (job / "curves.parquet").write_bytes(b"x")
    (job / "result.json").write_bytes(result)
    assert metric_of(job) == 0.5
    (job / "result.json").unlink()
    assert metric_of(job) is None


def test_a_training_that_diverged_has_a_result(job):
    result = json.loads((job / "result.json").read_text())
    result["metrics"] |= {"train_loss": 2.7e33, "test_loss": 1e300}
    (job / "result.json").write_text(json.dumps(result))
    assert metric_of(job) == 0.5


def test_a_result_is_taken_back_once_its_settings_are(job, caplog):
    assert metric_of(job, config=OTHER) is None
    assert "is of other settings; it is kept as result-replaced.json" in caplog.text
    assert metric_of(job, config=OTHER) is None  # nor is it the other's now
    assert not (job / "result.json").exists()
    assert metric_of(job) == 0.5  # the job in between has failed, as with a mistyped value
    assert sorted(path.name for path in job.iterdir()) == ["curves.parquet", "result.json"]


def test_a_result_whose_tables_another_has_written_over_is_not_taken_back(job):
    assert metric_of(job, config=OTHER) is None
    (job / "curves.parquet").write_bytes(b"y")
    assert metric_of(job) is None
    assert not (job / "result.json").exists()


def test_a_result_of_data_from_files_is_taken_once_these_have_been_read(job, caplog):
    """They may have been replaced since: with other data, it is kept for the day when the old ones are back."""
    result = json.loads((job / "result.json").read_text())
    (job / "result.json").write_text(json.dumps(result | {"data": {"version": "abc", "from_files": True}}))
    assert metric_of(job) is None
    assert (job / "result.json").exists()
    assert metric_of(job, version="abc") == 0.5
    assert metric_of(job, version="xyz") is None
    assert "is of other data; it is kept as result-replaced.json" in caplog.text
    assert metric_of(job, version="abc") == 0.5


def test_a_share_of_nothing_is_no_number_and_yet_a_result(job):
    result = json.loads((job / "result.json").read_text())
    (job / "result.json").write_text(json.dumps(result | {"metrics": {METRIC: None}}))
    assert math.isnan(metric_of(job))
