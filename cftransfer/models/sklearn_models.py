"""Classifiers from scikit-learn, which are not networks: fitted in one go, without epochs or batches.

Each function returns an unfitted classifier. Settings have scikit-learn's names; inputs are flattened. outputs: 1 for
the logit of class 1, or K ≥ 3 for one logit per class.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import signature
from math import prod
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from cftransfer.data.dataset import Dataset
from cftransfer.data.pixels import unit
from cftransfer.errors import InputError
from cftransfer.models.prediction import cross_entropy, logits, predicted
from cftransfer.settings import check_float, check_int

Estimator: TypeAlias = Any  # a scikit-learn classifier of the classes 0, 1, …; scikit-learn has no types

EDGE = 1e-6  # probabilities are clipped to [EDGE, 1 − EDGE], so that logits are finite
KERNELS = 2**22  # rows × support vectors per pass; 32 MiB


@dataclass(frozen=True)
class SklearnModel:
    """A classifier in place of a network: called with (n, *input_shape) in [0, 1], it gives (n,) logits.

    A logit is above 0 if `estimator` predicts class 1 (a tie, for example at a probability of .5, is class 0). It is
    the log odds of the estimator's own probability, except for the SVM: its logit is an uncalibrated distance. With
    K ≥ 3 classes there are (n, K) logits; the largest belongs to the class that `estimator` predicts (a tie gives the
    lowest of the tied classes).

    estimator: gets float64, which represents every float32 exactly. answer: (estimator, (n, inputs) float64) → (n,) or
    (n, K) float64. outputs: 1, or K.
    differentiable: whether `answer` uses only torch, so that logits have a gradient with respect to the input; checked
        when the model is fitted.
    trusted: names, such as "package.module.Type", of types outside scikit-learn that the fitted estimator holds and
        that may be created when it is read from the store.
    linear: whether the logits are linear in the inputs, so that the whole model is a last layer (`last_layer`).
    """

    estimator: Estimator
    input_shape: tuple[int, ...]
    answer: Callable[[Estimator, Tensor], Tensor]
    outputs: int = 1
    differentiable: bool = False
    trusted: tuple[str, ...] = ()
    linear: bool = False

    def __call__(self, x: Tensor) -> Tensor:
        """x: (n, *input_shape) in [0, 1] → (n,) or (n, K) float32 logits, on the device of x."""
        rows = self._flat(x)
        if not len(rows):
            return (rows.sum(1) if self.outputs == 1 else rows.new_zeros(0, self.outputs)).float()
        logits = self.answer(self.estimator, rows)
        if self.outputs > 1:  # with the largest at 0, rounding to float32 creates no ties with it
            logits = logits - logits.detach().amax(1, keepdim=True)
        return logits.float()

    def check(self, dataset: Dataset) -> None:
        """Raise an InputError, naming the key, for a setting that does not fit the data."""
        neighbours, rows = self.estimator.get_params().get("n_neighbors", 0), len(dataset.x_train)
        if neighbours > rows:
            raise InputError(f"model.n_neighbors={neighbours}: the training split has no more than {rows} rows")
        if dataset.weight is not None and not self._weighs:
            name, way_out = type(self.estimator).__name__, "choose another model, or data without weights"
            raise InputError(f"model={name}: takes no weights of rows, which dataset {dataset.name} has; {way_out}")

    @property
    def _weighs(self) -> bool:
        return "sample_weight" in signature(self.estimator.fit).parameters

    def fit(self, dataset: Dataset) -> "SklearnModel":
        """Return the same model, fitted on the training split with its row weights, if any."""
        from sklearn.base import clone

        x, y = self._flat(unit(dataset.x_train)).numpy(), dataset.y_train.long().numpy()
        weights = {} if dataset.weight is None else {"sample_weight": dataset.weight.double().numpy()}
        fitted = replace(self, estimator=clone(self.estimator).fit(x, y, **weights))
        fitted._check_gradient(unit(dataset.x_train[:2]))
        return fitted

    def shares(self, x: Tensor) -> np.ndarray:
        """x: (n, *input_shape) in [0, 1] or bytes → (n, K) probabilities of the estimator, float64."""
        return self.estimator.predict_proba(_array(self._flat(unit(x))))

    def _check_gradient(self, x: Tensor) -> None:
        """Raise an InputError if `answer` has no gradient despite differentiable=True; x: (n, *input_shape)."""
        if not self.differentiable:
            return
        try:
            has = self(x.clone().requires_grad_()).requires_grad
            reason = "" if has else "its answer is not computed from its input by torch"
        except (RuntimeError, TypeError) as error:  # torch's, if a tensor with a gradient becomes an array
            reason = " ".join(str(error).split())
        if reason:
            way_out = "answer with torch alone, or leave differentiable=True out"
            raise InputError(f"model: is differentiable=True, but has no gradient ({reason}); {way_out}")

    def _flat(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), prod(self.input_shape)).double()


def logistic_regression(*, C: float = 1.0, input_shape: tuple[int, ...], outputs: int = 1) -> SklearnModel:
    """Logistic regression with an L2 penalty of weight 1 / `C`, `C` > 0. Every seed gives the same model."""
    from sklearn.linear_model import LogisticRegression

    regression = LogisticRegression(C=_positive("C", C), max_iter=1000)
    return SklearnModel(regression, input_shape, _line, outputs, differentiable=True, linear=True)


def decision_tree(
    *, min_samples_leaf: int = 20, max_depth: int | None = None, input_shape: tuple[int, ...], outputs: int = 1
) -> SklearnModel:
    """One tree (CART) with `min_samples_leaf` ≥ 1 rows per leaf; the seed decides between equally good splits."""
    from sklearn.tree import DecisionTreeClassifier

    grown = _grown(min_samples_leaf, max_depth)
    return SklearnModel(DecisionTreeClassifier(**grown, random_state=_random_state()), input_shape, _odds, outputs)


def random_forest(
    *,
    n_estimators: int = 100,
    min_samples_leaf: int = 5,
    max_depth: int | None = None,
    input_shape: tuple[int, ...],
    outputs: int = 1,
) -> SklearnModel:
    """The average of `n_estimators` ≥ 1 trees; the seed draws each tree's rows and the features of its splits."""
    from sklearn.ensemble import RandomForestClassifier

    grown = _grown(min_samples_leaf, max_depth) | {"n_estimators": check_int("model.n_estimators", n_estimators)}
    return SklearnModel(RandomForestClassifier(**grown, random_state=_random_state()), input_shape, _odds, outputs)


