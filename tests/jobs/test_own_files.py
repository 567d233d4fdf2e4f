"""A job and a report replace the files that they have written, and never a user's own of the same names."""

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL, composed
from omegaconf import OmegaConf

from cftransfer.errors import InputError
from cftransfer.jobs.own_files import MARK, claim
from cftransfer.jobs.provenance import RunningJob
from cftransfer.jobs.resume import earlier_metric
from cftransfer.jobs.write import JobResult, write
from cftransfer.report import place

CONFIG = OmegaConf.to_container(composed(*SMALL), resolve=True)
METRIC = "test_accuracy"


def finished(folder, *, pictures=("0-transferred", "1-transferred"), config=CONFIG):
    """Leave the files of a job in a folder, without its science."""
    job = RunningJob(folder, config, {}, [])
    claim(folder)
    earlier_metric(job, METRIC)
    made = {name: np.zeros((2, 2, 3), dtype=np.uint8) for name in pictures}
    tables = {"curves": pd.DataFrame({"epoch": [1]})}
    write(job, JobResult(metrics={METRIC: 0.5}, tables=tables, pictures=made))


@pytest.mark.parametrize("name", ["pairs.parquet", "examples/mine.png", "features.yaml", "result.json"])
def test_a_folder_with_a_file_of_a_users_own_is_refused_and_left_as_it_is(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError) as caught:
        finished(tmp_path)
    assert str(caught.value).startswith(
        f"{tmp_path / name}: cftransfer has not written this file, and would replace it; "
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name]
    assert (tmp_path / name).read_text() == "mine"


def test_another_job_in_the_folder_removes_the_files_of_the_first_and_no_others(tmp_path):
    finished(tmp_path)
    (tmp_path / "examples" / "mine.png").write_text("mine")
    finished(tmp_path, pictures=["0-transferred"], config=CONFIG | {"seed": 7})
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {
        "result.json", "result-replaced.json", "curves.parquet", "examples/0-transferred.png", "examples/mine.png",
        MARK.as_posix(),
    }  # fmt: skip


def test_a_job_that_was_killed_before_its_result_goes_on_in_its_folder(tmp_path):
    finished(tmp_path)
    (tmp_path / "result.json").unlink()
    finished(tmp_path)
    assert (tmp_path / "result.json").exists()


@pytest.mark.parametrize("name", ["report.html", "trend.png", "matrix.svg"])
def test_a_report_does_not_replace_a_users_file(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=f"{name}: cftransfer has not written this file"):
        place.check(tmp_path)
