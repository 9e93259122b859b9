"""Ten folds, thresholds and true accepts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.evaluate.verification import best_threshold, read_lfw_pairs, tar_at_far, ten_fold, threshold_at_far


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(-10, 10), st.booleans()), min_size=1, max_size=30))
def test_best_threshold_is_as_good_as_any(pairs: list[tuple[int, bool]]) -> None:
    cosines, same = np.array([c / 10 for c, _ in pairs]), np.array([s for _, s in pairs])
    best = max(float(((cosines >= t) == same).mean()) for t in np.linspace(-1.05, 1.05, 43))
    assert float(((cosines >= best_threshold(cosines, same)) == same).mean()) == pytest.approx(best)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-20, 20), min_size=1, max_size=60), st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]))
def test_no_more_false_accepts_than_allowed_and_no_threshold_lower(values: list[int], far: float) -> None:
    different = np.array(values) / 20
    threshold = threshold_at_far(different, far)
    assert (different >= threshold).mean() <= far + 1e-9
    lower = different[different < threshold]
    if len(lower):
        assert (different >= lower.max()).mean() > far


def test_ten_folds_of_separable_pairs() -> None:
    rng = np.random.default_rng(0)
    cosines = [np.concatenate([rng.uniform(0.5, 1, 30), rng.uniform(-0.2, 0.3, 30)]) for _ in range(10)]
    same = [np.arange(60) < 30 for _ in range(10)]
    perfect = ten_fold(cosines, same)
    assert (perfect.accuracy, perfect.standard_error) == (1.0, 0.0)
    assert 0.3 < perfect.threshold < 0.5
    cosines[3][0] = -1
    assert ten_fold(cosines, same).accuracy == pytest.approx(1 - 1 / 600)
    with pytest.raises(ValueError, match="two folds"):
        ten_fold(cosines[:1], same[:1])


def test_true_accepts() -> None:
    share, threshold = tar_at_far(np.array([0.9, 0.5, 0.2]), np.linspace(0, 0.4, 101), 0.01)
    assert share == pytest.approx(2 / 3)
    assert 0.39 < threshold <= 0.4


def test_pairs_files() -> None:
    folds = read_lfw_pairs("2\t1\nAnn_A\t1\t2\nAnn_A\t1\tBea_B\t3\nCy\t4\t5\nCy\t1\tDi\t1\n")
    assert [[p.same for p in fold] for fold in folds] == [[True, False], [True, False]]
    assert folds[0][1].right == ("Bea_B", 3)
    assert len(read_lfw_pairs("1\nAnn_A 1 2\nAnn_A 1 Bea_B 3\n")) == 1
    for wrong in ("", "1\nAnn 1 2\n", "1\nAnn 1\nAnn 1 Bea 2\n"):
        with pytest.raises(ValueError, match=r"expected|empty"):
            read_lfw_pairs(wrong)
