"""Talking portraits: photographs of faces that the demo's warps make speak, sway and blink, with voices of the training tracks.

The truth is exact here: lips move by this sound and by no other. Neither the demo's two portraits nor its voices are used. A share of the
voices is the demo's own synthesiser as other speakers (pitch, tract and syllables drawn anew), so that a voice without words is known too.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import resample_poly

from asd_core.demo.acting import act, lips
from asd_core.demo.portraits import Figure, Portrait
from asd_core.demo.voice import LEVEL, VOICES, Voice, speak
from asd_core.timeline import GRID_HZ
from training import people
from training.run import SHARED
from training.speaking.data import PORTRAITS, SAMPLES, STORED, TRACKS, Clips, Writer, sound_bands

LENGTH = 125  # instants of a portrait's clip: 5 s
VOICE_KINDS = ("read_speech", "talking_head", "talk", "selfie", "interview", "webcam", "courtroom", "broadcast", "acted_emotion")
LISTENERS = 0.25  # share of portraits whose lips do not speak
SYNTHESISED = 0.15  # share of the speaking ones with a synthesised voice
# Where features lie in a chip aligned to the ArcFace template, in its pixels; chin and head are those of an average face.
EYES = ((38.3, 51.7), (73.5, 51.5))
LIPS = ((41.5, 92.4), (56.1, 93.0), (70.7, 92.2))
CHIN = (56.1, 115.0)
HEAD = ((56.0, 62.0), (43.0, 58.0))
HALF_BOX = 53.0  # half the longer side of the box that a detector draws round such a face
CENTRE = (56.0, 61.0)


def prepare_portraits(rng: np.random.Generator, folder: Path = PORTRAITS, tracks: Path = TRACKS, count: int = 440, held_out: int = 40) -> None:
    """Draw `count` clips of portraits, the first `held_out` of held-out people with held-out voices. Done before: nothing happens."""
    if (folder / "clips.json").is_file():
        return
    voices = Clips(tracks)
    writer = Writer(folder, count * LENGTH, ("frames", "sound", "bands", "label", "vad"))
    with zipfile.ZipFile(SHARED / "train" / "faces" / "lfw_train.zip") as archive:
        pictures = [name for name in archive.namelist() if name.endswith(".jpg")]
        by_side = [[name for name in pictures if people.held_out(name.split("/")[0]) == side] for side in (False, True)]
        for number in range(count):
            side = number < held_out
            name = by_side[side][int(rng.integers(len(by_side[side])))]
            stored_chip = np.asarray(cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), cv2.IMREAD_COLOR), np.uint8)
            chip = np.ascontiguousarray(stored_chip[..., ::-1])
            sound, vad = _synthesised(rng) if rng.random() < SYNTHESISED else _voice(voices, side, rng)
            speaks = rng.random() >= LISTENERS
            frames = draw(chip, sound if speaks else None, rng)
            stored = (sound * 32767).astype(np.int16)
            writer.add(
                f"portrait_{number:03d}", name.split("/")[0], "portrait" if speaks else "listener", side, 1.0,
                frames=frames, sound=stored.reshape(LENGTH, SAMPLES), bands=sound_bands(stored, LENGTH),
                label=labels(sound, vad) if speaks else np.zeros(LENGTH, np.int8), vad=vad,
            )  # fmt: skip
    writer.finish()


def draw(chip: NDArray[np.uint8], sound: NDArray[np.float32] | None, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return (LENGTH, 176, 176) grey frames, in the tracks' geometry, of an aligned (112, 112, 3) chip that speaks `sound` (S,), or listens."""
    portrait = Portrait(
        name="chip", package="", resource="", credit="", eyes=EYES, lips=LIPS, chin=CHIN, head=HEAD, view=(0, 0, 0, 0),
        close_view=(0, 0, 0, 0), shows_teeth=bool(rng.random() < 0.5),
    )  # fmt: skip
    half = HALF_BOX * rng.uniform(0.92, 1.08)  # detectors differ in how tightly they frame
    x, y = CENTRE[0] + rng.normal(0, 1.5), CENTRE[1] + rng.normal(0, 1.5)
    figure = Figure(portrait, chip, (x - 1.1 * half, y - half, x + 1.1 * half, y + 1.2 * half), (STORED, STORED))
    poses = act(sound, LENGTH, seed=int(rng.integers(1 << 31)))
    return np.stack([cv2.cvtColor(figure.draw(pose), cv2.COLOR_RGB2GRAY) for pose in poses])


