"""Time: presentation stamps, the 25 Hz grid, the 10 s marks, and the algebra of spans.

Times are seconds (float64) from the asset's first presentation time. The speaking network sees the picture on a fixed grid of 25
instants a second, whatever the frame rate; instant `i` stands at `i / 25` s. Every 250 instants lies a mark, at which all that adapts
starts afresh, so that no result depends on how an asset was cut into spans. Only here is a time base or a rate multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from asd_core.records import Analysis, Person, Span, Track

GRID_HZ = 25  # instants a second: what the speaking networks were trained on
MFCC_PER_INSTANT = 4  # 10 ms steps
MARK_INSTANTS = 250  # 10 s


def instant_time(instant: int) -> float:
    """Return the time of a grid instant in seconds."""
    return instant / GRID_HZ


def instant_times(first: int, count: int) -> NDArray[np.float64]:
    """Return the (count,) times of consecutive grid instants, beginning with `first`."""
    return (first + np.arange(count, dtype=np.float64)) / GRID_HZ


def instants_span(first: int, count: int, *, duration: float = math.inf) -> Span:
    """Return the time that consecutive instants last, each until the next; the last one of an asset ends with it, at `duration`."""
    return Span(instant_time(first), min(instant_time(first + count), duration))


def nearest_instant(time: float) -> int:
    """Return the grid instant nearest to a time; a tie goes to the later one."""
    return int(np.floor(time * GRID_HZ + 0.5))


def instant_count(duration: float) -> int:
    """Return how many instants lie in [0, duration); at least one for anything that has a length."""
    return max(1, int(np.ceil(round(duration * GRID_HZ, 6)))) if duration > 0 else 0


def presentation_time(pts: int, time_base: Fraction, origin: float) -> float:
    """Return the time in seconds of a presentation stamp, counted from `origin` (container seconds)."""
    return float(pts * time_base) - origin


def union(spans: Iterable[Span], *, gap: float = 0.0) -> list[Span]:
    """Return sorted, disjoint spans that cover the same time; neighbours closer than or at `gap` seconds are joined.

    >>> union([Span(2, 3), Span(0, 1), Span(0.5, 2)])
    [Span(start=0, end=3)]
    """
    joined: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, s.end)):
        if span.end <= span.start:
            continue
        if joined and span.start - joined[-1].end <= gap:
            joined[-1] = Span(joined[-1].start, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def intersection(left: Iterable[Span], right: Iterable[Span]) -> list[Span]:
    """Return the sorted spans of time that lie in both.

    >>> intersection([Span(0, 2)], [Span(1, 3)])
    [Span(start=1, end=2)]
    """
    common = []
    a, b = union(left), union(right)
    i = j = 0
    while i < len(a) and j < len(b):
        start, end = max(a[i].start, b[j].start), min(a[i].end, b[j].end)
        if start < end:
            common.append(Span(start, end))
        if a[i].end < b[j].end:
            i += 1
        else:
            j += 1
    return common


def difference(left: Iterable[Span], right: Iterable[Span]) -> list[Span]:
    """Return the sorted spans of time that lie in `left` and not in `right`.

    >>> difference([Span(0, 3)], [Span(1, 2)])
    [Span(start=0, end=1), Span(start=2, end=3)]
    """
    rest = []
    cuts = union(right)
    for span in union(left):
        start = span.start
        for cut in cuts:
            if cut.end <= start or cut.start >= span.end:
                continue
            if cut.start > start:
                rest.append(Span(start, cut.start))
            start = max(start, cut.end)
        if start < span.end:
            rest.append(Span(start, span.end))
    return rest


def total(spans: Iterable[Span]) -> float:
    """Return the seconds that the union of spans covers."""
    return float(sum(span.end - span.start for span in union(spans)))


def extent(track: Track, analysis: Analysis) -> Span:
    """Return the time that a track lasts; it ends with the asset at the latest."""
    return instants_span(track.first, len(track), duration=analysis.info.duration)


def seen(person: Person, analysis: Analysis) -> list[Span]:
    """Return when a person of the asset is seen; where two tracks show the person, the time counts once."""
    theirs = set(person.track_ids)
    return union(extent(track, analysis) for track in analysis.tracks if track.id in theirs)


def talk_time(person: Person, analysis: Analysis) -> float:
    """Return the seconds that a person of the asset speaks."""
    return total(Span(turn.start, turn.end) for turn in analysis.turns if turn.people_id == person.id)
