"""The nouns that travel between the rooms: frozen dataclasses with no behaviour beyond length and validation.

Times are seconds from the asset's first presentation time; spans are half-open. Boxes are float32 xyxy in pixels of the upright,
square-pixel picture, `x2`/`y2` exclusive. `first` is a grid instant (see `timeline`). Records are structures of arrays; those with
arrays compare by identity. Every record here can be stored as an artifact: its fields are numbers, strings, arrays, other records,
and tuples or dicts of these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open stretch of time [start, end) in seconds."""

    start: float
    end: float


# ---- what the container says -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """The chosen picture. `width` x `height` is the upright, square-pixel picture; `coded_*` is what the decoder gives."""

    index: int
    codec: str
    pixel_format: str
    width: int
    height: int
    coded_width: int
    coded_height: int
    rotation: int  # degrees clockwise that the coded picture must be turned to stand upright: 0, 90, 180, 270
    sample_aspect: float  # width of a coded pixel over its height
    frame_rate: float  # mean real frames a second
    interlaced: bool
    start: float  # first presentation, seconds on the asset's clock
    duration: float


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """One sound stream."""

    index: int  # stream index in the container
    codec: str
    channels: int
    layout: str
    sample_rate: int
    language: str | None
    title: str | None
    default: bool
    start: float  # first presentation after codec priming, seconds on the asset's clock
    duration: float


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a container says about itself, after a look at its packets where the header lies or is silent."""

    container: str
    duration: float  # end of the last presentation, seconds on the asset's clock
    origin: float  # container time, in seconds, of the asset's time zero
    start_timecode: str | None
    video: VideoTrack | None
    audio_tracks: tuple[AudioTrack, ...]


# ---- picture -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The faces of one frame: `boxes` (N, 4) float32, `scores` (N,) float32, `landmarks` (N, 5, 2) float32.

    Landmarks are, as seen in the picture: left eye, right eye, nose, left and right corner of the mouth.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.boxes.shape != (n, 4) or self.landmarks.shape != (n, 5, 2):
            raise ValueError(f"detections: expected boxes ({n}, 4) and landmarks ({n}, 5, 2), got {self.boxes.shape} and {self.landmarks.shape}")

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True, eq=False)
class Chips:
    """Where aligned faces of one track were cut, and what they are worth: `times` (K,), `boxes` (K, 4), `quality` (K,) in 0..1."""

    times: NDArray[np.float64]
    boxes: NDArray[np.float32]
    quality: NDArray[np.float32]

    def __post_init__(self) -> None:
        k = len(self.times)
        if self.quality.shape != (k,) or self.boxes.shape != (k, 4):
            raise ValueError(f"chips: expected {k} of each, got quality {self.quality.shape}, boxes {self.boxes.shape}")

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True, eq=False)
class BlockTrack:
    """One face in the view of one block (the 10 s from a mark, with an overlap on both sides).

    The block owns the instants from `own_first` on, as many as `visual` has rows; the boxes reach into the overlap on both sides, which
    is how neighbouring blocks recognise their common tracks.
    """

    first: int  # instant of boxes[0]
    boxes: NDArray[np.float32]  # (T, 4)
    observed: NDArray[np.bool_]  # (T,) detected here, not interpolated
    own_first: int
    visual: NDArray[np.float16]  # (U, D) visual features of the owned instants
    motion: NDArray[np.float16]  # (U,) mean absolute grey change of the crop since the instant before
    chips: Chips
    faces: NDArray[np.uint8]  # (K, 112, 112, 3) RGB, the chips themselves


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """What `look` found between two marks. `cuts` holds the owned instants at which a new shot begins."""

    mark: int  # the block owns the instants [mark * 250, (mark + 1) * 250)
    cuts: NDArray[np.int64]
    luma: NDArray[np.float32]  # (U, 3) of the owned frames: instant, mean and deviation of the grey values 0..255
    tracks: tuple[BlockTrack, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What one decode of a span of marks gave."""

    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Shot:
    """Frames between two cuts."""

    start: float
    end: float


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One face through one shot, at consecutive grid instants from `first` on."""

    id: str  # t1, t2 … by time, then from left to right
    shot: int
    first: int
    boxes: NDArray[np.float32]  # (T, 4)
    observed: NDArray[np.bool_]  # (T,)
    still: bool  # nothing in it moves: a photograph, a statue, a frozen picture

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Where the visual features and the chips of a track lie: in one track of each of the blocks that it spans.

    Row p of `tracks` (P, 2) is a block's mark and the number of a track in it. Row k of `chips` (K, 2) is the number of a piece and that of a
    chip in it.
    """

    tracks: NDArray[np.int64]
    chips: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Stitched:
    """The asset's picture as a whole: shots, tracks, and per track its chips, best first, the best one as JPEG (empty without chips).

    The features and the chips' pixels, which are most of what was seen, stay in the blocks: `pieces` says where.
    """

    shots: tuple[Shot, ...]
    spans: tuple[KindSpan, ...]
    tracks: tuple[Track, ...]
    chips: tuple[Chips, ...]
    thumbnails: tuple[bytes, ...]
    pieces: tuple[Pieces, ...]


