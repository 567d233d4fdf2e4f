"""A folder's earlier result is taken only if it is this job's, and whole."""

import json
from types import SimpleNamespace

import pytest
from conftest import SMALL, composed
from omegaconf import OmegaConf

from cftransfer import finished


@pytest.mark.parametrize(
    "change",
    [
        {"config": []},
        {"metrics": {"rate": "abc"}},
        {"metrics": {}},
        {"git": "x"},
        {"git": {"commit": None}},
        {"files": ["pairs.parquet"]},
        {"data": None},
        "{",
        "[" * 100_000,
    ],
    ids=lambda change: str(change)[:30],
)
def test_an_odd_result_is_none(tmp_path, monkeypatch, caplog, change):
    cfg, path = composed(*SMALL), tmp_path / "result.json"
    (tmp_path / "pairs.parquet").write_bytes(b"x")
    monkeypatch.setattr(
        finished.HydraConfig, "get", lambda: SimpleNamespace(runtime=SimpleNamespace(output_dir=tmp_path))
    )
    good = {
        "config": OmegaConf.to_container(cfg, resolve=True),
        "metrics": {"rate": 0.5},
        "git": None,
        "data": {},
        "files": {"pairs.parquet": finished.digest(b"x")},
    }
    path.write_text(json.dumps(good))
    assert finished.value(cfg, "rate") == 0.5
    path.write_text(change if isinstance(change, str) else json.dumps(good | change))
    known = change == {"git": {"commit": None}}  # not odd enough to do it again
    assert (finished.value(cfg, "rate") is None) != known
    assert path.exists() == known
    assert ("is not one of ours" in caplog.text) != known
