"""Our DER and JER against pyannote.metrics, on made and on random speech."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asd_core.evaluate.diarization import pooled, score_diarization
from asd_core.records import Span


def speech(*stretches: tuple[str, float, float]) -> list[tuple[str, Span]]:
    return [(who, Span(start, end)) for who, start, end in stretches]


@st.composite
def speeches(draw: st.DrawFn, names: str) -> list[tuple[str, Span]]:
    said = []
    for name in draw(st.lists(st.sampled_from(names), unique=True, max_size=4)):
        edges = sorted(draw(st.lists(st.integers(0, 400), unique=True, min_size=2, max_size=8)))
        said += [(name, Span(a / 10, b / 10)) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    return said


def annotation(said: list[tuple[str, Span]]):
    from pyannote.core import Annotation, Segment

    made = Annotation()
    for number, (who, span) in enumerate(said):
        made[Segment(span.start, span.end), number] = who
    return made


def theirs(reference, hypothesis, *, collar: float, overlap: bool = True) -> dict[str, float]:
    from pyannote.core import Segment, Timeline
    from pyannote.metrics.diarization import DiarizationErrorRate

    metric = DiarizationErrorRate(collar=2 * collar, skip_overlap=not overlap)  # pyannote's collar spans both sides of an edge
    return metric(annotation(reference), annotation(hypothesis), uem=Timeline([Segment(0, 50)]), detailed=True)


@settings(max_examples=60, deadline=None)
@given(speeches("ABCD"), speeches("wxyz"), st.sampled_from([0.0, 0.25]), st.booleans())
def test_error_rate_agrees_with_pyannote(reference, hypothesis, collar: float, overlap: bool) -> None:
    pytest.importorskip("pyannote.metrics")
    if not reference:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        official = theirs(reference, hypothesis, collar=collar, overlap=overlap)
    ours = score_diarization(reference, hypothesis, collar=collar, scored=[Span(0, 50)], overlap=overlap)
    for name, value in (("missed detection", ours.missed), ("false alarm", ours.false_alarm), ("total", ours.reference)):
        assert value == pytest.approx(official[name], abs=1e-6), name
    # Several mappings can be equally good within the reference, so only their worth is compared.
    assert ours.confusion == pytest.approx(official["confusion"], abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(speeches("ABCD"), speeches("wxyz"))
def test_jaccard_agrees_with_pyannote(reference, hypothesis) -> None:
    pytest.importorskip("pyannote.metrics")
    if not reference or not hypothesis:
        return
    from pyannote.core import Segment, Timeline
    from pyannote.metrics.diarization import JaccardErrorRate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        official = JaccardErrorRate()(annotation(reference), annotation(hypothesis), uem=Timeline([Segment(0, 50)]))
    ours = score_diarization(reference, hypothesis, scored=[Span(0, 50)])
    assert ours.jaccard is not None
    assert ours.jaccard <= official + 1e-6  # pyannote maps by co-occurrence; ours is the least error there is


def test_names_do_not_matter_but_who_is_who_does() -> None:
    reference = speech(("A", 0, 4), ("B", 4, 8))
    swapped = score_diarization(reference, speech(("x", 4, 8), ("y", 0, 4)))
    assert (swapped.error_rate, swapped.jaccard, swapped.mapping) == (0.0, 0.0, (("x", "B"), ("y", "A")))
    merged = score_diarization(reference, speech(("x", 0, 8)))
    assert merged.confusion == 4
    assert merged.error_rate == 0.5
    assert merged.jaccard == 0.75


def test_collar_and_overlap() -> None:
    reference = speech(("A", 0, 10), ("B", 8, 12))
    late = speech(("x", 0.2, 10), ("y", 8, 12))
    assert score_diarization(reference, late).missed == pytest.approx(0.2)
    assert score_diarization(reference, late, collar=0.25).missed == 0
    assert score_diarization(reference, speech(("x", 0, 12))).missed == 2
    assert score_diarization(reference, speech(("x", 0, 12)), overlap=False).missed == 0


def test_silence() -> None:
    nothing = score_diarization([], [])
    assert (nothing.error_rate, nothing.jaccard, nothing.reference) == (0.0, None, 0.0)
    alarm = score_diarization([], speech(("x", 1, 3)), scored=[Span(0, 10)])
    assert (alarm.false_alarm, alarm.error_rate) == (2, float("inf"))
    missed = score_diarization(speech(("A", 1, 3)), [])
    assert (missed.missed, missed.error_rate, missed.jaccard) == (2, 1.0, 1.0)
    assert pooled([alarm, missed]) == 2.0
    assert pooled([]) == 0.0
