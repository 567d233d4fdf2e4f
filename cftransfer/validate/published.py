"""Two published rates on data that we ship, with the protocols of the authors' published code.

Jiang, Rago, Leofante, Toni, *Recourse under Model Multiplicity via Argumentative Ensembling* (AAMAS 2024), the row
"augmented ensembling" of COMPAS. A model's counterfactual is the nearest training row that it puts in the other class.
It is tried on the models that agree with the majority about the factual, including the model itself. As in their code,
networks and training are scikit-learn's MLPClassifier; the pool has 35 networks, 150 in their code.

Stępka, Lango, Stefanowski, *Counterfactual Explanations with Probabilistic Guarantees on their Robustness to Model
Change* (KDD 2025), the base counterfactuals of growing spheres on breast cancer, on networks with another architecture,
bootstrap sample or seed. In their code, each of three folds has one base and 30 changed networks. Here, each fold has
four bases with 3 changed networks each, because most of the variation is between bases: a standard deviation of .11 to
.15 (15 bases), and so .06 to .09 for a mean of three. The tolerance is therefore wide.
"""

import warnings
from collections.abc import Callable, Iterable
from importlib.resources import as_file, files
from itertools import pairwise, product
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import cftransfer as cft
from cftransfer.validate.check import Row, equal

MAJORITY = ((10, 0.572), (20, 0.544), (30, 0.530))  # number of models, and the validity in Jiang et al.
CHANGES = {"architecture": 0.543, "bootstrap": 0.537, "seed": 0.472}  # the validity in Stępka et al.
SIZES = ((15, 15), (15, 20), (20, 20), (30, 20), (30, 25))  # of hidden layers; each network draws one
DRAWS = 3  # sets per number of models; five in their code
FOLDS, BASES, CHANGED, FACTUALS = 3, 4, 3, 30


def nearest_rows_of_compas() -> Iterable[Row]:
    """Sets of 10, 20 and 30 networks from one pool; the mean over factuals, then over sets."""
    data = _scores()
    models = _networks(data)
    x = data.x_test[torch.from_numpy(np.random.default_rng(0).integers(0, len(data.x_test), 500))]
    found = [_nearest_of_the_other_class(model, x, data) for model in models]
    valid, classes = _validity(models, found)
    rng = np.random.default_rng(1)
    for many, printed in MAJORITY:
        sets = [rng.permutation(len(models))[:many] for _ in range(DRAWS)]
        measured = [_among_the_majority(valid[np.ix_(some, some)], classes[some]) for some in sets]
        yield equal(f"{many} networks", printed, float(np.mean(measured)), 0.04)


def growing_spheres_of_breast_cancer() -> Iterable[Row]:
    """The rate of a base and its changed networks, which share its initial weights unless the seed is changed."""
    rates: dict[str, list[float]] = {name: [] for name in CHANGES}
    rng = np.random.default_rng(345)
    for data, seed in product(_folds(), range(BASES)):
        base = _early_stopped(data, seed=seed)
        x = data.x_test[:FACTUALS]
        found = cft.search(base, x, method="growing_spheres", constraints="none", iterations=10_000, sparse=False)
        references = {name: [_changed(data, name, seed, rng) for _ in range(CHANGED)] for name in CHANGES}
        result = cft.measure(cft.ask(found, references))
        for name in CHANGES:
            rates[name].append(result[name].rate)  # type: ignore[arg-type]
    for name, printed in CHANGES.items():
        yield equal(name, printed, float(np.mean(rates[name])), 0.12)


def _scores() -> cft.Dataset:
    """Return CARLA's version of COMPAS, used by Jiang et al.: whether the tool's own score is below "high"."""
    with as_file(files("cftransfer.data") / "compas.csv.gz") as path:
        table = pd.read_csv(
            path, keep_default_na=False, na_values={"days_b_screening_arrest": "", "length_of_stay": ""}
        )
    rows = table[table.days_b_screening_arrest.abs().le(30) & table.is_recid.ne(-1) & table.score_text.ne("N/A")]
    known = rows[["age", "two_year_recid", "priors_count", "length_of_stay", "c_charge_degree", "sex"]]
    known = known.assign(african_american=rows.race.eq("African-American"), high=rows.score_text.eq("High"))
    numbers = ("age", "priors_count", "length_of_stay")
    return cft.table(
        known.dropna(), label="high", positive=False, features={name: {"kind": "continuous"} for name in numbers}
    )


def _networks(data: cft.Dataset, many: int = 35) -> list[Any]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    x, y = data.x_train.double().numpy(), data.y_train.long().numpy()
    models = []
    for seed in range(many):
        rng = np.random.default_rng(seed)
        rows = rng.permutation(len(x))[: round(0.8 * len(x))]
        sizes = SIZES[rng.integers(len(SIZES))]
        model = MLPClassifier(hidden_layer_sizes=sizes, random_state=seed, batch_size=64, learning_rate_init=0.02)
        with warnings.catch_warnings():
            # A network is used after scikit-learn's 200 epochs, even if the loss still falls.
            warnings.simplefilter("ignore", ConvergenceWarning)
            models.append(model.fit(x[rows], y[rows]))
    return [model for model in models if len(np.unique(model.predict(x))) > 1]