@dataclass(frozen=True, slots=True)
class KindSpan:
    """A stretch to skip or to mark: bars, slate, black, silence, credits, music."""

    start: float
    end: float
    kind: str


# ---- sound -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """The chosen sound on the asset's clock.

    `mfcc` (4 * instants, 13) float32: row r covers the 25 ms from r / 100 s on. `activity` (instants,) float32: probability of speech.
    `level` (instants,) float32: RMS in dBFS, -120 for digital silence. All three are empty where there is no sound.
    """

    audio_track: int | None  # stream index, None without sound
    mfcc: NDArray[np.float32]
    activity: NDArray[np.float32]
    level: NDArray[np.float32]
    speech: tuple[Span, ...]  # where somebody speaks, by the voice detector with its smoothing
    spans: tuple[KindSpan, ...]  # silence, music


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Per track its (T,) speaking logits, and the probabilities calibrated from them."""

    logits: tuple[NDArray[np.float32], ...]
    probabilities: tuple[NDArray[np.float32], ...]


# ---- people ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Per track its chips' vectors (K, D) float32 of L2 norm 1, and their quality (K,) in 0..1 or as the embedder's manifest says."""

    model: str  # sha256 of the embedder
    vectors: tuple[NDArray[np.float32], ...]
    quality: tuple[NDArray[np.float32], ...]


@dataclass(frozen=True, slots=True)
class TurnPart:
    """A stretch of a turn on one track; `track_id` is None where the speaker is not on screen."""

    start: float
    end: float
    track_id: str | None


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch in which one person speaks. Exactly one of `people_id` and `voice_id` is None for a turn whose speaker is known or not."""

    start: float
    end: float
    people_id: str | None
    voice_id: str | None
    on_screen: bool
    parts: tuple[TurnPart, ...]
    confidence: float  # 0..1
    audio_track: int | None


@dataclass(frozen=True, slots=True)
class TrackTurns:
    """What `decide` says: turns by track, before people are known, and the speech that no visible face explains."""

    on_screen: tuple[TurnPart, ...]  # sorted by start, each with a track id
    confidence: tuple[float, ...]  # of each part in on_screen
    off_screen: tuple[Span, ...]
    voice: tuple[str, ...]  # voice id of each off-screen span: v1, v2 …
    off_confidence: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One human within one asset: the tracks that are theirs and what they look like.

    `prototypes` (P, D) float32 of norm 1 with `support` (P,) (the quality-weighted number of chips behind each). `anchor_*` is where in
    the media the person is best seen: corrections refer to that, never to ids.
    """

    id: str  # p1, p2 … by first appearance
    track_ids: tuple[str, ...]
    prototypes: NDArray[np.float32]
    support: NDArray[np.float32]
    anchor_time: float
    anchor_box: tuple[float, float, float, float]
    identifiable: bool  # False: only stills, or too poor a view; shown in the asset, never a person of the library by itself


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """The people of an asset, and which pairs were seen in one frame (strong evidence that they are two)."""

    people: tuple[Person, ...]
    together: tuple[tuple[str, str], ...]  # sorted pairs of ids


