"""Anybody's model → a function of (n, *input) in [0, 1] that gives logits, so that searches and measures can ask it.

A model keeps its own units, columns and classes: the feature space maps between [0, 1] and those, and with gradients
where the model has them.
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

TINY = 1e-30  # the probability that stands for 0, whose logarithm would be infinite
SLACK = 1e-6  # by which rounding may bring a probability above 1
SURE = 1e-6  # what is left for other classes where a model gives labels alone
Output = Literal["logits", "probabilities", "labels"]
Units = Literal["unit", "original"]
Takes = Literal["tensor", "array", "frame"]
Space = FeatureSpace | PixelSpace | None


@dataclass(frozen=True, eq=False)
class Model:
    """A model, and how to ask it; `as_model` makes one of torch modules and scikit-learn estimators by itself.

    Args:
        f: a function of n rows, or a torch module.
        output: what it gives: logits or probabilities, (n,) or (n, 1) of class 1, or (n, K) of all classes; or labels,
            (n,) of `classes`.
        units: unit for inputs in [0, 1], in the space's own columns; original for numbers in their own units (ranges
            and log scales undone; binary, ordinal and one-hot columns stay as they are encoded).
        takes: tensor (float32, with gradients where the output has any), array (numpy, float64), or frame (a DataFrame
            of original columns, categories as words; always in original units).
        classes: what its outputs or labels stand for, in order; None for 0, 1, …
        space, origin: filled in by `as_model`: what inputs mean, and the object that was given, by which a reference is
            recognised that is its own base.

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
                raise InputError(f"Model({name}={value}): takes one of {', '.join(allowed)}")
        if self.classes is not None and len(set(self.classes)) < max(2, len(self.classes)):
            raise InputError(f"Model(classes={list(self.classes)}): takes two different classes or more")

    @property
    def differentiable(self) -> bool:
        """Whether its logits have a gradient with respect to the inputs."""
        return self.takes == "tensor" and self.output != "labels" and bool(getattr(self.f, "differentiable", True))

    @property
    def device(self) -> torch.device:
        """Where its weights are; what is no torch module answers on the CPU."""
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
            raise InputError("model: gives logits that are not a number; check what it was trained on")
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
        """(n,) labels → (n,) places in `classes`."""
        known = list(self.classes) if self.classes is not None else [0, 1]
        codes = np.full(labels.shape, -1)
        for code, label in enumerate(known):
            codes[labels == label] = code
        if (codes < 0).any():
            way_out = "Model(…, classes=[…]) says what there is"
            strange = labels[codes < 0].tolist()[0]
            raise InputError(f"model: gives the label {strange!r}, which is none of {known}; {way_out}")

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
    """Return a model as searches and measures ask it.

    A torch module gives (n,), (n, 1) or (n, K) logits of inputs in [0, 1], and is put in evaluation mode. A
    scikit-learn estimator or pipeline is asked in the columns that it was fitted with: of a DataFrame's original
    columns, in original units; otherwise in [0, 1]. Its `classes_` decide what it says, whatever their order and type.
    Any other function is taken for one of tensors in [0, 1] that gives logits; `Model` says how to ask others.

    space: what inputs mean. classes: of the base, in whose order the answers of a reference are put. framed: whether
    the caller's inputs came as a DataFrame.
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
        raise InputError(f"model: {type(model).__name__} cannot be asked; wrap it in Model(function, output=…)")
    return asked if classes is None else _in_order(asked, classes)


def _of_sklearn(estimator: Any, space: Space, *, framed: bool) -> Model:
    name = type(estimator).__name__
    if not hasattr(estimator, "classes_"):
        raise InputError(f"model: {name} is no fitted classifier (it has no classes_)")
    if (
        isinstance(estimator.classes_, list)
        or np.ndim(estimator.classes_) != 1
        or "multilabel"
        in str(getattr(estimator, "_label_binarizer", None) and getattr(estimator._label_binarizer, "y_type_", ""))
    ):
        raise InputError(
            f"model: {name} was fitted on several labels at once; one label with two classes or more is asked"
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
        raise InputError(f"model: {name} keeps no names of columns, and x is a DataFrame; {how_to} says how to ask it")
    if not columns:
        return Model(answer, takes="array", **how)
    if not isinstance(space, FeatureSpace):
        raise InputError(f"model: {name} was fitted on columns with names; space=FeatureSpace(…) says what they are")
    if columns == space.columns and columns != space.names:
        return Model(lambda x: answer(_named(x, columns)), takes="array", **how)
    if absent := [column for column in columns if column not in space.names]:
        raise InputError(f"model: {name} was fitted with column {absent[0]!r}, which the space does not have")
    return Model(lambda frame: answer(frame[columns]), takes="frame", **how)


def _agreeing(estimator: Any, scores: Callable[[Any], Any], output: Output) -> Callable[[Any], Any]:
    """Return `scores`, which at its first rows have to say the same as the estimator's own `predict`."""
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
                way_out = "Model(estimator.predict, output='labels', takes=…, classes=…) asks what it predicts"
                name = type(estimator).__name__
                raise InputError(f"model: the scores of {name} and its predict differ on {reason}; {way_out}")
            checked.append(True)
        return found

    return answer


def _named(x: np.ndarray, columns: Sequence[str]) -> Any:
    import pandas as pd

    return pd.DataFrame(x, columns=list(columns))


def _as_logits(answer: Tensor, output: Output, classes: int | None) -> Tensor:
    """(n,) or (n, K) of any kind → (n,) logits of class 1, or (n, K) of K ≥ 3."""
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
    """Return the model with its answers in the order of the base's classes; InputError if they are not the same."""
    own = tuple(range(len(classes))) if model.classes is None else tuple(model.classes)
    if set(own) != set(classes):
        way_out = "Model(…, classes=[…]) says what a model's outputs stand for"
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
        raise InputError(f"model: {what} needs space=FeatureSpace(…), which says what the original units are")
    return space
