"""`make release` refuses an sdist, a wheel or a table that is not as it should be; the script itself needs an index."""

import io
import tarfile
import zipfile

import pytest
import release
from conftest import ROOT

TRACKED = [
    "cftransfer/__init__.py",
    "cftransfer/data/compas.csv.gz",
    "conf/model/mlp.yaml",
    "docs/results/figures/a.png",
    "hydra_plugins/a.py",
    ".ci/run",
    "tests/test_a.py",
]
WHEEL = [
    "cftransfer/__init__.py",
    "cftransfer/data/compas.csv.gz",
    "cftransfer/conf/model/mlp.yaml",
    "hydra_plugins/a.py",
    *(f"cftransfer-1.dist-info/{name}" for name in sorted(release.WHEELS_OWN)),
]
SDIST = [path for path in TRACKED if not path.startswith(("docs/results/figures", ".ci"))] + ["PKG-INFO", "setup.cfg"]
README = (ROOT / "README.md").read_text()


def wheel(folder, names):
    with zipfile.ZipFile(folder / "a.whl", "w") as file:
        for name in names:
            file.writestr(name, "")
    return release.wheel_faults(folder / "a.whl", TRACKED)


def sdist(folder, names):
    with tarfile.open(folder / "a.tar.gz", "w:gz") as file:
        for name in names:
            file.addfile(tarfile.TarInfo(f"cftransfer-1/{name}"), io.BytesIO())
    return release.sdist_faults(folder / "a.tar.gz", TRACKED)


def test_a_wheel_holds_both_packages_and_conf_and_nothing_else(tmp_path):
    assert wheel(tmp_path, WHEEL) == []
    assert wheel(tmp_path, WHEEL[1:]) == ["cftransfer/__init__.py: missing"]
    assert wheel(tmp_path, [*WHEEL, "tests/test_a.py"]) == ["tests/test_a.py: does not belong there"]
    assert wheel(tmp_path, [*WHEEL, "cftransfer/stale.py"]) == ["cftransfer/stale.py: does not belong there"]
    without = [name for name in WHEEL if not name.endswith("licenses/LICENSE")]
    assert wheel(tmp_path, without) == ["licenses/LICENSE: missing"]


def test_an_sdist_holds_all_but_results_and_files_of_hosts(tmp_path):
    assert sdist(tmp_path, SDIST) == []
    assert sdist(tmp_path, [*SDIST, "docs/results/figures/a.png"]) == [
        "docs/results/figures/a.png: does not belong there"
    ]
    assert sdist(tmp_path, [name for name in SDIST if "tests" not in name]) == ["tests/test_a.py: missing"]


def test_the_table_of_the_readme_is_read_and_a_printed_one_compared():
    promised = release.table(README)
    assert list(promised) == [2, 4, 8]
    assert len({len(numbers) for numbers in promised.values()}) == 1
    assert release.table_faults(README, README) == []
    assert release.table(README.replace("\n", " \n")) == promised  # the command pads its last column
    rate = promised[4][6]  # after found and agreement, each with its interval
    (fault,) = release.table_faults(README.replace(f"{rate:.3f}", f"{rate - 0.1:.3f}"), README)
    assert fault.startswith("4 layers: printed [")
    assert [fault.partition(" ")[0] for fault in release.table_faults("no table", README)] == ["2", "4", "8"]
    assert release.table_faults(README, "no table") == ["README.md: no table of the main job"]


def test_a_tree_with_changes_is_not_released(monkeypatch, tmp_path):
    monkeypatch.setattr(release, "call", lambda *_: " M README.md\n")
    with pytest.raises(SystemExit, match="commit or stash"):
        release.build(tmp_path)
