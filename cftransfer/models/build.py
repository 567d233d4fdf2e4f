"""A model's settings → a network or a scikit-learn model, freshly initialised; where and how it is trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cftransfer.data.dataset import Dataset
from cftransfer.models.sklearn_models import SklearnModel
from cftransfer.settings import check_float, check_int, check_keys
from cftransfer.spec import Spec
from cftransfer.targets import call_target


@dataclass(frozen=True)
class Hardware:
    """Where models are trained and asked, which moves their numbers by rounding only.

    accelerator: cpu or gpu. stacked: whether the members of a population are trained together in one pass, instead of
        one after the other; None: what was measured to be faster (`faster_stacked`). threads: of the CPU; None: one for
        tables, the job's share of the cores for images.
    """

    accelerator: str = "cpu"
    stacked: bool | None = None
    threads: int | None = None

    @property
    def device(self) -> torch.device:
        """Where tensors and models are put."""
        return torch.device("cuda" if self.accelerator == "gpu" else "cpu")


CPU = Hardware()


def build(settings: Mapping[str, Any], *, input_shape: tuple[int, ...], seed: int, complete: bool = True) -> Any:
    """Return a freshly initialised network, or a scikit-learn model that is not fitted yet.

    All that is random in it is a function of the settings and `seed` alone. complete: as in `call_target`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return call_target("model", settings, input_shape=input_shape, complete=complete)


def check_training(spec: Spec, dataset: Dataset, *, complete: bool = True) -> None:
    """Raise an InputError, naming the key, for a spec that cannot be trained; complete: as in `call_target`."""
    training = spec["training"]
    check_keys("training", training, ("epochs", "lr", "batch_size"))
    check_int("training.epochs", training["epochs"], least=1)
    check_int("training.batch_size", training["batch_size"], least=1)
    check_float("training.lr", training["lr"], inside="> 0", among=lambda lr: 0 < lr < float("inf"))
    model = build(spec["model"], input_shape=dataset.input_shape, seed=0, complete=complete)
    if isinstance(model, SklearnModel):
        model.check(dataset)


def fitted_in_one_go(spec: Spec, dataset: Dataset) -> bool:
    """Return whether scikit-learn fits the model, in one go: the settings of training do not touch it."""
    return isinstance(build(spec["model"], input_shape=dataset.input_shape, seed=0), SklearnModel)


def faster_stacked(model: nn.Module) -> bool:
    """Return whether a population of this model trains faster stacked than member by member: unless it convolves.

    Measured on two CPU cores (benchmarks/training.py, benchmarks/images.py): stacking made the step of an MLP 4×64
    several times faster, and that of a CNN slower, whose members meet in grouped convolutions.
    """
    return not any(isinstance(module, nn.Conv2d) for module in model.modules())
