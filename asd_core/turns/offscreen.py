"""Speech that no visible face explains, and whose voice it may be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from asd_core.records import Sound, Span, TurnPart
from asd_core.timeline import GRID_HZ, difference


def off_screen(on_screen: Sequence[TurnPart], sound: Sound, *, shortest: float) -> list[tuple[Span, float]]:
    """Return the spans of speech outside all on-screen turns, of at least `shortest` seconds, each with its confidence.

    The confidence is the mean probability of speech over the span. Shorter remainders beside a turn are the blur of its edges.
    """
    spans = difference(sound.speech, [Span(part.start, part.end) for part in on_screen])
    return [(span, _mean_activity(span, sound)) for span in spans if span.end - span.start >= max(shortest - 1e-9, 1e-9)]


def _mean_activity(span: Span, sound: Sound) -> float:
    heard = sound.activity[round(span.start * GRID_HZ) : max(round(span.end * GRID_HZ), round(span.start * GRID_HZ) + 1)]
    return float(np.mean(heard)) if len(heard) else 0.0


def name_voices(spans: Sequence[Span], on_screen: Sequence[TurnPart], *, nearest: float) -> tuple[str, ...]:
    """Return a voice id (v1, v2 … by time) for each of the sorted off-screen spans.

    Spans share an id where less than `nearest` seconds and no visible speaker lie between them. That is all: without a voiceprint model nothing
    here is good enough to say that a voice heard later is the same.
    """
    names: list[str] = []
    for i, span in enumerate(spans):
        before = spans[i - 1] if i else None
        goes_on = before is not None and span.start - before.end < nearest and not any(p.start < span.start and p.end > before.end for p in on_screen)
        names.append(names[-1] if goes_on else f"v{len(set(names)) + 1}")
    return tuple(names)