def gradient_boosting(
    *,
    n_estimators: int = 100,
    learning_rate: float = 0.1,
    subsample: float = 0.5,
    input_shape: tuple[int, ...],
    outputs: int = 1,
) -> SklearnModel:
    """`n_estimators` ≥ 1 trees of depth 3, each fitted to the errors of the trees before it, on a share of the rows.

    learning_rate: > 0, the weight of each tree. subsample: the share, in (0, 1]; the seed draws the rows.
    """
    from sklearn.ensemble import GradientBoostingClassifier

    boosted = GradientBoostingClassifier(
        n_estimators=check_int("model.n_estimators", n_estimators),
        learning_rate=_positive("learning_rate", learning_rate),
        subsample=check_float("model.subsample", subsample, inside="in (0, 1]", among=lambda share: 0 < share <= 1),
        random_state=_random_state(),
    )
    return SklearnModel(boosted, input_shape, _score, outputs)


def svm(*, C: float = 1.0, gamma: float | str = "scale", input_shape: tuple[int, ...]) -> SklearnModel:
    """Support vector machine with the kernel exp(-gamma ‖x - s‖²); `C` > 0 is the cost of a training error.

    gamma: > 0, or "scale" for 1 / (inputs × their variance). Every seed gives the same model.
    """
    from sklearn.svm import SVC

    width = gamma if gamma == "scale" else _positive("gamma", gamma, inside="> 0, or scale")
    return SklearnModel(SVC(C=_positive("C", C), gamma=width), input_shape, _kernels, differentiable=True)


