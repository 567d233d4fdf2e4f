"""Many probits fitted at once by maximum likelihood (Newton's method), with a check for likelihoods without maximum."""

from dataclasses import dataclass

import numpy as np
from scipy import special

STEPS = 40  # of Newton's method; a probit with a maximum takes about 6
NEAR = 1e-4  # a step with a smaller gain is the last; the remaining error is of the order of its square
ROUNDING = 1e-9  # of a log-likelihood; a smaller fall does not count
INSIDE = 35.0  # largest index of a probit; up to it, the functions below neither overflow nor lose digits
FAR = 30.0  # standard error per standard deviation of a column; a flatter likelihood counts as having no maximum
FLOOR = 1e-10  # least information per row, which keeps Newton's step finite


@dataclass(frozen=True)
class Probits:
    """m probits of p columns.

    coefficients: (m, p), NaN if the column is constant, its coefficient is unbounded, or the probit has no maximum.
    deviance: (m,) −2 times the supremum of the log-likelihood, NaN for a probit without a maximum. unbounded: (m, p)
    whether all rows at one of a column's two values have the same answer. separated: (m,) whether the likelihood has no
    maximum for another reason.
    """

    coefficients: np.ndarray
    deviance: np.ndarray
    unbounded: np.ndarray
    separated: np.ndarray


def probits(x: np.ndarray, y: np.ndarray) -> Probits:
    """Fit P(y = 1) = Φ(a + x · b), one probit for each of m pairs.

    If all rows at one of a column's two values have the same answer, a coefficient of ±∞ predicts them perfectly. They
    add nothing to the deviance, and the other coefficients are fitted to the remaining rows.

    Args:
        x: (m, n, p) float, without a constant.
        y: (m, n) bool; both answers occur in each pair.

    Returns:
        Probits.
    """
    kept, unbounded = _not_perfectly_predicted(x, y)
    rows = kept.sum(1)
    centred = (x - _mean(x, kept)[:, None]) * kept[..., None]
    spread = np.sqrt((centred**2).sum(1) / np.maximum(rows, 1)[:, None])
    inert = spread <= 1e-12 * (1 + np.abs(x).max(1))
    scale = np.where(inert, 1.0, spread)
    design = np.concatenate([kept[..., None], np.where(inert[:, None], 0.0, centred / scale[:, None])], axis=2)
    slopes, deviance, separated = _maximum(design, y, kept, inert)
    separated |= rows == 0
    coefficients = np.where(inert | unbounded | separated[:, None], np.nan, slopes / scale)
    return Probits(coefficients, np.where(separated, np.nan, deviance), unbounded, separated)


def null_deviance(y: np.ndarray) -> np.ndarray:
    """(m, n) bool → (m,) the deviance of a constant alone; 0 if all answers are the same."""
    n, share = y.shape[1], y.mean(1)
    return 2 * n * (special.entr(share) + special.entr(1 - share))


def _not_perfectly_predicted(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (m, n) the rows that no two-valued column predicts perfectly, and (m, p) the columns that predict some."""
    kept, unbounded = np.ones(y.shape, bool), np.zeros((len(x), x.shape[2]), bool)
    ends = [(x[..., column].min(), x[..., column].max()) for column in range(x.shape[2])]
    two_valued = [(column, values) for column, values in enumerate(ends) if np.isin(x[..., column], values).all()]
    for _ in range(x.shape[2]):  # rows that one column removes may leave equal answers in another
        before = int(kept.sum())
        for column, values in two_valued:
            for value in values:
                some = kept & (x[..., column] == value)
                many, yes = some.sum(1), (some & y).sum(1)
                pure = (many > 0) & (many < kept.sum(1)) & ((yes == 0) | (yes == many))
                kept &= ~(some & pure[:, None])
                unbounded[:, column] |= pure
        if int(kept.sum()) == before:
            break
    mixed = ((kept & y).sum(1) > 0) & ((kept & ~y).sum(1) > 0)
    return kept & mixed[:, None], unbounded


def _mean(x: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return (x * kept[..., None]).sum(1) / np.maximum(kept.sum(1), 1)[:, None]


def _maximum(
    design: np.ndarray, y: np.ndarray, kept: np.ndarray, inert: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (m, p) slopes, (m,) deviances, and (m,) whether there is no maximum. design: (m, n, 1 + p)."""
    sign = np.where(y, 1.0, -1.0)
    own = np.concatenate([np.zeros((len(inert), 1), bool), inert], axis=1)  # a column of zeros keeps a slope of 0
    floor = np.eye(own.shape[1]) * (own[:, None] + FLOOR * kept.sum(1)[:, None, None] + FLOOR)
    at = np.zeros(own.shape)
    likelihood, gradient, information = _at(design, sign, kept, at)
    gain = np.full(len(at), np.inf)
    for _ in range(STEPS):
        step = np.linalg.solve(information + floor, gradient[..., None])[..., 0]
        gain = (gradient * step).sum(1)
        at, likelihood, gradient, information = _uphill((design, sign, kept), at, step, likelihood)
        if (gain < NEAR).all():
            break
    variance = np.diagonal(np.linalg.inv(information + floor), axis1=1, axis2=2)
    separated = (gain >= NEAR) | (np.where(own, 0.0, variance) > FAR**2).any(1)
    return at[:, 1:], -2 * likelihood, separated


def _uphill(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray], at: np.ndarray, step: np.ndarray, before: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Take the step, halved while the likelihood would fall. rows: the first arguments of `_at`."""
    length = np.ones(len(at))
    for _ in range(10):
        after = _at(*rows, at + length[:, None] * step)
        falls = after[0] < before - ROUNDING
        if not falls.any():
            break
        length = np.where(falls, length / 2, length)
    return at + length[:, None] * step, *after


def _at(
    design: np.ndarray, sign: np.ndarray, kept: np.ndarray, at: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (m,) log-likelihoods, (m, 1 + p) gradients and (m, 1 + p, 1 + p) information matrices."""
    index = np.clip((design @ at[..., None])[..., 0], -INSIDE, INSIDE)
    scaled = special.erfcx(-sign * index / np.sqrt(2))  # Φ(t) = erfcx(−t / √2) · exp(−t² / 2) / 2
    log = np.log(scaled / 2) - 0.5 * index**2
    ratio = sign * np.sqrt(2 / np.pi) / scaled
    weight = np.where(kept, ratio * (ratio + index), 0.0)
    gradient = (np.where(kept, ratio, 0.0)[:, None] @ design)[:, 0]
    return np.where(kept, log, 0.0).sum(1), gradient, design.swapaxes(1, 2) @ (weight[..., None] * design)
