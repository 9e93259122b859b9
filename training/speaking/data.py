"""The tracks of ../shared/train/asd, decoded once into arrays that a training run maps into memory.

Everything of one kind lies in one array, one track after the other; a track is a range of instants in it. Talking portraits
(`portraits.py`) are kept in the same shape in a folder of their own.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from asd_core.models.registry import ModelFolder, find
from asd_core.models.session import open_session
from asd_core.records import Sound, Track
from asd_core.speech.mfcc import HOP, SAMPLE_RATE, WINDOW, band_energies, cepstra
from asd_core.speech.score import SpeakingNetwork, open_speaking, score_tracks
from asd_core.timeline import GRID_HZ, MFCC_PER_INSTANT
from training.run import OUT, SHARED

STORED = 176  # pixels a side of a stored frame
LOWER_FACE = (slice(56, 168), slice(32, 144))  # rows and columns of the line's window in it
SAMPLES = SAMPLE_RATE // GRID_HZ  # under one instant
TEACHERS = ("lrasd_ava", "lrasd_talkset")  # asked for logits; the first one's visual features are imitated
TEACHER_DIMENSION = 128
TRACKS = OUT / "speaking" / "tracks"
PORTRAITS = OUT / "speaking" / "portraits"
# The array of each kind: file, what one instant of it looks like, type.
KINDS = {
    "frames": ((STORED, STORED), np.uint8),
    "sound": ((SAMPLES,), np.int16),
    "bands": ((MFCC_PER_INSTANT, 27), np.float32),  # 26 mel bands and the whole energy of each MFCC row
    "label": ((), np.int8),
    "vad": ((), np.float32),
    "teacher_logits": ((len(TEACHERS),), np.float32),
    "teacher_visual": ((TEACHER_DIMENSION,), np.float16),
}


@dataclass(frozen=True, slots=True)
class Clip:
    """One face track with its sound: instants [first, first + count) of the arrays."""

    name: str
    person: str
    kind: str
    held_out: bool
    weight: float
    first: int
    count: int

    @property
    def span(self) -> slice:
        """The track's instants in the arrays."""
        return slice(self.first, self.first + self.count)


class Clips:
    """All clips of one folder; arrays are mapped, and read when they are touched."""

    def __init__(self, folder: Path) -> None:
        self.clips = [Clip(**entry) for entry in json.loads((folder / "clips.json").read_text())]
        self._arrays = {kind: np.load(folder / f"{kind}.npy", mmap_mode="r") for kind in KINDS if (folder / f"{kind}.npy").is_file()}

    def __getitem__(self, kind: str) -> NDArray[Any]:
        return self._arrays[kind]


