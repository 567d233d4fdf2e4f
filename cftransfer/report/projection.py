"""Two dimensions in which to draw inputs, and the input that any place in them stands for."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from cftransfer.data.dataset import Dataset
from cftransfer.data.feature import Feature
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError
from cftransfer.models.prediction import Asked, logits, predicted

ROWS = 1500  # most rows that t-SNE embeds, which takes seconds
PIXELS = 400  # along each side
AROUND = 0.06  # of a side's length, left free around the points
OWN_COLOUR = "have the colour of their own class"


@dataclass(frozen=True, kw_only=True)
class Plane:
    """A plane with points drawn in it, and the inputs that colour its places.

    factuals, counterfactuals: (n, 2); others: (k, 2), training rows that colour their surroundings, if there are any.
    box: left, right, bottom and top of the coloured part.
    stands_for: (m, 2) → (m, columns), the inputs that give the places their class.
    under: (n, columns), the input that colours the place of each counterfactual, to check the picture.
    about: how plane and regions were made; checked: the meaning of a match between `under` and the counterfactual.
    """

    name: str
    factuals: np.ndarray
    counterfactuals: np.ndarray
    others: np.ndarray
    box: tuple[float, float, float, float]
    stands_for: Callable[[np.ndarray], Tensor]
    under: Tensor
    labels: tuple[str, str]
    about: str
    checked: str = OWN_COLOUR

    def centres(self, pixels: int = PIXELS) -> tuple[np.ndarray, np.ndarray]:
        """Return the centres of the columns and of the rows of pixels, from the left and from below."""
        left, right, bottom, top = self.box
        inside = (np.arange(pixels) + 0.5) / pixels
        return left + inside * (right - left), bottom + inside * (top - bottom)

    def regions(self, model: Asked, *, pixels: int = PIXELS) -> np.ndarray:
        """Return the class that `model` gives to the input of each pixel: (rows from below, columns)."""
        x, y = np.meshgrid(*self.centres(pixels))
        places = np.stack([x.ravel(), y.ravel()], axis=1)
        return predicted(logits(model, self.stands_for(places))).numpy().reshape(x.shape)

    def share(self, model: Asked, counterfactuals: Tensor) -> float:
        """Return the share of the counterfactuals with the class that colours their place."""
        same = predicted(logits(model, counterfactuals)) == predicted(logits(model, self.under))
        return float(same.float().mean())


def plane(projection: str, dataset: Dataset, *, factuals: Tensor, counterfactuals: Tensor) -> Plane:
    """Return the plane of `projection`, pca or tsne, for (n, columns) factuals and their counterfactuals.

    PCA would only rotate two columns, so such a data set is shown unprojected.
    """
    if dataset.x_train.shape[1] < 2:
        raise InputError(f"dataset {dataset.name}: has one column; a picture of regions needs at least two")
    if projection == "tsne":
        return _tsne(dataset, factuals, counterfactuals)
    assert isinstance(dataset.space, FeatureSpace)
    features = dataset.space.features
    if len(features) == dataset.x_train.shape[1] == 2:
        return _exact(features, factuals, counterfactuals)
    return _pca(dataset, factuals, counterfactuals)


def _exact(features: tuple[Feature, ...], factuals: Tensor, counterfactuals: Tensor) -> Plane:
    linear = [not feature.categories and feature.scale == "linear" for feature in features]
    low, high = np.array([(f.low, f.high) if as_is else (0, 1) for f, as_is in zip(features, linear, strict=True)]).T
    span = np.maximum(high - low, np.finfo(float).tiny)

    def stands_for(places: np.ndarray) -> Tensor:
        return torch.from_numpy(((places - low) / span).astype(np.float32))

    names = [f.name if as_is else f"{f.name}, scaled to [0, 1]" for f, as_is in zip(features, linear, strict=True)]
    return Plane(
        name="exact",
        factuals=low + factuals.numpy() * span,
        counterfactuals=low + counterfactuals.numpy() * span,
        others=np.empty((0, 2)),
        box=(low[0], low[0] + span[0], low[1], low[1] + span[1]),
        stands_for=stands_for,
        under=counterfactuals,
        labels=(names[0], names[1]),
        about="Exact, no projection: the data have two features, and each pixel has the model's class of its own place",
    )


def _pca(dataset: Dataset, factuals: Tensor, counterfactuals: Tensor) -> Plane:
    fitted = PCA(2, svd_solver="full").fit(dataset.x_train.numpy())

    def stands_for(places: np.ndarray) -> Tensor:
        return torch.from_numpy(fitted.inverse_transform(places).clip(0, 1).astype(np.float32))

    shares = 100 * fitted.explained_variance_ratio_
    placed = [fitted.transform(x.numpy()) for x in (factuals, counterfactuals)]
    return Plane(
        name="pca",
        factuals=placed[0],
        counterfactuals=placed[1],
        others=np.empty((0, 2)),
        box=_box(np.concatenate(placed)),
        stands_for=stands_for,
        under=stands_for(placed[1]),
        labels=(f"first component, {shares[0]:.0f} % of the variance", f"second component, {shares[1]:.0f} %"),
        about=f"PCA of the training split, {shares.sum():.0f} % of its variance; regions: the model's class of each "
        "pixel's inverse projection, clipped to [0, 1]. Parts of the data off this plane are not shown, so points may "
        "have the other colour",
    )


def _tsne(dataset: Dataset, factuals: Tensor, counterfactuals: Tensor) -> Plane:
    shown = torch.cat([factuals, counterfactuals])
    taken = torch.randperm(len(dataset.x_train), generator=torch.Generator().manual_seed(0))
    rows = torch.cat([shown, dataset.x_train[taken[: max(0, ROWS - len(shown))]]])
    perplexity = min(30.0, (len(rows) - 1) / 3)
    placed = TSNE(2, init="pca", perplexity=perplexity, random_state=0).fit_transform(rows.numpy()).astype(float)
    near = NearestNeighbors(n_neighbors=1).fit(placed)
    each = slice(len(factuals), len(shown))
    # The nearest point of a counterfactual is itself, with its own colour, so the second nearest is compared.
    second = NearestNeighbors(n_neighbors=2).fit(placed).kneighbors(placed[each])[1]
    own = np.arange(len(placed))[each]
    return Plane(
        name="tsne",
        factuals=placed[: len(factuals)],
        counterfactuals=placed[each],
        others=placed[len(shown) :],
        box=_box(placed),
        stands_for=lambda places: rows[near.kneighbors(places, return_distance=False)[:, 0]],
        under=rows[np.where(second[:, 0] == own, second[:, 1], second[:, 0])],
        labels=("t-SNE 1, no unit", "t-SNE 2, no unit"),
        about=f"t-SNE of the points drawn, {len(rows) - len(shown):,} of them rows of the training split (perplexity "
        f"{perplexity:.3g}); regions: the model's class of the nearest point drawn. Each point colours its own place: "
        "between points the colours, and all distances, are the embedding's and not the model's",
        checked="have their own class also at their nearest other point",
    )


def _box(points: np.ndarray) -> tuple[float, float, float, float]:
    low, high = points.min(axis=0), points.max(axis=0)
    free = AROUND * np.maximum(high - low, 1e-3)
    (left, bottom), (right, top) = low - free, high + free
    return left, right, bottom, top
