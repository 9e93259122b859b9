"""Who of the visible speaks when, and which speech nobody visible explains.

Sound says when somebody speaks, lips say who. At each instant the visible faces compete with one another and with "somebody out of
sight" (`compete`); over time, changing one's mind has a price (`smooth`), so that a talker keeps the turn through instants in which the
network is unsure, and loses it when the evidence against is lasting. Then come the rules of length, and what is left of the speech is off
screen (`offscreen`). Nothing here depends on where on the clock an asset begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from asd_core.records import Scores, Sound, Span, Track, TrackTurns, TurnPart
from asd_core.timeline import instant_time, instants_span, intersection, nearest_instant, union
from asd_core.turns.compete import NOBODY, OUT_OF_SIGHT, Company, answers, companies, emissions, log_odds, share_of_voice
from asd_core.turns.offscreen import name_voices, off_screen
from asd_core.turns.smooth import Stretch, best_path, fitted_edges, without_pauses

Smoothing = Literal["off", "low", "high"]


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """How evidence becomes turns. Weights, bounds and prices are in log-odds; lengths in seconds.

    The first six were chosen, and are checked, on scenes made of the training tracks (`benchmarks/calibrate_turns.py`: clips as they are,
    turns among two or three faces, interruptions, voices out of sight, noise). Their pooled diarization error is 10.8 %, against 14.0 % for
    "smoothed logit > 0, the rest of the speech off screen", with LR-ASD's AVA weights, and 12.3 % against 28.9 % with its TalkSet weights.
    The optimum is flat: halving or doubling a weight or the price costs at most 0.3 points with these two. `rival` alone moves errors from
    weak talkers to voices out of sight and back (docs/decisions/0007).

    lips: weight of a face's evidence per instant. Far below 1, because neighbouring logits say the same thing again.
    voice: weight of the voice detector's evidence per instant.
    rival: log-odds that a face must show, given a voice, to be preferred to somebody out of sight. Lower: a visible face is believed
        sooner, and weak talkers keep their turns; higher: voices out of sight are lent less often to a listener's face.
    overlap: how much more than `rival` a second face must show to speak at the same time. Lower: interruptions are found, and second voices
        are invented where lips move without a voice; two voices at once are rare (0.5 % of speech).
    price: what a change of mind costs. Higher: fewer, longer turns.
    certain: bound of all evidence per instant, of lips and voice alike: no instant decides alone.
    voice_floor: probability of speech below which, all around, no face speaks whatever its lips do.
    longest_pause: shorter pauses of one speaker belong to the turn.
    shortest_turn: shorter turns are dropped, unless their probability exceeds `sure`.
    sure: see `shortest_turn`.
    reach: a turn's edge moves to an edge of the speech around it that lies at most this far away.
    shortest_off_screen: shorter speech that no face explains is no turn of its own.
    voice_gap: voices out of sight that are nearer than this, with no face speaking between, are one.
    """

    lips: float = 0.25
    voice: float = 0.75
    rival: float = -0.5
    overlap: float = 5.0
    price: float = 2.0
    certain: float = 5.0
    voice_floor: float = 0.15
    longest_pause: float = 0.3
    shortest_turn: float = 0.25
    sure: float = 0.9
    reach: float = 0.2
    shortest_off_screen: float = 0.5
    voice_gap: float = 1.0

    @classmethod
    def preset(cls, smoothing: Smoothing) -> TurnOptions:
        """Return the options of a preset: "off" lets every instant stand alone, "low" keeps short replies, "high" is the default."""
        usual = cls()
        if smoothing == "off":
            return replace(usual, price=0.0, longest_pause=0.0, shortest_turn=0.0, reach=0.0, shortest_off_screen=0.0)
        if smoothing == "low":
            return replace(usual, price=usual.price / 3, longest_pause=0.2, shortest_turn=0.12, shortest_off_screen=0.3)
        return usual


def decide(tracks: Sequence[Track], scores: Scores, sound: Sound, options: TurnOptions | None = None) -> TrackTurns:
    """Return the turns of each track, and the speech of voices out of sight.

    Without sound there are no turns, whatever the lips do; without tracks all speech is off screen. Tracks marked still never speak.

    Args:
        tracks: faces; two that share an instant are seen together.
        scores: per track its speaking probabilities (their log-odds are the evidence).
        sound: speech activity on the same clock.
        options: weights, prices and lengths.
    """
    options = options or TurnOptions()
    if len(sound.activity) == 0:
        return TrackTurns((), (), (), (), ())
    instants = max([len(sound.activity), *(track.first + len(track) for track in tracks)])
    voice = np.full(instants, -options.certain)
    voice[: len(sound.activity)] = np.clip(log_odds(sound.activity), -options.certain, options.certain)
    lips = [_evidence(probabilities, options) for probabilities in scores.probabilities]
    seen = companies([(i, track.first, track.first + len(track)) for i, track in enumerate(tracks) if not track.still], instants)
    runs = best_path([_stretch(company, tracks, lips, voice, options) for company in seen], options.price, outside=NOBODY)
    said = _spoken_spans(runs, _audible(sound, options))
    parts = sorted(
        _parts(tracks, said, seen, _shares(tracks, lips, seen, options), sound, options), key=lambda p: (p[0].start, p[0].end, p[0].track_id)
    )
    on_screen = tuple(part for part, _ in parts)
    hidden = off_screen(on_screen, sound, shortest=options.shortest_off_screen)
    return TrackTurns(
        on_screen=on_screen,
        confidence=tuple(confidence for _, confidence in parts),
        off_screen=tuple(span for span, _ in hidden),
        voice=name_voices([span for span, _ in hidden], on_screen, nearest=options.voice_gap),
        off_confidence=tuple(confidence for _, confidence in hidden),
    )


def _evidence(probabilities: NDArray[np.float32], options: TurnOptions) -> NDArray[np.float64]:
    """Return the (T,) log-odds of a track, bounded. Blurring them first gains nothing: the price of a change does that."""
    return np.clip(log_odds(probabilities), -options.certain, options.certain)


def _together(company: Company, tracks: Sequence[Track], lips: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the (T, F) evidence of the faces of a company over its instants."""
    if not company.faces:
        return np.zeros((company.end - company.first, 0))
    return np.stack([lips[i][company.first - tracks[i].first : company.end - tracks[i].first] for i in company.faces], axis=1)


