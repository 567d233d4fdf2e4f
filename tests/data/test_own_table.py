"""A user's own tables: inferred kinds, refusals by name, and messages."""

import gzip
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cftransfer as cft
from cftransfer.data.features_file import features_yaml, read_features
from cftransfer.data.inference import infer
from cftransfer.data.labels import labels
from cftransfer.data.own_data import table as own_table


def rows(**columns):
    """200 rows with a continuous a, whole numbers b and a label y that depends on both."""
    random = np.random.default_rng(0)
    a, b = random.normal(size=200), random.integers(0, 10, 200)
    y = a + 0.3 * b - 1.5 + 0.5 * random.normal(size=200) > 0
    return pd.DataFrame({"a": a, "b": b, **columns, "y": y})


def changed(column, places, value):
    table = rows()
    table[column] = table[column].astype(object)
    table.loc[places, column] = value
    return table


def error(table, **settings):
    with pytest.raises(cft.InputError) as raised:
        cft.table(table, **{"label": "y", **settings})
    return str(raised.value)


def kinds(data):
    return {feature.name: feature.kind for feature in data.space.features}


@pytest.mark.parametrize("place", [3, 15, 17, 47, 150])
def test_an_empty_cell_is_named_wherever_the_split_puts_it(place):
    line = error(changed("a", [place], np.nan))
    assert (
        line == f"column a: empty (1 of 200 cells, first in row {place}); "
        "dataset.missing=drop_rows | impute_median | category"
    )


def test_the_places_above_are_of_both_splits():
    numbers = {"a": {"kind": "integer", "low": 0, "high": 199}}
    data = cft.table(rows().assign(a=range(200)), label="y", features=numbers)
    tested = data.space.decode(data.x_test.numpy()).a.tolist()
    assert {place in tested for place in (3, 15, 17, 47, 150)} == {True, False}


def test_an_empty_cell_is_treated_as_an_option_says_and_said():
    table = changed("a", [17, 18], np.nan)
    dropped = cft.table(table, label="y", missing="drop_rows")
    assert len(dropped.x_train) + len(dropped.x_test) == 198
    assert "missing=drop_rows: left out 2 of 200 rows with an empty cell" in dropped.notes
    for option in ("impute_median", "category"):
        data = cft.table(table, label="y", missing=option)
        median = table.a.iloc[[row for row in range(200) if row not in (17, 18)]].astype(float).median()
        (note,) = [note for note in data.notes if note.startswith("missing=")]
        assert note.startswith(f"missing={option}: 2 empty cells of a became ")
        assert float(note.split()[-1]) == pytest.approx(median, abs=0.2), "of the training rows"
        assert len(data.x_train) + len(data.x_test) == 200


def test_an_empty_word_becomes_a_level_or_the_most_frequent_word():
    words = np.array(["red", "red", "blue", "green"] * 50, dtype=object)
    words[5] = None
    data = cft.table(rows(c=words), label="y", missing="category")
    assert data.space.features[2].categories == ("blue", "green", "red", "missing")
    assert cft.table(rows(c=words), label="y", missing="impute_median").space.features[2].categories == (
        "blue",
        "green",
        "red",
    )


@pytest.mark.parametrize(
    ("value", "said"), [(np.inf, "infinite"), (-np.inf, "infinite"), ("n/a?", "words between numbers")]
)
@pytest.mark.parametrize("place", [3, 47])
def test_a_number_that_is_none_is_named(value, said, place):
    line = error(changed("a", [place], value))
    assert line.startswith(("column a: " + said, "column a: not a number: 'n/a?'"))
    assert f"first in row {place})" in line


def test_columns_that_tell_no_rows_apart_are_left_out_and_said():
    data = cft.table(rows(e=np.nan, c="same", n=7), label="y")
    assert kinds(data) == {"a": "continuous", "b": "integer"}
    assert {note for note in data.notes if note.startswith("left out")} == {
        "left out: e (empty throughout)", "left out: c (constant (same))", "left out: n (constant (7))",
    }  # fmt: skip


