"""A fitted scikit-learn model → bytes of skops → the same model. Nothing is unpickled.

skops creates objects only of trusted types: its own list, TRUSTED, the types in the unfitted estimator that the model's
function builds (that code runs anyway), and the types that this function names in `trusted`. A file cannot extend the
list. `packed` refuses a model that `unpacked` would refuse, so every written file can be read.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cftransfer.errors import InputError
from cftransfer.models.sklearn_models import Estimator, SklearnModel

# Types of scikit-learn and numpy in fitted estimators that skops does not trust by itself; they hold numbers, no code.
# Trees are walked without bounds checks: a forged file can crash the process, but cannot run code.
TRUSTED = (
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._dist_metrics.ManhattanDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
)


def as_skops(model: SklearnModel) -> bytes:
    """Return a model's estimator as the bytes of a skops file."""
    from skops import io

    return io.dumps(model.estimator, compression=zipfile.ZIP_DEFLATED)


def packed(model: SklearnModel, *, again: SklearnModel, name: str) -> Tensor:
    """Return a fitted model's estimator as the bytes of a skops file: (bytes,) uint8.

    again: an unfitted model of the same settings and seed, as used for reading. name: of the model, for the error.

    Raises InputError, with the reason, if the bytes could not be read back; nothing has been written then.
    """
    try:
        content = as_skops(model)
        _opened(again, content)
    except Exception as error:  # foreign types may raise anything
        reason, way_out = _one_line(error), "see 'A model' in docs/extending.md"
        raise InputError(f"model={name}: the fitted estimator cannot be stored ({reason}); {way_out}") from error
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def unpacked(model: SklearnModel, content: Tensor, *, path: Path) -> SklearnModel:
    """Return `model` with the estimator that `packed` wrote.

    Raises InputError, naming the file at `path`, for any other content, and runs none of it.
    """
    try:
        estimator = _opened(model, content.numpy().tobytes())
    except Exception as error:  # skops may raise anything for foreign content
        foreign = f"{path}: was not written by cftransfer ({_one_line(error)})"
        raise InputError(f"{foreign}; delete this file and run again to rebuild it") from error
    return replace(model, estimator=estimator)


def _opened(model: SklearnModel, content: bytes) -> Estimator:
    """Return the estimator; ValueError unless its type and all parameters, nested ones included, match the model's."""
    from skops import io

    of_the_model = io.get_untrusted_types(data=io.dumps(model.estimator))
    estimator = io.loads(content, trusted=[*TRUSTED, *model.trusted, *of_the_model])
    if type(estimator) is not type(model.estimator):
        raise ValueError(f"{type(estimator).__name__} for {type(model.estimator).__name__}")
    stored, wanted = estimator.get_params(), model.estimator.get_params()
    for name in sorted({*stored, *wanted}):
        if name not in stored or name not in wanted or not _same(stored[name], wanted[name]):
            values = (repr(params[name]) if name in params else "nothing" for params in (stored, wanted))
            raise ValueError("{}={} for {}".format(name, *values))
    return estimator


def _same(one: Any, other: Any) -> bool:
    """Return whether two parameters are equal; objects such as estimators are equal if their parts are."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and _same(one.tolist(), other.tolist())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    one, other = _made_of(one), _made_of(other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    return bool(one == other) or (isinstance(one, float) and isnan(one) and isnan(other))  # imputers use nan


def _made_of(value: Any) -> Any:
    """Return the parameters of an estimator, the attributes of an object without its own equality, or the value."""
    if isinstance(value, type):
        return value
    if hasattr(value, "get_params"):
        return value.get_params(deep=False)
    by_identity = type(value).__eq__ is object.__eq__ and hasattr(value, "__dict__")  # such as a splitter
    return vars(value) if by_identity and not callable(value) else value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
