"""Every option of every group composes, and the function that it names can be called."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT, composed, is_own
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from photos import put_cifar10, put_tree
from pums import persons, put

from cftransfer.commands.patch import base_spec, reference_spec
from cftransfer.commands.plan import plan, plan_training
from cftransfer.errors import InputError
from cftransfer.spec import with_hashes

OPTIONS = sorted(
    {
        f"{path.parent.relative_to(ROOT / 'conf').as_posix()}={path.stem}"
        for path in (ROOT / "conf").rglob("*.yaml")
        if path.parent != ROOT / "conf" and not path.stem.startswith("_")
    }
    # For references only: experiments of these names choose them.
    - {"rows=shift", "perturbation=weight_noise", "perturbation=dropout_models"}
)


NEEDED = {
    "dataset=image_folder": ["dataset.root=imagenet", "dataset.positive=n01"],  # where the user's own images lie
    "dataset=table": ["dataset.path=table.csv", "dataset.label=y"],
    "dataset=sklearn": ["dataset.name=iris"],
    "dataset=openml": ["dataset.name=table", "dataset.label=y"],  # put there by hand
    "counterfactual=imported": [
        "counterfactual.path=${paths.data}/made.npz",
        "counterfactual.units=unit",
        "counterfactual.index=factual",
    ],
    "experiment=shift": ["dataset=moons", "+reference.rows.dataset.noise=0.4"],
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
    rows = pd.DataFrame({"a": np.arange(50) % 7, "y": np.arange(50) % 2})
    (folder / "openml").mkdir()
    for name in ("table.csv", "openml/table-1.csv"):
        rows.to_csv(folder / name, index=False)
    np.savez(folder / "made.npz", counterfactual=np.zeros((1, 14)), factual=[7])  # of COMPAS
    return folder


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_instantiates(option, data, tmp_path):
    places = [f"paths.store={tmp_path}", f"paths.data={data}"]
    if is_own(*own_part(option)):
        check_own_option(option, places)
        return
    cfg = composed(option, *NEEDED.get(option, []), *places)
    if option == "trainer=gpu" and not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"trainer.accelerator=gpu: torch sees no CUDA device here"):
            plan(cfg)
        return
    check_plan(cfg)
    assert not list(tmp_path.rglob("*.safetensors"))  # a plan makes nothing


def check_plan(cfg):
    assert OmegaConf.to_container(cfg, resolve=True)
    made = plan(cfg)
    assert made.base == with_hashes(base_spec(cfg), made.dataset.model_version)
    assert made.reference == with_hashes(reference_spec(cfg), made.reference_dataset.model_version)
    return made


def own_part(option):
    """The part and the name of an option that may name a user's own function; otherwise those of a shipped option."""
    part, _, name = option.partition("=")
    return (part, name) if part in ("dataset", "model", "counterfactual") else ("model", "mlp")


# Words that a user's own option may need: it does not say for which inputs it is, nor whether it has a gradient.
BESIDE = (
    [],
    ["counterfactual=growing_spheres"],
    ["dataset=cifar10_airplane"],
    ["dataset=cifar10_airplane", "counterfactual=growing_spheres"],
)


def check_own_option(option, places):
    """An option of one's own makes a plan; its data set keeps the contract, or is skipped where its files are not."""
    part, _, name = option.partition("=")
    file, reasons = f"conf/{part}/{name}.yaml", []
    if part == "dataset":
        places = [*places, f"paths.data={ROOT / 'data'}"]  # where its files lie in this clone
    for words in [[]] if part == "dataset" else BESIDE:
        try:
            made = check_plan(composed(option, *[word for word in words if not word.startswith(f"{part}=")], *places))
        except (InputError, OSError) as error:
            reasons.append(error)
            continue
        if part == "dataset":
            check_contract(made.dataset, file)
        return
    if any(isinstance(one, FileNotFoundError) for one in (reasons[0], reasons[0].__cause__)):
        # An extender's data may lie on one machine alone; every other reason fails below.
        pytest.skip(f"{file}: its files are not in this clone's data/ ({reasons[0]})")
    pytest.fail(f"{file}: makes no plan: {reasons[0]}", pytrace=False)


def check_contract(data, file):
    """DESIGN's contract of data sets, each breach in one line that names it."""
    for split, x, y in (("train", data.x_train, data.y_train), ("test", data.x_test, data.y_test)):
        assert len(x) == len(y), f"{file}: x_{split} has {len(x)} rows and y_{split} {len(y)}"
        assert x.dtype in (torch.float32, torch.uint8), f"{file}: x_{split} is {x.dtype}; takes float32 or bytes"
        if x.dtype == torch.float32:
            assert x.min() >= 0 and x.max() <= 1, f"{file}: x_{split} leaves [0, 1]"  # noqa: PT018 (also fails for nan)
        classes = set(y.tolist())
        assert classes == set(range(len(data.classes))), f"{file}: y_{split} has the classes {sorted(classes)}"
    assert data.x_train.shape[1:] == data.x_test.shape[1:], f"{file}: the splits have inputs of two shapes"
    features = getattr(data.space, "features", None)
    if features:
        columns = sum(feature.columns for feature in features)
        assert (columns,) == data.input_shape, f"{file}: the space has {columns} columns, the rows {data.input_shape}"


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
    first = lines[0] if lines else ""
    assert first.startswith("#"), f"{path.relative_to(ROOT)}: its first line has to be a comment that says what it is"
    for number, line in enumerate(lines):
        name, _, value = line.partition(":")
        is_setting = (
            value.split("#")[0].strip() and not line.lstrip().startswith(("#", "-")) and not line.startswith("defaults")
        )
        explained = "#" in line or lines[number - 1].lstrip().startswith("#")
        inherited = path.parent.name in ("experiment", "debug", "wandb") or name.strip() in ("_target_", "accelerator")
        in_hydra = "hydra:" in "\n".join(lines[:number])
        file = path.relative_to(ROOT)
        said = f"{file}: key {name.strip()} has no comment (line {number + 1})"
        assert not is_setting or explained or inherited or in_hydra, said


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
    shipped = {path.stem for path in (ROOT / "conf" / "model").glob("*.yaml") if not is_own("model", path.stem)}
    assert set(bases.split(",")) == shipped - {"cnn", "resnet18"}
    for name in bases.split(","):
        place = f"paths.store={tmp_path}"
        for one, other in ((name, "mlp"), ("mlp", name), (name, name)):
            made = plan(composed("sweep=techniques", f"model={one}", f"model@reference.model={other}", place))
            assert made.base["model"]["_target_"].endswith(one)
            assert made.reference["model"]["_target_"].endswith(other)


def test_every_sweep_is_tested():
    own = {path.stem for path in (ROOT / "conf" / "sweep").glob("*.yaml")} - {*SWEEPS, "techniques"}
    for name in sorted(own):  # a clone's own: its first jobs make no plan here, since its values may need its data
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            hydra = compose("transfer", overrides=[f"sweep={name}"], return_hydra_config=True).hydra
        assert hydra.mode.name == "MULTIRUN", f"conf/sweep/{name}.yaml: says no hydra.mode: MULTIRUN"
        assert hydra.sweeper.params, f"conf/sweep/{name}.yaml: says no hydra.sweeper.params"
