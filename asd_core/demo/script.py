"""The plays of the demo: scenes and lines, and when everything happens once the voices have been heard."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from asd_core.demo.truth import TrueShot, TrueStill, TrueTurn, Truth
from asd_core.demo.voice import RATE, VOICES, speak
from asd_core.timeline import GRID_HZ

SIZE_WH = (1280, 720)
PHOTOGRAPH_BOX = (900.0, 60.0, 1130.0, 320.0)  # on the wall of a "wall" scene, frame included


@dataclass(frozen=True, slots=True)
class Line:
    """What somebody says, `after` seconds since the line before ended or the scene began."""

    speaker: str
    after: float
    words: int = 9  # roughly


@dataclass(frozen=True, slots=True)
class Scene:
    """One shot. `layout`: single, wall (single with a photograph of somebody else), split, or title (nobody).

    `cut` seconds into the last line the next scene begins, so that the voice runs on over the cut; None: `tail` seconds after its end.
    """

    layout: str
    people: tuple[str, ...]
    lines: tuple[Line, ...] = ()
    tail: float = 0.9
    cut: float | None = None
    photograph: str | None = None


PLAYS: dict[str, tuple[Scene, ...]] = {
    "launch": (
        Scene("wall", ("collins",), (Line("collins", 0.8), Line("collins", 0.9, 7)), photograph="hopper"),
        Scene("title", (), (Line("narrator", 0.6, 10),)),
        Scene("wall", ("collins",), (Line("narrator", 0.6, 9), Line("collins", 0.9, 8)), photograph="hopper"),
    ),
    "conversation": (
        Scene("single", ("hopper",), (Line("hopper", 0.8),), tail=0.6),
        Scene("single", ("collins",), (Line("collins", 0.6, 11),), cut=1.8),
        Scene("split", ("hopper", "collins"), (Line("hopper", 0.9, 8), Line("collins", 0.8, 7))),
    ),
    "desk": (
        Scene("split", ("collins", "hopper"), (Line("hopper", 1.0, 8), Line("collins", 0.8, 8)), tail=0.6),
        Scene("title", (), tail=2.6),
        Scene("single", ("hopper",), (Line("hopper", 0.6, 13),), cut=2.4),
        Scene("single", ("collins",), tail=1.3),
        Scene("single", ("hopper",), (Line("hopper", 0.6, 8),)),
    ),
}

SENTENCES = (
    "every engine is ready for the long morning flight",
    "we counted the hours until the weather was clear",
    "nobody in the room believed that the machine would answer",
    "a good map is worth more than a fast ship",
    "the first program was written on a roll of paper",
    "we have learned to ask before we press the button",
    "the crew will meet again on the other side of the ocean",
    "it is easier to begin when the numbers are right",
    "somebody found a moth inside the relay and kept it",
    "from up there you see rivers and no borders at all",
    "the library keeps a record of everything that was said",
    "there was one light on the panel that never went out",
)


@dataclass(frozen=True, slots=True, eq=False)
class Staged:
    """A play in time: its truth, its scenes with their first frames, and each voice's own sound (S,) over the whole programme."""

    truth: Truth
    scenes: tuple[Scene, ...]
    first_frames: tuple[int, ...]
    frames: int
    voices: dict[str, NDArray[np.float32]]


def stage_play(name: str, play: tuple[Scene, ...], *, seed: int, speaker: str) -> Staged:
    """Return the play with its times, which follow from how long each voice takes to say its lines.

    Args:
        name: of the programme.
        play: its scenes.
        seed: of the sentences.
        speaker: which synthesiser speaks, as `voice.engine` names it.
    """
    rng = np.random.default_rng([seed, *map(ord, name)])
    spoken: list[tuple[float, str, NDArray[np.float32]]] = []
    first_frames, clock, voice_ends = [], 0.0, 0.0
    for scene in play:
        first_frames.append(round(clock * GRID_HZ))
        start = voice_ends = max(clock, voice_ends)
        for line in scene.lines:
            start = _on_sample(voice_ends + line.after)
            sound = speak(_sentence(rng, line.words), VOICES[line.speaker], seed=int(rng.integers(2**31)), speaker=speaker)
            spoken.append((start, line.speaker, sound))
            voice_ends = start + len(sound) / RATE
        clock = _on_frame(start + scene.cut if scene.cut is not None else voice_ends + scene.tail)
    edges = [*(first / GRID_HZ for first in first_frames), clock]
    shots = tuple(TrueShot(a, b, scene.people) for (a, b), scene in zip(pairwise(edges), play, strict=True))
    truth = Truth(
        name=name,
        duration=clock,
        people=tuple(sorted({person for scene in play for person in scene.people})),
        turns=_turns([(start, start + len(sound) / RATE, speaker) for start, speaker, sound in spoken], shots),
        shots=shots,
        stills=tuple(
            TrueStill(shot.start, shot.end, scene.photograph, PHOTOGRAPH_BOX) for shot, scene in zip(shots, play, strict=True) if scene.photograph
        ),
    )
    return Staged(truth, play, tuple(first_frames), round(clock * GRID_HZ), _voices(spoken, clock))


def _sentence(rng: np.random.Generator, words: int) -> str:
    said = " ".join(SENTENCES[int(k)] for k in rng.permutation(len(SENTENCES))[:2]).split()
    return " ".join(said[:words])


def _on_frame(time: float) -> float:
    return round(time * GRID_HZ) / GRID_HZ


def _on_sample(time: float) -> float:
    return round(time * RATE) / RATE


def _voices(spoken: list[tuple[float, str, NDArray[np.float32]]], duration: float) -> dict[str, NDArray[np.float32]]:
    voices = {speaker: np.zeros(round(duration * RATE), np.float32) for _, speaker, _ in spoken}
    for start, speaker, sound in spoken:
        first = round(start * RATE)
        voices[speaker][first : first + len(sound)] += sound[: len(voices[speaker]) - first]
    return voices


def _turns(lines: list[tuple[float, float, str]], shots: tuple[TrueShot, ...]) -> tuple[TrueTurn, ...]:
    """Return the lines cut where their speaker leaves or enters the screen; a cut that keeps the speaker in view ends no turn."""
    turns: list[TrueTurn] = []
    for start, end, speaker in lines:
        for shot in shots:
            part_start, part_end, on_screen = max(start, shot.start), min(end, shot.end), speaker in shot.people
            if part_end <= part_start:
                continue
            last = turns[-1] if turns else None
            if last and last.speaker == speaker and last.end == part_start and last.on_screen == on_screen:
                turns[-1] = TrueTurn(last.start, part_end, speaker, on_screen)
            else:
                turns.append(TrueTurn(part_start, part_end, speaker, on_screen))
    return tuple(turns)
