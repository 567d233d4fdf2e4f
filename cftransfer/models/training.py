"""cftransfer.train: models of one spec, trained in one pass in memory."""

from collections.abc import Iterable
from typing import Any

import torch

from cftransfer.data.dataset import Dataset
from cftransfer.errors import InputError
from cftransfer.models.build import CPU, Hardware, build, check_training, faster_stacked
from cftransfer.models.prediction import Asked
from cftransfer.models.sklearn_models import SklearnModel


def train(
    data: Dataset,
    *,
    model: str = "mlp",
    seeds: Iterable[int] = (0,),
    epochs: int = 10,
    lr: float = 0.001,
    batch_size: int = 64,
    hardware: Hardware = CPU,
    **settings: Any,
) -> list[Asked]:
    """Train a model per seed, together in one pass where that is faster; nothing is stored.

    Args:
        data: what to train on (`dataset`); the test split is only scored.
        model: a name of conf/model, such as mlp, cnn or random_forest.
        seeds: whole numbers ≥ 0; each decides a model's initialisation and the order of its batches. References take
            other seeds than bases.
        epochs: passes over the training split; scikit-learn's models are fitted in one go.
        lr: Adam's step size, on binary cross entropy.
        batch_size: rows per step.
        hardware: where to train (`Hardware`).
        settings: the model's own, such as layers=4, width=64.

    Returns:
        One frozen model in evaluation mode per seed: (n, *input) in [0, 1] → (n,) logits of class 1. They equal those
        that the commands train and store, to the last bit where the same seeds are trained together.

    >>> from cftransfer import dataset
    >>> models = train(dataset("moons", rows=200), layers=1, width=8, seeds=[0, 1], epochs=1)
    >>> len(models), tuple(models[0](torch.zeros(3, 2)).shape)
    (2, (3,))
    """
    names = list(seeds)
    if not names or any(isinstance(seed, bool) or not isinstance(seed, int) or seed < 0 for seed in names):
        raise InputError(f"seeds={names}: takes whole numbers ≥ 0, at least one")
    named = {"_target_": model, **settings}
    members = [build(named, input_shape=data.input_shape, seed=seed, complete=False) for seed in names]
    check_training(
        {"training": {"epochs": epochs, "lr": lr, "batch_size": batch_size}, "model": named}, data, complete=False
    )
    if isinstance(members[0], SklearnModel):
        return [member.fit(data) for member in members]
    together = faster_stacked(members[0]) if hardware.stacked is None else hardware.stacked
    groups = [list(range(len(names)))] if together else [[index] for index in range(len(names))]
    for group in groups:
        some = [members[index] for index in group], [names[index] for index in group]
        _fit(*some, data, epochs=epochs, lr=lr, batch_size=batch_size, hardware=hardware)
    return [member.requires_grad_(False).eval().to(hardware.device) for member in members]


def _fit(
    members: list[torch.nn.Module],
    seeds: list[int],
    data: Dataset,
    *,
    epochs: int,
    lr: float,
    batch_size: int,
    hardware: Hardware,
) -> None:
    """Train members in one pass; put the weights back into them."""
    from cftransfer.models.population import Population, fit  # Lightning: only where something is trained

    splits = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    population = Population(members, splits=splits, seeds=seeds, lr=lr, batch_size=batch_size)
    fit(population, epochs=epochs, accelerator=hardware.accelerator)
    if not all(weight.isfinite().all() for weight in population.weights):
        raise InputError(f"lr={lr}: training diverged, weights are not finite; lower it")
    for index, member in enumerate(members):
        stacked = zip(population.names, population.weights, strict=True)
        member.load_state_dict({name: weight[index].detach().cpu() for name, weight in stacked})
