"""Speaking networks on the same tracks: average precision, own against foreign voices, and what is no voice at all.

All scores are the line's raw logits (`score_tracks`: windows of 1 to 6 s, averaged), without calibration, competition, voice gate or
smoothing over time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asd_core.evaluate.ava import average_precision
from asd_core.models.registry import Model
from asd_core.models.session import open_session
from asd_core.records import Sound, Track
from asd_core.speech.listen import no_sound
from asd_core.speech.mfcc import mfcc_rows
from asd_core.speech.score import SpeakingNetwork, open_speaking, score_tracks
from asd_core.timeline import GRID_HZ, MFCC_PER_INSTANT
from benchmarks.accuracy import average_precision_of_boxes
from benchmarks.matching import FoundTrack
from benchmarks.networks import foreign_voices as voices
from benchmarks.networks.keeping import code, digest, kept_arrays, kept_json
from benchmarks.networks.material import MEDIA, Clip
from benchmarks.networks.measures import area, grouped_area, sign_changes
from benchmarks.networks.sounds import STAND_INS

TRUSTED = ("label", "exact", "hand")
GIVEN_BOXES = "three_on_stage_msdwild00001"
CODE = (
    *(f"asd_core/{name}.py" for name in ("speech/mfcc", "speech/score", "evaluate/ava")),
    *(f"benchmarks/networks/{name}.py" for name in ("foreign_voices", "sounds", "measures", "speaking")),
)
Features = dict[str, tuple[NDArray[np.float16], ...]]  # by clip, per track


def measure(model: Model, clips: Sequence[Clip]) -> dict[str, Any]:
    """Return all marks of a speaking network, on the clips in which somebody visible speaks by their truth."""
    clips = [clip for clip in clips if clip.truth["speech"]]
    tracks = digest(*(digest(c.name, c.truth, c.people, c.samples, *(t.boxes for t in c.tracks), *c.crops) for c in clips))
    key = digest(model.key, model.manifest.windows, tracks, voices.LIST.read_bytes(), code(*CODE))
    return kept_json(f"speaking.{model.name}", key, lambda: _measure(model, clips))  # type: ignore[no-any-return]


def _measure(model: Model, clips: Sequence[Clip]) -> dict[str, Any]:
    network = open_speaking(model, open_session)
    features = {clip.name: _features(clip, model, network) for clip in clips}
    logits = {clip.name: _score(clip.tracks, features[clip.name], clip.sound.mfcc, network) for clip in clips}
    return {**precision(clips, logits), "foreign": _foreign(clips, features, network), "sounds": _stand_ins(clips, features, logits, network)}


def _features(clip: Clip, model: Model, network: SpeakingNetwork) -> tuple[NDArray[np.float16], ...]:
    key = digest(model.key, *(digest(crops) for crops in clip.crops))
    stored = kept_arrays(f"{clip.name}.visual_{model.name}", key, lambda: {str(k): network.encode_visual(c) for k, c in enumerate(clip.crops)})
    return tuple(stored[str(k)] for k in range(len(clip.crops)))


def _score(
    tracks: Sequence[Track], visual: Sequence[NDArray[np.float16]], mfcc: NDArray[np.float32], network: SpeakingNetwork
) -> tuple[NDArray[np.float32], ...]:
    silent = no_sound()
    sound = Sound(None, mfcc, silent.activity, silent.level, (), ())
    return score_tracks(tracks, visual.__getitem__, sound, network).logits


# ---- average precision -------------------------------------------------------------------------------------------------------


def precision(clips: Sequence[Clip], logits: dict[str, Sequence[NDArray[np.float32]]]) -> dict[str, Any]:
    """Return the average precision over given boxes, and over all instants of tracks of known people, pooled by the kind of truth."""
    pooled: dict[str, list[tuple[NDArray[np.float32], NDArray[np.bool_]]]] = {"trusted": [], "vad": []}
    given = None
    for clip in clips:
        kind = "trusted" if clip.truth["confidence"] in TRUSTED else "vad"
        pooled[kind] += [
            (scores, _speaks(clip, person, track))
            for track, person, scores in zip(clip.tracks, clip.people, logits[clip.name], strict=True)
            if person
        ]
        if clip.name == GIVEN_BOXES:
            found = [FoundTrack(t.first, t.boxes, scores, ()) for t, scores in zip(clip.tracks, logits[clip.name], strict=True)]
            boxes = MEDIA / "labels" / f"{clip.name}_faceboxes.csv"
            given = average_precision_of_boxes(clip.name, clip.truth, found, boxes)
    return {
        "given_boxes": given,
        "precision": {kind: _pooled(rows) for kind, rows in (*pooled.items(), ("all", [*pooled["trusted"], *pooled["vad"]]))},
    }


def _pooled(rows: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]]) -> dict[str, Any]:
    scores, positive = np.concatenate([s for s, _ in rows]), np.concatenate([p for _, p in rows])
    return {"value": average_precision(scores, positive), "instants": len(scores), "positives": int(positive.sum())}


def _speaks(clip: Clip, person: str, track: Track) -> NDArray[np.bool_]:
    times = (track.first + np.arange(len(track))) / GRID_HZ
    spans = [(s["start"], s["end"]) for s in clip.truth["speech"] if s["person"] == person]
    return np.any([np.zeros(len(times), np.bool_), *((times >= start) & (times < end) for start, end in spans)], axis=0)


# ---- own against foreign voices ----------------------------------------------------------------------------------------------


def _foreign(clips: Sequence[Clip], features: Features, network: SpeakingNetwork) -> dict[str, Any]:
    """Return the marks on the committed pairs, of sound alone on them, and on pairs of one person's stretches a second apart."""
    by_name = {clip.name: clip for clip in clips}
    pieces, pairs = voices.read_list()
    later = {number: late for number, piece in enumerate(pieces) if (late := voices.a_second_off(piece, by_name[piece.clip])) is not None}
    every = [*pieces, *later.values()]
    apart = [(number, len(pieces) + k) for k, number in enumerate(later)]
    visual = [_of_piece(piece, by_name[piece.clip], features) for piece in every]
    heard = [voices.voiced(piece, by_name[piece.clip]) for piece in every]
    mfcc = [mfcc_rows(voices.levelled(piece, by_name[piece.clip]), voices.INSTANTS * MFCC_PER_INSTANT) for piece in every]
    mean = np.concatenate(visual).astype(np.float32).mean(axis=0).astype(np.float16)
    flat = [np.tile(mean, (voices.INSTANTS, 1)) for _ in every]
    people = [piece.person for piece in every]
    score = _scorer(visual, mfcc, network)
    return {
        "pieces": len(pieces),
        "pairs": len(pairs),
        "people": len(set(people)),
        **own_against_foreign(score, pairs, heard, people),
        "sound_only": own_against_foreign(_scorer(flat, mfcc, network), pairs, heard, people)["area"],
        "second_off": own_against_foreign(score, apart, heard, people),
    }


