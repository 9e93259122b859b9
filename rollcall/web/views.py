"""What the pages show of a document: lanes of the timeline, faces of a stretch, turns in words. Pure."""

from __future__ import annotations

from typing import Any

from rollcall.exports.words import people_labels
from rollcall.shown import short

Document = dict[str, Any]

COLOURS = 8  # as many as rollcall.css has lanes; the last is grey: voices without a face


def length_words(seconds: float) -> str:
    """Return a length in words: `42 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def labels(document: Document) -> dict[str, str]:
    """Return people_id -> what a person is called on the page: the name, else `p1` and the library's short id."""
    called = people_labels(document)
    for person in document["people"]:
        if not person["name"] and person["person_id"]:
            called[person["id"]] = f"{person['id']} · {short(person['person_id'])}"
    return called


def lanes(document: Document) -> list[dict[str, Any]]:
    """Return a lane for each person and unknown voice: speakers by their first turn, then who is only seen, then voices without a face."""
    called = labels(document)
    seen: dict[str, list[list[float]]] = {}
    for track in document["tracks"]:
        seen.setdefault(track["people_id"], []).append([track["start"], track["end"]])
    spoken: dict[str, list[dict[str, Any]]] = {}
    for turn in document["turns"]:
        spoken.setdefault(lane_id(turn), []).append({name: turn[name] for name in ("start", "end", "on_screen", "confidence")})
    speakers = [key for key in spoken if key in called]
    silent = [person["id"] for person in document["people"] if person["id"] not in spoken]
    voices = [key for key in spoken if key not in called]
    return [
        {
            "id": key,
            "label": called.get(key, key),
            "seen": _joined(seen.get(key, [])),
            "turns": spoken.get(key, []),
            "colour": min(place, COLOURS - 2) if key in called else COLOURS - 1,
        }
        for place, key in enumerate([*speakers, *silent, *voices])
    ]


def lane_id(turn: dict[str, Any]) -> str:
    """Return which lane a turn is in: its person's, or that of a voice."""
    return turn["people_id"] or f"voice {turn['voice_id']}"


def timeline(document: Document) -> dict[str, Any]:
    """Return what the timeline draws."""
    asset = document["asset"]
    return {
        "duration": asset["duration"],
        "width": asset["width"],
        "height": asset["height"],
        "shots": document["shots"],
        "speech": [[stretch["start"], stretch["end"]] for stretch in document["speech"]],
        "lanes": lanes(document),
    }


def faces(document: Document, start: float, end: float) -> list[dict[str, Any]]:
    """Return the faces that are seen within [start, end), with their boxes there and when they speak."""
    called = labels(document)
    spoken: dict[str, list[list[float]]] = {}
    for turn in document["turns"]:
        for part in turn["parts"]:
            spoken.setdefault(part["track_id"], []).append([part["start"], part["end"]])
    shown = []
    for track in document["tracks"]:
        if track["end"] <= start or track["start"] >= end:
            continue
        rows = [i for i, time in enumerate(track["times"]) if start - 0.5 <= time < end + 0.5]
        if rows:
            shown.append({
                "label": "still" if track["still"] else called.get(track["people_id"], track["id"]),
                "still": track["still"],
                "start": track["times"][rows[0]],
                "end": track["times"][rows[-1]] + 0.04,
                "boxes": [track["boxes"][i] for i in rows],
                "speaking": spoken.get(track["id"], []),
            })  # fmt: skip
    return shown


def turn_rows(document: Document) -> list[dict[str, Any]]:
    """Return the turns for the table that equals the timeline."""
    colours = {lane["id"]: (lane["colour"], lane["label"]) for lane in lanes(document)}
    persons = {person["id"]: person["person_id"] for person in document["people"]}
    rows = []
    for turn in document["turns"]:
        colour, who = colours[lane_id(turn)]
        rows.append({**turn, "who": who, "colour": colour, "person_id": persons.get(turn["people_id"])})
    return rows


def people_rows(document: Document) -> list[dict[str, Any]]:
    """Return the people of an asset, who spoke most first."""
    called = labels(document)
    moving = {track["people_id"] for track in document["tracks"] if not track["still"]}
    rows = [
        {**person, "label": called[person["id"]], "short": short(person["person_id"] or ""), "still": person["id"] not in moving}
        for person in document["people"]
    ]
    return sorted(rows, key=lambda row: (-row["talk_time"], -row["screen_time"]))


def _joined(stretches: list[list[float]]) -> list[list[float]]:
    joined: list[list[float]] = []
    for start, end in sorted(stretches):
        if joined and start <= joined[-1][1] + 0.1:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    return joined
