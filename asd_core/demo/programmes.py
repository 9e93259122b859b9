"""Demo programmes, drawn and spoken on the spot: short episodes whose truth is known because we made them.

Everything is a function of the script, the seed and the installed synthesiser; frames are drawn and encoded one by one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from asd_core.demo.acting import act
from asd_core.demo.portraits import PORTRAITS, Figure, Picture, Pose, load_portrait, take_view
from asd_core.demo.script import PHOTOGRAPH_BOX, PLAYS, SIZE_WH, Scene, Staged, stage_play
from asd_core.demo.truth import Truth, load_truth, truth_path
from asd_core.demo.voice import RATE, engine
from asd_core.timeline import GRID_HZ

OnProgress = Callable[[str, float, float], None]
ROOM_TONE = 10 ** (-68 / 20)  # RMS: a studio is not digitally silent
SOUND_HZ = 48000


@dataclass(frozen=True, slots=True)
class Programme:
    """A made episode and its truth, which also stands beside it as `<name>.truth.json`."""

    path: Path
    truth: Truth


def make_programmes(
    folder: Path,
    *,
    episodes: int = 3,
    plays: Mapping[str, tuple[Scene, ...]] = PLAYS,
    seed: int = 0,
    speaker: str | None = None,
    on_progress: OnProgress | None = None,
) -> list[Programme]:
    """Return `episodes` programmes in `folder`, made now unless they stand there already and are whole.

    Args:
        folder: created when missing; other files in it are left alone.
        episodes: as many as there are plays show one each; more repeat them with other sentences.
        plays: by name, what is staged.
        seed: of sentences and movements.
        speaker: which synthesiser speaks ("formants-1" for our own); None takes espeak-ng where it is installed.
        on_progress: called as (stage, frames done, frames in all of the episode).

    Raises:
        NotFound: a package that carries a portrait is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    speaker = speaker or engine()
    programmes = []
    for number in range(episodes):
        play = list(plays)[number % len(plays)]
        name = play if number < len(plays) else f"{play}-{number // len(plays) + 1}"
        path = folder / f"{name}.mp4"
        digest = _digest(name, plays[play], seed, speaker)
        truth = _made_before(path, digest)
        if truth is None:
            staged = stage_play(name, plays[play], seed=seed, speaker=speaker)
            truth = dataclasses.replace(staged.truth, made_from=digest)
            _film(path, staged, seed, on_progress)
            _write_truth(path, truth)
        programmes.append(Programme(path, truth))
    return programmes


