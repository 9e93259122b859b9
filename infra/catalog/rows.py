"""What lookups give: flat records, one a row, with times in seconds on the asset's clock."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from asd_core.records import Anchor


@dataclass(frozen=True, slots=True)
class AssetRow:
    """An asset and its state; media facts are None until it was analysed."""

    id: int
    sha256: str
    name: str
    collection: str | None
    size: int
    state: str
    reason: str | None
    retryable: bool
    attempts: int
    duration: float | None
    width: int | None
    height: int | None
    frame_rate: float | None
    video_start: float | None
    start_timecode: str | None
    audio_track: int | None
    models: dict[str, Any]
    settings: dict[str, Any]
    analysis_key: str | None
    plan_digest: str | None
    uri: str | None  # where it lies now, the first by name; None where every place is gone
    people: int
    turns: int
    talk_time: float  # seconds in which somebody in it speaks, on screen or off
    first_seen: datetime.datetime
    published_at: datetime.datetime | None


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A turn, with the person of the library where one is known."""

    asset: str
    asset_sha256: str
    start: float
    end: float
    people_id: str | None
    voice_id: str | None
    person_id: str | None
    person: str | None
    on_screen: bool
    confidence: float
    audio_track: int | None
    parts: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class AssetPersonRow:
    """A person within one asset. `track_id` is the one of their best chip."""

    asset: str
    asset_sha256: str
    people_id: str
    person_id: str | None
    person: str | None
    identifiable: bool
    talk_time: float
    screen_time: float
    turns: int
    anchor_time: float
    anchor_box: list[float]
    track_id: str | None

    @property
    def anchor(self) -> Anchor:
        """The face in the media that facts about this person go to."""
        x1, y1, x2, y2 = self.anchor_box
        return Anchor(self.asset_sha256, self.anchor_time, (x1, y1, x2, y2))


@dataclass(frozen=True, slots=True)
class PersonRow:
    """A person of the library."""

    id: str
    name: str | None
    aliases: list[str]
    assets: int
    turns: int
    talk_time: float
    screen_time: float
    anchor_asset: str
    anchor_time: float
    anchor_box: list[float]

    @property
    def anchor(self) -> Anchor:
        """The face in the media that facts about this person go to."""
        x1, y1, x2, y2 = self.anchor_box
        return Anchor(self.anchor_asset, self.anchor_time, (x1, y1, x2, y2))


@dataclass(frozen=True, slots=True)
class AppearanceRow:
    """A stretch in which a person is seen."""

    asset: str
    asset_sha256: str
    people_id: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class VectorRow:
    """What a vector of the index stands for: a track, its person and its best chip."""

    vector_id: int
    asset: str
    asset_sha256: str
    track_id: str
    start: float
    end: float
    still: bool
    people_id: str | None
    person_id: str | None
    person: str | None
    talk_time: float  # seconds of turns on this track
    best_time: float | None
    best_box: list[float] | None
    best_quality: float | None
    vector: bytes  # (D,) float32, as the index holds it
    vectors: bytes  # (K, D) float32 of its chips


@dataclass(frozen=True, slots=True)
class AirtimeRow:
    """How long a person spoke and was seen."""

    person_id: str
    person: str | None
    assets: int
    turns: int
    talk_time: float
    screen_time: float


@dataclass(frozen=True, slots=True)
class QuarantineRow:
    """A file that was set aside."""

    uri: str
    name: str
    sha256: str | None
    error: str
    reason: str
    since: datetime.datetime


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage of one asset in one run."""

    run_id: int | None
    asset: str | None
    asset_sha256: str | None
    stage: str
    span: str
    key: str
    outcome: str
    started_at: datetime.datetime
    seconds: float
    bytes: int | None
    attempt: int
    error: str | None
