"""The JSON document of one asset: what `analyse --json`, `export --format json` and the pages speak; `schema/analysis.json` describes it.

Knows the names that outsiders rely on and nothing else: every number here was found below. Times are seconds rounded to the
millisecond, boxes to a hundredth of a pixel, logits and probabilities to four digits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from numpy.typing import NDArray

from asd_core.records import Analysis, AudioTrack, Person, Span, Track, Turn
from asd_core.timeline import extent, instant_times, seen, talk_time, total

SCHEMA = "rollcall.analysis/1"

Document = dict[str, Any]
Names = Mapping[str, tuple[str | None, str | None]]  # people_id -> (person_id, name) of the library


def document(analysis: Analysis, *, name: str, sha256: str, names: Names | None = None) -> Document:
    """Return the document of an analysis.

    Args:
        analysis: what is known of the asset by itself.
        name: the asset's name as ingested, or the file's.
        sha256: of the file's bytes.
        names: who the people are in the library; empty or None outside one.
    """
    known = names or {}
    people_of_track = {track_id: person.id for person in analysis.people.people for track_id in person.track_ids}
    return {
        "schema": SCHEMA,
        "asset": _asset(analysis, name, sha256),
        "shots": [_stretch(shot) for shot in analysis.shots],
        "speech": [_stretch(span) for span in analysis.speech],
        "spans": [{**_stretch(span), "kind": span.kind} for span in analysis.spans],
        "people": [_person(person, analysis, *known.get(person.id, (None, None))) for person in analysis.people.people],
        "tracks": [
            _track(track, extent(track, analysis), people_of_track.get(track.id), logits, probabilities)
            for track, logits, probabilities in zip(analysis.tracks, analysis.scores.logits, analysis.scores.probabilities, strict=True)
        ],
        "turns": [_turn(turn) for turn in analysis.turns],
        "models": {role: dict(model) for role, model in sorted(analysis.models.items())},
        "settings": analysis.settings,
    }


def dumps(doc: Document) -> str:
    """Return the document as JSON text: one line an element of a list, so that two documents can be compared line by line."""
    lines = []
    for key, value in doc.items():
        if isinstance(value, list) and value:
            elements = ",\n".join("  " + _compact(element) for element in value)
            lines.append(f"{_compact(key)}: [\n{elements}\n]")
        else:
            lines.append(f"{_compact(key)}: {_compact(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def schema() -> dict[str, Any]:
    """Return the published JSON Schema (2020-12) of the document."""
    text = resources.files("rollcall.api").joinpath("schema/analysis.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))


def _seconds(time: float) -> float:
    return round(float(time), 3) + 0.0  # + 0.0: no "-0.0" in the document


def _rounded(values: NDArray[Any], digits: int) -> list[Any]:
    # Through float64: a float32 rounded to 0.1 prints as 0.10000000149.
    return list((values.astype("float64").round(digits) + 0.0).tolist())


def _stretch(span: Any) -> dict[str, float]:
    return {"start": _seconds(span.start), "end": _seconds(span.end)}


def _asset(analysis: Analysis, name: str, sha256: str) -> dict[str, Any]:
    info, video = analysis.info, analysis.info.video
    return {
        "sha256": sha256,
        "name": name,
        "duration": _seconds(info.duration),
        "width": video.width if video else None,
        "height": video.height if video else None,
        "frame_rate": round(video.frame_rate, 5) if video else None,
        "video_start": _seconds(video.start) if video else None,
        "start_timecode": info.start_timecode,
        "sync_offset": None,  # not measured yet; null says so
        "audio_track": analysis.audio_track,
        "audio_tracks": [_audio_track(track) for track in info.audio_tracks],
    }


def _audio_track(track: AudioTrack) -> dict[str, Any]:
    return {
        "index": track.index,
        "codec": track.codec,
        "channels": track.channels,
        "layout": track.layout,
        "sample_rate": track.sample_rate,
        "language": track.language,
        "title": track.title,
        "default": track.default,
        "start": _seconds(track.start),
        "duration": _seconds(track.duration),
    }


def _person(person: Person, analysis: Analysis, person_id: str | None, name: str | None) -> dict[str, Any]:
    return {
        "id": person.id,
        "person_id": person_id,
        "name": name,
        "talk_time": _seconds(talk_time(person, analysis)),
        "screen_time": _seconds(total(seen(person, analysis))),
    }


def _track(track: Track, lasts: Span, people_id: str | None, logits: NDArray[Any], probabilities: NDArray[Any]) -> dict[str, Any]:
    return {
        "id": track.id,
        "people_id": people_id,
        "shot": track.shot,
        "still": track.still,
        **_stretch(lasts),
        "times": _rounded(instant_times(track.first, len(track)), 3),
        "boxes": _rounded(track.boxes, 2),
        "logits": _rounded(logits, 4),
        "probabilities": _rounded(probabilities, 4),
    }


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        **_stretch(turn),
        "people_id": turn.people_id,
        "voice_id": turn.voice_id,
        "on_screen": turn.on_screen,
        "parts": [{**_stretch(part), "track_id": part.track_id} for part in turn.parts],
        "confidence": round(float(turn.confidence), 4),
        "audio_track": turn.audio_track,
    }