def test_a_column_that_is_constant_in_the_training_rows_is_left_out():
    train, test = rows().assign(c=1.5), rows().assign(c=np.arange(200.0))
    data = own_table(train, test=test, label="y")
    assert kinds(data) == {"a": "continuous", "b": "integer"}
    assert "left out: c (constant (1.5))" in data.notes


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ((-1, 1), ("-1", "1")),
        ((1, 2), ("1", "2")),
        ((0, 7), ("0", "7")),
        (("no", "yes"), ("no", "yes")),
        ((False, True), ("False", "True")),
        ((0.0, 1.0), ("0.0", "1.0")),
        ((" no", "yes "), ("no", "yes")),
    ],
)
def test_two_labels_of_any_type_are_taken_and_which_is_class_1_is_said(values, classes):
    table = rows()
    right = table.y.to_numpy()
    table["y"] = np.where(right, pd.Series([values[1]] * 200, dtype=object), values[0])
    data = cft.table(table, label="y")
    assert data.classes == classes
    assert f"y: {classes[1]!r} is class 1, {classes[0]!r} class 0" in data.notes
    same = cft.table(rows(), label="y")
    assert data.y_train.equal(same.y_train)
    assert data.x_train.equal(same.x_train)


def test_an_empty_label_is_named_or_its_row_is_left_out():
    table = rows().astype({"y": object})
    table.loc[[4, 9], "y"] = None
    assert (
        error(table) == "column y: empty label (2 of 200 cells, first in row 4); "
        "fill it, or dataset.missing=drop_rows leaves such rows out"
    )
    data = cft.table(table, label="y", missing="drop_rows")
    assert len(data.x_train) + len(data.x_test) == 198


def test_three_labels_are_three_classes_or_one_against_the_others():
    table = rows(z=np.arange(200) % 3)
    data = cft.table(table, label="z")
    assert data.classes == ("0", "1", "2")
    assert sorted(data.y_train.unique().tolist()) == [0, 1, 2]
    one = cft.table(table, label="z", positive=1)
    assert one.classes == ("not 1", "1")
    assert one.y_train.mean() + one.y_test.mean() == pytest.approx(2 / 3, abs=0.02)
    assert cft.table(table, label="z", positive=[0, 2]).classes == ("1", "0 or 2")


def test_a_quantity_needs_a_threshold():
    assert "is a quantity; dataset.positive='>" in error(rows(), label="a")
    assert "is a quantity" in error(rows(q=np.arange(200) % 3 / 2), label="q")
    data = cft.table(rows(), label="a", positive=">0.5")
    assert data.classes == ("not > 0.5", "> 0.5")
    high = (rows().a > 0.5).sum()
    assert data.y_train.sum() + data.y_test.sum() == high
    assert "goes from" in error(rows(), label="a", positive=">50")
    words = rows().assign(y=np.where(rows().y, ">50K", "<=50K"))
    assert cft.table(words, label="y", positive=">50K").classes == ("<=50K", ">50K"), "a value, not a threshold"


@pytest.mark.parametrize(
    ("positive", "said"),
    [
        ("maybe", "dataset.positive=maybe: no row of column y has it; there are: False, True"),
        ([0, 1], "one class alone"),
    ],
)
def test_a_wrong_positive_class_is_named(positive, said):
    assert said in error(rows(), positive=positive)


@pytest.mark.parametrize("spelling", [bool, "int8", float, str, lambda flags: np.where(flags, " yes", "no ")])
def test_a_binary_feature_is_the_same_in_every_spelling(spelling):
    flags = np.arange(200) % 3 == 0
    given = (
        spelling(flags) if callable(spelling) and not isinstance(spelling, type) else flags.astype(int).astype(spelling)
    )
    data = cft.table(rows(c=given), label="y")
    assert kinds(data)["c"] == "binary"
    assert data.x_train.equal(cft.table(rows(c=flags), label="y").x_train)


def test_a_level_is_the_same_in_the_spelling_of_another_file():
    levels = np.arange(200) % 5 + 1
    kept = {"c": {"kind": "categorical"}}
    one = own_table(rows(c=levels), test=rows(c=levels.astype(str)), label="y", features=kept)
    two = own_table(rows(c=levels), test=rows(c=levels.astype(float)), label="y", features=kept)
    assert one.x_test.equal(two.x_test)
    assert one.x_test.equal(one.x_train)