def _nearest_of_the_other_class(model: Any, x: torch.Tensor, data: cft.Dataset) -> cft.Counterfactuals:
    """Return each factual's nearest training row that the model itself, not the label, puts in the other class."""
    said = model.predict(data.x_train.double().numpy())
    return cft.search(model, x, space=data.space, method="nearest", constraints="box", background=(data.x_train, said))


def _validity(models: list[Any], found: list[cft.Counterfactuals]) -> tuple[np.ndarray, np.ndarray]:
    """Return whether model j puts the counterfactual of model i in i's target class, and the models' classes.

    (i, j, factuals) bool, (i, factuals) int64. A model's own found counterfactuals hold by definition.
    """
    factuals = len(found[0])
    classes = np.stack([(one.factual_logit > 0).long().numpy() for one in found])
    valid = np.ones((len(models), len(models), factuals), dtype=bool)
    for base, one in enumerate(found):
        others = [place for place in range(len(models)) if place != base]
        table = cft.ask(one, [models[place] for place in others]).transfers
        held = table.transferred.fillna(False).to_numpy(dtype=bool)
        valid[base, others] = held.reshape(len(others), factuals)
        valid[base, base] = one.found.numpy()
    return valid, classes


def _among_the_majority(valid: np.ndarray, classes: np.ndarray) -> float:
    """Return the share of pairs of majority models for which the counterfactual holds, averaged over factuals."""
    many = len(classes)
    majority = classes.sum(0) * 2 > many
    shares = []
    for factual in range(classes.shape[1]):
        agree = np.flatnonzero(classes[:, factual] == majority[factual])
        shares.append(valid[np.ix_(agree, agree)][..., factual].mean())
    return float(np.mean(shares))


def _folds() -> Iterable[cft.Dataset]:
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import StratifiedKFold

    x, y = load_breast_cancer(return_X_y=True)
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=345).split(x, y):
        yield cft.arrays(x[train], y[train], x[test], y[test])


def _changed(data: cft.Dataset, change: str, seed: int, rng: np.random.Generator) -> nn.Module:
    if change == "architecture":
        return _early_stopped(data, seed=seed, layers=int(rng.integers(3, 6)), width=int(rng.integers(64, 257)))
    drawn = BASES + int(rng.integers(1000))
    return _early_stopped(data, seed=drawn) if change == "seed" else _early_stopped(data, seed=seed, bootstrap=drawn)


def _early_stopped(
    data: cft.Dataset, *, seed: int, layers: int = 3, width: int = 128, bootstrap: int | None = None
) -> nn.Module:
    """Return a network trained as in the published code: a fifth of the rows is held out, patience is 5 epochs.

    Its dropout of .4 acts only in the first epoch, since no later epoch sets training mode again.
    """
    generator = torch.Generator().manual_seed(seed)
    x, y = data.x_train, data.y_train
    if bootstrap is not None:
        rows = torch.from_numpy(np.random.default_rng(bootstrap).integers(0, len(x), len(x)))
        x, y = x[rows], y[rows]
    order = torch.randperm(len(x), generator=generator)
    held, kept = order[: len(x) // 5], order[len(x) // 5 :]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = [x.shape[1], *[width] * layers]
        hidden = [part for to in pairwise(sizes) for part in (nn.Linear(*to), nn.ReLU(), nn.Dropout(0.4))]
        model = nn.Sequential(*hidden, nn.Linear(width, 1), nn.Flatten(0))
        _descend(model, (x[kept], y[kept]), (x[held], y[held]))
    return model.eval().requires_grad_(False)


def _descend(
    model: nn.Module, train: tuple[torch.Tensor, torch.Tensor], held: tuple[torch.Tensor, torch.Tensor]
) -> None:
    loss, optimiser = nn.BCEWithLogitsLoss(), torch.optim.Adam(model.parameters(), lr=0.001)
    best, waited = float("inf"), 0
    for _ in range(100):
        for x, y in zip(*(part.split(128) for part in train), strict=True):
            optimiser.zero_grad()
            loss(model(x), y).backward()
            optimiser.step()
        model.eval()
        with torch.no_grad():
            now = float(loss(model(held[0]), held[1]))
        best, waited = (now, 0) if now < best else (best, waited + 1)
        if waited == 5:
            return


CHECKS: dict[str, Callable[[], Iterable[Row]]] = {
    "COMPAS, nearest rows (Jiang et al. 2024)": nearest_rows_of_compas,
    "breast cancer, growing spheres (Stępka et al. 2025)": growing_spheres_of_breast_cancer,
}
