"""cftransfer.train: models of one spec, trained in one pass in memory."""

from collections.abc import Iterable, Mapping, Sequence
from operator import index
from typing import Any

from torch import nn

from cftransfer.data.dataset import Dataset
from cftransfer.errors import InputError
from cftransfer.models.build import CPU, Hardware, build_for, check_training, faster_stacked
from cftransfer.models.prediction import Asked
from cftransfer.models.sklearn_models import SklearnModel
from cftransfer.models.training_rows import split_of, training_rows
from cftransfer.spec import ALL_ROWS


def train(
    data: Dataset,
    *,
    model: str = "mlp",
    seeds: Iterable[int] = (0,),
    epochs: int = 10,
    lr: float = 0.001,
    batch_size: int = 64,
    optimizer: str = "adam",
    weight_decay: float = 0.0,
    label_smoothing: float = 0.0,
    rows: Mapping[str, Any] | None = None,
    hardware: Hardware = CPU,
    **settings: Any,
) -> list[Asked]:
    """Train one model per seed, together in one pass if that is faster; nothing is stored.

    To train your own network, use `Classifier` and Lightning's Trainer.

    Args:
        data: the data set (`dataset`); its test split is only scored.
        model: a name of conf/model, such as mlp, cnn or random_forest.
        seeds: whole numbers ≥ 0; each decides a model's initialisation and the order of its batches. References need
            seeds other than the bases'.
        epochs: passes over the training split, ≥ 1. Models of scikit-learn are fitted in one go and ignore this and
            the next two.
        lr: learning rate of the optimiser, which minimises the cross entropy (weighted by `Dataset.weight`), > 0.
        batch_size: rows of a batch, ≥ 1.
        optimizer: adam, or sgd without momentum.
        weight_decay: ≥ 0; weight_decay times each weight is added to its gradient.
        label_smoothing: share of a label, in [0, 1), that is spread evenly over all classes.
        rows: the choice of training rows, as in conf/rows: {"_target_": "bootstrap", "draw": 0}. The rows are a
            function of a model's seed (`training_rows`). None: all rows.
        hardware: the hardware for training (`Hardware`).
        settings: the model's own, such as layers=4, width=64.

    Returns:
        One frozen model in evaluation mode per seed: (n, *input) in [0, 1] → (n,) logits of class 1, or (n, K) if the
        data have K ≥ 3 classes. They equal the models that the commands train and store, bit for bit if the same seeds
        are trained together.

    Raises:
        InputError: one line, for an impossible name, seed or setting, and if training diverges.

    >>> import torch
    >>> from cftransfer import dataset
    >>> models = train(dataset("moons", rows=200), layers=1, width=8, seeds=[0, 1], epochs=1)
    >>> len(models), tuple(models[0](torch.zeros(3, 2)).shape)
    (2, (3,))
    """
    numbers = _seeds(seeds)
    if not isinstance(model, str):
        way_out = "must be a name, such as mlp; train a network of your own with Classifier"
        raise InputError(f"model={type(model).__name__}: {way_out}")
    named = {"_target_": model, **settings}
    training = {"epochs": epochs, "lr": lr, "batch_size": batch_size, "optimizer": optimizer}
    training |= {"weight_decay": weight_decay, "label_smoothing": label_smoothing}
    chosen = dict(rows or ALL_ROWS)
    check_training({"model": named, "training": training, "rows": chosen}, data, complete=False)
    members = [build_for(data, named, seed=seed, complete=False) for seed in numbers]
    if isinstance(members[0], SklearnModel):
        each = zip(members, numbers, strict=True)
        return [member.fit(split_of(data, training_rows(data, chosen, seed=seed))) for member, seed in each]
    together = faster_stacked(members[0]) if hardware.stacked is None else hardware.stacked
    whole = list(zip(members, numbers, strict=True))
    for group in [whole] if together else [[one] for one in whole]:
        _fit(group, data, training=training, rows=chosen, hardware=hardware)
    return [member.requires_grad_(False).eval().to(hardware.device) for member in members]


def _seeds(seeds: Iterable[int]) -> list[int]:
    try:
        numbers = [index(seed) for seed in seeds]  # also numpy's integers
    except TypeError:
        numbers = []
    if not numbers or min(numbers) < 0 or any(isinstance(seed, bool) for seed in seeds):
        raise InputError(f"seeds={seeds}: must be a list of whole numbers ≥ 0, at least one")
    return numbers


def _fit(
    group: Sequence[tuple[nn.Module, int]],
    data: Dataset,
    *,
    training: Mapping[str, Any],
    rows: Mapping[str, Any],
    hardware: Hardware,
) -> None:
    """Train networks, each with its seed, in one pass, and load the results into them."""
    from cftransfer.models.population import Population, fit  # imports Lightning: only to train

    members, seeds = zip(*group, strict=True)
    splits = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
    population = Population(
        members,
        splits=splits,
        seeds=seeds,
        **{name: value for name, value in training.items() if name != "epochs"},
        classes=len(data.classes),
        row_weight=data.weight,
        rows=[training_rows(data, rows, seed=seed) for seed in seeds],
    )
    fit(population, epochs=training["epochs"], accelerator=hardware.accelerator)
    if not all(weight.isfinite().all() for weight in population.weights):
        raise InputError(f"lr={training['lr']}: training diverged, weights are not finite; lower it")
    for place, member in enumerate(members):
        stacked = zip(population.names, population.weights, strict=True)
        member.load_state_dict({name: weight[place].detach().cpu() for name, weight in stacked})
