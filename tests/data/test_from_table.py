"""The contract of `from_table`, which data sets written in code come through: its refusals and its messages."""

import numpy as np
import pandas as pd
import pytest

from cftransfer import Feature, InputError, table
from cftransfer.data.dataset import from_table

FEATURES = (
    Feature(name="a", kind="continuous"),
    Feature(name="b", kind="integer"),
    Feature(name="c", kind="categorical", categories=("x", "y", "z")),
)


def rows():
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {"a": random.normal(size=200), "b": random.integers(0, 10, 200), "c": ["x", "y", "z", "x"] * 50}
    )


def made(frame=None, label=None, *, features=FEATURES, classes=("no", "yes")):
    frame = rows() if frame is None else frame
    label = np.arange(200) % 2 if label is None else label
    return from_table("own", frame, label, features=features, classes=classes, test_share=0.2, split_seed=0)


def with_cell(column, place, value):
    frame = rows()
    frame[column] = frame[column].astype(object)
    frame.loc[place, column] = value
    return frame


PLACES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)


def test_the_places_are_of_both_splits():
    frame = rows().assign(b=range(200))
    tested = made(frame).space.decode(made(frame).x_test.numpy()).b.tolist()
    assert 0 < len({*tested} & {*PLACES}) < len(PLACES)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("a", np.nan, "column a: empty"),
        ("a", np.inf, "column a: infinite"),
        ("a", "word", "column a: not a number: 'word'"),
        ("b", 2.5, "column b: not a whole number: 2.5"),
        ("c", None, "column c: empty"),
        ("c", "h", "column c: unknown category h"),
    ],
)
def test_a_cell_that_its_feature_cannot_hold_is_named_in_either_split(column, value, said, place):
    with pytest.raises(InputError) as raised:
        made(with_cell(column, place, value))
    line = str(raised.value)
    assert line.startswith(said)
    assert f"first in row {place})" in line


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (np.arange(200) % 3, r"column label: not a class: 2 \(66 of 200 cells, first in row 2\); must be 0 to 1"),
        (np.arange(200) % 2 / 2, r"column label: not a class: 0.5"),
        (np.where(np.arange(200) % 2, 1, -1), r"column label: not a class: -1"),
        (np.where(np.arange(200) == 7, np.nan, np.arange(200) % 2), r"column label: not a class: nan .*row 7\)"),
        (np.array(["no", "yes"] * 100), r"column label: not a class: no"),
        (np.zeros(200), "classes have 200 and 0 rows"),
    ],
)
def test_labels_that_are_no_classes_are_refused(label, said):
    with pytest.raises(InputError, match=said):
        made(label=label)


def test_three_classes_have_three_names():
    data = made(label=np.arange(200) % 3, classes=("low", "middle", "high"))
    assert data.classes == ("low", "middle", "high")
    assert sorted(data.y_test.unique().tolist()) == [0, 1, 2]
    with pytest.raises(InputError, match="each needs at least 2"):
        made(label=np.arange(200) % 2, classes=("low", "middle", "high"))


def test_columns_and_features_are_named_once():
    with pytest.raises(InputError, match="feature 'a': is named twice"):
        made(features=(*FEATURES, FEATURES[0]))
    with pytest.raises(InputError, match="table: has no column 'd'"):
        made(features=(*FEATURES, Feature(name="d", kind="continuous")))
    with pytest.raises(InputError, match="has the column 'a' twice"):
        made(pd.concat([rows(), rows()[["a"]]], axis=1))


def test_clipped_test_values_and_few_rows_are_notes():
    notes = {place: made(with_cell("a", place, 1e6)).notes for place in PLACES}
    said = "test values beyond the range of their feature, put at its end: a 1 of 40"
    assert 0 < sum(said in some for some in notes.values()) < len(PLACES)
    few = (np.arange(200) >= 195).astype(int)
    assert "few training rows: yes has 4; rates of such models vary a lot" in made(label=few).notes


def changed_table(**changes):
    frame = rows().assign(y=np.where(np.arange(200) % 2, "yes", "no"), w=1.0)
    return frame.assign(**{name: change(frame[name]) for name, change in changes.items()})


@pytest.mark.parametrize(
    "change",
    [
        {"a": lambda values: values.where(values.index != 0, 0.123)},
        {"a": lambda values: values.where(values.index != 199, 0.123)},
        {"y": lambda values: values.where(values.index != 5, "no")},
        {"y": lambda values: values.replace("yes", "yes!")},
        {"c": lambda values: values.replace("x", "w")},
        {"w": lambda values: values.where(values.index > 3, 2.0)},
    ],
)
def test_a_file_with_another_content_is_other_data(change, tmp_path):
    path, how = tmp_path / "t.csv", {"label": "y", "weight": "w"}
    changed_table().to_csv(path, index=False)
    first = table(path, **how)
    changed_table(**change).to_csv(path, index=False)
    assert table(path, **how).version != first.version
    changed_table().iloc[:, ::-1].to_csv(path, index=False)
    assert table(path, **how).version != first.version, "the inputs' columns stand in another order"


@pytest.mark.parametrize(
    "features", [{"a": {"mutable": False}}, {"b": {"kind": "continuous"}}, {"b": {"direction": "up"}}]
)
def test_another_meaning_of_the_features_is_other_data(features):
    frame = changed_table()
    assert table(frame, label="y", drop=["w"], features=features).version != table(frame, label="y", drop=["w"]).version


def test_the_same_content_is_the_same_data_whatever_holds_it(tmp_path):
    frame = changed_table()
    version = table(frame, label="y", drop=["w"]).version
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.assign(w=frame.w + 1, more=range(200)).to_parquet(tmp_path / "t.parquet")
    assert table(tmp_path / "t.csv", label="y", drop=["w"]).version == version
    assert table(tmp_path / "t.parquet", label="y", drop=["w", "more"]).version == version


def test_labels_go_by_position_as_rows_do():
    order = np.random.default_rng(1).permutation(200)
    label = pd.Series(np.arange(200) % 2)
    frame = rows().assign(a=label * 1.0)
    shuffled = made(frame.iloc[order], label.iloc[order])
    assert shuffled.x_train[:, 0].equal(shuffled.y_train)
    assert made(frame, label.tolist()).x_train[:, 0].equal(made(frame, label.tolist()).y_train)
    with pytest.raises(InputError, match="has 200 rows and labels of shape"):
        made(frame, label[:100])
