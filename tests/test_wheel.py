"""The wheel, installed outside the clone: every command works from an empty folder, with configs and code of one's own.

Nothing is downloaded: the environment takes its dependencies from the one that runs the tests.
"""

import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from conftest import ROOT, environment, results
from release import wheel_faults

from cftransfer.__main__ import COMMANDS

pytestmark = pytest.mark.slow
FAST = ["dataset=moons", "debug=fast", "wandb=disabled"]
# A package with a data set, a network and a search of its own.
THEIRS = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "theirs"
version = "1"
[project.entry-points."cftransfer.datasets"]
blobs = "theirs:blobs"
[project.entry-points."cftransfer.models"]
smooth = "theirs:smooth"
[project.entry-points."cftransfer.methods"]
copy_nearest = "theirs:copy_nearest"
[tool.setuptools]
py-modules = ["theirs"]
""",
    "theirs.py": """
import pandas as pd
from sklearn.datasets import make_blobs
from torch import nn

from cftransfer.counterfactuals.nearest import nearest
from cftransfer.data.dataset import from_table
from cftransfer.data.feature import Feature

FEATURES = (Feature(name="a", kind="continuous"), Feature(name="b", kind="continuous"))


def blobs(folder, *, test_share, split_seed):
    points, label = make_blobs(300, centers=2, cluster_std=4, random_state=0)
    table = pd.DataFrame(points, columns=["a", "b"])
    return from_table("blobs", table, label, features=FEATURES, classes=("no", "yes"), test_share=test_share,
                      split_seed=split_seed, from_files=False)


def smooth(*, width, input_shape):
    return nn.Sequential(nn.Linear(*input_shape, width), nn.Tanh(), nn.Linear(width, 1), nn.Flatten(0))


def copy_nearest(model, x, target, *, constraint, background=None, iterations):
    return nearest(model, x, target, constraint=constraint, background=background, iterations=iterations)
""",
}
OWN_CONFIGS = {
    "dataset/blobs.yaml": "_target_: blobs\ntest_share: 0.3\nsplit_seed: 0\n",
    "model/smooth.yaml": "_target_: smooth\nwidth: 8\n",
    "counterfactual/copy_nearest.yaml": "_target_: copy_nearest\nconstraints: possible\niterations: 50\n",
    "experiment/longer.yaml": """# @package _global_
extra_epochs: 1
reference:
  training:
    epochs: ${add:${training.epochs},${extra_epochs}}
