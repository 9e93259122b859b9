"""Turns of people: what the tracks said, once it is known whose tracks they are."""

from __future__ import annotations

from collections.abc import Sequence

from asd_core.records import People, TrackTurns, Turn, TurnPart
from asd_core.turns.decide import TurnOptions


def assemble(
    track_turns: TrackTurns, people: People, audio_track: int | None, duration: float, options: TurnOptions | None = None
) -> tuple[Turn, ...]:
    """Return all turns by start, then end.

    Parts of one person with less than `options.longest_pause` between them are one turn, across cuts too; a person seen twice at once (a
    mirror, a split screen) has one turn with overlapping parts. A track that belongs to nobody speaks as an unknown voice of its own.
    Nothing in, nothing out.

    Args:
        track_turns: what `decide` gave.
        people: the people of the asset and their tracks.
        audio_track: stream index of the sound that was judged, noted in every turn.
        duration: seconds of the asset: a turn over its last instant ends there.
        options: the options `decide` ran with.
    """
    options = options or TurnOptions()
    owner = {track: person.id for person in people.people for track in person.track_ids}
    nobodys = sorted({part.track_id or "" for part in track_turns.on_screen} - set(owner))
    voices = {track: f"v{len(set(track_turns.voice)) + i + 1}" for i, track in enumerate(nobodys)}
    by_speaker: dict[tuple[str | None, str | None], list[tuple[TurnPart, float]]] = {}
    for part, confidence in zip(track_turns.on_screen, track_turns.confidence, strict=True):
        track = part.track_id or ""
        within = TurnPart(part.start, min(part.end, duration), part.track_id)
        by_speaker.setdefault((owner.get(track), voices.get(track)), []).append((within, confidence))
    turns: list[Turn] = []
    for (person, voice), parts in by_speaker.items():
        turns.extend(_turn(group, person, voice, audio_track) for group in _groups(parts, options.longest_pause))
    for span, voice, confidence in zip(track_turns.off_screen, track_turns.voice, track_turns.off_confidence, strict=True):
        part = TurnPart(span.start, span.end, None)
        turns.append(Turn(span.start, span.end, None, voice, False, (part,), confidence, audio_track))
    return tuple(sorted(turns, key=lambda t: (t.start, t.end, t.people_id or "", t.voice_id or "", t.parts[0].track_id or "")))


def _groups(parts: Sequence[tuple[TurnPart, float]], gap: float) -> list[list[tuple[TurnPart, float]]]:
    """Return one speaker's parts, sorted, in groups with less than `gap` seconds between; parts that touch always belong together."""
    groups: list[list[tuple[TurnPart, float]]] = []
    end = 0.0
    for part, confidence in sorted(parts, key=lambda p: (p[0].start, p[0].end, p[0].track_id or "")):
        if groups and part.start - end < max(gap, 1e-9):
            groups[-1].append((part, confidence))
            end = max(end, part.end)
        else:
            groups.append([(part, confidence)])
            end = part.end
    return groups


def _turn(group: Sequence[tuple[TurnPart, float]], person: str | None, voice: str | None, audio_track: int | None) -> Turn:
    lengths = [part.end - part.start for part, _ in group]
    confidence = sum(length * value for length, (_, value) in zip(lengths, group, strict=True)) / sum(lengths)
    parts = tuple(part for part, _ in group)
    return Turn(parts[0].start, max(part.end for part in parts), person, voice, True, parts, confidence, audio_track)
