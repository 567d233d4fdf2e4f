"""Any model → a function from (n, *input) in [0, 1] to logits, for searches and measures.

A model keeps its own units, columns and classes: the feature space maps between these and [0, 1], with gradients if the
model has them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from cftransfer.data.pixels import PixelSpace
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError

TINY = 1e-30  # replaces a probability of 0, to keep its logarithm finite
SLACK = 1e-6  # rounding may put a probability above 1 by this much
SURE = 1e-6  # probability left for other classes if a model gives only labels
Output = Literal["logits", "probabilities", "labels"]
Units = Literal["unit", "original"]
Takes = Literal["tensor", "array", "frame"]
Space = FeatureSpace | PixelSpace | None


@dataclass(frozen=True, eq=False)
class Model:
    """A model and its interface; `as_model` wraps torch modules and scikit-learn estimators by itself.

    Args:
        f: a function of n rows, or a torch module.
        output: logits or probabilities, (n,) or (n, 1) of class 1, or (n, K) of all classes; or labels, (n,) of
            `classes`.
        units: unit for inputs in [0, 1], in the space's columns; original for numbers in original units (ranges and log
            scales undone; binary, ordinal and one-hot columns stay encoded).
        takes: tensor (float32, with gradients if the output has them), array (numpy, float64), or frame (a DataFrame
            of original columns, categories as words; always in original units).
        classes: the classes of its outputs or labels, in order; None for 0, 1, …
        space, origin: set by `as_model`: the meaning of the inputs, and the wrapped object, which reveals a reference
            that is its own base.

    >>> import torch
    >>> richer = Model(lambda x: x[:, 0] > 30_000, output="labels", units="original")
    >>> from cftransfer import Feature, FeatureSpace
    >>> space = FeatureSpace((Feature(name="income", kind="continuous", low=0, high=100_000),))
    >>> (as_model(richer, space=space)(torch.tensor([[0.2], [0.4]])) > 0).tolist()
    [False, True]
    """

    f: Callable[[Any], Any]
    output: Output = "logits"
    units: Units = "unit"
    takes: Takes = "tensor"
    classes: Sequence[Any] | None = None
    space: Space = None
    origin: Any = None

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("output", self.output, ("logits", "probabilities", "labels")),
            ("units", self.units, ("unit", "original")),
            ("takes", self.takes, ("tensor", "array", "frame")),
        ):
            if value not in allowed:
                raise InputError(f"Model({name}={value}): must be one of {', '.join(allowed)}")
        if self.classes is not None and len(set(self.classes)) < max(2, len(self.classes)):
            raise InputError(f"Model(classes={list(self.classes)}): must be two different classes or more")

    @property
    def differentiable(self) -> bool:
        """Whether the logits have a gradient with respect to the inputs."""
        return self.takes == "tensor" and self.output != "labels" and bool(getattr(self.f, "differentiable", True))

    @property
    def device(self) -> torch.device:
        """The device of its weights; the CPU for anything other than a torch module."""
        weights = self.f.parameters() if isinstance(self.f, nn.Module) else iter(())
        return next((weight.device for weight in weights), torch.device("cpu"))

    def __call__(self, x: Tensor) -> Tensor:
        """x: (n, *input) in [0, 1] → (n,) logits of class 1, or (n, K) of K ≥ 3 classes, float32."""
        answer = self.f(self._inputs(x))
        if not isinstance(answer, Tensor):
            if x.requires_grad:
                raise InputError(
                    "model: gives numpy arrays, which have no gradient; say so, as Model(…, takes='array')"
                )
            answer = np.asarray(answer)
            answer = self._codes(answer) if self.output == "labels" else torch.from_numpy(answer.astype(np.float64))
        elif self.output == "labels":
            answer = self._codes(answer.detach().cpu().numpy())
        classes = None if self.classes is None else len(self.classes)
        logits = _as_logits(self._checked(answer, len(x)), self.output, classes)
        if not torch.is_grad_enabled() and logits.isnan().any():
            raise InputError("model: gives logits that are not a number; check its training data")
        return logits.float().to(x.device)

    def _inputs(self, x: Tensor) -> Any:
        if self.takes == "frame":
            return _feature_space(self.space, "takes='frame'").decode(x.detach().cpu().numpy())
        if self.units == "original":
            x = _feature_space(self.space, "units='original'").to_original(x)
        if self.takes == "tensor":
            weights = next(iter(self.f.parameters()), x) if isinstance(self.f, nn.Module) else x
            return x.to(weights.dtype)
        return x.detach().cpu().double().numpy()

    def _codes(self, labels: np.ndarray) -> Tensor:
        """(n,) labels → (n,) indices in `classes`."""
        known = list(self.classes) if self.classes is not None else [0, 1]
        codes = np.full(labels.shape, -1)
        for code, label in enumerate(known):
            codes[labels == label] = code
        if (codes < 0).any():
            way_out = "name its classes with Model(…, classes=[…])"
            strange = labels[codes < 0].tolist()[0]
            raise InputError(f"model: gives the label {strange!r}, which is not in {known}; {way_out}")

        return torch.from_numpy(codes)

    def _checked(self, answer: Tensor, rows: int) -> Tensor:
        if answer.dim() == 2 and answer.shape[1] == 1:
            answer = answer.squeeze(1)
        wide = {"labels": (1,)}.get(self.output, (1, 2))
        if answer.dim() not in wide or len(answer) != rows:
            takes = "(n,)" if self.output == "labels" else "(n,), (n, 1) or (n, K)"
            raise InputError(
                f"model: gives {self.output} of shape {tuple(answer.shape)} for {rows} rows; takes {takes}"
            )
        if self.output == "probabilities" and answer.numel() and not (answer.min() >= 0 and answer.max() <= 1 + SLACK):
            raise InputError("model: gives probabilities outside [0, 1]; output='logits' says that they are logits")
        classes = 2 if answer.dim() == 1 and self.output != "labels" else answer.shape[-1]
        if self.classes is not None and self.output != "labels" and classes != len(self.classes):
            raise InputError(f"model: gives {classes} columns for its {len(self.classes)} classes")
        return answer


def as_model(model: Any, *, space: Space = None, classes: Sequence[Any] | None = None, framed: bool = False) -> Model:
    """Return a model as a `Model`, for searches and measures.

    A torch module maps inputs in [0, 1] to (n,), (n, 1) or (n, K) logits, and is put in evaluation mode. A scikit-learn
    estimator or pipeline gets the columns that it was fitted with: original columns in original units if it was fitted
    on them, otherwise columns in [0, 1]. Its `classes_` give the meaning of its outputs, in any order and type. Any
    other function is assumed to map tensors in [0, 1] to logits; wrap others in `Model`.

    space: the meaning of the inputs. classes: the base's classes; the outputs of a reference are put in their order.
    framed: whether the caller's inputs came as a DataFrame.
    """
    if isinstance(model, Model):
        if isinstance(model.f, nn.Module):
            model.f.eval()
        origin = model.origin if model.origin is not None else getattr(model.f, "__self__", model.f)
        asked = replace(model, space=model.space or space, origin=origin)
    elif isinstance(model, nn.Module):
        asked = Model(model.eval(), space=space, origin=model)
    elif hasattr(model, "predict") and hasattr(model, "get_params"):
        asked = _of_sklearn(model, space, framed=framed)
    elif callable(model):
        asked = Model(model, space=space, origin=getattr(model, "__self__", model))
    else:
        raise InputError(f"model: {type(model).__name__} cannot predict; wrap it in Model(function, output=…)")
    return asked if classes is None else _in_order(asked, classes)


def _of_sklearn(estimator: Any, space: Space, *, framed: bool) -> Model:
    name = type(estimator).__name__
    if not hasattr(estimator, "classes_"):
        raise InputError(f"model: {name} is not a fitted classifier (it has no classes_)")
    if (
        isinstance(estimator.classes_, list)
        or np.ndim(estimator.classes_) != 1
        or "multilabel"
        in str(getattr(estimator, "_label_binarizer", None) and getattr(estimator._label_binarizer, "y_type_", ""))
    ):
        raise InputError(
            f"model: {name} was fitted on several labels at once; fit it on one label with two classes or more"
        )
    classes = tuple(np.asarray(estimator.classes_).tolist())
    if len(classes) < 2:
        raise InputError(f"model: {name} was fitted on one class, {classes[0]!r}, and can change no decision")
    if hasattr(estimator, "decision_function"):
        answer, output = estimator.decision_function, cast(Output, "logits")
    elif hasattr(estimator, "predict_proba"):
        answer, output = estimator.predict_proba, "probabilities"
    else:
        answer, output = estimator.predict, "labels"
    answer = _agreeing(estimator, answer, output)
    columns = [str(column) for column in getattr(estimator, "feature_names_in_", ())]
    how: dict[str, Any] = {"output": output, "classes": classes, "space": space, "origin": estimator}
    if not columns and framed:
        how_to = "Model(estimator.predict_proba, output='probabilities', takes='frame' or 'array', units=…, classes=…)"
        raise InputError(f"model: {name} keeps no names of columns, and x is a DataFrame; wrap it in {how_to}")
    if not columns:
        return Model(answer, takes="array", **how)
    if not isinstance(space, FeatureSpace):
        raise InputError(f"model: {name} was fitted on named columns; describe them with space=FeatureSpace(…)")
    if columns == space.columns and columns != space.names:
        return Model(lambda x: answer(_named(x, columns)), takes="array", **how)
    if absent := [column for column in columns if column not in space.names]:
        raise InputError(f"model: {name} was fitted with column {absent[0]!r}, which the space does not have")
    return Model(lambda frame: answer(frame[columns]), takes="frame", **how)


def _agreeing(estimator: Any, scores: Callable[[Any], Any], output: Output) -> Callable[[Any], Any]:
    """Return `scores`, with a check on its first rows that it agrees with the estimator's own `predict`."""
    if output == "labels":
        return scores
    checked: list[bool] = []

    def answer(x: Any) -> Any:
        found = np.asarray(scores(x))
        if not checked and len(x):
            codes = (found > (0.5 if output == "probabilities" else 0)) if found.ndim == 1 else found.argmax(1)
            known = np.asarray(estimator.classes_)
            same = found.shape[-1] == len(known) if found.ndim == 2 else len(known) == 2
            if not same or (wrong := int((known[codes.astype(int)] != estimator.predict(x)).sum())):
                reason = f"{wrong} of {len(x)} rows" if same else "its classes"
                way_out = "Model(estimator.predict, output='labels', takes=…, classes=…) uses its predictions"
                name = type(estimator).__name__
                raise InputError(f"model: the scores of {name} and its predict differ on {reason}; {way_out}")
            checked.append(True)
        return found

    return answer


