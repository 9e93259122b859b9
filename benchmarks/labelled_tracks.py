"""The labelled face tracks of ../shared/train/asd, as far as calibration needs them: labels, sound, and what a visual encoder makes of them.

No frame was labelled by hand: the labels are a voice detector's and, where a clip may hold other voices, LR-ASD's with its TalkSet weights
(README beside the data). Features and sound are kept in a folder between runs.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from asd_core.speech.activity import INSTANT_SAMPLES
from asd_core.speech.mfcc import SAMPLE_RATE
from asd_core.speech.score import SpeakingNetwork
from asd_core.timeline import nearest_instant

ASD = Path(__file__).resolve().parents[2] / "shared" / "train" / "asd"
PARTS = ("", "_2")
NETWORK_WINDOW = (slice(56, 168), slice(32, 144))  # of a stored frame: exactly the line's crop
DOUBTFUL = 0.5  # weight of tracks whose sound may not be theirs; they are left out
UNLABELLED_KINDS = ("expressive", "music_video")  # singing, laughing, screaming: the voice detector fails


@dataclass(frozen=True, slots=True, eq=False)
class LabelledTrack:
    """A face with its sound and, per instant, whether it speaks (1, 0, -1 unsure) and the probability that any voice is heard."""

    name: str
    person: str
    validation: bool
    clip: str
    first: int  # instant within the clip
    label: np.ndarray  # (T,) int8
    voice: np.ndarray  # (T,) float32
    sound: np.ndarray  # (640 T,) int16

    def __len__(self) -> int:
        return len(self.label)


def kept(path: Path, make: Callable[[], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays of a file, made and written first where it does not exist."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, **make())
        part.replace(path)
    with np.load(path) as stored:
        return dict(stored)


def digest(*things: object) -> str:
    """Return a short digest of arrays, byte strings and whatever else says all about itself by its repr."""
    summed = hashlib.sha256()
    for thing in things:
        summed.update(np.ascontiguousarray(thing).tobytes() if isinstance(thing, np.ndarray) else repr(thing).encode())
    return summed.hexdigest()[:16]


def read_tracks(asd: Path, folder: Path, people: str = "all") -> list[LabelledTrack]:
    """Return the tracks fit for calibration, by name; `people` is "train", "validation" or "all"."""
    told, labels = {}, {}
    for part in PARTS:
        manifest = json.loads((asd / f"manifest{part}.json").read_text(encoding="utf-8"))
        told |= {track["name"]: track | {"part": part} for track in manifest["tracks"]}
        for line in (asd / f"labels{part}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            labels[row["name"]] = row
    splits = {"train": ("train",), "validation": ("val",), "all": ("train", "val")}[people]
    fit = {
        name: track
        for name, track in sorted(told.items())
        if track["labelled"] and track["weight"] > DOUBTFUL and track["kind"] not in UNLABELLED_KINDS and track["split"] in splits
    }
    sounds = kept(folder / f"sound-{digest(*fit)}.npz", lambda: {n: _decode_sound(_member(asd, t), len(labels[n]["label"])) for n, t in fit.items()})
    return [
        LabelledTrack(
            name=name,
            person=track["person"],
            validation=track["split"] == "val",
            clip=name.rsplit("_", 1)[0],
            first=nearest_instant(track["start_in_source"]),
            label=np.array(labels[name]["label"], np.int8),
            voice=np.array(labels[name]["vad"], np.float32),
            sound=sounds[name],
        )
        for name, track in fit.items()
    ]


def visual_features(tracks: list[LabelledTrack], asd: Path, network: SpeakingNetwork, folder: Path) -> dict[str, np.ndarray]:
    """Return per track its (T, D) float16 features, as `look` would keep them; `folder` belongs to one visual encoder."""
    parts = {name: part for part in PARTS for name in _names(asd, part)}
    features = {}
    for track in tracks:
        member = _member(asd, {"name": track.name, "part": parts[track.name]})
        stored = kept(folder / f"{track.name}.npz", lambda member=member: {"visual": network.encode_visual(_decode_crops(member))})["visual"]
        features[track.name] = stored[: len(track)]
    return features


def _names(asd: Path, part: str) -> list[str]:
    with zipfile.ZipFile(asd / f"tracks{part}.zip") as archive:
        return [Path(name).stem for name in archive.namelist() if name.endswith(".mkv")]


def _member(asd: Path, track: Mapping[str, str]) -> bytes:
    with zipfile.ZipFile(asd / f"tracks{track['part']}.zip") as archive:
        return archive.read(f"{track['name']}.mkv")


def _decode_crops(member: bytes) -> np.ndarray:
    with av.open(io.BytesIO(member)) as container:
        return np.stack([frame.to_ndarray(format="gray")[NETWORK_WINDOW] for frame in container.decode(video=0)])


def _decode_sound(member: bytes, instants: int) -> np.ndarray:
    resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
    with av.open(io.BytesIO(member)) as container:
        frames = [made for frame in container.decode(audio=0) for made in resampler.resample(frame)]
    samples = np.concatenate([frame.to_ndarray()[0] for frame in [*frames, *resampler.resample(None)]])
    wanted = instants * INSTANT_SAMPLES
    return np.pad(samples[:wanted], (0, max(0, wanted - len(samples))))
