"""Shared by many tests: composed configs, small trained models, and the commands as a user runs them."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: two tests run at a time, on two cores

import hypothesis
import pandas as pd
import pytest
from forked_commands import forking
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import cftransfer.commands.resolvers  # (configs call them)
import cftransfer.models
import cftransfer.targets

hypothesis.settings.register_profile("any machine", deadline=None)  # how long an example takes is the machine's affair
hypothesis.settings.load_profile("any machine")
ROOT = Path(__file__).parents[1]
DATASETS = ", ".join(sorted(path.stem for path in (ROOT / "conf" / "dataset").glob("*.yaml")))


def pytest_collection_modifyitems(items):
    """Put W&B's tests first, which wait for servers, and then the longest file, so that no worker is left with it."""
    items.sort(key=lambda item: ("tracking" not in item.path.parts, item.path.name != "test_docs_commands.py"))


def target_of(part: str, option: str) -> str | None:
    """The function that an option of conf/ names, itself or through the option that it begins with; None for none."""
    text = (ROOT / "conf" / part / f"{option}.yaml").read_text()
    named = re.search(r"^_target_: *(\w+)", text, re.MULTILINE)
    begins = re.search(r"^ +- (?!_self_)(\w+) *(#.*)?$", text, re.MULTILINE)
    if named or not begins:
        return named and named[1]
    return target_of(part, begins[1])


def is_own(part: str, option: str) -> bool:
    """Whether an option is of a function that this clone has and cftransfer does not ship (docs/extending.md)."""
    return target_of(part, option) not in {None, *cftransfer.targets.OWN[part]}


def composed(*overrides: str, name: str = "transfer", hydra: bool = False) -> DictConfig:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(name, overrides=list(overrides), return_hydra_config=hydra)


@pytest.fixture(scope="session", autouse=True)
def sigint_is_heard():
    """A script's background process ignores SIGINT, and so do its children: the tests, their jobs."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextmanager
def as_nobody():
    """Without root's right to read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def anybodys():
    """A folder that anybody may look into; tmp_path is closed to others."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def compas():
    from cftransfer.data.compas import compas

    return compas(Path("data"), test_share=0.2, split_seed=0)


@pytest.fixture(scope="session")
def moons():
    from cftransfer.data.moons import moons

    return moons(Path("data"), rows=400, noise=0.2, test_share=0.25, split_seed=0)


@pytest.fixture(scope="session")
def base_spec():
    from cftransfer.commands.patch import base_spec

    return base_spec(composed("training.epochs=3"))


@pytest.fixture(scope="session")
def trained_models(compas, base_spec, tmp_path_factory):
    """Three MLPs on COMPAS, three epochs old."""
    from cftransfer.store import prepare
    from cftransfer.store.trained import trained

    return trained(base_spec, [0, 1, 2], dataset=compas, store=prepare(tmp_path_factory.mktemp("store")))


@pytest.fixture
def own_methods(monkeypatch):
    """Let a test search with a method of its own; configs may name those of the package alone."""

    def function(part, name, known=cftransfer.targets._function):
        module, _, own = name.rpartition("__")
        return getattr(sys.modules[module], own) if module else known(part, name)

    monkeypatch.setattr(cftransfer.targets, "_function", function)


def transfer_table(searches, references, **asked):
    """The table of one group of references."""
    from cftransfer.measuring.long_tables import transfer_tables

    return pd.concat([table for (table,) in transfer_tables(searches, [references], **asked)], ignore_index=True)


SMALL = [
    "dataset=moons",
    "training.epochs=2",
    "model.layers=1",
    "replicates.bases=2",
    "replicates.references=3",
    "samples=40",
]


def environment(**changes: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "HYDRA", "COV", "NETRC"))
    }
    return kept | changes


FORKED = {"transfer.py", "train.py", "-m"}
LATE = re.compile(r"WANDB_\w+|HYDRA_FULL_ERROR|HOME")  # variables that no import reads
_forked = ExitStack()


@cache
def forked():
    """A function that runs a command in a fork of a process with all imports; one for all tests of a worker."""
    return _forked.enter_context(forking(environment(), timeout=300))


@pytest.fixture(scope="session", autouse=True)
def forked_commands_end():
    with _forked:
        yield


def run_command(folder: Path, *words: str, real: bool = False, **changes: str) -> subprocess.CompletedProcess:
    """`python transfer.py …` as a user types it, in a folder of its own; its imports are done before, unless `real`."""
    script = [str(ROOT / words[0]), *words[1:]] if words[0].endswith(".py") else list(words)
    if not real and words[0] in FORKED and all(LATE.fullmatch(name) for name in changes):
        return forked()(script, folder, environment(**changes))
    return subprocess.run(
        [sys.executable, *script],
        cwd=folder,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def results(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("result.json"))]


def table(folder: Path, name: str) -> pd.DataFrame:
    (path,) = folder.rglob(f"{name}.parquet")
    return pd.read_parquet(path)