def test_pandas_own_types_are_read_as_their_values():
    flags = np.arange(200) % 3 == 0
    plain = cft.table(rows(c=flags, n=np.arange(200) % 7, w=np.where(flags, "x", "y")), label="y")
    typed = cft.table(
        rows(
            c=pd.array(flags, dtype="boolean"),
            n=pd.array(np.arange(200) % 7, dtype="Int64"),
            w=pd.Categorical(np.where(flags, "x", "y")),
        ),
        label="y",
    )
    assert typed.x_train.equal(plain.x_train)
    empty = pd.array([*[True] * 100, *[False] * 99, None], dtype="boolean")
    assert error(rows(c=empty)).startswith("column c: empty (1 of 200 cells, first in row 199)")
    numbers = pd.array([*range(198), None, None], dtype="Int64")
    assert error(rows(n=numbers), features={"n": {"kind": "integer"}}).startswith("column n: empty (2 of 200")


def test_an_ordered_category_is_ordinal_in_its_order():
    sizes = pd.Categorical(
        ["small", "large", "middle", "small"] * 50, categories=["small", "middle", "large"], ordered=True
    )
    (feature,) = [one for one in cft.table(rows(c=sizes), label="y").space.features if one.name == "c"]
    assert feature.kind == "ordinal"
    assert feature.categories == ("small", "middle", "large")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "binary", "categories": ["x"]}, "takes two different categories or more"),
        ({"kind": "binary", "categories": ["x", "y", "z"]}, "takes two categories, and has 3"),
        ({"kind": "categorical", "categories": ["x", "x", "y"]}, "takes two different categories"),
        ({"kind": "categorical", "categories": ["1", 1.0, "y"]}, "takes two different categories"),
        ({"kind": "numeric"}, "kind=numeric: must be one of continuous, integer"),
        ({"direction": "upwards"}, "direction=upwards: must be one of any, up, down"),
        ({"kind": "continuous", "categories": ["x", "y"]}, "takes no categories"),
        ({"colour": 3}, "no such key; dataset.features.b has: kind, low, high"),
        ({"low": 9, "high": 1}, "are not a range"),
        ({"scale": "log1p", "low": -3}, "scale=log1p takes values above -1"),
    ],
)
def test_a_wrong_feature_is_one_line(settings, said):
    line = error(rows(), features={"b": settings})
    assert said in line
    assert "\n" not in line
    assert "b" in line


def test_a_feature_of_no_column_is_named_with_a_guess():
    assert error(rows(age=range(200)), features={"agee": {}}).startswith(
        "dataset.features.agee: the table has no such column; did you mean age?"
    )


def test_fractions_are_continuous_and_refused_where_whole_numbers_are_meant():
    table = changed("b", [3], 2.5)
    assert kinds(cft.table(table, label="y"))["b"] == "continuous"
    assert (
        error(table, features={"b": {"kind": "integer"}})
        == "column b: not a whole number: 2.5 (1 of 160 cells, first in row 3); kind=continuous takes fractions"
    )


def test_a_level_of_test_rows_alone_is_named_or_left_out():
    train, test = rows(c=["x", "z"] * 100), rows(c=["x", "z"] * 99 + ["h", "h"])
    assert (
        "levels that the feature lacks, h (2 of 200 cells, first in row 198); known are x, z; dataset.unseen=drop_rows"
        in error(train, test=test)
    )
    data = own_table(train, test=test, label="y", unseen="drop_rows")
    assert len(data.x_test) == 198
    assert "left out 2 test rows" in " ".join(data.notes)


def test_test_values_beyond_the_training_range_are_clipped_counted_and_said():
    test = rows()
    test.loc[:4, "a"] = 1e9
    data = own_table(rows(), test=test, label="y")
    assert "test values beyond the range of their feature, put at its end: a 5 of 200" in data.notes
    assert data.x_test.max() == 1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            [f"w{i % 150}" for i in range(600)],
            "column c: has 150 different words, more than 100; group them, or add 'c' to dataset.drop",
        ),
        ([f"w{i}" for i in range(600)], "column c: looks like an id, 480 different words"),
        (range(600), "column c: looks like an id, 480 different whole numbers; add 'c' to dataset.drop"),
        (pd.date_range("2020-01-01", periods=600), "column c: holds dates"),
        ([f"2020-01-{i % 28 + 1:02}" for i in range(600)], "column c: holds dates (2020-01-"),
        ([f"{i},5" for i in range(600)], "column c: holds numbers with a decimal comma"),
        ([[1, 2]] * 600, "column c: holds list"),
    ],
)
def test_columns_that_are_no_features_are_refused_by_name(values, said):
    table = pd.concat([rows()] * 3, ignore_index=True).assign(c=list(values))
    assert said in error(table)
    assert kinds(cft.table(table, label="y", drop=["c"])) == {"a": "continuous", "b": "integer"}