# ---- the library -------------------------------------------------------------------------------------------------------------

FACT_KINDS = (
    "rename", "merge", "undo", "split", "reassign", "not_same", "hide", "verify", "thumbnail", "correct_turn", "enrol", "forget",
)  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Anchor:
    """A face at a place in the media: what facts and person ids refer to. It outlives analyses, models and row numbers."""

    asset: str  # sha256 of the file's bytes
    time: float
    box: tuple[float, float, float, float]  # xyxy in pixels of the upright picture


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """One person of one asset, as the library sees it.

    `prototypes` (P, D) float32 of norm 1 and `support` (P,) are the person's. `together` names the people of the same asset that were seen
    in one frame with this one. `sightings` (A, 6) float64 holds, about once a second and at both ends of each track, the track's number
    and the time and box there: what anchors are looked up in.
    """

    asset: str
    people_id: str
    prototypes: NDArray[np.float32]
    support: NDArray[np.float32]
    anchor: Anchor
    sightings: NDArray[np.float64]
    together: tuple[str, ...]
    identifiable: bool

    @property
    def key(self) -> tuple[str, str]:
        """The asset and the id of the person within it."""
        return self.asset, self.people_id


@dataclass(frozen=True, slots=True)
class Fact:
    """What a user has said, append-only; never about ids, only about faces at a place in the media.

    rename: `anchors` (1), `value` the name (None takes the name away). merge: `anchors` (2 or more) are one person, the first one's name
    stays. undo: `value` is the id of the fact that no longer holds. An undo can be undone.
    """

    id: str
    order: int  # place in the log: facts act in this order
    kind: str  # one of FACT_KINDS
    anchors: tuple[Anchor, ...] = ()
    value: str | None = None
    who: str = ""
    when: float = 0.0  # seconds since 1970, UTC


@dataclass(frozen=True, slots=True)
class Minted:
    """A person id that has been given out: never given to another face. A lower `order` is older."""

    id: str
    anchor: Anchor
    order: int


@dataclass(frozen=True, slots=True, eq=False)
class LibraryPerson:
    """One human across the library.

    `members` are the (asset, people id) of the groups, sorted. `aliases` are ids that once were persons of their own and now mean this one.
    Facts about the person go to `anchor`: the face that founded the id. `prototypes` (P, D) and `support` (P,) sum up the members'.
    """

    id: str
    name: str | None
    members: tuple[tuple[str, str], ...]
    aliases: tuple[str, ...]
    anchor: Anchor
    new: bool  # the id is minted here: the caller must remember it
    prototypes: NDArray[np.float32]
    support: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Who is who among the groups given: `persons` sorted by id.

    Groups that belong to nobody are in `nobody`; facts whose face is not among the groups in `dormant`.
    """

    persons: tuple[LibraryPerson, ...]
    nobody: tuple[tuple[str, str], ...]
    dormant: tuple[str, ...]


# ---- the whole ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Analysis:
    """What is known of one asset, before the library gives its people names: what `analyse_clip` returns."""

    info: MediaInfo
    audio_track: int | None
    shots: tuple[Shot, ...]
    speech: tuple[Span, ...]
    spans: tuple[KindSpan, ...]
    tracks: tuple[Track, ...]
    scores: Scores
    embeddings: Embeddings
    chips: tuple[Chips, ...]
    thumbnails: tuple[bytes, ...]  # the best chip of each track as JPEG, empty where it has none
    people: People
    turns: tuple[Turn, ...]
    models: dict[str, dict[str, str]]  # role -> {"name", "sha256", "licence"}; the last is missing in old ones
    settings: dict[str, Any] = field(default_factory=dict)
