"""cftransfer measures whether a counterfactual explanation found on one model still holds on another.

search or judge, ask, measure: three steps for any models, data and counterfactuals. Names are imported on first use, so
importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cftransfer.data.dataset import Dataset, dataset
    from cftransfer.data.feature import Feature
    from cftransfer.data.own_arrays import arrays
    from cftransfer.data.own_data import table
    from cftransfer.data.space import FeatureSpace
    from cftransfer.errors import InputError
    from cftransfer.measuring.asking import Answers, ask
    from cftransfer.measuring.measurement import measure
    from cftransfer.measuring.metric import TransferabilityRate
    from cftransfer.measuring.noisy_execution import noisy_execution
    from cftransfer.measuring.planning import plan
    from cftransfer.measuring.plausibility import plausibility
    from cftransfer.measuring.pool_splits import pool_splits
    from cftransfer.measuring.result import Result
    from cftransfer.measuring.statistics import Variances
    from cftransfer.measuring.stored_logits import StoredLogits
    from cftransfer.models.adapter import Model
    from cftransfer.models.classifier import Classifier
    from cftransfer.models.training import train
    from cftransfer.searching.candidates import Candidates, Counterfactuals
    from cftransfer.searching.engine import search
    from cftransfer.searching.judging import judge

__version__ = "0.2.0"

_HOMES = {
    "Answers": "measuring.asking",
    "Candidates": "searching.candidates",
    "Classifier": "models.classifier",
    "Counterfactuals": "searching.candidates",
    "Dataset": "data.dataset",
    "Feature": "data.feature",
    "FeatureSpace": "data.space",
    "InputError": "errors",
    "Model": "models.adapter",
    "Result": "measuring.result",
    "StoredLogits": "measuring.stored_logits",
    "TransferabilityRate": "measuring.metric",
    "Variances": "measuring.statistics",
    "arrays": "data.own_arrays",
    "ask": "measuring.asking",
    "dataset": "data.dataset",
    "judge": "searching.judging",
    "measure": "measuring.measurement",
    "noisy_execution": "measuring.noisy_execution",
    "plan": "measuring.planning",
    "plausibility": "measuring.plausibility",
    "pool_splits": "measuring.pool_splits",
    "search": "searching.engine",
    "table": "data.own_data",
    "train": "models.training",
}

__all__ = [
    "Answers",
    "Candidates",
    "Classifier",
    "Counterfactuals",
    "Dataset",
    "Feature",
    "FeatureSpace",
    "InputError",
    "Model",
    "Result",
    "StoredLogits",
    "TransferabilityRate",
    "Variances",
    "arrays",
    "ask",
    "dataset",
    "judge",
    "measure",
    "noisy_execution",
    "plan",
    "plausibility",
    "pool_splits",
    "search",
    "table",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cftransfer' has no attribute {name!r}")
    return getattr(importlib.import_module(f"cftransfer.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