def labels(sound: NDArray[np.float32], vad: NDArray[np.float32]) -> NDArray[np.int8]:
    """Return per instant 1 where a voice is heard and the lips move by it, 0 where neither, -1 between."""
    opening, _ = lips(sound, LENGTH)
    moving = uniform_filter1d(opening, 9, mode="nearest") > 0.02
    return np.where((vad >= 0.5) & moving, 1, np.where((vad < 0.15) & ~moving, 0, -1)).astype(np.int8)


def _voice(voices: Clips, held_out: bool, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (S,) sound of a training track, faster or slower by up to a fifth (and so higher or lower), and its (LENGTH,) voice activity."""
    long = [c for c in voices.clips if c.kind in VOICE_KINDS and c.held_out == held_out and c.weight > 0.5 and c.count >= 75]
    speakers = sorted({clip.person for clip in long})
    for _ in range(100):
        person = speakers[int(rng.integers(len(speakers)))]
        clip = [c for c in long if c.person == person][int(rng.integers(sum(c.person == person for c in long)))]
        pace = int(rng.integers(85, 121))  # percent
        wanted = min(clip.count, -(-LENGTH * pace // 100))
        start = clip.first + int(rng.integers(clip.count - wanted + 1))
        vad = voices["vad"][start : start + wanted]
        if np.mean(vad >= 0.5) < 0.4:
            continue
        sound = resample_poly(voices["sound"][start : start + wanted].reshape(-1).astype(np.float64) / 32768, 100, pace)
        heard = np.interp(np.arange(LENGTH) * pace / 100, np.arange(wanted), vad, right=0.0).astype(np.float32)
        sound = np.pad(sound[: LENGTH * SAMPLES], (0, max(0, LENGTH * SAMPLES - len(sound))))
        loud = np.repeat(heard >= 0.5, SAMPLES)
        level = float(np.sqrt(np.mean(sound[loud] ** 2))) if loud.any() else 0.0
        if level > 1e-3:
            return (sound * (LEVEL / level)).clip(-0.98, 0.98).astype(np.float32), heard
    raise ValueError("no training track with enough speech for a portrait")


def _synthesised(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (S,) babble of a speaker who is none of the demo's, sentences with pauses, and its (LENGTH,) voice activity."""
    tract = rng.uniform(0.88, 1.22)
    while True:
        pitch = float(rng.uniform(85, 260))
        if all(abs(pitch / voice.pitch_hz - 1) > 0.06 for voice in VOICES.values()):
            break
    speaker = Voice("training", (), pitch, tract)
    pieces: list[NDArray[np.floating]] = [np.zeros(0)]
    heard = [np.zeros(0)]
    while sum(map(len, pieces)) < LENGTH * SAMPLES:
        pause = np.zeros(int(rng.uniform(0.2, 1.2) * GRID_HZ) * SAMPLES)
        sentence = speak("la " * int(rng.integers(3, 11)), speaker, seed=int(rng.integers(1 << 31)), speaker="formants-1")
        pieces += [pause, sentence]
        heard += [pause, np.ones(len(sentence))]
    sound = np.concatenate(pieces)[: LENGTH * SAMPLES] + rng.normal(0, 10 ** (rng.uniform(-75, -50) / 20), LENGTH * SAMPLES)
    vad = np.concatenate(heard)[: LENGTH * SAMPLES].reshape(LENGTH, SAMPLES).mean(axis=1)
    return sound.clip(-0.98, 0.98).astype(np.float32), vad.astype(np.float32)