def _of_piece(piece: voices.Piece, clip: Clip, features: Features) -> NDArray[np.float16]:
    number = voices.track_of(piece, clip)
    start = piece.first - clip.tracks[number].first
    return features[clip.name][number][start : start + voices.INSTANTS]


def _scorer(
    visual: Sequence[NDArray[np.float16]], mfcc: Sequence[NDArray[np.float32]], network: SpeakingNetwork
) -> Callable[[int, int], NDArray[np.float32]]:
    """Return the function that scores the picture of one piece with the sound of another."""
    known: dict[tuple[int, int], NDArray[np.float32]] = {}
    boxes = np.zeros((voices.INSTANTS, 4), np.float32)
    track = Track("piece", 0, 0, boxes, np.ones(voices.INSTANTS, np.bool_), still=False)

    def score(picture: int, sound: int) -> NDArray[np.float32]:
        if (picture, sound) not in known:
            (known[picture, sound],) = _score([track], [visual[picture]], mfcc[sound], network)
        return known[picture, sound]

    return score


def own_against_foreign(
    score: Callable[[int, int], NDArray[np.float32]], pairs: Sequence[tuple[int, int]], heard: Sequence[NDArray[np.bool_]], people: Sequence[str]
) -> dict[str, Any]:
    """Return the area under the ROC of own against foreign sound on the instants voiced in both pieces of a pair.

    Args:
        score: (picture's piece, sound's piece) -> (INSTANTS,) logits.
        pairs: numbers of two pieces; both pictures are scored with both sounds.
        heard: per piece its (INSTANTS,) voiced instants.
        people: per piece whom it shows: the groups of the bootstrap.
    """
    own: dict[str, list[NDArray[np.float32]]] = {person: [np.zeros(0, np.float32)] for person in people}
    foreign: dict[str, list[NDArray[np.float32]]] = {person: [np.zeros(0, np.float32)] for person in people}
    within = []
    for a, b in pairs:
        both = heard[a] & heard[b]
        for picture, other in ((a, b), (b, a)):
            right, wrong = score(picture, picture)[both], score(picture, other)[both]
            own[people[picture]].append(right)
            foreign[people[picture]].append(wrong)
            if both.any():
                within.append(area(right, wrong))
    rights, wrongs = [np.concatenate(parts) for parts in own.values()], [np.concatenate(parts) for parts in foreign.values()]
    found = grouped_area(rights, wrongs)
    every_right, every_wrong = np.concatenate(rights), np.concatenate(wrongs)
    return {
        "area": found.value,
        "interval": (found.low, found.high),
        "instants": found.positives,
        "within": float(np.mean(within)),
        "by_person": {person: area(right, wrong) for person, right, wrong in zip(own, rights, wrongs, strict=True)},
        "own_above": float((every_right > 0).mean()),
        "foreign_above": float((every_wrong > 0).mean()),
    }