def _digest(name: str, play: tuple[Scene, ...], seed: int, speaker: str) -> str:
    """Return what a programme is made from, as a digest: this package's own text, the play, the synthesiser, name and seed."""
    parts = [f"{name} {play} {seed} {speaker} av {av.__version__} cv2 {cv2.__version__} numpy {np.__version__}".encode()]
    parts += [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _made_before(path: Path, digest: str) -> Truth | None:
    try:
        truth = load_truth(path)
        whole = json.loads(truth_path(path).read_text(encoding="utf-8"))["video_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return truth if whole and truth.made_from == digest else None


def _write_truth(path: Path, truth: Truth) -> None:
    document = {**truth.to_json(), "video_sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    unfinished = truth_path(path).with_suffix(f".{os.getpid()}.part")
    unfinished.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(truth_path(path))


def _film(path: Path, staged: Staged, seed: int, on_progress: OnProgress | None) -> None:
    """Draw, encode and write one programme; the file appears under its name when it is whole."""
    unfinished = path.with_suffix(f".{os.getpid()}.part.mp4")  # two processes may make the same programme at once
    with av.open(str(unfinished), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=GRID_HZ)
        video.width, video.height, video.pix_fmt, video.time_base = *SIZE_WH, "yuv420p", Fraction(1, GRID_HZ)
        video.options = {"preset": "veryfast", "crf": "20", "g": "50"}
        video.codec_context.thread_count = 1  # the same bytes on any machine of this kind
        audio = container.add_stream("aac", rate=SOUND_HZ, layout="mono")
        audio.bit_rate = 96000
        for number, picture in enumerate(_pictures(staged, seed)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            container.mux(video.encode(frame))
            if on_progress is not None:
                on_progress("demo", number + 1, staged.frames)
        container.mux(video.encode(None))
        for sound in _sound_frames(_mix(staged, seed)):
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    unfinished.replace(path)


def _mix(staged: Staged, seed: int) -> NDArray[np.float32]:
    """Return all voices and the room's own noise, (S,) at 16 kHz, exactly as long as the picture."""
    length = staged.frames * RATE // GRID_HZ
    mixed = np.random.default_rng([seed, 7]).normal(0, ROOM_TONE, length)
    for sound in staged.voices.values():
        mixed[: len(sound)] += sound[:length]
    return np.clip(mixed, -1, 1).astype(np.float32)


def _sound_frames(samples: NDArray[np.float32]) -> Iterator[av.AudioFrame]:
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=SOUND_HZ, frame_size=1024)
    for first in range(0, len(samples), RATE):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None, first : first + RATE]), format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
        yield from resampler.resample(frame)
    yield from resampler.resample(None)


def _pictures(staged: Staged, seed: int) -> Iterator[Picture]:
    """Yield the frames (720, 1280, 3) of a programme."""
    portraits = {person: load_portrait(person) for person in PORTRAITS}
    poses = {person: act(staged.voices.get(person), staged.frames, seed=seed + k) for k, person in enumerate(sorted(PORTRAITS))}
    ends = [*staged.first_frames[1:], staged.frames]
    for scene, first, end in zip(staged.scenes, staged.first_frames, ends, strict=True):
        draw = _scene_painter(scene, portraits)
        for number in range(first, end):
            yield draw(number - first, {person: poses[person][number] for person in scene.people})


def _scene_painter(scene: Scene, portraits: dict[str, Picture]) -> Callable[[int, dict[str, Pose]], Picture]:
    """Return the function that draws frame k of a scene, given everybody's pose."""
    if scene.layout == "title":
        return lambda number, _: _title(number)
    if scene.layout == "split":
        half = (SIZE_WH[0] // 2, SIZE_WH[1])
        figures = [Figure(PORTRAITS[person], portraits[person], PORTRAITS[person].close_view, half) for person in scene.people]
        return lambda _, poses: np.hstack([figure.draw(poses[figure.portrait.name]) for figure in figures])
    (person,) = scene.people
    figure = Figure(PORTRAITS[person], portraits[person], PORTRAITS[person].view, SIZE_WH)
    if scene.photograph is None:
        return lambda _, poses: figure.draw(poses[person])
    left, top, right, bottom = map(int, PHOTOGRAPH_BOX)
    hung = _framed(portraits[scene.photograph], scene.photograph, (right - left, bottom - top))

    def draw(_: int, poses: dict[str, Pose]) -> Picture:
        picture = figure.draw(poses[person])
        picture[top:bottom, left:right] = hung
        return picture

    return draw


def _framed(picture: Picture, person: str, size_wh: tuple[int, int], border: int = 12) -> Picture:
    """Return a photograph in a dark wooden frame."""
    framed = np.full((size_wh[1], size_wh[0], 3), (58, 40, 26), np.uint8)
    inner = (size_wh[0] - 2 * border, size_wh[1] - 2 * border)
    framed[border:-border, border:-border] = take_view(picture, PORTRAITS[person].close_view, inner)
    return framed


def _title(number: int) -> Picture:
    """Return frame `number` of a landscape without people: a sky, a slow sun and hills."""
    width, height = SIZE_WH
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    sky = np.array([38, 60, 104], np.float32) * (1 - rows) + np.array([226, 158, 110], np.float32) * rows
    picture = np.ascontiguousarray(np.broadcast_to(sky, (height, width, 3))).astype(np.uint8)
    cv2.circle(picture, (260 + 2 * number, 430 - number // 2), 70, (250, 214, 150), -1, cv2.LINE_AA)
    columns = np.arange(0, width + 8, 8)
    for base, tall, long, colour in ((500, 60, 310, (70, 84, 96)), (580, 42, 190, (44, 62, 58))):
        ridge = base + tall * np.sin(columns / long * 2 + base + number / 220)
        outline = np.concatenate([np.stack([columns, ridge], axis=1), [[width, height], [0, height]]]).astype(np.int32)
        cv2.fillPoly(picture, [outline], colour, cv2.LINE_AA)
    return picture