class Writer:
    """Fills the arrays of a folder clip by clip; `clips.json` is written last, so that a folder without it is unfinished."""

    def __init__(self, folder: Path, instants: int, kinds: tuple[str, ...]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._arrays = {kind: np.lib.format.open_memmap(folder / f"{kind}.npy", "w+", KINDS[kind][1], (instants, *KINDS[kind][0])) for kind in kinds}
        self._clips: list[Clip] = []
        self._at = 0

    def add(self, name: str, person: str, kind: str, held_out: bool, weight: float, **arrays: NDArray[Any]) -> None:
        """Append a clip; each array has one row an instant."""
        count = len(arrays["frames"])
        clip = Clip(name, person, kind, held_out, weight, self._at, count)
        for array, values in arrays.items():
            self._arrays[array][clip.span] = values
        self._clips.append(clip)
        self._at += count

    def finish(self) -> None:
        """Write what is still in memory, and the list of clips."""
        for array in self._arrays.values():
            array.flush()
        (self._folder / "clips.json").write_text(json.dumps([asdict(clip) for clip in self._clips], indent=0) + "\n")


def sound_bands(samples: NDArray[np.int16], instants: int) -> NDArray[np.float32]:
    """Return the (instants, 4, 27) band energies of a sound, those from which `cepstra` makes the line's own MFCC rows."""
    rows = instants * MFCC_PER_INSTANT
    values = samples.astype(np.float64)
    emphasised = values - 0.97 * np.concatenate([[0.0], values[:-1]])
    needed = (rows - 1) * HOP + WINDOW
    emphasised = np.pad(emphasised[:needed], (0, max(0, needed - len(emphasised))))
    bands, energy = band_energies(emphasised, rows)
    return np.concatenate([bands, energy[:, None]], axis=1).astype(np.float32).reshape(instants, MFCC_PER_INSTANT, 27)


def prepare_tracks(folder: Path = TRACKS, source: Path = SHARED / "train" / "asd", limit: int | None = None) -> None:
    """Decode the tracks of both parts, with their labels. Done before: nothing happens.

    Args:
        folder: where the arrays go, 2.7 GB for all tracks.
        source: the folder of `tracks.zip` and `labels.jsonl`.
        limit: so many tracks of each part and split only.
    """
    if (folder / "clips.json").is_file():
        return
    told = [part for suffix in ("", "_2") for part in _entries(source, suffix, limit)]
    writer = Writer(folder, sum(entry["frames"] for entry, _, _ in told), ("frames", "sound", "bands", "label", "vad"))
    for entry, labels, stored in told:
        frames, sound = decode(stored)
        count = entry["frames"]
        if len(frames) != count:
            raise ValueError(f"{entry['name']}: expected {count} frames, got {len(frames)}")
        sound = np.pad(sound[: count * SAMPLES], (0, max(0, count * SAMPLES - len(sound))))
        writer.add(
            entry["name"], entry["person"], entry["kind"], entry["split"] != "train", entry["weight"], frames=frames,
            sound=sound.reshape(count, SAMPLES), bands=sound_bands(sound, count), label=np.array(labels["label"]), vad=np.array(labels["vad"]),
        )  # fmt: skip
    writer.finish()


def prepare_teachers(folder: Path = TRACKS) -> None:
    """Add the teachers' logits and the first one's visual features to the arrays of a folder (3.5 ms a frame and teacher)."""
    if (folder / "teacher_logits.npy").is_file():
        return
    clips = Clips(folder)
    instants = len(clips["frames"])
    logits = np.zeros((instants, len(TEACHERS)), np.float32)
    features = np.zeros((instants, *KINDS["teacher_visual"][0]), np.float16)
    for index, name in enumerate(TEACHERS):
        network = open_speaking(find("speaking", [ModelFolder(SHARED / "models")], name), open_session)
        for clip in clips.clips:
            visual = network.encode_visual(np.ascontiguousarray(clips["frames"][clip.span][:, *LOWER_FACE]))
            logits[clip.span, index] = score_sound(network, visual, mfcc_of(clips["bands"][clip.span]))
            if index == 0:
                features[clip.span] = visual
    np.save(folder / "teacher_visual.npy", features)
    np.save(folder / "teacher_logits.npy", logits)


def mfcc_of(bands: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the (4 T, 13) MFCC rows of (T, 4, 27) band energies."""
    rows = bands.reshape(-1, bands.shape[-1])
    return cepstra(rows[:, :-1], rows[:, -1])


def decode(stored: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Return the (T, 176, 176) grey frames and the (S,) samples at 16 kHz of one stored track."""
    with av.open(io.BytesIO(stored), "r") as container:
        frames = np.stack([np.asarray(frame.to_ndarray(format="gray"), np.uint8) for frame in container.decode(video=0)])
    resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE)
    with av.open(io.BytesIO(stored), "r") as container:
        pieces = [piece.to_ndarray()[0] for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
        pieces += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    return frames, np.concatenate(pieces)


def score_sound(network: SpeakingNetwork, visual: NDArray[np.float16], mfcc: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (T,) logits of a face with features `visual` under the sound of `mfcc` (4 T, 13), by the line's own windows."""
    count = len(visual)
    track = Track("t1", 0, 0, np.zeros((count, 4), np.float32), np.ones(count, bool), still=False)
    sound = Sound(None, mfcc, np.zeros(0, np.float32), np.zeros(0, np.float32), (), ())
    return score_tracks([track], [visual].__getitem__, sound, network).logits[0]


def _entries(source: Path, suffix: str, limit: int | None) -> Iterator[tuple[dict[str, Any], dict[str, Any], bytes]]:
    manifest = json.loads((source / f"manifest{suffix}.json").read_text())
    labels = {entry["name"]: entry for entry in map(json.loads, (source / f"labels{suffix}.jsonl").read_text().splitlines())}
    with zipfile.ZipFile(source / f"tracks{suffix}.zip") as archive:
        tracks = manifest["tracks"]
        chosen = tracks if limit is None else [track for split in ("train", "val") for track in [t for t in tracks if t["split"] == split][:limit]]
        for entry in chosen:
            yield entry, labels[entry["name"]], archive.read(entry["file"])
