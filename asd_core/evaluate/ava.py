"""AVA-ActiveSpeaker: average precision over face-frames, as the official scorer counts it.

Source: ActivityNet challenge, `Evaluation/get_ava_active_speaker_performance.py`; Roth et al. 2020, arXiv 1901.01342. The official script
sorts by score with an unstable sort, so that ties fall as they may; here ties keep the order of the truth's rows, and `tied_rows` says
how many rows a tie could move.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SPEAKING = "SPEAKING_AUDIBLE"
BOX_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class AvaRow:
    """One face in one frame; `box` holds x1, y1, x2, y2 as shares of the picture. `timestamp` stays text: it is part of the key."""

    video: str
    timestamp: str
    box: tuple[float, float, float, float]
    label: str
    entity: str
    score: float | None = None  # predictions have one, the truth has none

    @property
    def key(self) -> str:
        """What the official scorer joins prediction and truth by."""
        return f"{self.timestamp}:{self.entity}"


@dataclass(frozen=True, slots=True)
class AvaScore:
    """What the scorer says: average precision 0..1, the rows and positives it rests on, and how many rows share their score with another."""

    average_precision: float
    rows: int
    positives: int
    tied_rows: int


def read_ava(text: str) -> list[AvaRow]:
    """Return the rows of an AVA file: video, timestamp, x1, y1, x2, y2, label, entity[, score]; a header is skipped.

    Raises:
        ValueError: a row has another number of columns or no numbers where they belong; the message names the line.
    """
    rows = []
    for number, cells in enumerate(csv.reader(io.StringIO(text)), start=1):
        if not cells or cells[0] == "video_id":
            continue
        if len(cells) not in (8, 9):
            raise ValueError(f"line {number}: expected 8 columns, or 9 with a score, got {len(cells)}")
        try:
            x1, y1, x2, y2 = (float(cell) for cell in cells[2:6])
            score = float(cells[8]) if len(cells) == 9 else None
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
        rows.append(AvaRow(cells[0], cells[1], (x1, y1, x2, y2), cells[6], cells[7], score))
    return rows


def score_ava(truth: Sequence[AvaRow], predictions: Sequence[AvaRow]) -> AvaScore:
    """Return the average precision of predictions for exactly the rows of the truth.

    Every true row needs one prediction with the same key and box, labelled SPEAKING_AUDIBLE, with a score: a missing row is an error, not a
    zero. Other labels than SPEAKING_AUDIBLE in the truth count as not speaking.

    Raises:
        ValueError: the rows do not match one to one; the message says where.
    """
    if len(truth) != len(predictions):
        raise ValueError(f"{len(truth)} rows of truth and {len(predictions)} predictions; each row needs one")
    predicted = {row.key: row for row in predictions}
    if len(predicted) != len(predictions) or len({row.key for row in truth}) != len(truth):
        raise ValueError("a frame and entity occurs twice")
    scores = np.empty(len(truth))
    for number, row in enumerate(truth):
        found = predicted.get(row.key)
        if found is None:
            raise ValueError(f"no prediction for {row.key}")
        if found.label != SPEAKING or found.score is None or not np.isfinite(found.score):
            raise ValueError(f"the prediction for {row.key} must be {SPEAKING} with a score")
        if max(abs(a - b) for a, b in zip(row.box, found.box, strict=True)) > BOX_TOLERANCE:
            raise ValueError(f"the box predicted for {row.key} is not the true one")
        scores[number] = found.score
    positive = np.array([row.label == SPEAKING for row in truth], np.bool_)
    _, counts = np.unique(scores, return_counts=True)
    return AvaScore(average_precision(scores, positive), len(truth), int(positive.sum()), int(counts[counts > 1].sum()))


def average_precision(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Return the area under precision over recall, 0..1, with precision made non-increasing (all-point VOC); NaN without positives.

    Args:
        scores: (N,) higher is more likely; never rounded, since ties are broken by order.
        positive: (N,).
    """
    if not positive.any():
        return float("nan")
    hits = positive[np.argsort(-scores, kind="stable")]
    true_positives = np.cumsum(hits)
    precision = true_positives / np.arange(1, len(hits) + 1)
    recall = true_positives / positive.sum()
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
