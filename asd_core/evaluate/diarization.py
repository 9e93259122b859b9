"""Diarization: error rate (DER) and Jaccard error rate (JER) of who spoke when.

Times are cut at every edge into stretches in which nothing changes; all else is sums over those, so the numbers are exact. Source: NIST
RT-09 evaluation plan (DER); DIHARD II, Ryant et al. 2019 (JER). Agrees with pyannote.metrics; the collar is given for each side of an
edge, where pyannote and md-eval take the sum of both sides and each side respectively.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from asd_core.records import Span
from asd_core.timeline import difference, total, union

Speech = Sequence[tuple[str, Span]]  # who, when; a speaker's own spans may touch or overlap


@dataclass(frozen=True, slots=True)
class DiarizationScore:
    """Seconds of each kind of error, and what they are measured against.

    `reference` is the speech scored, overlaps counted as often as people speak. `mapping` pairs hypothesis with reference speakers. `jaccard` is None
    without reference speakers.
    """

    missed: float
    false_alarm: float
    confusion: float
    reference: float
    jaccard: float | None
    mapping: tuple[tuple[str, str], ...]

    @property
    def error_rate(self) -> float:
        """The DER; infinite for false alarms where nobody speaks, 0 where both are silent."""
        errors = self.missed + self.false_alarm + self.confusion
        return errors / self.reference if self.reference > 0 else (float("inf") if errors > 0 else 0.0)


def score_diarization(
    reference: Speech, hypothesis: Speech, *, collar: float = 0.0, scored: Iterable[Span] | None = None, overlap: bool = True
) -> DiarizationScore:
    """Return the errors of a hypothesis.

    Args:
        reference: true speech.
        hypothesis: speech found; speakers are mapped to true ones one to one, so that most time agrees.
        collar: seconds on each side of every reference edge that are not scored.
        scored: what is scored at all; everything from the first to the last edge of either if not given.
        overlap: whether stretches in which several people truly speak are scored.
    """
    truth, found = _by_speaker(reference), _by_speaker(hypothesis)
    extent = _extent([*truth.values(), *found.values()])
    kept = union(scored) if scored is not None else extent
    edges = [edge for spans in truth.values() for span in spans for edge in (span.start, span.end)]
    if collar > 0:
        kept = difference(kept, [Span(edge - collar, edge + collar) for edge in edges])
    lengths, true_on, found_on, inside = _stretches(truth, found, kept)
    if not overlap:
        inside &= true_on.sum(axis=0) <= 1
    weights = np.where(inside, lengths, 0.0)
    shared = (true_on * weights) @ found_on.T.astype(np.float64)  # (R, H) seconds together
    rows, columns = linear_sum_assignment(shared, maximize=True)
    pairs = [(int(r), int(h)) for r, h in zip(rows, columns, strict=True) if shared[r, h] > 0]
    right = sum((true_on[r] & found_on[h]).astype(np.int64) for r, h in pairs) if pairs else np.zeros(len(weights), np.int64)
    speaking, heard = true_on.sum(axis=0), found_on.sum(axis=0)
    names_true, names_found = list(truth), list(found)
    return DiarizationScore(
        missed=float(weights @ np.maximum(speaking - heard, 0)),
        false_alarm=float(weights @ np.maximum(heard - speaking, 0)),
        confusion=float(weights @ (np.minimum(speaking, heard) - right)),
        reference=float(weights @ speaking),
        jaccard=_jaccard(true_on, found_on, weights),
        mapping=tuple(sorted((names_found[h], names_true[r]) for r, h in pairs)),
    )


def pooled(scores: Iterable[DiarizationScore]) -> float:
    """Return the DER over several files: all errors over all reference speech."""
    every = list(scores)
    errors = sum(s.missed + s.false_alarm + s.confusion for s in every)
    reference = sum(s.reference for s in every)
    return errors / reference if reference > 0 else (float("inf") if errors > 0 else 0.0)


def _by_speaker(speech: Speech) -> dict[str, list[Span]]:
    names = sorted({name for name, _ in speech})
    joined = {name: union(span for who, span in speech if who == name) for name in names}
    return {name: spans for name, spans in joined.items() if total(spans) > 0}


def _extent(tracks: Iterable[Sequence[Span]]) -> list[Span]:
    spans = [span for track in tracks for span in track]
    return [Span(min(s.start for s in spans), max(s.end for s in spans))] if spans else []


def _stretches(
    truth: dict[str, list[Span]], found: dict[str, list[Span]], kept: Sequence[Span]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the lengths (S,) of the stretches between edges, who truly speaks (R, S), who is said to (H, S), and which are scored (S,)."""
    tracks = [*truth.values(), *found.values(), list(kept)]
    edges = np.unique([edge for track in tracks for span in track for edge in (span.start, span.end)])
    if len(edges) < 2:
        return np.zeros(0), np.zeros((len(truth), 0), np.bool_), np.zeros((len(found), 0), np.bool_), np.zeros(0, np.bool_)
    middles = (edges[:-1] + edges[1:]) / 2

    def on(spans: Sequence[Span]) -> NDArray[np.bool_]:
        starts, ends = np.array([s.start for s in spans]), np.array([s.end for s in spans])
        within = np.searchsorted(starts, middles, side="right") - 1
        return (within >= 0) & (middles < ends[np.maximum(within, 0)]) if len(spans) else np.zeros(len(middles), np.bool_)

    def stack(side: dict[str, list[Span]]) -> NDArray[np.bool_]:
        return np.array([on(spans) for spans in side.values()], np.bool_).reshape(len(side), len(middles))

    return np.diff(edges), stack(truth), stack(found), on(kept)


def _jaccard(true_on: NDArray[np.bool_], found_on: NDArray[np.bool_], weights: NDArray[np.float64]) -> float | None:
    """Return the mean over true speakers of 1 - intersection / union with the speaker mapped to them; 1 for those with none.

    The mapping is the one with the least sum of these errors, as DIHARD's scorer takes it, not the DER's.
    """
    present = [r for r in range(len(true_on)) if weights @ true_on[r] > 0]
    if not present:
        return None
    errors = np.ones((len(present), len(found_on)))
    for row, r in enumerate(present):
        for h in range(len(found_on)):
            either = float(weights @ (true_on[r] | found_on[h]))
            errors[row, h] = 1 - float(weights @ (true_on[r] & found_on[h])) / either if either > 0 else 1.0
    rows, columns = linear_sum_assignment(errors)
    return float((errors[rows, columns].sum() + len(present) - len(rows)) / len(present))
