"""What is true of a demo programme, known by construction, and its JSON file beside the video."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class TrueTurn:
    """A stretch in which one speaker speaks, on the screen or off it; seconds from the programme's start."""

    start: float
    end: float
    speaker: str
    on_screen: bool


@dataclass(frozen=True, slots=True)
class TrueShot:
    """Frames between two cuts, and the living people in it (photographs are not living)."""

    start: float
    end: float
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrueStill:
    """A photograph inside the scene: where it hangs, xyxy in pixels, and whom it shows."""

    start: float
    end: float
    shows: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Truth:
    """The truth of one programme. `people` are those who are seen alive; voices that are only heard are no people."""

    name: str
    duration: float
    people: tuple[str, ...]
    turns: tuple[TrueTurn, ...]
    shots: tuple[TrueShot, ...]
    stills: tuple[TrueStill, ...]
    made_from: str = ""  # digest of all that the programme was made from

    def to_json(self) -> dict[str, Any]:
        """Return the truth as JSON values."""
        return {"schema": "rollcall.demo-truth/1", **dataclasses.asdict(self)}


def truth_from_json(document: dict[str, Any]) -> Truth:
    """Return the truth that `Truth.to_json` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is not such a document.
    """
    if document.get("schema") != "rollcall.demo-truth/1":
        raise ValueError(f"not the truth of a demo programme: schema {document.get('schema')!r}")
    return Truth(
        name=document["name"],
        duration=document["duration"],
        people=tuple(document["people"]),
        turns=tuple(TrueTurn(**turn) for turn in document["turns"]),
        shots=tuple(TrueShot(shot["start"], shot["end"], tuple(shot["people"])) for shot in document["shots"]),
        stills=tuple(TrueStill(still["start"], still["end"], still["shows"], tuple(still["box"])) for still in document["stills"]),
        made_from=document["made_from"],
    )


def load_truth(video: Path) -> Truth:
    """Return the truth that stands beside a demo programme, `<name>.truth.json`."""
    return truth_from_json(json.loads(truth_path(video).read_text(encoding="utf-8")))


def truth_path(video: Path) -> Path:
    """Return where the truth of a programme stands."""
    return video.with_suffix(".truth.json")