def test_columns_go_by_name_in_any_order():
    test = rows(c=["x", "z"] * 100)
    data = own_table(rows(c=["x", "z"] * 100), test=test[["y", "c", "b", "a"]], label="y")
    assert data.x_test.equal(data.x_train)
    assert "has no column 'c', which the training table has" in error(test, test=test.drop(columns="c"))
    assert "has the column 'd', which the training table lacks" in error(test, test=test.assign(d=1))
    assert own_table(rows(w=1.0, d=2), test=rows(), label="y", weight="w", drop=["d"]).space.names == ["a", "b"]
    assert error(rows(), label="z").startswith("dataset.label=z: the table has no such column; it has a, b, y")
    assert error(rows(), drop=["z"]).startswith("dataset.drop=z: the table has no such column")
    twice = pd.concat([rows(), rows()[["a"]]], axis=1)
    assert "has the column 'a' twice" in error(twice)


def test_odd_names_are_names():
    names = {"a": "age (=x).ü", "b": "token count"}
    data = cft.table(rows().rename(columns=names).assign(passwd_age=rows().a ** 2), label="y")
    assert data.space.names == ["age (=x).ü", "token count", "passwd_age"]
    assert data.space.decode(data.x_test.numpy()).columns.tolist() == data.space.names


@pytest.mark.parametrize(
    "table",
    [
        rows().head(20),
        rows()[["a", "y"]],
        pd.DataFrame({"c": ["x", "y", "z"] * 60, "y": [0, 1, 1] * 60}),
        pd.DataFrame(
            {**{name: np.random.default_rng(i).random(200) > 0.5 for i, name in enumerate("pqrs")}, "y": rows().y}
        ),
    ],
)
def test_small_and_narrow_tables_run(table):
    data = cft.table(table, label="y")
    (model,) = cft.train(data, epochs=1, layers=1, width=4)
    found = cft.search(model, data.x_test, space=data.space, iterations=5)
    assert len(found) == len(data.x_test)


def test_few_training_rows_of_a_class_are_said():
    table = pd.concat([rows()] * 5, ignore_index=True).assign(y=[1] * 5 + [0] * 995)
    assert "few training rows: 1 has 4; rates of such models vary a lot" in cft.table(table, label="y").notes


def test_weights_are_of_training_rows_and_above_0():
    table = rows(w=np.linspace(0.5, 2, 200))
    data = cft.table(table, label="y", weight="w")
    assert "w" not in data.space.names
    assert data.weight.shape == (160,)
    assert data.version != cft.table(table.drop(columns="w"), label="y").version
    assert error(table.assign(w=-1), weight="w").startswith("column w: not a weight (160 of 160 cells")


def test_max_rows_draws_by_the_split_seed():
    one, two = (cft.table(rows(), label="y", max_rows=50, split_seed=seed) for seed in (0, 1))
    assert len(one.x_train) + len(one.x_test) == 50
    assert one.version != two.version
    assert cft.table(rows(), label="y", max_rows=500).version == cft.table(rows(), label="y").version


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("t.csv", lambda text: text.encode()),
        ("t.csv", lambda text: b"\xef\xbb\xbf" + text.encode()),
        ("t.csv", lambda text: text.replace(",", ";").encode()),
        ("t.tsv", lambda text: text.replace(",", "\t").encode()),
        ("t.csv", lambda text: text.replace("\n", "\r\n").encode() + b"\r\n\r\n"),
        ("t.csv.gz", lambda text: gzip.compress(text.encode())),
        ("t.csv", lambda text: text.replace(",", ", ").encode()),
    ],
)
def test_files_of_every_dialect_are_the_same_table(tmp_path, name, write):
    table = rows(c=["x", "zü"] * 100)
    (tmp_path / name).write_bytes(write(table.to_csv(index=False)))
    data = cft.table(tmp_path / name, label="y")
    assert data.version == cft.table(table, label="y").version


