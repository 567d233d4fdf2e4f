"""A folder's earlier result is taken only if it is this job's, and whole."""

import json
from types import SimpleNamespace

import pytest
from conftest import SMALL, composed
from omegaconf import OmegaConf

from cftransfer.jobs import resume

METRIC = "test_accuracy"  # train.py's, whose result has the fewest parts
CFG = composed(*SMALL)


@pytest.fixture
def job(tmp_path, monkeypatch):
    """The folder of a job with a result."""
    (tmp_path / "curves.parquet").write_bytes(b"x")
    monkeypatch.setattr(
        resume.HydraConfig, "get", lambda: SimpleNamespace(runtime=SimpleNamespace(output_dir=tmp_path))
    )
    good = {
        "config": OmegaConf.to_container(CFG, resolve=True),
        "choices": {},
        "overrides": [],
        "versions": {},
        "metrics": {METRIC: 0.5},
        "git": None,
        "data": {},
        "files": {"curves.parquet": resume.digest(b"x")},
    }
    (tmp_path / "result.json").write_text(json.dumps(good))
    assert resume.value(CFG, METRIC) == 0.5
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
    assert resume.value(CFG, METRIC) is None
    assert not path.exists()
    assert "is not one of ours" in caplog.text


def test_a_result_that_is_no_file_of_the_folder_is_none(job, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for name in ("curves.parquet", "result.json"):
        moved = (job / name).replace(elsewhere / name)
        (job / name).symlink_to(moved)
        assert resume.value(CFG, METRIC) is None
        (job / "result-damaged.json").replace(job / "result.json")
        (job / name).unlink()
        moved.rename(job / name)
        assert resume.value(CFG, METRIC) == 0.5


def test_a_result_that_was_deleted_is_made_again(job):
    """Also where a damaged one, of whose tables the next had the same, lies beside it."""
    result = (job / "result.json").read_bytes()
    (job / "curves.parquet").write_bytes(b"")
    assert resume.value(CFG, METRIC) is None
    (job / "curves.parquet").write_bytes(b"x")
    (job / "result.json").write_bytes(result)
    assert resume.value(CFG, METRIC) == 0.5
    (job / "result.json").unlink()
    assert resume.value(CFG, METRIC) is None


def test_a_training_that_diverged_has_a_result(job):
    result = json.loads((job / "result.json").read_text())
    result["metrics"] |= {"train_loss": 2.7e33, "test_loss": 1e300}
    (job / "result.json").write_text(json.dumps(result))
    assert resume.value(CFG, METRIC) == 0.5


def test_a_result_is_taken_back_once_its_settings_are(job, caplog):
    other = composed(*SMALL, "model.width=5")
    assert resume.value(other, METRIC) is None
    assert "is of other settings; it is kept as result-replaced.json" in caplog.text
    assert resume.value(other, METRIC) is None  # nor is it the other's now
    assert not (job / "result.json").exists()
    assert resume.value(CFG, METRIC) == 0.5  # what came between has failed, as with a mistyped value
    assert sorted(path.name for path in job.iterdir()) == ["curves.parquet", "result.json"]


def test_a_result_whose_tables_another_has_written_over_is_not_taken_back(job):
    assert resume.value(composed(*SMALL, "model.width=5"), METRIC) is None
    (job / "curves.parquet").write_bytes(b"y")
    assert resume.value(CFG, METRIC) is None
    assert not (job / "result.json").exists()
