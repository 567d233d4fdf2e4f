"""Every option of every group composes, and what it names can be called."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, composed
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from photos import put_cifar10, put_tree
from pums import persons, put

from cftransfer.commands.patch import base_spec, reference_spec
from cftransfer.commands.plan import plan, plan_training
from cftransfer.errors import InputError
from cftransfer.spec import with_hashes

OPTIONS = sorted(
    f"{path.parent.relative_to(ROOT / 'conf').as_posix()}={path.stem}"
    for path in (ROOT / "conf").rglob("*.yaml")
    if path.parent != ROOT / "conf" and not path.stem.startswith("_")
)


NEEDED = {
    "dataset=image_folder": ["dataset.root=imagenet", "dataset.positive=n01"],  # where the user's own images lie
    "counterfactual=imported": [
        "counterfactual.path=${paths.data}/made.npz",
        "counterfactual.units=unit",
        "counterfactual.index=factual",
    ],
    "model=cnn": ["dataset=cifar10_airplane"],
    "model=resnet18": ["dataset=cifar10_airplane"],
    **{  # bases without a gradient
        f"model={name}": ["counterfactual=growing_spheres"]
        for name in ("decision_tree", "gradient_boosting", "knn", "random_forest")
    },
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    put(folder, persons(300))
    put_cifar10(folder, train=9, test=9)
    put_tree(folder / "imagenet", counts=(6, 6))
    np.savez(folder / "made.npz", counterfactual=np.zeros((1, 14)), factual=[7])  # of COMPAS
    return folder


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_instantiates(option, data, tmp_path):
    places = [f"paths.store={tmp_path}", f"paths.data={data}"]
    cfg = composed(option, *NEEDED.get(option, []), *places)
    if option == "trainer=gpu" and not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"trainer.accelerator=gpu: torch sees no CUDA device here"):
            plan(cfg)
        return
    assert OmegaConf.to_container(cfg, resolve=True)
    made = plan(cfg)
    assert made.base == with_hashes(base_spec(cfg), made.dataset.version)
    assert made.reference == with_hashes(reference_spec(cfg), made.dataset.version)
    assert not list(tmp_path.rglob("*.safetensors"))  # a plan makes nothing


def test_there_are_options():
    groups = {option.partition("=")[0] for option in OPTIONS}
    assert groups >= {
        "dataset",
        "input",
        "model",
        "training",
        "trainer",
        "counterfactual",
        "experiment",
        "wandb",
        "debug",
    }


@pytest.mark.parametrize("dataset", ["cifar10_airplane", "imagenet_orange", "image_folder"])
def test_data_sets_of_images_bring_what_suits_them_and_a_user_may_choose_otherwise(dataset):
    cfg = composed(f"dataset={dataset}")
    assert (cfg.model._target_, cfg.counterfactual.lr) == ("cnn", 0.0005)
    assert cfg.training.epochs == 20
    other = composed(f"dataset={dataset}", "model=mlp", "training=default", "counterfactual.lr=0.1", "input.rows=8")
    assert (other.model._target_, other.training.epochs) == ("mlp", 10)
    assert (other.counterfactual.lr, other.counterfactual.batch_size) == (0.1, 8)
    table = composed("dataset=compas")
    assert (table.counterfactual.lr, table.counterfactual.batch_size, table.training.epochs) == (0.01, 256, 10)


def test_train_composes(tmp_path):
    assert plan_training(composed(f"paths.store={tmp_path}", name="train")).seeds == [0]


@pytest.mark.parametrize("path", sorted((ROOT / "conf").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_setting_has_a_comment(path: Path):
    lines = path.read_text().splitlines()
    assert lines[0].startswith("#"), "says what it is on its first line"
    for number, line in enumerate(lines):
        name, _, value = line.partition(":")
        is_setting = (
            value.split("#")[0].strip() and not line.lstrip().startswith(("#", "-")) and not line.startswith("defaults")
        )
        explained = "#" in line or lines[number - 1].lstrip().startswith("#")
        inherited = path.parent.name in ("experiment", "debug", "wandb") or name.strip() in ("_target_", "accelerator")
        in_hydra = "hydra:" in "\n".join(lines[:number])
        assert not is_setting or explained or inherited or in_hydra, f"{path.name}:{number + 1}: {line}"


SWEEPS = {
    "depth": "model.layers",
    "width": "model.width",
    "epochs": "training.epochs",
    "extra_layers": "extra_layers",
    "extra_features": "extra_features",
    "confidence": "counterfactual.confidence",
    "methods": "counterfactual",
}


@pytest.mark.parametrize(("sweep", "knob"), SWEEPS.items())
def test_a_named_sweep_is_of_values_that_its_experiment_takes(sweep, knob, tmp_path):
    """The README runs one as a command; here each value of each makes a plan."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        hydra = compose("transfer", overrides=[f"sweep={sweep}"], return_hydra_config=True).hydra
    assert hydra.mode.name == "MULTIRUN"
    assert list(hydra.sweeper.params) == [knob]
    for value in hydra.sweeper.params[knob].split(","):
        cfg = composed(f"sweep={sweep}", f"{knob}={value}", f"paths.store={tmp_path}")
        assert knob == "counterfactual" or str(OmegaConf.select(cfg, knob)) == value
        plan(cfg)


def test_the_sweep_of_techniques_is_of_every_model_for_tables_as_base_and_as_reference(tmp_path):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        hydra = compose("transfer", overrides=["sweep=techniques"], return_hydra_config=True).hydra
    bases, references = hydra.sweeper.params["model"], hydra.sweeper.params["model@reference.model"]
    assert bases == references
    assert set(bases.split(",")) == {path.stem for path in (ROOT / "conf" / "model").glob("*.yaml")} - {
        "cnn",
        "resnet18",
    }
    for name in bases.split(","):
        place = f"paths.store={tmp_path}"
        for one, other in ((name, "mlp"), ("mlp", name), (name, name)):
            made = plan(composed("sweep=techniques", f"model={one}", f"model@reference.model={other}", place))
            assert made.base["model"]["_target_"].endswith(one)
            assert made.reference["model"]["_target_"].endswith(other)


def test_every_sweep_is_tested():
    assert {path.stem for path in (ROOT / "conf" / "sweep").glob("*.yaml")} == {*SWEEPS, "techniques"}
