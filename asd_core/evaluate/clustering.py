"""Clusterings against classes: B-cubed and pairwise precision, recall and F1.

Source: Bagga and Baldwin 1998; Amigó et al. 2009 (extended survey of the constraints). Items may carry weights, such as the seconds of a track.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ClusterScore:
    """Precision, recall and their harmonic mean, 0..1."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean; 0 where both are 0."""
        whole = self.precision + self.recall
        return 2 * self.precision * self.recall / whole if whole > 0 else 0.0


def b_cubed(classes: Sequence[Hashable], clusters: Sequence[Hashable], weights: NDArray[np.floating] | None = None) -> ClusterScore:
    """Return the weighted mean over items of the purity of their cluster and the completeness of their class.

    Args:
        classes: (N,) the true label of each item.
        clusters: (N,) the label it was given.
        weights: (N,) what each item counts; 1 if not given. No items, or no weight: NaN.
    """
    counts, row, column = _contingency(classes, clusters, weights)
    mass = np.ones(len(classes)) if weights is None else np.asarray(weights, np.float64)
    if not mass.sum() > 0:
        return ClusterScore(float("nan"), float("nan"))
    own = counts[row, column]
    precision = own / np.maximum(counts.sum(axis=0)[column], 1e-300)
    recall = own / np.maximum(counts.sum(axis=1)[row], 1e-300)
    return ClusterScore(float(np.average(precision, weights=mass)), float(np.average(recall, weights=mass)))


def pairwise(classes: Sequence[Hashable], clusters: Sequence[Hashable]) -> ClusterScore:
    """Return the share of pairs in one cluster that are of one class, and of pairs of one class that are in one cluster.

    Both are 1 where there is no such pair.

    Large clusters weigh quadratically: give it beside `b_cubed`, not instead.
    """
    counts, _, _ = _contingency(classes, clusters, None)

    def pairs(n: NDArray[np.float64]) -> float:
        return float((n * (n - 1) / 2).sum())

    right, together, alike = pairs(counts), pairs(counts.sum(axis=0)), pairs(counts.sum(axis=1))
    return ClusterScore(right / together if together else 1.0, right / alike if alike else 1.0)


def _contingency(
    classes: Sequence[Hashable], clusters: Sequence[Hashable], weights: NDArray[np.floating] | None
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the weight in each (class, cluster), and the class and cluster number of each item."""
    if len(classes) != len(clusters) or (weights is not None and len(weights) != len(classes)):
        raise ValueError(f"{len(classes)} classes and {len(clusters)} clusters; each item has one of both, and one weight if any")
    numbers = [{label: k for k, label in enumerate(dict.fromkeys(labels))} for labels in (classes, clusters)]
    row = np.array([numbers[0][label] for label in classes], np.int64)
    column = np.array([numbers[1][label] for label in clusters], np.int64)
    counts = np.zeros((len(numbers[0]), len(numbers[1])))
    np.add.at(counts, (row, column), 1.0 if weights is None else weights)
    return counts, row, column
