"""Face verification: LFW's ten folds, and true accepts at a stated rate of false ones.

Source: Huang et al. 2007 and Learned-Miller 2014 (LFW, image-restricted: threshold from nine folds, accuracy on the tenth, mean and standard error).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TenFold:
    """Accuracy 0..1 as mean and standard error over the folds, and the mean of the thresholds taken."""

    accuracy: float
    standard_error: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures of LFW, by person and number within the person."""

    left: tuple[str, int]
    right: tuple[str, int]
    same: bool


def read_lfw_pairs(text: str) -> list[list[Pair]]:
    """Return the folds of `pairs.txt` (header: folds, pairs of each kind a fold) or of `pairsDevTest.txt` (header: pairs; one fold).

    Raises:
        ValueError: a line has another form, or the count is not what the header says.
    """
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError("no pairs: the file is empty")
    folds, each = (int(lines[0][0]), int(lines[0][1])) if len(lines[0]) == 2 else (1, int(lines[0][0]))
    pairs = []
    for number, cells in enumerate(lines[1:], start=2):
        if len(cells) == 3:
            pairs.append(Pair((cells[0], int(cells[1])), (cells[0], int(cells[2])), same=True))
        elif len(cells) == 4:
            pairs.append(Pair((cells[0], int(cells[1])), (cells[2], int(cells[3])), same=False))
        else:
            raise ValueError(f"line {number}: expected 3 or 4 columns, got {len(cells)}")
    if len(pairs) != 2 * folds * each:
        raise ValueError(f"expected {2 * folds * each} pairs, got {len(pairs)}")
    return [pairs[k * 2 * each : (k + 1) * 2 * each] for k in range(folds)]


def best_threshold(cosines: NDArray[np.floating], same: NDArray[np.bool_]) -> float:
    """Return the threshold (same from it on) with the most pairs right: midway between neighbours; the lowest of equals."""
    order = np.argsort(cosines, kind="stable")
    ranked, truth = cosines[order].astype(np.float64), same[order]
    # cut k: the k lowest are called different
    right = np.concatenate([[0], np.cumsum(~truth)]) + truth.sum() - np.concatenate([[0], np.cumsum(truth)])
    allowed = np.concatenate([[True], ranked[1:] > ranked[:-1], [True]])
    k = int(np.argmax(np.where(allowed, right, -1)))
    low = ranked[k - 1] if k > 0 else ranked[0] - 1.0
    high = ranked[k] if k < len(ranked) else ranked[-1] + 1.0
    return float((low + high) / 2)


def ten_fold(cosines: Sequence[NDArray[np.floating]], same: Sequence[NDArray[np.bool_]]) -> TenFold:
    """Return the accuracy over folds, each judged by the threshold that is best on the others.

    Args:
        cosines: per fold (N,). At least two folds.
        same: per fold (N,).
    """
    if len(cosines) < 2:
        raise ValueError("at least two folds are needed: the threshold of one comes from the others")
    accuracies, thresholds = [], []
    for k in range(len(cosines)):
        others = [i for i in range(len(cosines)) if i != k]
        threshold = best_threshold(np.concatenate([cosines[i] for i in others]), np.concatenate([same[i] for i in others]))
        accuracies.append(float(((cosines[k] >= threshold) == same[k]).mean()))
        thresholds.append(threshold)
    return TenFold(float(np.mean(accuracies)), float(np.std(accuracies, ddof=1) / np.sqrt(len(accuracies))), float(np.mean(thresholds)))


def threshold_at_far(different: NDArray[np.floating], far: float) -> float:
    """Return the lowest threshold at which at most the share `far` of different pairs (N,) is accepted.

    Below one pair in N no claim can be made from N pairs: the threshold is then just above the highest.
    """
    if not len(different):
        raise ValueError("no different pairs")
    ranked = np.sort(different.astype(np.float64))[::-1]
    allowed = int(np.floor(far * len(ranked) + 1e-9))
    return float(np.nextafter(ranked[min(allowed, len(ranked) - 1)], np.inf)) if allowed < len(ranked) else float(ranked[-1])


def tar_at_far(same: NDArray[np.floating], different: NDArray[np.floating], far: float) -> tuple[float, float]:
    """Return (share of same pairs accepted, threshold) where at most the share `far` of different pairs is."""
    threshold = threshold_at_far(different, far)
    return float((same >= threshold).mean()) if len(same) else float("nan"), threshold
