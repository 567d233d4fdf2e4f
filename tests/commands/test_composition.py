"""Jobs composed once per choice of groups equal those that Hydra composes."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, SMALL, environment
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from cftransfer.commands import composition
from cftransfer.commands.composition import FastSweepComposition, compose_once_per_choice
from cftransfer.commands.mistakes import as_value, one_line

TYPED = ["hydra.sweep.dir=jobs", "+hydra.job.env_set.A=b"]


def outcomes(jobs, *, ours):
    """The outcomes of the jobs of a sweep, each a list of words: its configuration, or its mistake in a line."""
    loader = ConfigLoaderImpl(create_config_search_path(str(ROOT / "conf")))
    master = loader.load_configuration("transfer", TYPED, RunMode.MULTIRUN)
    if ours:
        compose_once_per_choice(loader)
    return [outcome(lambda words=words: loader.load_sweep_config(master, words)) for words in jobs]


def outcome(compose):
    try:
        config = compose()
    except HydraException as error:
        return one_line(error)
    return OmegaConf.to_yaml(config), OmegaConf.is_struct(config), OmegaConf.is_readonly(config.hydra)


@pytest.mark.parametrize(
    "jobs",
    [
        [["seed=1"], ["seed=2"], ["seed=1"]],
        [["model.layers=2", "experiment=seed"], ["model.layers=4", "experiment=more_layers"]],
        [["model=mlp", "model.width=3"], ["model=svm", "reference=null"], ["model=mlp", "seed=[1,2]"]],
        [["experiment=more_features", "model.width=8", "extra_features=2"], ["extra_features=4", "seed=3"]],
        [["+reference.model.layers=6", "samples=3"], ["++reference.model.layers=8", "samples=null"], ["samples=9"]],
        [["~counterfactual.p", "debug=fast"], ["counterfactual.p=.9", "~debug"]],
        [["model={layers:3}", "wandb.notes='a sentence, with = and ${seed}'"], ["model.layers=${seed}"]],
        [["hydra.verbose=true", "seed=1"], ["seed=1"], ["seed=2", "hydra.verbose=false"]],
        [["dataset=moons", "dataset@other=compas", "+trainer.threads=1"], ["dataset=moons"]],
    ],
)
def test_it_is_what_hydra_composes(jobs):
    assert outcomes(jobs, ours=True) == outcomes(jobs, ours=False)


def test_the_time_of_a_sweep_is_one_for_all_its_jobs():
    loader = ConfigLoaderImpl(create_config_search_path(str(ROOT / "conf")))
    setup_globals()
    master = loader.load_configuration("transfer", ["hydra.sweep.dir=${now:%H-%M-%S-%f}"], RunMode.MULTIRUN)
    compose_once_per_choice(loader)
    began = master.hydra.sweep.dir
    assert [loader.load_sweep_config(master, ["seed=1"]).hydra.sweep.dir for _ in range(2)] == [began, began]


def test_jobs_do_not_share_what_they_change():
    loader = ConfigLoaderImpl(create_config_search_path(str(ROOT / "conf")))
    master = loader.load_configuration("transfer", [], RunMode.MULTIRUN)
    compose_once_per_choice(loader)
    one, other = (loader.load_sweep_config(master, [f"wandb.tags=[{tag}]"]) for tag in "ab")
    one.wandb.tags.append("c")
    one.hydra.job.num = 7
    assert other.wandb.tags == ["b"]
    assert OmegaConf.is_missing(other.hydra.job, "num")
    assert loader.load_sweep_config(master, ["seed=1"]).wandb.tags == []


COUNTED = """
import runpy, sys
from hydra._internal.config_loader_impl import ConfigLoaderImpl
import cftransfer.commands.composition
cftransfer.commands.composition.POSSIBLE = {ours}
real, calls = ConfigLoaderImpl.load_configuration, []
ConfigLoaderImpl.load_configuration = lambda *args, **more: calls.append(more) or real(*args, **more)
sys.argv = {argv}
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as ended:
    jobs = [more for more in calls if more["run_mode"].name == "RUN"]
    print("exit", ended.code, "compositions", len(jobs))
"""


def compositions(folder, *, ours):
    """Run a sweep of three jobs of one choice; say how it ended, and how often Hydra composed a job."""
    argv = [str(ROOT / "transfer.py"), "-m", "seed=1,2,3", *SMALL]
    words = [sys.executable, "-c", COUNTED.format(argv=argv, ours=ours)]
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    return (done.stdout.splitlines() or [done.stderr])[-1]


@pytest.mark.slow
def test_a_sweep_composes_once_per_choice(tmp_path):
    assert compositions(tmp_path, ours=True) == "exit 0 compositions 1"


@pytest.mark.long
def test_hydra_still_composes_every_job_twice(tmp_path):
    """If this fails, Hydra has become faster: see whether cftransfer/commands/composition.py can be deleted."""
    assert compositions(tmp_path, ours=False) == "exit 0 compositions 6"


def test_without_the_private_names_of_hydra_sweeps_are_composed_hydras_way(monkeypatch):
    monkeypatch.setattr(composition, "POSSIBLE", False)
    monkeypatch.setattr(composition, "compose_once_per_choice", pytest.fail)
    FastSweepComposition().on_multirun_start(OmegaConf.create({"hydra": {"launcher": {}}}))


@given(st.text(st.sampled_from("ab\\'\"${}:,=[] é"), min_size=1, max_size=12))
def test_a_path_is_read_back_as_it_was(name):
    word = f"store={as_value(Path(name))}"
    config = OmegaConf.create({"store": OverridesParser.create().parse_override(word).value()})
    assert config.store == str(Path(name))
