"""A model's settings → a freshly initialised network or scikit-learn model; checks of training; hardware."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from cftransfer.data.dataset import Dataset
from cftransfer.data.pixels import unit
from cftransfer.errors import InputError
from cftransfer.models.sklearn_models import SklearnModel
from cftransfer.models.training_rows import training_rows
from cftransfer.settings import check_choice, check_float, check_int, check_keys
from cftransfer.spec import ALL_ROWS, UNCHANGED, Spec
from cftransfer.targets import call_target, parameters

# Settings of training; the last three have defaults, because older stored models lack them.
TRAINING = ("epochs", "lr", "batch_size", "optimizer", "weight_decay", "label_smoothing")


@dataclass(frozen=True)
class Hardware:
    """The hardware for training and predicting; it changes numbers by rounding only.

    accelerator: cpu or gpu. stacked: whether the members of a population are trained together in one pass instead of
        one by one; None: the faster way, as measured (`faster_stacked`). threads: of the CPU; None: one for tables, the
        job's share of the cores for images.
    """

    accelerator: str = "cpu"
    stacked: bool | None = None
    threads: int | None = None

    @property
    def device(self) -> torch.device:
        """The torch device of tensors and models."""
        return torch.device("cuda" if self.accelerator == "gpu" else "cpu")


CPU = Hardware()


def build(
    settings: Mapping[str, Any], *, input_shape: tuple[int, ...], seed: int, outputs: int = 1, complete: bool = True
) -> Any:
    """Return a freshly initialised network, or an unfitted scikit-learn model.

    Its random numbers are a function of the settings, `outputs` and `seed` alone.

    outputs: logits per row, `Dataset.outputs`. complete: as in `call_target`.
    InputError for a model that takes no `outputs` if more than one logit is needed.
    """
    takes = parameters("model", settings)
    if outputs > 1 and "outputs" not in takes:
        way_out = "dataset.positive makes two of them, model=mlp takes several, and so does a function with `outputs`"
        raise InputError(f"model={settings['_target_']}: is for two classes, but the data have {outputs}; {way_out}")
    later = {name: value for name, value in UNCHANGED["model"].items() if name in takes}  # older jobs lack them
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        offered = {"outputs": outputs}
        return call_target("model", {**later, **settings}, input_shape=input_shape, offered=offered, complete=complete)


def build_for(dataset: Dataset, settings: Mapping[str, Any], *, seed: int, complete: bool = True) -> Any:
    """Return `build` with the input shape and the number of outputs that the data need."""
    return build(settings, input_shape=dataset.input_shape, outputs=dataset.outputs, seed=seed, complete=complete)


def check_training(spec: Spec, dataset: Dataset, *, complete: bool = True) -> None:
    """Raise an InputError, naming the key, for a spec that cannot be trained; complete: as in `call_target`."""
    training = spec["training"]
    check_keys("training", training, TRAINING, required=TRAINING[:3])
    check_choice("training.optimizer", training.get("optimizer", "adam"))
    smoothing, decay = (training.get(name, 0.0) for name in ("label_smoothing", "weight_decay"))
    share = "from 0 up to, not including, 1"
    check_float("training.label_smoothing", smoothing, inside=share, among=lambda part: 0 <= part < 1)
    check_float("training.weight_decay", decay, inside="≥ 0", among=lambda decay: 0 <= decay < float("inf"))
    check_int("training.epochs", training["epochs"])
    check_int("training.batch_size", training["batch_size"])
    check_float("training.lr", training["lr"], inside="> 0", among=lambda lr: 0 < lr < float("inf"))
    training_rows(dataset, spec.get("rows", ALL_ROWS), seed=0)
    model = build_for(dataset, spec["model"], seed=0, complete=complete)
    if dataset.outputs > 1:
        _check_classes(dataset)
    if dataset.weight is not None:
        _check_weight(dataset, dataset.weight)
    if isinstance(model, SklearnModel):
        model.check(dataset)
    elif dataset.outputs > 1:
        _check_shape(model, dataset, spec["model"]["_target_"])


def _check_classes(dataset: Dataset) -> None:
    """Refuse a split that lacks a class, with three classes or more: the class could not be learned or scored."""
    for split, labels in (("training", dataset.y_train), ("test", dataset.y_test)):
        there = labels.unique().tolist()
        if absent := [name for code, name in enumerate(dataset.classes) if code not in there]:
            way_out = "leave the class out, or take more rows"
            raise InputError(f"dataset {dataset.name}: the {split} split has no row of class {absent[0]}; {way_out}")


def _check_weight(dataset: Dataset, weight: Tensor) -> None:
    """Refuse weights other than one number ≥ 0 per training row, and weights that are all 0."""
    wanted = tuple(dataset.y_train.shape)
    if tuple(weight.shape) != wanted or not ((weight >= 0) & weight.isfinite()).all() or not weight.any():
        takes = f"takes {wanted[0]} finite numbers ≥ 0, one per training row, and not 0 for all"
        raise InputError(f"dataset {dataset.name}: weight of shape {tuple(weight.shape)} cannot be used; {takes}")


def _check_shape(model: nn.Module, dataset: Dataset, name: str) -> None:
    """Refuse a network that takes `outputs` but does not give one logit per class."""
    with torch.no_grad():
        shape = tuple(model.eval()(unit(dataset.x_train[:2])).shape)
    if shape != (wanted := (len(dataset.x_train[:2]), dataset.outputs)):
        raise InputError(f"model={name}: gives logits of shape {shape}, not {wanted}; its last layer takes `outputs`")


def fitted_in_one_go(spec: Spec, dataset: Dataset) -> bool:
    """Return whether scikit-learn fits the model in one go, so that the settings of training do not apply."""
    return isinstance(build_for(dataset, spec["model"], seed=0), SklearnModel)


def faster_stacked(model: nn.Module) -> bool:
    """Return whether a population of this model trains faster stacked than member by member: unless it convolves.

    Measured on two CPU cores (benchmarks/training.py, benchmarks/images.py): stacking made a step of an MLP 4×64
    several times faster, but a step of a CNN slower, because stacked members become grouped convolutions.
    """
    return not any(isinstance(module, nn.Conv2d) for module in model.modules())
