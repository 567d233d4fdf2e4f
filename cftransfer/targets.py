"""Short names → functions: the one place where a config chooses code.

`_target_: mlp` in a model's config names the function `mlp` of `cftransfer/models/mlp.py`, or of `sklearn_models.py`,
or of an installed package that offers it as an entry point (`cftransfer.models`, `cftransfer.methods`,
`cftransfer.datasets`). A config may come from a stranger or from a result.json, and can name nothing else. Keys hash
these names, so that files may move without orphaning a store.
"""

import hashlib
import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from cftransfer.errors import InputError
from cftransfer.settings import check_keys

MODULES = {  # part → the modules in which a name is looked up
    "dataset": ("cftransfer.data.{name}",),
    "model": ("cftransfer.models.{name}", "cftransfer.models.sklearn_models"),
    "counterfactual": ("cftransfer.counterfactuals.{name}",),
    "rows": ("cftransfer.models.training_rows",),
    "perturbation": ("cftransfer.models.perturbation",),
}
ENTRY_POINTS = {
    "dataset": "cftransfer.datasets",
    "model": "cftransfer.models",
    "counterfactual": "cftransfer.methods",
}
# Part → the parameter that identifies its functions.
TAKES = {
    "dataset": "folder",
    "model": "input_shape",
    "counterfactual": "target",
    "rows": "random",
    "perturbation": "network",
}
# Functions that the project ships. Their code changes with FORMAT (spec.py); other code is in the keys by its source.
OWN = {
    "dataset": {
        "acs_employment", "cifar10_airplane", "compas", "image_folder", "imagenet_orange", "moons", "openml", "sklearn",
        "table",
    },
    "model": {
        "cnn", "decision_tree", "gradient_boosting", "knn", "logistic_regression", "mlp", "random_forest", "resnet18",
        "svm",
    },
    "counterfactual": {
        "betarce", "ellice", "ensemble", "gradient", "growing_spheres", "imported", "minimal", "nearest", "probe",
        "roar", "robx", "sns", "trex", "wachter",
    },
    "rows": {"bootstrap", "drop", "label_noise", "part", "shift"},
    "perturbation": {"dropout_models", "weight_noise"},
}  # fmt: skip


def call_target(
    part: str,
    settings: Mapping[str, Any],
    *args: Any,
    offered: Mapping[str, Any] | None = None,
    complete: bool = True,
    **kwargs: Any,
) -> Any:
    """Call the function that `settings._target_` names with the other settings.

    InputError, naming the setting, for an unknown or a missing setting.

    offered: arguments that the function gets if its signature names them.
    complete: whether all its settings must be given, as in a config; otherwise only those without a default.
    """
    function = target_function(part, settings)
    options = {name: value for name, value in settings.items() if name != "_target_"}
    takes = dict(list(inspect.signature(function).parameters.items())[len(args) :])
    given = kwargs | {name: value for name, value in (offered or {}).items() if name in takes}
    names = [name for name in takes if name not in given]
    required = [name for name in names if complete or takes[name].default is inspect.Parameter.empty]
    check_keys(part, options, names, required=required)
    return function(*args, **options, **given)


def parameters(part: str, settings: Mapping[str, Any]) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of the function that `settings._target_` names."""
    return inspect.signature(target_function(part, settings)).parameters


def target_function(part: str, settings: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the function that `settings._target_` names; InputError unless it belongs to the part."""
    name = settings.get("_target_")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"{part}._target_={name}: must be one of the names of {part}s: {', '.join(_names(part))}")
    function = _function(part, name)
    if TAKES[part] not in inspect.signature(function).parameters:
        raise InputError(f"{part}._target_={name}: makes no {part}; {part}=… takes an option of conf/{part}")
    return function


def source_of(part: str, settings: Mapping[str, Any]) -> str:
    """Return the identity of a function's code; "" for a function that the project ships.

    It is a hash of the function's whole file, in 16 hex digits: the store must not serve weights of a network that was
    edited later.
    """
    function = target_function(part, settings)
    return "" if settings["_target_"] in OWN[part] else _source(function)


@cache
def _source(function: Callable[..., Any]) -> str:
    """Return the hash of a function's file, computed once: an edit does not change the code of a running process."""
    return hashlib.sha256(Path(str(inspect.getsourcefile(function))).read_bytes()).hexdigest()[:16]


@cache
def _function(part: str, name: str) -> Callable[..., Any]:
    for pattern in MODULES[part]:
        module = pattern.format(name=name)
        if importlib.util.find_spec(module) is not None:
            function = getattr(importlib.import_module(module), name, None)
            if inspect.isfunction(function) and function.__module__ == module:
                _source(function)  # hashed now, before an edit
                return function
    for entry in (entry for entry in _offered(part) if entry.name == name):
        try:
            function = entry.load()
        except AttributeError as error:
            raise InputError(
                f"{part}._target_={name}: the entry point {entry.value} cannot be loaded ({error})"
            ) from error
        if inspect.isfunction(function):
            _source(function)
            return function
        raise InputError(f"{part}._target_={name}: the entry point {entry.value} is not a function")
    raise InputError(f"{part}._target_={name}: no such {part}; there are: {', '.join(_names(part))}")


def _offered(part: str) -> list[EntryPoint]:
    """Return the entry points of installed packages for a part, if it takes any."""
    return list(entry_points(group=ENTRY_POINTS[part])) if part in ENTRY_POINTS else []


def _names(part: str) -> list[str]:
    """Return the names of a part, from the project and from installed packages."""
    return sorted({*OWN[part], *(entry.name for entry in _offered(part))})
