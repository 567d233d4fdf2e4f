"""Which points may be counterfactuals, from any point to changes that a person could make, and the nearest of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from cftransfer.data.feature import Feature
from cftransfer.data.pixels import PixelSpace, nearest_greys
from cftransfer.data.space import FeatureSpace
from cftransfer.errors import InputError
from cftransfer.settings import check_choice


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """Points that a search may give as counterfactuals of a factual, and a relaxation in which gradients can move.

    none: every point, as in the paper's search. box: every feature in its range. possible: integers are integers,
    binaries and ordinals take one of their categories, one-hot groups are one-hot. actionable: possible, and features
    that a person cannot change keep the factual's value, others move only in their allowed direction. For images
    possible and actionable are the same: every pixel value is a whole grey level, k/255, as in a file of bytes. This
    holds for x′ alone; a factual given as floats may lie between grey levels.

    feature: (columns,) the number of each column's feature, from 0; in images every pixel value is its own feature.
    discrete: columns with levels; levels: (discrete, most) ascending, padded with infinity.
    groups: (groups, most) columns of each one-hot group, padded with the number of columns.
    fixed, rising, falling: (columns,) bool, columns that may not change, or only increase, or only decrease.
    greys: whether every input is a whole grey level.
    """

    name: str
    feature: Tensor
    discrete: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    levels: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    groups: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.long))
    fixed: Tensor | None = None
    rising: Tensor | None = None
    falling: Tensor | None = None
    greys: bool = False

    @property
    def exact(self) -> bool:
        """Whether the relaxation is the constraint itself, so that projecting changes nothing."""
        return not self.greys and not len(self.discrete) and not len(self.groups)

    def to(self, device: torch.device) -> "Constraint":
        """Return the same constraint with its tensors on a device."""
        tensors = {name: part.to(device) for name, part in vars(self).items() if isinstance(part, Tensor)}
        return replace(self, **tensors)  # type: ignore[arg-type]

    def bounds(self, factual: Tensor) -> tuple[Tensor, Tensor]:
        """factual: (n, *input) → the least and the largest value of each input, each (n, *input)."""
        if self.name == "none":
            return torch.full_like(factual, -torch.inf), torch.full_like(factual, torch.inf)
        low, high = torch.zeros_like(factual), torch.ones_like(factual)
        if self.fixed is None or self.rising is None or self.falling is None:
            return low, high
        return (
            torch.where(self.fixed | self.rising, factual, low),
            torch.where(self.fixed | self.falling, factual, high),
        )

    def relax(self, z: Tensor, factual: Tensor) -> Tensor:
        """z, factual: (n, *input) → the nearest point within the bounds of each factual."""
        return z.clamp(0, 1) if self.fixed is None and self.name != "none" else z.clamp(*self.bounds(factual))

    def project(self, z: Tensor, factual: Tensor) -> Tensor:
        """z, factual: (n, *input) → the nearest point (L2) that satisfies the constraint exactly.

        Direction goes before nearness: if the nearest level lies on the wrong side of the factual, the factual stays.
        """
        if self.greys:
            return nearest_greys(z)
        point = self.relax(z, factual)
        if self.exact:
            return point
        point = point.clone()
        if len(self.discrete):
            point[:, self.discrete] = self._nearest_levels(point[:, self.discrete])
        if len(self.groups):
            # From z, not from `point`: clamping to the bounds would make values beyond them equal.
            largest = torch.nn.functional.pad(z, (0, 1), value=-torch.inf)[:, self.groups].argmax(2)  # (n, groups)
            padded = torch.nn.functional.pad(point, (0, 1))
            chosen = self.groups.expand(len(point), -1, -1).gather(2, largest.unsqueeze(2)).squeeze(2)
            padded[:, self.groups.flatten()] = 0
            point = padded.scatter(1, chosen, 1.0)[:, :-1]
        return self.relax(point, factual)

    def holds(self, x: Tensor, factual: Tensor) -> Tensor:
        """x, factual: (n, *input) → (n,) bool: whether x satisfies the constraint exactly, to the last bit."""
        same = self.project(x, factual) == x
        return (same & x.isfinite()).flatten(1).all(1)

    def _nearest_levels(self, values: Tensor) -> Tensor:
        """values: (n, discrete) → the same, rounded to the column's nearest level; the lower one of a tie."""
        columns = values.T.contiguous()
        above = torch.searchsorted(self.levels, columns).clamp(max=self.levels.shape[1] - 1)
        below = (above - 1).clamp(min=0)
        upper, lower = self.levels.gather(1, above), self.levels.gather(1, below)
        return torch.where(upper - columns < columns - lower, upper, lower).T


def constraint(name: str, space: FeatureSpace | PixelSpace | None, *, inputs: Tensor | None = None) -> Constraint:
    """Return the constraint of that name on a space; InputError for an unknown name.

    inputs: (n, *input); for none and box, their shape is enough in place of a space.
    """
    check_choice("counterfactual.constraints", name)
    if space is None and (name not in ("none", "box") or inputs is None):
        raise InputError(f"constraints={name}: needs space=FeatureSpace(…), which describes the features")
    if not isinstance(space, FeatureSpace):
        shape = space.shape if space is not None else inputs.shape[1:]  # type: ignore[union-attr]
        greys = name not in ("none", "box")
        return Constraint(name=name, feature=torch.arange(int(np.prod(shape))), greys=greys)
    owner = np.repeat(np.arange(len(space.features)), [feature.columns for feature in space.features])
    feature = torch.from_numpy(owner)
    if name in ("none", "box"):
        return Constraint(name=name, feature=feature)
    kept = _discrete(space.features)
    if name == "actionable":
        columns = [f for f in space.features for _ in range(f.columns)]
        ways = {"rising": "up", "falling": "down"}
        kept["fixed"] = torch.tensor([not f.mutable for f in columns])
        kept |= {part: torch.tensor([f.direction == way for f in columns]) for part, way in ways.items()}
    return replace(Constraint(name=name, feature=feature), **kept)  # type: ignore[arg-type]


def _discrete(features: Sequence[Feature]) -> dict[str, Tensor]:
    """Return the columns of features that are not continuous, and the values that they can take."""
    first = np.cumsum([0, *(feature.columns for feature in features)])
    levels = {int(at): f.levels for at, f in zip(first, features, strict=False) if f.levels is not None}
    groups = [np.arange(at, at + f.columns) for at, f in zip(first, features, strict=False) if f.kind == "categorical"]
    columns = int(first[-1])

    def padded(rows: Sequence[np.ndarray], value: float) -> np.ndarray:
        most = max(map(len, rows), default=0)
        return np.array([np.pad(row, (0, most - len(row)), constant_values=value) for row in rows])

    return {
        "discrete": torch.tensor(list(levels), dtype=torch.long),
        "levels": torch.from_numpy(padded(list(levels.values()), np.inf).astype(np.float32)),
        "groups": torch.from_numpy(padded(groups, columns).astype(np.int64)),
    }
