"""COMPAS against the figures that ProPublica and the issue state."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cftransfer.data import compas as module
from cftransfer.data.compas import compas as load
from cftransfer.data.dataset import from_table
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError

FOLDER = Path("data")  # not there, and not looked at


def test_propublicas_filter_leaves_6172_rows():
    table = module.rows()
    assert len(table) == 6172
    assert round(table.two_year_recid.mean(), 4) == 0.4551
    assert table.length_of_stay.min() == 0
    assert not table.isna().any().any()


def test_split_is_stratified_and_complete(compas):
    assert (len(compas.x_train), len(compas.x_test)) == (4937, 1235)
    assert abs(compas.y_train.mean() - compas.y_test.mean()) < 0.001
    assert compas.x_train.dtype == compas.y_train.dtype == torch.float32
    both = torch.cat([compas.x_train, compas.x_test])
    assert both.min() == 0
    assert both.max() == 1


def test_rows_decode_to_the_original_table(compas):
    original = module.rows()[[feature.name for feature in module.FEATURES]]
    decoded = compas.space.decode(compas.x_train.numpy()).value_counts().sort_index()
    kept = original.merge(compas.space.decode(compas.x_train.numpy()).drop_duplicates())
    assert decoded.sum() == len(compas.x_train)
    assert len(kept.drop_duplicates()) == len(decoded)  # every decoded row stands in the original


def test_the_space_is_fitted_on_the_training_rows_alone():
    table = module.rows()
    first = load(FOLDER, test_share=0.2, split_seed=0)
    from sklearn.model_selection import train_test_split

    _, test = train_test_split(np.arange(len(table)), test_size=0.2, stratify=table.two_year_recid, random_state=0)
    moved = table.copy()
    moved.loc[test, "age"] = 1000
    label = table.two_year_recid.to_numpy()
    second = from_table(
        "compas", moved, label, features=module.FEATURES, classes=first.classes, test_share=0.2, split_seed=0
    )
    assert second.space == first.space
    assert torch.equal(second.x_train, first.x_train)
    assert (second.x_test[:, 0] == 1).all()


def test_a_person_cannot_change_age_sex_and_race(compas):
    fixed = {name.partition("=")[0] for name, mutable in zip(compas.space.columns, compas.space.mutable) if not mutable}
    assert fixed == {"age", "sex", "race"}


def test_the_identity_of_data_is_their_content(compas):
    same = load(FOLDER, test_share=0.2, split_seed=0)
    assert compas.version == same.version
    assert not compas.from_files
    moved = compas.x_test.clone()
    moved[3, 2] += 1e-6
    changed = [
        replace(compas, x_test=moved),
        replace(compas, y_train=1 - compas.y_train),
        replace(compas, space=FeatureSpace((replace(compas.space.features[0], high=97.0), *compas.space.features[1:]))),
        replace(compas, classes=compas.classes[::-1]),
    ]
    assert len({data.version for data in (compas, *changed)}) == 5


def test_split_seed_moves_the_split():
    assert not torch.equal(
        load(FOLDER, test_share=0.2, split_seed=1).x_test, load(FOLDER, test_share=0.2, split_seed=0).x_test
    )


@pytest.mark.parametrize(("share", "said"), [(0, "test_share=0"), (1.5, "test_share=1.5"), (0.0001, "without a class")])
def test_an_impossible_split_is_named(share, said):
    with pytest.raises(InputError, match=f"dataset.{said}|{said}"):
        load(FOLDER, test_share=share, split_seed=0)


def test_one_class_is_refused():
    table = module.rows()
    with pytest.raises(InputError, match="dataset compas: classes have 6172 and 0 rows"):
        from_table(
            "compas",
            table,
            np.zeros(len(table)),
            features=module.FEATURES,
            classes=("a", "b"),
            test_share=0.2,
            split_seed=0,
        )
