"""ACSEmployment: codes become names, blanks stay blanks, and every unusable file or setting is named."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from pums import COLUMNS, csv, persons, put

from cftransfer.data import acs_employment as module
from cftransfer.data.dataset import load
from cftransfer.errors import InputError

SETTINGS = {
    "states": ["NY"],
    "year": 2018,
    "horizon": "1-Year",
    "max_rows": None,
    "test_share": 0.25,
    "split_seed": 0,
}


def acs(folder, **changes):
    return module.acs_employment(folder, **{**SETTINGS, **changes})


def refused(folder, **changes) -> str:
    with pytest.raises(InputError) as caught:
        acs(folder, **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def decoded(data) -> pd.DataFrame:
    return data.space.decode(torch.cat([data.x_train, data.x_test]).numpy())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    put(folder, persons(600))
    put(folder, persons(300, seed=1), name="2018/1-Year/psam_p34.csv")
    put(folder, persons(200, seed=2), name="2016/5-Year/ss16pny.csv")
    return folder


@pytest.fixture(scope="module")
def data(folder):
    return acs(folder)


def test_sixteen_features_in_the_order_of_folktables(data):
    from folktables import ACSEmployment

    assert [feature.name for feature in data.space.features] == ACSEmployment.features == COLUMNS[:-1]
    assert (len(data.x_train), len(data.x_test)) == (450, 150)
    assert data.x_train.dtype == data.y_train.dtype == torch.float32
    assert ((data.x_train >= 0) & (data.x_train <= 1)).all()


def test_the_label_is_esr_1_and_blank_is_not(data):
    made = persons(600).ESR
    assert made.isna().any()
    assert int(data.y_train.sum() + data.y_test.sum()) == (made == 1).sum()


def test_codes_and_blanks_become_the_names_of_the_census(folder):
    made = persons(600)
    rows = decoded(acs(folder)).value_counts()
    named = made[COLUMNS[:-1]].apply(
        lambda column: column.fillna(module.BLANK).map(module.NAMES.get(column.name, lambda age: age))
    )
    assert rows.to_dict() == named.value_counts().to_dict()


def test_a_person_reads_as_in_the_dictionary(tmp_path):
    child = {
        "AGEP": 2,
        "SCHL": None,
        "MAR": 5,
        "RELP": 0,
        "DIS": 2,
        "ESP": 7,
        "CIT": 3,
        "MIG": 1,
        "MIL": None,
        "ANC": 2,
    }
    child |= {"NATIVITY": 1, "DEAR": 2, "DEYE": 1, "DREM": None, "SEX": 2, "RAC1P": 9, "ESR": None}
    put(tmp_path, pd.concat([persons(100), pd.DataFrame([child])]))
    rows = decoded(acs(tmp_path))
    assert [
        2,
        "N/A (less than 3 years old)",
        "Never married or under 15 years old",
        "Reference person",
        "Without a disability",
        "Living with mother: Mother in the labor force",
        "Born abroad of American parent(s)",
        "Yes, same house (nonmovers)",
        "N/A (less than 17 years old)",
        "Multiple",
        "Native",
        "No",
        "Yes",
        "N/A (Less than 5 years old)",
        "Female",
        "Two or More Races",
    ] in rows.to_numpy().tolist()


def test_encoding_what_was_decoded_gives_the_same_tensor(data):
    again = data.space.encode(data.space.decode(data.x_train.numpy()))
    assert np.array_equal(again, data.x_train.numpy())


def test_schooling_stands_in_its_order(data):
    column = data.space.columns.index("SCHL")
    schooling = data.space.features[1]
    assert (schooling.kind, schooling.direction, len(schooling.categories)) == ("ordinal", "up", 25)
    x = torch.cat([data.x_train, data.x_test])[:, column].numpy()
    ranks = {name: rank for rank, name in enumerate(schooling.categories)}
    assert (schooling.categories[0], schooling.categories[-1]) == ("N/A (less than 3 years old)", "Doctorate degree")
    np.testing.assert_allclose(x * 24, decoded(data).SCHL.map(ranks), atol=1e-5)


def test_a_person_cannot_change_what_is_fixed(data):
    fixed = {feature.name for feature in data.space.features if not feature.mutable}
    assert fixed == {"AGEP", "SEX", "RAC1P", "NATIVITY", "ANC", "DIS", "DEAR", "DEYE", "DREM"}


def test_categories_that_nobody_is_in_are_left_out(tmp_path):
    table = persons(300)
    seen = {"MIL": np.where(table.index % 2, 4, 1), "CIT": np.where(table.index % 3, 1, table.index % 2 + 4), "DEAR": 2}
    put(tmp_path, table.assign(**seen))
    features = {feature.name: feature for feature in acs(tmp_path).space.features}
    assert features["MIL"].kind == "binary"
    assert features["MIL"].categories == ("Now on active duty", "Never served in the military")
    assert features["CIT"].kind == "categorical"
    assert len(features["CIT"].categories) == 3
    assert "DEAR" not in features
    assert len(features) == 15


def test_every_column_is_seen_somewhere(data):
    assert (torch.cat([data.x_train, data.x_test]).amax(0) > 0).all()


def test_max_rows_draws_by_split_seed(folder, data):
    drawn = acs(folder, max_rows=100)
    assert len(drawn.x_train) + len(drawn.x_test) == 100
    assert torch.equal(drawn.x_train, acs(folder, max_rows=100).x_train)
    other = decoded(acs(folder, max_rows=100, split_seed=1))
    assert len(other.merge(decoded(drawn))) < 50  # other persons, not another split of the same ones
    assert torch.equal(data.x_train, acs(folder, max_rows=10**6).x_train)


def test_states_are_pooled_and_other_surveys_are_found(folder):
    both = acs(folder, states=["NY", "NJ"])
    assert len(both.x_train) + len(both.x_test) == 900
    assert len(decoded(acs(folder, year=2016, horizon="5-Year"))) == 200


def test_files_are_where_folktables_looks(tmp_path):
    from folktables.load_acs import initialize_and_download, state_list

    for year in module.YEARS:
        for state in state_list:
            path = module.file(tmp_path, state, year, "1-Year")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            assert initialize_and_download(str(path.parent), state, year, "1-Year", "person") == str(path)


def test_the_version_is_that_of_the_columns_read(tmp_path, folder, data):
    table = persons(600)
    put(tmp_path, table.assign(PINCP=1, ST=1))
    assert acs(tmp_path).version == data.version != acs(folder, max_rows=50).version
    assert len(data.version) == 16
    for column in COLUMNS:
        other = table.copy()
        other.loc[599, column] = 1 if table.loc[599, column] != 1 else 2
        put(tmp_path, other)
        assert acs(tmp_path).version != data.version, column


def test_the_way_out_for_a_code_that_the_census_itself_has_used_works(tmp_path):
    """ANC=5: the file of a download would have it again, so it must not be deleted."""
    table = persons(200, ANC=[*[1, 2] * 95, *[5] * 10])
    put(tmp_path, table)
    said = refused(tmp_path)
    assert "column ANC holds 5, which is not a Census code (1, 2, 3, 4, 8); " in said
    assert said.endswith("remove the 10 such lines of 200, or choose other dataset.states or a year")
    put(tmp_path, table[table.ANC != 5])
    assert len(acs(tmp_path).x_train) == 142


def test_a_column_that_stands_twice_is_named(tmp_path):
    """pandas would read the first, and rename the second without a word."""
    path = put(tmp_path, csv(persons(50)).replace(",SERIALNO,", ",AGEP,", 1))
    assert refused(tmp_path).startswith(f"{path}: has more than once the column AGEP; fix it, or delete it")


def test_folders_do_not_share_a_cached_data_set(tmp_path, folder):
    settings = {"_target_": "acs_employment", **SETTINGS}
    put(tmp_path, persons(80, seed=5))
    first, second = load(settings, folder), load(settings, tmp_path)
    assert load(settings, folder) is first
    assert first.version != second.version


def test_reading_leaves_pythons_random_numbers_alone(folder):
    random.seed(7)
    expected = random.random()
    random.seed(7)
    acs(folder)
    assert random.random() == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"states": ["ZZ"]}, "dataset.states=ZZ: must be one of AL, AK, AZ, "),
        ({"states": ["ny"]}, "dataset.states=ny: must be one of AL, "),
        ({"states": [36]}, "dataset.states=36: must be one of AL, "),
        ({"states": []}, "dataset.states=[]: must be a list of states, as in dataset.states=[NY]"),
        ({"states": "NY"}, "dataset.states=NY: must be a list of states, as in dataset.states=[NY]"),
        ({"states": None}, "dataset.states=None: must be a list of states"),
        ({"states": ["NY", "NJ", "NY"]}, "dataset.states=[NY,NJ,NY]: has NY more than once"),
        (
            {"year": 2019},
            "dataset.year=2019: must be a whole number from 2014 to 2018; in 2019 the Census replaced RELP",
        ),
        ({"year": 2013}, "dataset.year=2013: must be a whole number from 2014 to 2018"),
        ({"year": "2018"}, "dataset.year=2018: must be a whole number"),
        ({"horizon": "3-Year"}, "dataset.horizon=3-Year: must be one of 1-Year, 5-Year"),
        ({"max_rows": 0}, "dataset.max_rows=0: must be a whole number ≥ 1"),
        ({"max_rows": 2.5}, "dataset.max_rows=2.5: must be a whole number"),
        ({"max_rows": 2}, "dataset acs_employment: classes have "),
        ({"split_seed": -1}, "dataset.split_seed=-1: must be a whole number from 0"),
        ({"test_share": 1}, "dataset.test_share=1: must be a number between 0 and 1"),
    ],
)
def test_an_impossible_setting_is_named(folder, changes, said):
    assert refused(folder, **changes).startswith(said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", ": lacks the columns AGEP, SCHL, MAR, "),
        ("<html>\n<body>no\n", ": lacks the columns AGEP, SCHL, MAR, "),
        (persons(20).drop(columns="RELP"), ": lacks the column RELP; fix it, or delete it"),
        (
            persons(20, AGEP="abc"),
            ": column AGEP holds abc, which is not a Census code (0 to 99); remove",
        ),
        (persons(20, AGEP=-1), ": column AGEP holds -1, "),
        (persons(20, AGEP=None), ": column AGEP holds a blank, "),
        (
            persons(20, ESP=0),
            ": column ESP holds 0, which is not a Census code (blank, 1, 2, 3, 4, 5, 6, 7, 8); remove the ",
        ),
        (persons(20, ESP=-1), ": column ESP holds -1, "),
        (persons(20, MIL=5), ": column MIL holds 5, "),
        (persons(20, SEX=1.5), ": column SEX holds 1.5, "),
        (persons(20, SEX=[*[1] * 19, "x"]), ": column SEX holds x, "),
        (persons(20, ESR=True), ": column ESR holds True, which is not a Census code (blank, 1, "),
        (persons(20, ESR=6), "dataset acs_employment: classes have 20 and 0 rows; each needs at least 2"),
        (persons(0), ": holds no persons; fix it"),
        (csv(persons(20)).replace("AGEP", '"AGEP"') + "x\0y" * 50, ": c"),
        (csv(persons(20)) + "1,2,3\n" * 2 + "," * 50 + "\n", ": cannot be read (Error tokenizing data. C error: "),
    ],
)
def test_an_unusable_file_is_named(tmp_path, content, said):
    path = put(tmp_path, content)
    assert refused(tmp_path).startswith(f"{path}{said}" if said.startswith(":") else said)


@pytest.mark.parametrize("head", ["", ",".join(COLUMNS) + "\n"])
def test_a_file_that_is_no_text_is_named(tmp_path, head):
    path = put(tmp_path, "")
    path.write_bytes(head.encode() + b"\xff\xfe\x00" * 20_000)
    said = refused(tmp_path)
    assert said.startswith(f"{path}: cannot be read (")
    assert "can't decode byte" in said


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path):
    path = put(tmp_path, "")
    path.unlink()
    path.mkdir()
    assert refused(tmp_path).startswith(f"{path}: is not a file; fix it")


def test_columns_of_words_and_numbers_that_are_not_used_do_not_disturb(tmp_path):
    mixed = persons(40_000, NAICSX=0, MORE=["x" if row > 35_000 else row for row in range(40_000)])
    put(tmp_path, mixed)
    assert len(acs(tmp_path, max_rows=1000).x_train) == 750


def test_twenty_thousand_rows_load_in_under_two_seconds(tmp_path, data):  # data: so that imports are done
    put(tmp_path, persons(20_000))
    start = time.process_time()
    acs(tmp_path)
    assert time.process_time() - start < 2


@pytest.fixture(scope="module")
def real():
    folder = ROOT / "data"
    if not module.file(folder, "NY", 2018, "1-Year").is_file():
        pytest.skip(f"{module.file(folder, 'NY', 2018, '1-Year')} is not there")
    return acs(folder, max_rows=20_000, test_share=0.2)


@pytest.mark.data
def test_new_york_is_what_the_census_counted(real):
    y = torch.cat([real.y_train, real.y_test])
    assert len(y) == 20_000
    assert round(float(y.mean()), 4) == 0.5749
    assert len(real.space.features) == 16


@pytest.mark.data
def test_new_york_decodes_to_its_file(real):
    rows = decoded(real)
    raw = pd.read_csv(module.file(ROOT / "data", "NY", 2018, "1-Year"))
    for feature in real.space.features:
        names = module.NAMES.get(feature.name)
        expected = raw[feature.name] if names is None else raw[feature.name].fillna(module.BLANK).map(names)
        assert rows[feature.name].value_counts().to_dict() == expected.value_counts().to_dict()
    assert torch.equal(torch.from_numpy(real.space.encode(rows)), torch.cat([real.x_train, real.x_test]))


MEASURE = """
import resource, sys
from pathlib import Path
from cftransfer.data.acs_employment import acs_employment
settings = dict(states=["CA"], year=2018, horizon="1-Year", max_rows=None, test_share=0.2, split_seed=0)
data = acs_employment(Path(sys.argv[1]), **settings)
print(len(data.x_train) + len(data.x_test), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def california(folder: Path) -> None:
    """As many persons and columns as the Census's file of California 2018, and about as many bytes."""
    generator = np.random.default_rng(0)
    some = persons(5000)
    weights = {f"PWGTP{number}": generator.integers(0, 250, 5000) for number in range(1, 81)}
    more = {
        f"MORE{number}": generator.choice([None, 0, 1, 35000], 5000) for number in range(286 - len(some.columns) - 80)
    }
    head, _, rows = csv(pd.concat([some, pd.DataFrame(weights | more)], axis=1)).partition("\n")
    lines = rows.splitlines(keepends=True)
    with put(folder, "", name="2018/1-Year/psam_p06.csv").open("w") as file:
        file.write(head + "\n")
        file.writelines(lines[row % 5000] for row in range(378_817))


@pytest.mark.slow
def test_california_takes_less_than_4_gib(tmp_path):
    california(tmp_path)
    done = subprocess.run([sys.executable, "-c", MEASURE, tmp_path], capture_output=True, text=True, check=True)
    rows, peak = map(int, done.stdout.split())
    print(f"California: {rows:,} persons, {peak / 2**20:.2f} GiB at the peak")
    assert rows == 378_817
    assert peak < 4 * 2**20  # ru_maxrss is in KiB on Linux


def test_a_line_that_never_ends_is_not_read(tmp_path):
    path = put(tmp_path, persons(50))
    os.truncate(path, 3 * 2**30)  # its last line has 3 GB, and takes no room on the disk
    assert "it has a line of more than 1,048,576 bytes" in refused(tmp_path)
