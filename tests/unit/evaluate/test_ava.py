"""AVA's average precision against a transcription of the official scorer, and its refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.evaluate.ava import AvaRow, average_precision, read_ava, score_ava

BOX = (0.1, 0.2, 0.3, 0.4)


def official(scores: np.ndarray, positive: np.ndarray) -> float:
    """`calculate_precision_recall` and `compute_average_precision` of the official script, with the sort made stable."""
    order = sorted(range(len(scores)), key=lambda k: -scores[k])
    hits = [float(positive[k]) for k in order]
    precision = [sum(hits[: k + 1]) / (k + 1) for k in range(len(hits))]
    recall = [sum(hits[: k + 1]) / sum(hits) for k in range(len(hits))]
    recall, precision = [0.0, *recall, 1.0], [0.0, *precision, 0.0]
    for k in range(len(precision) - 2, -1, -1):
        precision[k] = max(precision[k], precision[k + 1])
    return sum((recall[k] - recall[k - 1]) * precision[k] for k in range(1, len(recall)) if recall[k] != recall[k - 1])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=40).filter(lambda rows: any(p for _, p in rows)))
def test_average_precision_is_the_official_one(rows: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([s / 8 for s, _ in rows]), np.array([p for _, p in rows])
    assert average_precision(scores, positive) == pytest.approx(official(scores, positive))


def rows(labels: list[str], scores: list[float] | None = None) -> list[AvaRow]:
    return [
        AvaRow("v", f"{k}.04", BOX, "SPEAKING_AUDIBLE" if scores is not None else label, "v_1:1", None if scores is None else scores[k])
        for k, label in enumerate(labels)
    ]


def test_only_audible_speech_is_positive_and_order_does_not_matter() -> None:
    labels = ["SPEAKING_AUDIBLE", "SPEAKING_NOT_AUDIBLE", "NOT_SPEAKING", "SPEAKING_AUDIBLE"]
    score = score_ava(rows(labels), rows(labels, [0.9, 0.8, 0.1, 0.7])[::-1])
    assert score.average_precision == pytest.approx((1 + 2 / 3) / 2)
    assert (score.rows, score.positives, score.tied_rows) == (4, 2, 0)
    assert score_ava(rows(labels), rows(labels, [0.5, 0.5, 0.1, 0.2])).tied_rows == 2


def test_rows_must_match_one_to_one() -> None:
    labels = ["SPEAKING_AUDIBLE", "NOT_SPEAKING"]
    truth, good = rows(labels), rows(labels, [0.9, 0.1])
    moved = [good[0], AvaRow("v", "1.04", (0.1, 0.2, 0.3, 0.5), "SPEAKING_AUDIBLE", "v_1:1", 0.1)]
    elsewhere = [good[0], AvaRow("v", "7.04", BOX, "SPEAKING_AUDIBLE", "v_1:1", 0.1)]
    for wrong in (good[:1], [good[0], good[0]], moved, elsewhere, truth):
        with pytest.raises(ValueError, match=r"row|twice|prediction|box"):
            score_ava(truth, wrong)


def test_files() -> None:
    head = "video_id,frame_timestamp,x1,y1,x2,y2,label,entity_id\n"
    text = head + "v,0.04,0.1,0.2,0.3,0.4,NOT_SPEAKING,v_1\nv,0.08,0.1,0.2,0.3,0.4,SPEAKING_AUDIBLE,v_1,0.5\n"
    found = read_ava(text)
    assert [r.key for r in found] == ["0.04:v_1", "0.08:v_1"]
    assert [r.score for r in found] == [None, 0.5]
    with pytest.raises(ValueError, match="line 1"):
        read_ava("v,1,2\n")
    with pytest.raises(ValueError, match="line 1"):
        read_ava("v,0.04,a,0.2,0.3,0.4,NOT_SPEAKING,v_1\n")
