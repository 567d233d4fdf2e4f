"""The options of docs/extending.md, in a scratch copy of the clone, pass its tests; broken ones fail with a reason."""

import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT, environment, results

# Whatever is installed here, cftransfer is the copy's.
BEGIN = """
import runpy, sys
from importlib.util import spec_from_file_location
home = {home!r}

class Copy:
    def find_spec(self, name, path=None, target=None):
        places = {{"cftransfer": f"{{home}}/cftransfer", "cftransfer.conf": f"{{home}}/conf"}}
        if name in places:
            place = places[name]
            return spec_from_file_location(name, f"{{place}}/__init__.py", submodule_search_locations=[place])

sys.meta_path.insert(0, Copy())
sys.path.insert(0, home)
sys.argv = {argv!r}
runpy.run_path(sys.argv[0], run_name="__main__") if sys.argv[0].endswith(".py") else runpy.run_module(
    sys.argv[0], run_name="__main__", alter_sys=True)
"""
DRAWN = '''"""A data set that needs no file."""

from pathlib import Path

import numpy as np
import pandas as pd

from cftransfer.data.dataset import Dataset, from_table
from cftransfer.data.feature import Feature


def drawn(folder: Path) -> Dataset:
    """Return 200 random points."""
    table = pd.DataFrame(np.random.default_rng(0).random((200, 2)), columns=["a", "b"])
    features = [Feature(name=name, kind="continuous") for name in "ab"]
    label = (table.a > table.b).to_numpy()
    about = {"classes": ("below", "above"), "test_share": 0.2, "split_seed": 0, "from_files": False}
    return from_table("drawn", table, label, features=features, **about)
'''
TESTS = [
    "tests/commands/test_config.py",
    "tests/test_defaults.py",
    "tests/test_targets.py",
    "tests/test_wings.py",
    "tests/counterfactuals/test_methods.py",
]
CHOSEN = "mine or drawn or bagged or line or jump or leap or sweep or every_option_names or floor"


@pytest.fixture
def copy(tmp_path):
    """A copy of the tested code and of its tests, with the options of the page, and one data set without a file."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("cftransfer", "conf", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for name in ("pyproject.toml", "transfer.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    page = (ROOT / "docs" / "extending.md").read_text().partition("\n## A data set\n")[2]
    files = dict(re.findall(r"`((?:cftransfer|conf)/[\w/.]+)`[^`\n]*:\n\n```\w+\n(.*?)```", page, re.DOTALL))
    files |= {"cftransfer/data/drawn.py": DRAWN, "conf/dataset/drawn.yaml": "# Random points.\n_target_: drawn\n"}
    assert {"cftransfer/data/mine.py", "cftransfer/models/line.py", "cftransfer/counterfactuals/jump.py"} <= set(files)
    for name in ("cftransfer/counterfactuals/jump.py", "conf/counterfactual/jump.yaml"):  # without a cap of that name
        files[name.replace("jump", "leap")] = files[name].replace("jump", "leap").replace("iterations", "tries")
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "data").mkdir()
    return tmp_path


def put_csv(copy):
    rows = [f"{18 + index % 60},{'fm'[index % 2]},{int(index % 60 > 25)}" for index in range(240)]
    (copy / "data" / "mine.csv").write_text("\n".join(["age,sex,label", *rows]))


def run(copy, *argv):
    code = BEGIN.format(home=str(copy), argv=list(argv))
    return subprocess.run(
        [sys.executable, "-c", code], cwd=copy, env=environment(), capture_output=True, text=True, check=False
    )


def suite(copy, chosen=CHOSEN):
    return run(copy, "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", "--tb=short", *TESTS, "-k", chosen)


@pytest.mark.slow
def test_options_of_ones_own_pass_the_shipped_tests_untouched(copy):
    put_csv(copy)
    done = suite(copy)
    assert done.returncode == 0, done.stdout[-4000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 30
    assert "data/" not in done.stdout  # nothing is skipped for its files


@pytest.mark.slow
def test_a_data_set_is_skipped_on_a_machine_without_its_file(copy):
    done = suite(copy, "dataset and mine")
    assert done.returncode == 0, done.stdout[-4000:]
    assert "conf/dataset/mine.yaml: its files are not in this clone's data/" in done.stdout


@pytest.mark.long
def test_the_options_of_the_page_work_in_jobs(copy):
    put_csv(copy)
    words = ["dataset=mine", "debug=fast", "wandb=disabled", "experiment=technique", "model@reference.model=bagged"]
    words += ["training.epochs=20", "training.lr=0.05"]
    for model, method in (("line", "gradient"), ("mlp", "jump")):
        done = run(copy, "transfer.py", *words, f"model={model}", f"counterfactual={method}")
        assert done.returncode == 0, done.stderr
    assert sorted(job["config"]["model"]["_target_"] for job in results(copy)) == ["line", "mlp"]
    assert all(job["metrics"]["found"] > 0 for job in results(copy))


BREACHES = {  # an edit of a file → the tests' complaint, in one line
    "conf/dataset/mine.yaml": (r"(split_seed: 0).*", r"\1", "key split_seed has no comment"),
    "conf/dataset/drawn.yaml": (r"# Random points.\n", "", "its first line has to be a comment"),
    "conf/model/bagged.yaml": ("_target_: bagged", "_target_: baged", "makes no plan: .*no such model"),
    "conf/model/line.yaml": ("C: 1.0", "C: 2.0", r"C is 2\.0, and the default of line\(\) is 1\.0"),
    "conf/counterfactual/jump.yaml": (
        "iterations: 60",
        "iteration: 60",
        "makes no plan: counterfactual.iteration: no such key",
    ),
}


@pytest.mark.long
def test_a_broken_option_fails_with_one_line_that_names_its_contract(copy):
    put_csv(copy)
    for name, (pattern, instead, _) in BREACHES.items():
        text = (copy / name).read_text()
        assert re.search(pattern, text)
        (copy / name).write_text(re.sub(pattern, instead, text))
    code = copy / "cftransfer" / "data" / "mine.py"
    made = "return from_table("
    assert made in code.read_text()
    double = "from dataclasses import replace\n    made = from_table("
    code.write_text(code.read_text().replace(made, double) + "    return replace(made, x_train=made.x_train * 2)\n")
    done = suite(copy, "(mine or drawn or bagged or line or jump) and (setting or instantiates or default)")
    assert done.returncode == 1
    for name, (_, _, said) in BREACHES.items():
        assert re.search(rf"{name}: {said}", done.stdout), done.stdout[-6000:]
    assert "conf/dataset/mine.yaml: x_train leaves [0, 1]" in done.stdout