def test_parquet_and_options_of_csv(tmp_path):
    table = rows(c=["x", "ü"] * 100)
    table.to_parquet(tmp_path / "t.parquet")
    same = cft.table(table, label="y")
    assert cft.table(tmp_path / "t.parquet", label="y").version == same.version
    table.to_csv(tmp_path / "comma.csv", index=False, sep=";", decimal=",")
    assert "decimal comma" in error(tmp_path / "comma.csv")
    assert cft.table(tmp_path / "comma.csv", label="y", decimal=",").version == same.version
    table.to_csv(tmp_path / "latin.csv", index=False, encoding="latin-1")
    assert "cannot be read as utf-8 text" in error(tmp_path / "latin.csv")
    assert "dataset.encoding=latin-1" in error(tmp_path / "latin.csv")
    assert cft.table(tmp_path / "latin.csv", label="y", encoding="latin-1").version == same.version
    table.assign(b=table.b.astype(object).where(table.b != 3, "?")).to_csv(tmp_path / "q.csv", index=False)
    assert "missing_values=['?']" in error(tmp_path / "q.csv")
    assert "missing=impute_median" in " ".join(
        cft.table(tmp_path / "q.csv", label="y", missing_values=["?"], missing="impute_median").notes
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", "a,a,y\n1,2,0\n", "has the column 'a' twice"),
        ("t.csv", "a,y\n", "has no rows below its header"),
        ("t.csv", "", "cannot be read as a table"),
        ("t.csv", "a,y\n1,2,3\n4,5,6\n", "more cells than"),
        ("t.parquet", "a,y\n1,2\n", "cannot be read as a table"),
        ("t.xlsx", "", "is not a known kind of table"),
        ("none.csv", None, "no such file"),
    ],
)
def test_a_file_that_is_no_table_is_one_line(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_text(content)
    line = error(tmp_path / name)
    assert said in line
    assert name in line
    assert "\n" not in line


@st.composite
def spaces(draw):
    made = []
    for place in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["continuous", "integer", "binary", "ordinal", "categorical"]))
        how = {"mutable": draw(st.booleans()), "direction": draw(st.sampled_from(["any", "up", "down"]))}
        if kind in ("continuous", "integer"):
            top = 1e6 if kind == "integer" else 1e12
            low, high = sorted(draw(st.lists(st.floats(0, top), min_size=2, max_size=2)))
            how |= {"low": low, "high": high, "scale": draw(st.sampled_from(["linear", "log1p"]))}
        else:
            level = st.text("abyesno: #'é", min_size=1, max_size=5) | st.integers(-5, 5) | st.booleans()
            unique = st.lists(level, min_size=2, max_size=2 if kind == "binary" else 5, unique_by=cft_spelling)
            how["categories"] = tuple(draw(unique.filter(lambda levels: all(cft_spelling(one) for one in levels))))
        made.append(cft.Feature(name=f"{draw(st.text('ab :-#', max_size=3))}{place}", kind=kind, **how))
    return tuple(made)


def cft_spelling(value):
    from cftransfer.data.cells import spelled

    return spelled(value)


@given(spaces())
def test_features_come_back_from_their_file_as_they_were(tmp_path_factory, features):
    path = tmp_path_factory.mktemp("yaml") / "features.yaml"
    path.write_text(features_yaml(features), encoding="utf-8")
    back = infer(
        pd.DataFrame({f.name: [f.categories[0] if f.categories else f.low] for f in features}), read_features(path)
    )
    assert back.features == features


def test_given_back_and_edited_in_one_place_only_that_changes(tmp_path):
    table, path = rows(c=["no", "yes"] * 100), tmp_path / "features.yaml"
    first = cft.table(table, label="y")
    path.write_text(features_yaml(first.space.features))
    assert cft.table(table, label="y", features=path).version == first.version
    path.write_text(path.read_text().replace("low: 0.0\n", "low: -1.0\n"))
    edited = cft.table(table, label="y", features=path)
    (column,) = [i for i in range(3) if not edited.x_train[:, i].equal(first.x_train[:, i])]
    assert edited.space.names[column] == "b"
    assert edited.y_train.equal(first.y_train)
    np.testing.assert_allclose(edited.x_train[:, 1], (first.x_train[:, 1] * 9 + 1) / 10, atol=1e-6)


