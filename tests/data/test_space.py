"""The feature space: there and back again."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cftransfer.data.feature import Feature
from cftransfer.data.space import FeatureSpace, fit
from cftransfer.errors import InputError


@st.composite
def tables(draw):
    """Features of every kind, and rows that belong to them."""
    rows = draw(st.integers(2, 12))
    features, columns = [], {}
    for index, kind in enumerate(
        draw(
            st.lists(
                st.sampled_from(["continuous", "integer", "log", "binary", "ordinal", "categorical"]),
                min_size=1,
                max_size=6,
            )
        )
    ):
        name = f"{kind}{index}"
        if kind in ("binary", "ordinal", "categorical"):
            count = 2 if kind == "binary" else draw(st.integers(2 if kind == "ordinal" else 3, 26))
            categories = tuple(draw(st.permutations("abcdefghijklmnopqrstuvwxyz")))[:count]
            features.append(Feature(name=name, kind=kind, categories=categories))
            columns[name] = draw(st.lists(st.sampled_from(categories), min_size=rows, max_size=rows))
        elif kind == "continuous":
            features.append(Feature(name=name, kind="continuous"))
            columns[name] = draw(st.lists(st.floats(-1e3, 1e3), min_size=rows, max_size=rows))
        else:
            features.append(Feature(name=name, kind="integer", scale="log1p" if kind == "log" else "linear"))
            columns[name] = draw(st.lists(st.integers(0, 1000), min_size=rows, max_size=rows))
    return features, pd.DataFrame(columns)


@given(tables())
def test_decoding_gives_back_what_was_encoded(made):
    features, table = made
    space = fit(features, table)
    x = space.encode(table)
    assert x.dtype == np.float32
    assert x.shape == (len(table), len(space.columns)) == (len(table), len(space.mutable))
    assert ((x >= 0) & (x <= 1)).all()
    back = space.decode(x)
    for feature in features:
        if feature.kind == "continuous":
            width = table[feature.name].max() - table[feature.name].min()
            np.testing.assert_allclose(back[feature.name], table[feature.name], atol=1e-6 * width + 1e-12)
        else:
            assert back[feature.name].tolist() == table[feature.name].tolist()


@given(tables())
def test_one_hot_columns_sum_to_one(made):
    features, table = made
    space = fit(features, table)
    x = pd.DataFrame(space.encode(table), columns=space.columns)
    for feature in features:
        if feature.kind == "categorical":
            assert (x[[f"{feature.name}={category}" for category in feature.categories]].sum(axis=1) == 1).all()


@given(tables(), st.integers(0, 2**32 - 1))
def test_encoding_keeps_the_order_of_ordinal_categories(made, seed):
    features, table = made
    space = fit(features, table)
    x = pd.DataFrame(space.encode(table), columns=space.columns)
    for feature in features:
        if feature.kind == "ordinal":
            ranks = table[feature.name].map(feature.categories.index)
            np.testing.assert_array_equal(x[feature.name].rank(), ranks.rank())
            assert x[feature.name][ranks == 0].eq(0).all()
            assert x[feature.name][ranks == len(feature.categories) - 1].eq(1).all()
            # A small step, less than half of one between categories, does not change the value that is read.
            step = np.random.default_rng(seed).uniform(-0.49, 0.49, len(x)) / (len(feature.categories) - 1)
            moved = np.clip(x[feature.name] + step, 0, 1).to_numpy()[:, None]
            assert feature.decode(moved).tolist() == table[feature.name].tolist()


def test_the_range_is_the_training_rows_and_others_are_put_at_its_ends():
    space = fit([Feature(name="age", kind="integer")], pd.DataFrame({"age": [20, 40]}))
    assert space.encode(pd.DataFrame({"age": [10, 20, 30, 40, 90]}))[:, 0].tolist() == [0, 0, 0.5, 1, 1]


def test_a_constant_feature_encodes_to_zero_and_decodes_to_itself():
    space = fit([Feature(name="age", kind="integer")], pd.DataFrame({"age": [7, 7]}))
    assert space.encode(pd.DataFrame({"age": [7]}))[0, 0] == 0
    assert space.decode(np.array([[0.0], [1.0]]))["age"].tolist() == [7, 7]


@pytest.mark.parametrize("kind", ["continuous", "integer"])
def test_what_differs_from_a_constant_of_the_training_rows_is_put_at_its_only_end(kind):
    space = fit([Feature(name="age", kind=kind)], pd.DataFrame({"age": [7, 7]}))
    assert space.encode(pd.DataFrame({"age": [3, 7, 90]}))[:, 0].tolist() == [0, 0, 0]


def test_points_between_are_read_as_a_person_would():
    space = FeatureSpace(
        (
            Feature(name="age", kind="integer", low=0, high=10),
            Feature(name="sex", kind="binary", categories=("Female", "Male")),
            Feature(name="race", kind="categorical", categories=("a", "b", "c")),
            Feature(name="school", kind="ordinal", categories=("none", "some", "all")),
        )
    )
    assert space.decode(np.array([[0.26, 0.6, 0.2, 0.5, 0.4, 0.7]])).iloc[0].tolist() == [3, "Male", "b", "some"]
    assert space.decode(np.array([[0.24, 0.5, 0.5, 0.5, 0.4, 0.8]])).iloc[0].tolist() == [2, "Female", "a", "all"]


def test_changes_are_told_in_words_the_largest_first_and_say_where_a_search_stopped_between():
    space = FeatureSpace(
        (
            Feature(name="age", kind="integer", low=20, high=70),
            Feature(name="stay", kind="integer", low=0, high=99, scale="log1p"),
            Feature(name="sex", kind="binary", categories=("Female", "Male")),
            Feature(name="race", kind="categorical", categories=("a", "b", "c")),
            Feature(name="school", kind="ordinal", categories=("none", "some", "all")),
            Feature(name="still", kind="continuous", low=0, high=1),
        )
    )
    old = np.array([0.0, 0.5, 1.0, 1.0, 0.0, 0.0, 0.5, 0.25])
    new = np.array([0.07, 0.25, 0.9, 0.0, 1.0, 0.0, 0.75, 0.251])
    assert space.changes(old, new) == [
        ("race", "a", "b"),
        ("stay", "9", "2.162"),
        ("school", "some", "some, 50% of the way to all"),
        ("sex", "Male", "Female, 90% of the way to Male"),
        ("age", "20", "23.5"),
    ]
    half = space.changes(old, np.array([0.0, 0.5, 1.0, 0.7, 0.2, 0.001, 1.0, 0.25]))
    assert half == [("school", "some", "all"), ("race", "a", "0.70 a + 0.20 b")]
    assert space.changes(old, old) == []


@pytest.mark.parametrize("categories", [("no", "yes"), ("none", "some", "yes")])
def test_beyond_the_range_is_said_to_be_so(categories):
    feature = Feature(name="school", kind="binary" if len(categories) == 2 else "ordinal", categories=categories)
    steps = len(categories) - 1
    assert feature.said(np.array([1 + 0.25 / steps])) == "yes, and 25% of a step beyond"
    assert feature.said(np.array([-0.5 / steps])) == f"{categories[0]}, and 50% of a step beyond"
    assert feature.said(np.array([1 + 0.001 / steps])) == "yes"
    assert feature.said(np.array([-0.001])) == categories[0]


@given(tables())
def test_what_is_possible_is_said_as_it_is_decoded(made):
    features, table = made
    space = fit(features, table)
    x = space.encode(table)
    for feature, column in zip(
        space.features, np.split(x, np.cumsum([f.columns for f in space.features])[:-1], axis=1)
    ):
        for values, decoded in zip(column[:5], feature.decode(column)[:5]):
            said = feature.said(values)
            assert (
                said == decoded if feature.categories else np.isclose(float(said), float(decoded), rtol=1e-3, atol=0.5)
            )


def test_ordinal_categories_stand_at_equal_steps():
    school = Feature(name="school", kind="ordinal", categories=("none", "some", "more", "most", "all"))
    assert school.encode(pd.Series(["all", "some", "none"]))[:, 0].tolist() == [1, 0.25, 0]
    assert FeatureSpace((school,)).columns == ["school"]


def test_an_unknown_category_is_named():
    with pytest.raises(InputError, match=r"column sex: unknown category X .*row 1\); known are F, M"):
        Feature(name="sex", kind="binary", categories=("F", "M")).encode(pd.Series(["F", "X"]))
    with pytest.raises(InputError, match="column school: unknown category X"):
        Feature(name="school", kind="ordinal", categories=("none", "some", "all")).encode(pd.Series(["none", "X"]))


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"kind": "integr"}, "kind=integr: must be one of continuous, integer, binary, ordinal, categorical"),
        ({"kind": "integer", "direction": "upwards"}, "direction=upwards: must be one of any, up, down"),
        ({"kind": "continuous", "scale": "log"}, "scale=log: must be one of linear, log1p"),
        ({"kind": "continuous", "categories": ("a", "b")}, "takes no categories"),
        ({"kind": "categorical"}, "takes two different categories or more"),
        ({"kind": "ordinal", "categories": ("a", "a", "b")}, "takes two different categories or more"),
        ({"kind": "binary", "categories": ("a", "b", "c")}, "takes two categories, and has 3"),
    ],
)
def test_a_feature_that_cannot_be_is_named(about, said):
    with pytest.raises(InputError, match=f"feature 'f': .*{said}"):
        Feature(name="f", **about)
