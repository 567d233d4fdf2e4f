"""Load the models beside this file; needs torch, but neither cftransfer nor the store of the models.

`python train.py … export=DIR` copies this file to DIR/load.py. Rows in original units need numpy; models of
scikit-learn need scikit-learn and skops.
"""

import functools
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

HERE = Path(__file__).parent
# Types of scikit-learn and numpy that skops may load, in addition to its own list.
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


class Network(nn.Module):
    """(n, *input) float32 in [0, 1] → (n,) logits of class 1, or (n, K); gradients reach the input."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.exported = torch.export.load(path).module()

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, *input) float32 in [0, 1] → logits."""
        return self.exported(x)

    def train(self, mode: bool = True) -> "Network":  # noqa: ARG002  (the graph is fixed in evaluation mode)
        """Change nothing: other libraries call `eval()`, which torch's exported modules refuse."""
        return self


class Classifier:
    """A model with scikit-learn's interface: rows in original units in, classes and probabilities out."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed
        self.classes_ = list(range(len(space()["classes"])))

    def predict_proba(self, rows: Any) -> Any:
        """Rows in original units → (n, K) array of probabilities."""
        return predict(rows, self.seed)

    def predict(self, rows: Any) -> Any:
        """Rows in original units → (n,) array of classes, 0 to K − 1."""
        return self.predict_proba(rows).argmax(1)


def seeds() -> list[int]:
    """Return the seeds of the models beside this file, in ascending order."""
    return sorted(
        int(path.stem.partition("-")[2]) for path in HERE.glob("model-*") if path.suffix in (".pt2", ".skops")
    )


def space() -> dict[str, Any]:
    """Return the content of feature_space.json: features (for images their shape), and the names of the classes."""
    return json.loads((HERE / "feature_space.json").read_text("utf-8"))


@functools.cache
def load(seed: int | None = None) -> Any:
    """Return the model of a seed, by default the first: a torch module (`Network`) or a scikit-learn estimator."""
    path = HERE / f"model-{seeds()[0] if seed is None else seed}.pt2"
    if path.exists():
        return Network(path)
    import skops.io

    return skops.io.load(path.with_suffix(".skops"), trusted=list(TRUSTED))


def encode(rows: Any) -> Tensor:
    """Return the input of the models: (n, *input) float32 in [0, 1].

    rows: for tables a DataFrame in original units (columns are found by name, numbers are clipped to the range of the
    training rows); for images (n, channels, height, width), bytes or floats in [0, 1].
    """
    described = space()
    if "features" not in described:
        images = torch.as_tensor(rows)
        return images.float() / 255 if images.dtype == torch.uint8 else images
    return torch.cat([_encoded(feature, rows[feature["name"]]) for feature in described["features"]], dim=1)


def predict(rows: Any, seed: int | None = None) -> Any:
    """Return (n, K) probabilities as an array; rows as in `encode`, seed as in `load`."""
    model, x = load(seed), encode(rows)
    if isinstance(model, Network):
        with torch.no_grad():
            logits = model(x).double()
    else:
        flat = x.flatten(1).double().numpy()
        if hasattr(model, "predict_proba"):
            return model.predict_proba(flat)
        logits = torch.as_tensor(model.decision_function(flat))
    if logits.dim() == 1:
        return torch.stack([torch.sigmoid(-logits), torch.sigmoid(logits)], dim=1).numpy()
    return logits.softmax(1).numpy()


def _encoded(feature: dict[str, Any], values: Any) -> Tensor:
    """(n,) original values of a feature → (n, its columns) float32 in [0, 1]."""
    import numpy as np

    if categories := feature["categories"]:
        places = {_spelled(category): place for place, category in enumerate(categories)}
        if unknown := sorted({str(value) for value in values if _spelled(value) not in places}):
            raise ValueError(f"{feature['name']}: unknown category {', '.join(unknown)}")
        codes = np.array([places[_spelled(value)] for value in values], dtype=int)
        if feature["kind"] == "categorical":
            return torch.from_numpy(np.eye(len(categories), dtype=np.float32)[codes])
        return torch.from_numpy((codes[:, None] / (len(categories) - 1)).astype(np.float32))
    scaled = np.log1p if feature["scale"] == "log1p" else np.asarray
    low, high = scaled(np.array([feature["low"], feature["high"]]))
    numbers = scaled(np.asarray(values, dtype=float))
    if not np.isfinite(numbers).all():
        raise ValueError(f"{feature['name']}: row {int((~np.isfinite(numbers)).argmax())} has no finite number")
    share = (numbers - low) / (high - low) if high > low else np.zeros(len(numbers))
    return torch.from_numpy(np.clip(share, 0, 1)[:, None].astype(np.float32))


def _spelled(value: Any) -> str:
    """Return one spelling for equal values: 1, 1.0, True, "1" and " 1.0 " are all "1"."""
    text = str(value).strip()
    if text.lower() in ("true", "false"):
        return "1" if text.lower() == "true" else "0"
    head, point, rest = text.partition(".")
    return head if point and not rest.strip("0") and head.lstrip("+-").isdigit() else text