@given(st.lists(st.sampled_from(["a", "b", 1, 2.0, True, " a ", "1.0", "x"]), min_size=2, max_size=30))
def test_labels_that_mean_the_same_are_one_class(values):
    from cftransfer.data.cells import spelled

    different = {spelled(value) for value in values}
    column = pd.Series(values, dtype=object, name="y")
    if len(different) == 1:
        with pytest.raises(cft.InputError, match="one class alone"):
            labels(column)
        return
    found = labels(column)
    assert len(found.classes) == len(different)
    for one, code in zip(values, found.codes, strict=True):
        assert spelled(found.classes[code]) == spelled(one)


def test_arrays_are_scaled_by_the_training_rows_or_taken_in_the_unit_box():
    data = cft.arrays([[1.0, 20.0], [3.0, 40.0]], [0, 1], [[2.0, 30.0]], [1])
    assert data.x_train.tolist() == [[0, 0], [1, 1]]
    assert data.x_test.tolist() == [[0.5, 0.5]]
    space = cft.FeatureSpace((cft.Feature(name="c", kind="categorical", categories=("x", "y")),))
    data = cft.arrays([[1.0, 0.0], [0.0, 1.0]], [0, 1], [[0.0, 1.0]], [1], space=space)
    assert data.space == space
    assert data.x_test.tolist() == [[0, 1]]
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 4, 4), dtype=np.uint8)
    assert cft.arrays(images, [0, 1] * 3, images, [0, 1] * 3).input_shape == (1, 4, 4)
    with pytest.raises(cft.InputError, match=r"in \[0, 1\]"):
        cft.arrays(images.astype(float), [0, 1] * 3, images, [0, 1] * 3)
    with pytest.raises(cft.InputError, match="y_train"):
        cft.arrays([[1.0]], [0.5], [[1.0]], [1])


@pytest.mark.parametrize("value", ["no", "off", None, 0, 1])
def test_mutable_is_true_or_false_and_no_word(value):
    with pytest.raises(cft.InputError, match="must be true or false"):
        cft.Feature(name="b", kind="continuous", mutable=value)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (["500", "1,200"] * 100, "has numbers with , between thousands (1,200); dataset.thousands=','"),
        (
            ["1.234.567", "2.000.000"] * 100,
            "has numbers with . between thousands (2.000.000); dataset.thousands='.' dataset.decimal=','",
        ),
    ],
)
def test_thousands_are_never_read_as_decimals(column, said, tmp_path):
    table = rows().assign(c=[f"{word}" for word in column])
    table.loc[0, "c"] = "999"
    assert said in error(table)
    signs = {"thousands": ","} if "with ," in said else {"thousands": ".", "decimal": ","}
    table.to_csv(tmp_path / "t.csv", index=False, sep=";", decimal=signs.get("decimal", "."))
    data = cft.table(tmp_path / "t.csv", label="y", **signs)
    assert data.space.features[2].high in (1200, 2_000_000)


def test_a_german_file_has_points_between_thousands(tmp_path):
    (tmp_path / "t.csv").write_text("a;y\n" + "".join(f"{i}.{i:03},5;{i % 2}\n" for i in range(1, 60)))
    (feature,) = cft.table(tmp_path / "t.csv", label="y", decimal=",").space.features
    assert feature.kind == "continuous"
    assert feature.high > 50_000


def test_whole_numbers_of_a_wide_range_are_continuous_and_said():
    table = rows(phone=np.random.default_rng(0).integers(10**9, 10**10, 200))
    assert kinds(cft.table(table, label="y"))["phone"] == "continuous"
    assert infer(table[["phone"]]).remarks == {"phone": "whole numbers of a wide range: an id?"}
    assert "use kind=continuous for so wide a range" in error(table, features={"phone": {"kind": "integer"}})


def test_too_many_levels_are_refused_whoever_names_them():
    with pytest.raises(cft.InputError, match="has 1,001 categories, more than 1,000"):
        cft.Feature(name="zip", kind="categorical", categories=tuple(range(1001)))


def test_features_of_a_table_with_filled_cells_come_back_from_their_file(tmp_path):
    words = np.array(["x", "z", None, "False alarm"] * 50, dtype=object)
    first = cft.table(rows(c=words), label="y", missing="category")
    (tmp_path / "f.yaml").write_text(features_yaml(first.space.features))
    again = cft.table(rows(c=words), label="y", missing="category", features=tmp_path / "f.yaml")
    assert again.version == first.version


