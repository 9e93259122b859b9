"""The clips as every network meets them: sampled pictures; and the face tracks with crops, chips, people and sound.

Tracks are the line's own with one fixed detector, so that no network is measured on another's boxes. Whom a track shows is known as in
benchmarks/matching.py (boxes, place, stills, or the only one there).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asd_core.analysis import open_networks
from asd_core.faces.detect import open_detector
from asd_core.media.audio import read_audio
from asd_core.media.decode import read_frames
from asd_core.media.probe import probe
from asd_core.models.registry import Model, ModelFolder, find
from asd_core.models.session import open_session
from asd_core.records import Sound, Track
from asd_core.speech.listen import listen, no_sound
from asd_core.timeline import GRID_HZ, nearest_instant
from benchmarks.matching import FoundTrack, match_tracks
from benchmarks.networks.keeping import ROOT, code, digest, kept_arrays, kept_json
from benchmarks.networks.tracks import find_tracks, unpacked

SHARED = ROOT.parent / "shared"
MEDIA = SHARED / "media"
FOLDERS = (ModelFolder(ROOT / "asd_core" / "models" / "weights"), ModelFolder(SHARED / "models"))
TRACKS_BY = "scrfd_500m_kps"
NAMED_BY = "edgeface_xs_512"  # where only photographs tell people apart
ENCODED_BY = "lrasd_ava"  # opens with the others; its encoder is not used
SAMPLED_EVERY = 0.5  # seconds
PICTURE_CODE = ("asd_core/media",)
FACE_CODE = tuple(f"asd_core/faces/{name}.py" for name in ("align", "crop", "detect", "scrfd", "track", "yunet"))
TRACK_CODE = (*PICTURE_CODE, *FACE_CODE, "asd_core/look.py", "asd_core/stitch.py", "benchmarks/networks/tracks.py")
SOUND_CODE = ("asd_core/media", *(f"asd_core/speech/{name}.py" for name in ("activity", "listen", "mfcc")))


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A labelled clip: its truth, its tracks with crops (T, 112, 112), chips and people, and the sound that it is judged by."""

    name: str
    truth: dict[str, Any]
    tracks: tuple[Track, ...]
    crops: tuple[NDArray[np.uint8], ...]
    chips: tuple[NDArray[np.uint8], ...]  # (K, 112, 112, 3) of each track
    people: tuple[str | None, ...]
    samples: NDArray[np.int16]  # 16 kHz, from time zero
    sound: Sound


def clip_paths() -> list[Path]:
    """Return the labelled clips, by name."""
    return sorted((MEDIA / "clips").glob("*.mp4"))


def truth_of(path: Path) -> dict[str, Any]:
    return json.loads((MEDIA / "truth" / f"{path.stem}.json").read_text(encoding="utf-8"))


def read_clip(path: Path) -> Clip:
    """Return a clip as all speaking networks and embedders meet it."""
    truth, whole = truth_of(path), path.read_bytes()
    detecting = find("detector", FOLDERS, TRACKS_BY)
    seen = kept_arrays(f"{path.stem}.tracks", digest(whole, detecting.key, code(*TRACK_CODE)), lambda: find_tracks(path, detecting))
    tracks, crops, chips = unpacked(seen)
    samples, sound = _heard(path, whole)
    key = digest(whole, truth, *(track.boxes for track in tracks), code("benchmarks/matching.py"))
    people = kept_json(f"{path.stem}.people", key, lambda: _people(path, truth, tracks))
    return Clip(path.stem, truth, tracks, crops, chips, tuple(people), samples, sound)


def _heard(path: Path, whole: bytes) -> tuple[NDArray[np.int16], Sound]:
    """Return the samples of the default (or first) sound track and what the line hears in them; nothing of both without one."""
    info = probe(path)
    if not info.audio_tracks:
        return np.zeros(0, np.int16), no_sound()
    chosen = next((track for track in info.audio_tracks if track.default), info.audio_tracks[0])

    def hear() -> dict[str, np.ndarray]:
        samples = np.concatenate([np.zeros(0, np.int16), *read_audio(path, info, chosen.index)])
        sound = listen([samples], info.duration)
        return {"samples": samples, "mfcc": sound.mfcc, "activity": sound.activity, "level": sound.level}

    heard = kept_arrays(f"{path.stem}.sound", digest(whole, code(*SOUND_CODE)), hear)
    return heard["samples"], Sound(chosen.index, heard["mfcc"], heard["activity"], heard["level"], (), ())


def _people(path: Path, truth: dict[str, Any], tracks: Sequence[Track]) -> list[str | None]:
    names = {"detector": TRACKS_BY, "speaking": ENCODED_BY, "embedder": NAMED_BY}
    networks = open_networks({role: find(role, FOLDERS, name) for role, name in names.items()}, open_session)  # type: ignore[arg-type]
    found = [FoundTrack(track.first, track.boxes, np.zeros(len(track), np.float32), ()) for track in tracks]
    return match_tracks(path, truth, found, networks)


def sampled_pictures(path: Path, limit_wh: tuple[int, int], model: Model) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a clip's pictures (N, h, w, 3), one every half second, and the (2,) factor to source pixels.

    They are scaled as the line does it for a detector of this input size.
    """
    info = probe(path)
    assert info.video is not None
    size_wh = open_detector(model, open_session, input_size_wh=limit_wh).fitted_size(info.video.width, info.video.height)
    key = digest(path.read_bytes(), size_wh, SAMPLED_EVERY, code(*PICTURE_CODE))
    stored = kept_arrays(f"{path.stem}.pictures_{size_wh[0]}x{size_wh[1]}", key, lambda: {"pictures": np.stack(list(_pictures(path, size_wh)))})
    return stored["pictures"], np.array([info.video.width / size_wh[0], info.video.height / size_wh[1]], np.float32)


def _pictures(path: Path, size_wh: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    info = probe(path)
    wanted = {nearest_instant(k * SAMPLED_EVERY) for k in range(int(info.duration / SAMPLED_EVERY) + 1)}
    for frame in read_frames(path, info, start=0.0, end=info.duration):
        if frame.instant in wanted:
            yield frame.picture(size_wh)


def speaks_alone(truth: dict[str, Any], person: str, first: int, count: int, *, margin: float = 0.0) -> NDArray[np.bool_]:
    """Return at which of `count` instants from `first` on a person, and nobody else, speaks by the truth.

    Instants within `margin` seconds of an edge of the truth do not count.
    """
    times = (first + np.arange(count)) / GRID_HZ
    own, others = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    for speech in truth["speech"] or ():
        if speech["person"] == person:
            own |= (times >= speech["start"] + margin) & (times < speech["end"] - margin)
        else:
            others |= (times >= speech["start"] - margin) & (times < speech["end"] + margin)
    return own & ~others