# ---- no voice at all ---------------------------------------------------------------------------------------------------------


def _stand_ins(
    clips: Sequence[Clip], features: Features, logits: dict[str, Sequence[NDArray[np.float32]]], network: SpeakingNetwork
) -> dict[str, Any]:
    """Return, for the talkers' own sound and each stand-in for it, the share of instants with a logit above 0 and the changes of sign a minute."""
    told: dict[str, list[tuple[NDArray[np.float32], NDArray[np.bool_]]]] = {"own": [], **{name: [] for name in STAND_INS}}
    for clip in clips:
        chosen = [k for k, person in enumerate(clip.people) if person in voices.TALKERS.get(clip.name, ())]
        if not chosen:
            continue
        tracks, visual = [clip.tracks[k] for k in chosen], [features[clip.name][k] for k in chosen]
        speaks = [_speaks(clip, clip.people[k] or "", clip.tracks[k]) for k in chosen]
        told["own"] += zip([logits[clip.name][k] for k in chosen], speaks, strict=True)
        for name, make in STAND_INS.items():
            instants = len(clip.sound.activity)
            told[name] += zip(_score(tracks, visual, mfcc_rows(make(instants), instants * MFCC_PER_INSTANT), network), speaks, strict=True)
    return {name: _restlessness(rows) for name, rows in told.items()}


def _restlessness(rows: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]]) -> dict[str, Any]:
    every, speaking = np.concatenate([scores for scores, _ in rows]), np.concatenate([speaks for _, speaks in rows])
    return {
        "instants": len(every),
        "above": float((every > 0).mean()),
        "above_speaking": float((every[speaking] > 0).mean()),
        "above_pausing": float((every[~speaking] > 0).mean()),
        "flips": sum(sign_changes(scores) for scores, _ in rows) / (len(every) / GRID_HZ / 60),
    }