def _stretch(
    company: Company, tracks: Sequence[Track], lips: Sequence[NDArray[np.float64]], voice: NDArray[np.float64], options: TurnOptions
) -> Stretch:
    """Return the weighed scores of what may be true while these faces are visible."""
    evidence = _together(company, tracks, lips)
    possible = answers(company.faces, evidence.max(axis=0, initial=-np.inf))
    scores = emissions(
        options.voice * voice[company.first : company.end],
        options.lips * evidence,
        company.faces,
        possible,
        rival=options.lips * options.rival,
        overlap=options.lips * options.overlap,
    )
    return Stretch(company.first, possible, scores)


def _shares(tracks: Sequence[Track], lips: Sequence[NDArray[np.float64]], seen: Sequence[Company], options: TurnOptions) -> list[NDArray[np.float64]]:
    """Return per track its (T,) share of the voice at each instant, against all faces visible with it."""
    shares = [np.zeros(len(track)) for track in tracks]
    for company in seen:
        split = share_of_voice(_together(company, tracks, lips), rival=options.rival)
        for column, i in enumerate(company.faces):
            shares[i][company.first - tracks[i].first : company.end - tracks[i].first] = split[:, column]
    return shares


def _audible(sound: Sound, options: TurnOptions) -> list[Span]:
    """Return where the sound leaves room for a turn: speech is at least possible there, or within reach."""
    possible = np.flatnonzero(sound.activity >= options.voice_floor)
    return union(Span(instant_time(int(i)) - options.reach, instant_time(int(i) + 1) + options.reach) for i in possible)


def _spoken_spans(runs: Sequence[tuple[int, int, tuple[int, ...]]], audible: Sequence[Span]) -> dict[int, list[Span]]:
    """Return per speaking face its sorted spans of time, within what is audible."""
    said: dict[int, list[Span]] = {}
    for begin, end, answer in runs:
        if answer not in (NOBODY, OUT_OF_SIGHT):
            for face in answer:
                said.setdefault(face, []).append(Span(instant_time(begin), instant_time(end)))
    return {face: intersection(spans, audible) for face, spans in sorted(said.items())}


def _parts(
    tracks: Sequence[Track],
    said: dict[int, list[Span]],
    seen: Sequence[Company],
    shares: Sequence[NDArray[np.float64]],
    sound: Sound,
    options: TurnOptions,
) -> list[tuple[TurnPart, float]]:
    """Return the turns of all tracks with their confidence, after the rules of length and the fitting of edges."""
    company: dict[int, set[int]] = {}
    for group in seen:
        for face in group.faces:
            company.setdefault(face, set()).update(group.faces)
    parts = []
    for face, spans in said.items():
        track = tracks[face]
        bounds = instants_span(track.first, len(track))
        others = union(span for other in company[face] - {face} for span in said.get(other, ()))
        for span in without_pauses(spans, others, longest=options.longest_pause):
            first, end = nearest_instant(span.start) - track.first, nearest_instant(span.end) - track.first
            share = float(shares[face][first:end].mean()) if end > first else 0.0
            if span.end - span.start >= options.shortest_turn - 1e-9 or share > options.sure:
                fitted = fitted_edges(span, bounds, sound.speech, others, reach=options.reach)
                parts.append((TurnPart(fitted.start, fitted.end, track.id), share))
    return parts
