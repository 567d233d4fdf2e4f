"""Names, tags, groups and ids of runs."""

from pathlib import Path

import pytest
from conftest import ROOT, composed
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cftransfer.commands.job import GROUPS
from cftransfer.errors import InputError
from cftransfer.jobs.provenance import RunningJob
from cftransfer.jobs.schema import what
from cftransfer.tracking import id_of, names


def named(*overrides: str, config: str = "transfer") -> tuple[str, list[str]]:
    """The name and the tags of the job that these words make."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose(config, overrides=list(overrides), return_hydra_config=True)
    chosen = {name.rpartition("@")[2]: cfg.hydra.runtime.choices.get(name) for name in GROUPS}
    settings = OmegaConf.to_container(composed(*overrides, name=config), resolve=True)
    chosen = {name: option for name, option in chosen.items() if option is not None}
    return names.name(settings, chosen, overrides), names.tags(settings, chosen)


NAMES = {
    (): "seed compas mlp 4×64",
    ("experiment=more_layers",): "more_layers compas mlp 4×64 → 6×64",
    ("experiment=more_layers", "extra_layers=1", "model.layers=2"): "more_layers compas mlp 2×64 → 3×64",
    ("experiment=more_features",): "more_features compas mlp 4×64 → 4×128",
    ("experiment=continued_training",): "continued_training compas mlp 4×64 +20 epochs",
    ("experiment=technique",): "technique compas mlp 4×64 → decision_tree",
    ("experiment=technique", "model=svm", "model@reference.model=mlp"): "technique compas svm → mlp 4×64",
    ("experiment=technique", "model=knn", "model@reference.model=knn"): "technique compas knn",
    ("model=random_forest", "+reference.model.n_estimators=10"): "seed compas random_forest → n_estimators=10",
    ("+reference.training.lr=0.1",): "seed compas mlp 4×64 lr 0.001 → 0.1",
    ("seed=3", "counterfactual=wachter", "samples=9"): "seed compas mlp 4×64 wachter seed 3",
    ("dataset=cifar10_airplane", "counterfactual.confidence=0.9"): "seed cifar10_airplane cnn 4×16 confidence=0.9",
    ("dataset=cifar10_airplane", "model=resnet18"): "seed cifar10_airplane resnet18",
}


@pytest.mark.parametrize(("words", "name"), NAMES.items())
def test_a_run_has_a_name_that_a_person_can_read(words, name):
    assert named(*words)[0] == name


def test_a_population_has_one_too():
    assert named("model.layers=2", config="train") == ("train compas mlp 2×64", ["train", "compas"])


OPTIONS = [
    f"{group}={path.stem}"
    for group in ("experiment", "model", "dataset", "counterfactual")
    for path in sorted((ROOT / "conf" / group).glob("*.yaml"))
]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_named_or_tagged(option):
    value = option.partition("=")[2]
    words = [option, "dataset.positive=x"] if value == "image_folder" else [option]
    name, tags = named(*words)
    assert len(name) <= names.LONGEST_NAME
    assert value in [*name.split(), *tags]
    assert tags[:1] == [name.split()[0]]


def test_tags_of_the_user_come_last_and_once():
    assert named("wandb.tags=[pilot,compas]")[1] == ["seed", "compas", "gradient", "pilot"]
    with pytest.raises(InputError, match=r"wandb\.tags"):
        named("wandb.tags=[3]")


def test_a_run_goes_by_folder_and_settings_and_not_by_where_it_lands():
    config = {"seed": 0, "wandb": {"mode": "offline", "project": "p"}}
    job = RunningJob(Path("/jobs/a"), config, {}, [])
    assert id_of(job) == names.run_id(Path("/jobs/a"), what(config))
    landing = config | {"wandb": {"mode": "online", "project": "q"}, "trainer": {"threads": 2}}
    others = [RunningJob(Path("/jobs/b"), config, {}, []), RunningJob(job.folder, config | {"seed": 1}, {}, [])]
    assert id_of(RunningJob(job.folder, landing, {}, [])) == id_of(job)
    assert len({id_of(job), *map(id_of, others), names.run_id(Path("/jobs/a"))}) == 4
    assert id_of(RunningJob(job.folder, config | {"wandb": {"mode": "disabled"}}, {}, [])) is None


def test_of_a_long_folder_the_group_is_the_end():
    assert names.group("multirun/a") == "multirun/a"
    long = names.group("x" * 100 + "/" + "y" * 100)
    assert (len(long), long[0], long[-101:]) == (128, "…", "/" + "y" * 100)


@pytest.mark.parametrize(("own", "group"), [(None, "multirun/a"), ("mine", "mine")])
def test_a_job_stands_with_its_sweep_unless_the_user_says_otherwise(own, group):
    config = OmegaConf.to_container(composed(f"wandb.group={own or 'null'}"), resolve=True)
    job = RunningJob(Path("multirun/a/0"), config, {"experiment": "seed", "dataset": "compas"}, [], "multirun/a")
    described = names.described(job, git=None, versions={})
    assert (described["group"], described["job_type"]) == (group, "seed")
    assert described["config"]["code"] == {"commit": None, "dirty": None}
