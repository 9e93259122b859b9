"""Time makes up its mind: the best sequence of answers, where every change of answer has a price.

This is the Viterbi algorithm with the simplest prior on durations: staying costs nothing, and entering an answer costs the same from
wherever one comes. The answers may change on the way (faces come and go), so time is cut into stretches in which they do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asd_core.records import Span
from asd_core.timeline import intersection

Answer = tuple[int, ...]
EXACT = float(1 << 20)  # scores count in millionths


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Instants from `first` on in which the same answers are possible, with their (T, A) scores."""

    first: int
    possible: Sequence[Answer]
    scores: NDArray[np.float64]


def best_path(stretches: Sequence[Stretch], price: float, *, outside: Answer) -> list[tuple[int, int, Answer]]:
    """Return the best answers over time as runs (first instant, end instant, answer), neighbours differing.

    Args:
        stretches: consecutive, each beginning where the one before ended; empty ones are skipped.
        price: what a change of answer costs. Ties go to staying, then to the earlier answer of the stretch.
        outside: the answer that holds before the first instant and after the last: silence added at either end changes nothing.

    Source: Viterbi 1967; with a price that does not depend on where one comes from (Potts), an instant costs O(A).
    """
    # Whole multiples of a small power of two add up without rounding, so a tie is a tie wherever on the clock it stands.
    price = round(price * EXACT) / EXACT
    stretches = [replace(stretch, scores=np.round(stretch.scores * EXACT) / EXACT) for stretch in stretches if len(stretch.scores)]
    carried: dict[Answer, float] = {outside: 0.0}
    traces: list[tuple[NDArray[np.bool_], NDArray[np.intp], dict[int, Answer]]] = []
    for stretch in stretches:
        start, arrived = _enter(stretch.possible, price, carried)
        ends, changed, best = _walk(stretch.scores, price, start)
        traces.append((changed, best, arrived))
        carried = dict(zip(stretch.possible, ends.tolist(), strict=True))
    _, last = _enter([outside], price, carried)
    return _trace_back(stretches, traces, last[0])


def _enter(possible: Sequence[Answer], price: float, carried: dict[Answer, float]) -> tuple[NDArray[np.float64], dict[int, Answer]]:
    """Return the scores with which a stretch's answers begin, and for each the answer of the stretch before that it came from."""
    before = max(carried, key=lambda answer: carried[answer])  # the first of equals
    start = np.empty(len(possible))
    arrived = {}
    for a, answer in enumerate(possible):
        change = carried[before] - price
        stay = carried.get(answer, -np.inf)
        start[a], arrived[a] = (stay, answer) if stay >= change else (change, before)
    return start, arrived


def _walk(scores: NDArray[np.float64], price: float, start: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.intp]]:
    """Return the (A,) final scores, whether (T, A) an answer was entered at an instant, and the (T,) best answer of each instant."""
    changed = np.zeros(scores.shape, np.bool_)
    best = np.zeros(len(scores), np.intp)
    now = start + scores[0]
    best[0] = now.argmax()
    for t in range(1, len(scores)):
        change = now[best[t - 1]] - price
        np.greater(change, now, out=changed[t])
        now = np.maximum(now, change) + scores[t]
        best[t] = now.argmax()
    return now, changed, best


def _trace_back(
    stretches: Sequence[Stretch], traces: Sequence[tuple[NDArray[np.bool_], NDArray[np.intp], dict[int, Answer]]], last: Answer
) -> list[tuple[int, int, Answer]]:
    runs: list[tuple[int, int, Answer]] = []
    answer = last
    for stretch, (changed, best, arrived) in zip(reversed(stretches), reversed(traces), strict=True):
        state = list(stretch.possible).index(answer)
        end = len(stretch.scores)
        while end > 0:
            entered = np.flatnonzero(changed[:end, state])
            begin = int(entered[-1]) if len(entered) else 0
            runs.append((stretch.first + begin, stretch.first + end, stretch.possible[state]))
            end = begin
            if begin > 0:
                state = int(best[begin - 1])
        answer = arrived[state]
    runs.reverse()
    return _joined(runs)


def _joined(runs: Sequence[tuple[int, int, Answer]]) -> list[tuple[int, int, Answer]]:
    joined: list[tuple[int, int, Answer]] = []
    for begin, end, answer in runs:
        if joined and joined[-1][2] == answer and joined[-1][1] == begin:
            joined[-1] = (joined[-1][0], end, answer)
        else:
            joined.append((begin, end, answer))
    return joined


def without_pauses(spans: Sequence[Span], others: Sequence[Span], *, longest: float) -> list[Span]:
    """Return one speaker's sorted spans, joined over pauses of at most `longest` seconds in which nobody of `others` speaks."""
    joined: list[Span] = []
    for span in spans:
        pause = Span(joined[-1].end, span.start) if joined else None
        if pause is not None and pause.end - pause.start <= longest + 1e-9 and not intersection([pause], others):
            joined[-1] = Span(joined[-1].start, span.end)
        else:
            joined.append(span)
    return joined


def fitted_edges(span: Span, bounds: Span, speech: Sequence[Span], others: Sequence[Span], *, reach: float) -> Span:
    """Return a turn whose edges were moved to edges of the speech at most `reach` seconds away.

    Lips open before the voice is heard and close after it: the voice detector's edges are the better ones where one face explains the
    speech. An edge never leaves `bounds` (the track), nor does it grow into a turn of `others`; a turn never vanishes.
    """
    start = _nearest(span.start, [s.start for s in speech if abs(s.start - span.start) <= reach + 1e-9 and s.start < span.end])
    end = _nearest(span.end, [s.end for s in speech if abs(s.end - span.end) <= reach + 1e-9 and s.end > start])
    if start < span.start and intersection([Span(start, span.start)], others):
        start = span.start
    if end > span.end and intersection([Span(span.end, end)], others):
        end = span.end
    start, end = max(start, bounds.start), min(end, bounds.end)
    return Span(start, end) if start < end else span


def _nearest(time: float, candidates: Sequence[float]) -> float:
    return min(candidates, key=lambda c: (abs(c - time), c), default=time)