def test_intervals_of_pandas_are_words(tmp_path):
    table = rows().assign(c=lambda frame: pd.cut(frame.a, 3))
    space = cft.table(table, label="y").space
    (tmp_path / "f.yaml").write_text(features_yaml(space.features))
    assert cft.table(table, label="y", features=tmp_path / "f.yaml").space == space


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("b: {mutable: false}\nb: {direction: up}\n", "b stands in it twice"),
        ("b: {mutable: no}\n", "mutable=no: must be true or false"),
        ("b: 3\n", "must have a line per feature"),
        ("b: {low: abc}\n", "low=abc: must be a number"),
    ],
)
def test_a_wrong_file_of_features_is_one_line(text, said, tmp_path):
    (tmp_path / "f.yaml").write_text(text)
    assert said in error(rows(), features=tmp_path / "f.yaml")


def test_features_that_are_left_out_may_stay_in_their_file():
    assert kinds(cft.table(rows(), label="y", drop=["b"], features={"b": {"mutable": False}})) == {"a": "continuous"}


def test_values_beyond_a_range_that_is_given_are_counted_in_both_splits():
    notes = cft.table(rows(), label="y", features={"b": {"low": 2, "high": 5}}).notes
    outside = ((rows().b < 2) | (rows().b > 5)).sum()
    counted = [int(many) for note in notes if "beyond" in note for many in re.findall(r"\bb (\d+)", note)]
    assert len(counted) == 2
    assert sum(counted) == outside


def test_words_that_mean_an_empty_cell_do_so_in_a_dataframe_too():
    table = changed("b", [4, 5], "?")
    notes = cft.table(table, label="y", missing_values=["?"], missing="impute_median").notes
    assert any("2 empty cells of b" in note for note in notes)


def test_codes_with_leading_zeros_are_words_and_levels_of_two_cases_are_remarked():
    table = rows(code=["01234", "04321", "00007"] * 66 + ["01234"] * 2)
    assert kinds(cft.table(table, label="y"))["code"] == "categorical"
    known = infer(rows(c=["Yes", "yes", "No"] * 66 + ["No", "No"])[["c"]])
    assert known.remarks == {"c": "levels that differ only in upper and lower case"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"drop": ["y"]}, "dataset.drop=y: names the label"),
        ({"positive": []}, "dataset.positive=[]: must be a value"),
        ({"positive": ">1.2.3"}, "no row of column y has it"),
        ({"features": ["a"]}, "dataset.features: must be a YAML file"),
    ],
)
def test_settings_that_cannot_be_are_one_line(settings, said):
    assert said in error(rows(), **settings)


def test_labels_of_odd_types_are_one_line_or_right():
    category = rows().assign(y=pd.Categorical(np.where(rows().y, "g", "b"), categories=["b", "g", "r"]))
    assert cft.table(category, label="y").classes == ("b", "g")
    infinite = rows().assign(y=np.where(rows().index == 3, np.inf, rows().y.astype(float)))
    assert error(infinite).startswith("column y: infinite label (1 of 200 cells, first in row 3)")
    with pytest.raises(cft.InputError, match="must be a path or a DataFrame, not NoneType"):
        cft.table(None, label="y")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x_test": [[1.0, 2.0, 3.0]]}, "rows of shape"),
        ({"x_train": pd.DataFrame({"p": [1.0, 2.0], "q": [1.0, 2.0]})}, "is a DataFrame"),
        ({"y_train": [1, 2]}, "no row has class 0"),
        ({"y_train": [0, np.inf]}, "y_train: must be"),
        ({"x_train": [1.0, 2.0]}, "x_train: has shape"),
        ({"y_test": []}, "1 rows and 0 classes"),
        ({"classes": ["a", "a"]}, "one name each"),
        (
            {"space": cft.FeatureSpace((cft.Feature(name="p", kind="continuous", low=0, high=50),) * 1)},
            "2 columns, but the space has 1",
        ),
        (
            {"space": cft.FeatureSpace(tuple(cft.Feature(name=n, kind="continuous", high=50) for n in "pq"))},
            "x_train: column p leaves [0, 1]",
        ),
    ],
)
def test_arrays_that_cannot_be_are_one_line(given, said):
    parts = {"x_train": [[1.0, 20.0], [3.0, 40.0]], "y_train": [0, 1], "x_test": [[2.0, 30.0]], "y_test": [1]} | given
    with pytest.raises(cft.InputError) as raised:
        cft.arrays(**parts)
    assert said in str(raised.value)