""",
}


def pip(*words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *words], check=True, capture_output=True
    )


def wheel(source: Path, out: Path) -> Path:
    """Build the wheel of a folder, with the installed setuptools (torch brings it), otherwise with pip's own."""
    here = ["--no-build-isolation"] if importlib.util.find_spec("setuptools") else []
    pip("wheel", "--no-deps", *here, "--wheel-dir", str(out), str(source))
    (made,) = out.glob("*.whl")
    return made


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The commands of an environment with the wheel of this clone and the package above in it."""
    place = tmp_path_factory.mktemp("installed")
    tracked = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(tracked, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file():
            (place / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / "source" / name)
    wheels = [wheel(place / "source", place / "a"), wheel(written(place / "theirs", THEIRS), place / "b")]
    assert wheel_faults(wheels[0], listed) == []
    venv.create(place / "env")
    python = place / "env" / "bin" / "python"
    pip("--python", str(python), "install", "--no-deps", "--no-index", *map(str, wheels))
    (packages,) = (place / "env" / "lib").glob("python*/site-packages")
    others = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "others.pth").write_text("\n".join(others))  # after its own; their .pth files are not read
    return python.parent


@pytest.fixture
def run(installed, tmp_path):
    """Run a command of the environment in an empty folder."""

    def command(*words: str, **changes: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [str(installed / words[0]), *words[1:]], cwd=tmp_path, env=environment(**changes), capture_output=True,
            text=True, timeout=300, check=False,
        )  # fmt: skip

    return command


def test_the_first_sweep_of_the_readme_gives_its_numbers_and_its_own_commands(run, tmp_path):
    done = run("cftransfer", "transfer", "-m", "model.layers=2", WANDB_MODE="disabled")
    assert done.returncode == 0, done.stderr
    (result,) = results(tmp_path)
    assert result["config"]["model"]["layers"] == 2
    assert result["metrics"]["rate"] == pytest.approx(0.709, abs=0.005)  # test_recorded.py has four layers
    assert ".709" in done.stdout.splitlines()[1]
    (page,) = tmp_path.rglob("report.html")
    assert "cftransfer transfer -m model.layers=2" in page.read_text()
    assert "python transfer.py" not in page.read_text()
    assert len(list(tmp_path.rglob("transfer.log"))) == 1  # hydra.job.name is as in a clone
    assert {result["git"] for result in map(dict, results(tmp_path))} == {None}  # of no repository around it
    for words in (["report", "multirun"], ["store", "ls"], ["store", "verify"]):
        done = run("cftransfer", *words)
        assert done.returncode == 0, done.stderr


def test_every_command_has_its_help(run):
    for words in ([], *([name] for name in COMMANDS)):
        done = run("cftransfer", *words, "--help")
        assert done.returncode == 0, done.stderr
        assert "report" in done.stdout or words
    for words in ([], ["transfer"]):  # one entry for all of them
        done = run("cftransfer", *words, "--help")
        assert run("python", "-m", "cftransfer", *words, "--help").stdout.count("\n") == done.stdout.count("\n")
    for module in ("report", "report.study", "store", "tracking", "validate"):
        assert run("python", "-m", f"cftransfer.{module}", "--help").returncode == 0
    done = run("cftransfer", "nope")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "nope: no such command; there are: transfer, train, report" in done.stderr


def test_train_and_boundary(run, tmp_path):
    done = run("cftransfer", "train", "dataset=moons", "training.epochs=1", "wandb=disabled", "hydra.run.dir=t")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "t").glob("*.log")) == ["train.log"]
    assert run("cftransfer", "transfer", *FAST, "hydra.run.dir=j").returncode == 0
    done = run("cftransfer", "boundary", "j")
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "j").glob("boundary*"))


def test_a_mistake_is_one_line_that_names_the_command(run):
    done = run("cftransfer", "transfer", "model.layres=3")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("cftransfer transfer: model.layres: no such key")


def test_an_experiment_of_ones_own_in_a_folder_of_ones_own(run, tmp_path):
    written(tmp_path / "my", OWN_CONFIGS)
    done = run("cftransfer", "transfer", "--config-dir", "my", "experiment=longer", *FAST)
    assert done.returncode == 0, done.stderr
    (result,) = results(tmp_path)
    assert result["config"]["reference"]["training"]["epochs"] == 2


@pytest.mark.parametrize("launcher", ["basic", "local"])
def test_code_of_an_installed_package_by_its_entry_points(run, tmp_path, launcher):
    """A data set, a model and a search of another package, also in processes of their own."""
    written(tmp_path / "my", OWN_CONFIGS)
    words = ["dataset=blobs", "model=smooth", "counterfactual=copy_nearest", "debug=fast", "wandb=disabled"]
    words += [
        "training.epochs=20",
        "training.lr=0.05",
        "-m",
        "seed=0,1",
        f"hydra/launcher={launcher}",
        "--config-dir",
        "my",
    ]
    done = run("cftransfer", "transfer", *words)
    assert done.returncode == 0, done.stderr
    assert [result["config"]["model"]["_target_"] for result in results(tmp_path)] == ["smooth", "smooth"]
    assert all(result["metrics"]["found"] > 0.5 for result in results(tmp_path))


def test_the_package_of_the_docs_works_as_it_is_printed(run, installed, tmp_path):
    text = (ROOT / "docs" / "extending.md").read_text()
    part = text.partition("## In a package of your own")[2].partition("\n## ")[0]
    files = dict(re.findall(r"`([\w/.]+)`[^`\n]*:\n\n```\w+\n(.*?)```", part, re.DOTALL))
    assert set(files) == {"pyproject.toml", "mine.py", "configs/model/tanh.yaml"}
    written(tmp_path, files)
    pip(
        "--python",
        str(installed / "python"),
        "install",
        "--no-deps",
        "--no-index",
        str(wheel(tmp_path, tmp_path / "w")),
    )
    (block,) = re.findall(r"```bash\n(.*?)```", part, re.DOTALL)
    command = next(line for line in block.splitlines() if line.startswith("cftransfer transfer --config-dir"))
    done = run(*shlex.split(command), *FAST)
    assert done.returncode == 0, done.stderr
    assert results(tmp_path)[0]["config"]["model"] == {"_target_": "tanh", "width": 8}