def knn(*, n_neighbors: int = 25, input_shape: tuple[int, ...], outputs: int = 1) -> SklearnModel:
    """Vote of the `n_neighbors` ≥ 1 nearest (L2) training rows; a tie is the lowest class.

    Among equally distant rows the k-d tree's order decides, for each row separately. scikit-learn's brute force
    multiplies matrices, and its rounding, and thus the neighbours among many equal rows (COMPAS), depends on the batch.
    Every seed gives the same model.
    """
    from sklearn.neighbors import KNeighborsClassifier

    count = check_int("model.n_neighbors", n_neighbors)
    return SklearnModel(KNeighborsClassifier(count, algorithm="kd_tree"), input_shape, _odds, outputs)


def curve_row(model: SklearnModel, dataset: Dataset) -> Tensor:
    """Return (1, 4), in the order of `columns.CURVE`: the losses are the cross entropies of the logits.

    With K ≥ 3 classes, the AUROC is the mean of each class against the rest.
    """
    from sklearn.metrics import roc_auc_score

    train, test = logits(model, dataset.x_train), logits(model, dataset.x_test)
    losses = [cross_entropy(train, dataset.y_train).mean(), cross_entropy(test, dataset.y_test).mean()]
    right = (predicted(test) == dataset.y_test).float().mean()
    # Several classes use the estimator's own shares: float32 logits would break the ties of trees.
    scores = test.numpy() if test.dim() == 1 else model.shares(dataset.x_test)
    auroc = roc_auc_score(dataset.y_test.numpy(), scores, multi_class="ovr")
    return torch.tensor([[*map(float, losses), float(right), float(auroc)]])


def _line(estimator: Estimator, rows: Tensor) -> Tensor:
    if len(estimator.classes_) > 2:
        several, biases = (torch.from_numpy(part).to(rows.device) for part in (estimator.coef_, estimator.intercept_))
        return rows @ several.T + biases
    coefficients = torch.from_numpy(estimator.coef_[0]).to(rows.device)
    return rows @ coefficients + float(estimator.intercept_[0])


def _kernels(estimator: Estimator, rows: Tensor) -> Tensor:
    vectors = torch.from_numpy(estimator.support_vectors_).to(rows.device)
    weights = torch.from_numpy(estimator.dual_coef_[0]).to(rows.device)
    gamma = float(estimator._gamma)  # the value of "scale"
    lengths = vectors.square().sum(1)

    def answer(some: Tensor) -> Tensor:
        apart = some.square().sum(1, keepdim=True) + lengths - 2 * some @ vectors.T
        return (-gamma * apart).exp() @ weights

    parts = rows.split(max(1, KERNELS // len(vectors)))
    return torch.cat([answer(some) for some in parts]) + float(estimator.intercept_[0])


def _odds(estimator: Estimator, rows: Tensor) -> Tensor:
    share = estimator.predict_proba(_array(rows)).clip(EDGE, 1 - EDGE)
    if share.shape[1] > 2:  # relative to the largest: classes that differ only by rounding keep their order
        return torch.from_numpy(np.log(share / share.max(axis=1, keepdims=True))).to(rows.device)
    # From both columns: a difference of rounding between them is kept in the logit.
    return torch.from_numpy(np.log(share[:, 1] / share[:, 0])).to(rows.device)


def _score(estimator: Estimator, rows: Tensor) -> Tensor:
    return torch.from_numpy(estimator.decision_function(_array(rows))).to(rows.device)


def _array(rows: Tensor) -> np.ndarray:
    return rows.detach().cpu().numpy()


def _grown(min_samples_leaf: int, max_depth: int | None) -> dict[str, int | None]:
    return {
        "min_samples_leaf": check_int("model.min_samples_leaf", min_samples_leaf),
        "max_depth": None if max_depth is None else check_int("model.max_depth", max_depth),
    }


def _positive(name: str, value: Any, *, inside: str = "> 0") -> float:
    return check_float(f"model.{name}", value, inside=inside, among=lambda number: 0 < number < float("inf"))


def _random_state() -> int:
    """Draw scikit-learn's 32-bit seed from torch's generator, which `build` has seeded."""
    return int(torch.randint(2**31, ()))
