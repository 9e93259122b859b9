"""The text formats: pure functions from the document to str. Sources: NIST RTTM (RT-09), W3C WebVTT, RFC 4180, the AVA-ActiveSpeaker release."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from rollcall.exports.words import people_labels, programme, timestamp, token, turn_label

Document = dict[str, Any]

CSV_COLUMNS = (
    "asset", "asset_sha256", "start", "end", "duration", "person_id", "person", "people_id", "voice_id", "on_screen", "confidence", "audio_track",
)  # fmt: skip
# What spreadsheets take as the beginning of a formula (OWASP, CSV injection).
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001


def rttm(document: Document) -> str:
    """Return one SPEAKER line a turn; empty where nobody speaks."""
    labels, file_id = people_labels(document), programme(document)
    return "".join(
        f"SPEAKER {file_id} 1 {turn['start']:.3f} {turn['end'] - turn['start']:.3f} <NA> <NA> {token(turn_label(turn, labels))} <NA> <NA>\n"
        for turn in document["turns"]
    )


def vtt(document: Document) -> str:
    """Return a cue a turn with the speaker in a voice tag; the words are the speaker's name, since nothing is transcribed."""
    labels = people_labels(document)
    cues = ["WEBVTT\n"]
    for turn in document["turns"]:
        label = _markup(turn_label(turn, labels))
        words = label if turn["on_screen"] else f"{label} (off screen)"
        cues.append(f"{timestamp(turn['start'])} --> {timestamp(turn['end'])}\n<v {label}>{words}</v>\n")
    return "\n".join(cues)


def turns_csv(document: Document) -> str:
    """Return a header and one row a turn. Cells that a spreadsheet would run as a formula are preceded by an apostrophe."""
    people = {person["id"]: person for person in document["people"]}
    asset = document["asset"]
    rows: list[Iterable[object]] = [CSV_COLUMNS]
    for turn in document["turns"]:
        person = people.get(turn["people_id"], {})
        rows.append((
            asset["name"], asset["sha256"], f"{turn['start']:.3f}", f"{turn['end']:.3f}", f"{turn['end'] - turn['start']:.3f}",
            person.get("person_id"), person.get("name"), turn["people_id"], turn["voice_id"],
            "true" if turn["on_screen"] else "false", f"{turn['confidence']:.4f}", turn["audio_track"],
        ))  # fmt: skip
    return rows_csv(rows)


def rows_csv(rows: Iterable[Iterable[object]]) -> str:
    """Return rows as CSV (RFC 4180) that is safe to open in a spreadsheet; None is an empty cell."""
    text = io.StringIO()
    csv.writer(text).writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def ava(document: Document) -> str:
    """Return the AVA-ActiveSpeaker CSV: video id, time, box in 0..1, label, entity id; one row a face and instant, no header.

    An instant within a turn's part on the track is SPEAKING_AUDIBLE; a face that the network takes as speaking where no voice is heard
    is SPEAKING_NOT_AUDIBLE. Without picture the result is empty.
    """
    width, height = document["asset"]["width"], document["asset"]["height"]
    if not width or not height:
        return ""
    video_id = programme(document)
    parts: dict[str, list[dict[str, Any]]] = {}
    for turn in document["turns"]:
        for part in turn["parts"]:
            parts.setdefault(part["track_id"], []).append(part)
    rows: list[list[object]] = []
    for track in document["tracks"]:
        spoken = parts.get(track["id"], [])
        for time, box, probability in zip(track["times"], track["boxes"], track["probabilities"], strict=True):
            label = _ava_label(time, probability, spoken, document["speech"])
            corners = [f"{min(max(value / side, 0.0), 1.0):.6f}" for value, side in zip(box, (width, height, width, height), strict=True)]
            rows.append([video_id, f"{time:.2f}", *corners, label, f"{video_id}:{track['id']}"])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _ava_label(time: float, probability: float, spoken: list[dict[str, Any]], speech: list[dict[str, Any]]) -> str:
    if any(part["start"] <= time < part["end"] for part in spoken):
        return "SPEAKING_AUDIBLE"
    heard = any(stretch["start"] <= time < stretch["end"] for stretch in speech)
    return "SPEAKING_NOT_AUDIBLE" if probability > 0.5 and not heard else "NOT_SPEAKING"


def _markup(text: str) -> str:
    return " ".join(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").split())


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(FORMULA_STARTS) and not _is_number(value):
        return "'" + value
    return "" if value is None else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
