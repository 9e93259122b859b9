"""B-cubed and pairwise scores against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.evaluate.clustering import b_cubed, pairwise

items = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 5)), min_size=1, max_size=15)


@settings(max_examples=100, deadline=None)
@given(items)
def test_b_cubed_is_its_definition(labelled: list[tuple[int, int, int]]) -> None:
    classes, clusters, weights = (list(column) for column in zip(*labelled, strict=True))
    precision = recall = 0.0
    for k in range(len(labelled)):
        cluster = [i for i in range(len(labelled)) if clusters[i] == clusters[k]]
        alike = [i for i in range(len(labelled)) if classes[i] == classes[k]]
        both = sum(weights[i] for i in cluster if i in alike)
        precision += weights[k] * both / sum(weights[i] for i in cluster)
        recall += weights[k] * both / sum(weights[i] for i in alike)
    score = b_cubed(classes, clusters, np.array(weights, float))
    assert score.precision == pytest.approx(precision / sum(weights))
    assert score.recall == pytest.approx(recall / sum(weights))


@settings(max_examples=50, deadline=None)
@given(items)
def test_pairwise_is_its_definition(labelled: list[tuple[int, int, int]]) -> None:
    pairs = [(a, b) for k, a in enumerate(labelled) for b in labelled[k + 1 :]]
    together = [a[0] == b[0] for a, b in pairs if a[1] == b[1]]
    alike = [a[1] == b[1] for a, b in pairs if a[0] == b[0]]
    score = pairwise([c for c, _, _ in labelled], [c for _, c, _ in labelled])
    assert score.precision == pytest.approx(np.mean(together) if together else 1)
    assert score.recall == pytest.approx(np.mean(alike) if alike else 1)


def test_perfect_and_empty() -> None:
    assert b_cubed("aabb", "xxyy").f1 == 1.0
    assert pairwise("aabb", "xxyy").f1 == 1.0
    assert math.isnan(b_cubed([], []).precision)
    assert b_cubed("ab", "xx").precision == 0.5
    with pytest.raises(ValueError, match="each item"):
        b_cubed("a", "xy")
