"""Areas under the ROC with ties, and intervals from bootstrap draws over groups. Plain numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Area:
    """An area under the ROC with its 95 % interval, and how many values lie on each side."""

    value: float
    low: float
    high: float
    positives: int
    negatives: int


def wins(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Return how many pairs the positive (N,) win against the negative values (M,); a tie is half a win."""
    ranked = np.sort(negative)
    below, upto = np.searchsorted(ranked, positive, side="left"), np.searchsorted(ranked, positive, side="right")
    return float((below + upto).sum() / 2)


def area(positive: NDArray[np.floating], negative: NDArray[np.floating]) -> float:
    """Return the area under the ROC, 0..1; 0.5 for equal values everywhere, NaN where one side is empty."""
    pairs = len(positive) * len(negative)
    return wins(positive, negative) / pairs if pairs else float("nan")


def grouped_area(positive: Sequence[NDArray[np.floating]], negative: Sequence[NDArray[np.floating]], *, seed: int = 0) -> Area:
    """Return the area over all values of all groups, with an interval from drawing groups with replacement.

    Args:
        positive: per group (N,) values that should be high.
        negative: per group (M,) values that should be low, groups in the same order.
        seed: of the draws.
    """
    won = np.array([[wins(mine, theirs) for theirs in negative] for mine in positive])
    many, few = np.array([len(values) for values in positive], float), np.array([len(values) for values in negative], float)
    draws = np.random.default_rng(seed).integers(0, len(positive), (DRAWS, len(positive)))
    times = np.stack([np.bincount(drawn, minlength=len(positive)) for drawn in draws]).astype(float)  # (DRAWS, G)
    pairs = (times @ many) * (times @ few)
    drawn_areas = np.einsum("dg,gh,dh->d", times, won, times)[pairs > 0] / pairs[pairs > 0]
    low, high = np.percentile(drawn_areas, [2.5, 97.5]) if len(drawn_areas) else (np.nan, np.nan)
    total = many.sum() * few.sum()
    return Area(float(won.sum() / total) if total else float("nan"), float(low), float(high), int(many.sum()), int(few.sum()))


def share_interval(hits: NDArray[np.floating], of: NDArray[np.floating], *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of sum(hits) / sum(of) from drawing groups (G,) with replacement."""
    draws = np.random.default_rng(seed).integers(0, len(of), (DRAWS, len(of)))
    totals = of[draws].sum(axis=1)
    low, high = np.percentile(hits[draws].sum(axis=1)[totals > 0] / totals[totals > 0], [2.5, 97.5])
    return float(low), float(high)


def sign_changes(values: NDArray[np.floating]) -> int:
    """Return how often a (T,) sequence crosses from above 0 to 0 or below, or back."""
    return int(np.count_nonzero(np.diff(values > 0)))