def _named(x: np.ndarray, columns: Sequence[str]) -> Any:
    import pandas as pd

    return pd.DataFrame(x, columns=list(columns))


def _as_logits(answer: Tensor, output: Output, classes: int | None) -> Tensor:
    """(n,) or (n, K) outputs of any kind → (n,) logits of class 1, or (n, K) for K ≥ 3."""
    if output == "labels":
        classes = classes or 2
        sure = float(np.log((1 - SURE) / SURE))
        if classes == 2:
            return torch.where(answer == 1, sure, -sure)
        return sure * torch.nn.functional.one_hot(answer.long(), classes)
    if output == "probabilities":
        if answer.dim() == 1:
            return answer.clamp(min=TINY).log() - (1 - answer).clamp(min=TINY).log()
        answer = answer.clamp(min=TINY).log()
    return answer[:, 1] - answer[:, 0] if answer.dim() == 2 and answer.shape[1] == 2 else answer


def _in_order(model: Model, classes: Sequence[Any]) -> Model:
    """Return the model with outputs in the order of the base's classes; InputError for other classes."""
    own = tuple(range(len(classes))) if model.classes is None else tuple(model.classes)
    if set(own) != set(classes):
        way_out = "name the classes of a model's outputs with Model(…, classes=[…])"
        raise InputError(f"reference: has the classes {list(own)}, and the base {list(classes)}; {way_out}")
    if own == tuple(classes):
        return model
    order = [own.index(label) for label in classes]

    def reordered(x: Tensor) -> Tensor:
        logits = model(x)
        return -logits if logits.dim() == 1 else logits[:, order]

    return Model(_Differentiable(reordered, model.differentiable), classes=tuple(classes), origin=model.origin)


@dataclass(frozen=True)
class _Differentiable:
    f: Callable[[Tensor], Tensor]
    differentiable: bool

    def __call__(self, x: Tensor) -> Tensor:
        return self.f(x)


def _feature_space(space: Space, what: str) -> FeatureSpace:
    if not isinstance(space, FeatureSpace):
        raise InputError(f"model: {what} needs space=FeatureSpace(…), which describes the original units")
    return space
