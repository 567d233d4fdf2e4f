"""experiment=shift on tables of one's own: a second file's rows, read as the base's file was read."""

import json

import numpy as np
import pytest
import torch
from conftest import composed, results, run_command
from sklearn.datasets import load_breast_cancer

from cftransfer.commands import experiment
from cftransfer.commands.plan import plan as plan_of
from cftransfer.errors import InputError

JOB = ["dataset=table", "experiment=shift", "training.epochs=2", "model.layers=1", "model.width=16"]
JOB += ["replicates.bases=2", "samples=20", "wandb=disabled"]


def clinics():
    """Breast cancer data of two places: the second has larger tumours, and a site that the first lacks."""
    data, random = load_breast_cancer(as_frame=True), np.random.default_rng(0)
    table = data.data.iloc[:, :5].round(4)
    table["beds"] = random.integers(3, 60, len(table))
    table["site"] = random.choice(["north", "south"], len(table))
    table["diagnosis"] = np.where(data.target == 1, "benign", "malignant")
    first = table["mean radius"] < np.quantile(table["mean radius"], 0.7)
    here, there = table[first].reset_index(drop=True), table[~first | (table.index % 3 == 0)].reset_index(drop=True)
    there.loc[[1, 5, 7], "site"] = "west"
    return here, there[there.columns[::-1]]  # columns go by their names


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here, there = clinics()
    here.to_csv("here.csv", index=False)
    there.to_csv("there.csv", index=False)
    return here, there


def words(*more, path="there.csv"):
    return ["dataset.path=here.csv", "dataset.label=diagnosis", f"+reference.rows.dataset.path={path}", *more]


def planned(*more, path="there.csv"):
    return plan_of(composed(*JOB, *words(*more, path=path)))


def refused(*more, path="there.csv"):
    with pytest.raises(InputError) as raised:
        planned(*more, path=path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_all_rows_of_the_second_file_are_encoded_in_the_bases_space(files):
    _, there = files
    plan = planned()
    ours, theirs = plan.dataset, plan.reference_dataset
    kept = there[there.site != "west"].reset_index(drop=True)
    assert torch.equal(theirs.x_train, torch.from_numpy(ours.space.encode(kept)))
    assert theirs.y_train.tolist() == (kept.diagnosis == "malignant").astype(float).tolist()
    assert theirs.space == ours.space
    assert torch.equal(theirs.x_test, ours.x_test)
    assert theirs.model_version != ours.model_version
    beyond = int((kept["mean radius"] > next(f.high for f in ours.space.features if f.name == "mean radius")).sum())
    notes = " | ".join(plan.identity["notes"])
    assert f"shifted training rows: {len(kept)} of there.csv" in notes
    assert f"left out 3 of {len(there)} with a category that the base lacks (site 3)" in notes
    assert beyond > 0
    assert f"shifted training values beyond the range of their feature, put at its end: mean radius {beyond}" in notes


def test_a_column_that_the_second_file_has_once_keeps_its_meaning(files):
    """A table that is read by itself would leave a constant out, and take two numbers for two classes of a binary."""
    _, there = files
    there.assign(beds=np.where(there.index % 2, 10, 20), site="south").to_csv("narrow.csv", index=False)
    moved = planned(path="narrow.csv").reference_dataset
    rows = moved.space.decode(moved.x_train.numpy())
    assert set(rows.site) == {"south"}
    assert rows.beds.tolist() == [10 if place % 2 else 20 for place in range(len(rows))]


@pytest.mark.slow
def test_one_job_through_the_command_counts_on_its_page(files, tmp_path):
    done = run_command(tmp_path, "transfer.py", *JOB, *words(), "hydra.run.dir=job")
    assert done.returncode == 0, done.stderr
    (result,) = results(tmp_path)
    assert result["metrics"]["pairs"] == 2
    page = (tmp_path / "job" / "report.html").read_text()
    assert "left out 3 of " in page
    assert "put at its end: mean radius" in page
    assert "shifted training" in done.stdout + done.stderr
    again = run_command(tmp_path, "transfer.py", *JOB, *words(), "hydra.run.dir=job")
    assert "has its result already" in again.stdout + again.stderr
    _, there = files
    there[there.site != "west"].to_csv("there.csv", index=False)  # the rows that counted, and none that was left out
    same = run_command(tmp_path, "transfer.py", *JOB, *words(), "hydra.run.dir=job")
    assert "has its result already" in same.stdout + same.stderr
    there[::2].to_csv("there.csv", index=False)
    other = run_command(tmp_path, "transfer.py", *JOB, *words(), "hydra.run.dir=job")
    assert "the earlier result is of other data" in other.stdout + other.stderr
    assert json.loads((tmp_path / "job" / "result.json").read_text())["data"]["shifted"] != result["data"]["shifted"]


def test_the_same_rows_in_a_second_file_train_the_base_again_under_a_key_of_their_own(files):
    """Nothing but the rows moves: a reference on the base's own training rows is the base, and is refused."""
    ours = planned().dataset
    rows = ours.space.decode(ours.x_train.numpy())
    label = [ours.classes[int(one)] for one in ours.y_train]
    rows.assign(diagnosis=label).to_csv("same.csv", index=False)
    said = refused(path="same.csv")
    assert said == "reference.rows.dataset: gives the base's own training rows; choose another place or time"


def test_empty_cells_weights_and_a_draw_are_as_the_settings_say(files):
    here, there = files
    here.assign(w=1.0).to_csv("here.csv", index=False)
    there = there.assign(w=np.where(there.index % 2, 2.0, 0.5))
    there.loc[[0, 2], "mean texture"] = np.nan
    there.to_csv("there.csv", index=False)
    weighted = "dataset.weight=w"
    assert "column mean texture: empty" in refused(weighted)
    filled = planned(weighted, "dataset.missing=impute_median")
    kept = there[there.site != "west"]
    assert filled.reference_dataset.weight.tolist() == kept.w.tolist()
    (place,) = [i for i, f in enumerate(filled.dataset.space.features) if f.name == "mean texture"]
    median = filled.dataset.space.encode(kept.fillna({"mean texture": kept["mean texture"].median()}))[0, place]
    assert filled.reference_dataset.x_train[0, place] == median
    dropped = planned(weighted, "+reference.rows.dataset.missing=drop_rows").reference_dataset
    assert len(dropped.x_train) == len(kept) - 2
    drawn = planned(weighted, "dataset.missing=drop_rows", "+reference.rows.dataset.max_rows=50").reference_dataset
    assert len(drawn.x_train) <= 50 < len(dropped.x_train)


def test_a_threshold_on_the_label_is_the_bases(files):
    here, there = files
    for name, rows in (("here", here), ("there", there)):
        rows.assign(diagnosis=rows["mean area"]).to_csv(f"{name}.csv", index=False)
    moved = planned("dataset.positive='>600'").reference_dataset
    kept = there[there.site != "west"]
    assert moved.y_train.tolist() == (kept["mean area"] > 600).astype(float).tolist()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.drop(columns="beds"), "reference.rows.dataset: bad.csv: has no column 'beds', which the base's"),
        (lambda t: t.drop(columns="diagnosis"), "reference.rows.dataset: bad.csv: has no column 'diagnosis'"),
        (
            lambda t: t.replace("malignant", "unclear"),
            "reference.rows.dataset: bad.csv: its label diagnosis has the value unclear, but the base's classes are "
            "benign and malignant",
        ),
        (lambda t: t.assign(diagnosis="benign"), "reference.rows.dataset: bad.csv: its label diagnosis has one class"),
        (lambda t: t[:0], "reference.rows.dataset: bad.csv: has no rows below its header"),
        (lambda t: t.assign(site="west"), "reference.rows.dataset: every row has a word that the base lacks"),
        (lambda t: t.assign(beds="many"), "reference.rows.dataset: column beds: not a number: 'many'"),
        (lambda t: t.assign(beds=1.5), "reference.rows.dataset: column beds: not a whole number: 1.5"),
        (lambda t: t.assign(diagnosis=None), "reference.rows.dataset: column diagnosis: empty label"),
    ],
)
def test_files_that_do_not_fit_are_one_line(files, change, said):
    change(files[1]).to_csv("bad.csv", index=False)
    assert refused(path="bad.csv").startswith(said)


def test_settings_that_do_not_fit_are_one_line(files, tmp_path):
    (tmp_path / "empty.csv").write_text("")
    assert refused(path="empty.csv").startswith("reference.rows.dataset: empty.csv: cannot be read as a table")
    assert refused(path="none.csv").startswith("reference.rows.dataset: none.csv: no such file")
    assert refused("+reference.rows.dataset.file=x.csv").startswith("reference.rows.dataset.file: no such key")
    assert refused("+reference.rows.dataset.test_path=x").startswith("reference.rows.dataset.test_path: no such key")
    with pytest.raises(InputError, match=r"reference\.rows\.dataset\.path: is missing"):
        plan_of(composed(*JOB, *words()[:2], "+reference.rows.dataset.max_rows=50"))


def test_references_are_trained_on_the_second_file(files, tmp_path):
    from cftransfer.store.trained import trained

    plan = planned(f"paths.store={tmp_path / 'store'}")
    experiment.run(plan)
    seeds, theirs = plan.reference_seeds, plan.reference_dataset
    stored = trained(plan.reference, seeds, dataset=theirs, store=plan.store)
    import cftransfer as cft

    again = cft.train(theirs, layers=1, width=16, epochs=2, seeds=seeds)
    for one, other in zip(stored, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
