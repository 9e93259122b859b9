"""Speaking logits per face and instant: lips and sound brought together by the speaking network (SyncDiscriminator's shape).

The network has three parts. The visual encoder runs while the picture is decoded (`encode_visual`), the audio encoder once over the sound
under the tracks, and the head (fusion, recurrent layer) in overlapping windows over each track. The recurrent layer was trained on short
pieces, so one pass over a long track is no substitute for windows (`models/README.md` in ../shared, section 1).

What is known here is the network's clock: one step is one grid instant, four MFCC rows stand under it. What a logit means for a turn is
left to `turns`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asd_core.errors import ModelMismatch
from asd_core.models.network import Network, OpenNetwork
from asd_core.models.registry import Model
from asd_core.records import Scores, Sound, Track
from asd_core.speech.mfcc import COEFFICIENTS, mfcc_rows
from asd_core.timeline import GRID_HZ, MFCC_PER_INSTANT

ENCODER_REACH = 9  # instants the visual encoder sees on both sides (19 frames); the audio encoder sees 6
_VISUAL_PIECE = 150  # crops encoded at a time: 300 MB of activations, and 6 % of the work done twice for a block of ten seconds
_AUDIO_PIECE = 250  # instants of sound encoded at a time
# Lengths of windows in seconds, each with one vote: those of LR-ASD's authors. On made scenes (`benchmarks/calibrate_turns.py`, training people)
# the diarization error is 10.8 % with them and 10.1 % with 6 s alone for its AVA weights, 12.3 % and 11.3 % for TalkSet; where voices are out of
# sight it is the other way round, 7.8 % and 8.7 %, 7.4 % and 9.4 %. A network that wants others says so in its manifest.
WINDOWS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
_BATCH_INSTANTS = 12_800  # instants a batch of windows may hold: 13 MB of features

Progress = Callable[[str, float, float], None]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Probability of speaking = sigmoid(slope * logit + offset); fitted per network on labelled tracks and kept in its manifest."""

    slope: float = 1.0
    offset: float = 0.0

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities for logits of any shape."""
        scaled = self.slope * logits.astype(np.float64) + self.offset
        return (0.5 * (1 + np.tanh(0.5 * scaled))).astype(np.float32)  # a sigmoid that does not overflow


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """How the head is moved over a track.

    windows: lengths in seconds; each has one vote. Empty: those of the network.
    overlap: share of a window that the next one covers too, in [0, 1). Without overlap the scores jump where windows meet.
    taper: seconds at both ends of a window over which its vote rises from nothing; there the recurrent layer lacks context.
    """

    windows: tuple[float, ...] = ()
    overlap: float = 0.5
    taper: float = 0.2


class SpeakingNetwork:
    """The three parts of a speaking network, its calibration and its windows; knows the tensors' names and shapes, and nothing of files."""

    def __init__(
        self, visual: Network, audio: Network, detector: Network, calibration: Calibration | None = None, windows: tuple[float, ...] = WINDOWS
    ) -> None:
        self._visual = visual
        self._audio = audio
        self._detector = detector
        self.calibration = calibration or Calibration()
        self.windows = windows

    def visual(self, frames: NDArray[Any]) -> NDArray[np.float32]:
        """Return (B, T, D) features of (B, T, 112, 112) grey crops 0..255, in one run."""
        return np.asarray(self._visual.run({"frames": frames.astype(np.float32)})["visual"], np.float32)

    def audio(self, mfcc: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (B, T, D) features of (B, 4 T, 13) MFCC rows."""
        return np.asarray(self._audio.run({"mfcc": mfcc.astype(np.float32)})["audio"], np.float32)

    def head(self, audio: NDArray[np.float32], visual: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the (B, T) logits of windows of equal length, from (B, T, D) features of both kinds."""
        return np.asarray(self._detector.run({"audio": audio, "visual": visual})["score"], np.float32)

    def encode_visual(self, crops: NDArray[np.uint8]) -> NDArray[np.float16]:
        """Return the (T, D) visual features of consecutive (T, 112, 112) crops; (0, 0) for none.

        Long tracks are encoded in pieces that see `ENCODER_REACH` more on both sides: the same numbers as in one run. What lies beyond the
        first and last crop the encoder takes for zeros; whoever has more frames passes a margin of `ENCODER_REACH` and cuts it off.
        """
        if len(crops) == 0:
            return np.zeros((0, 0), np.float16)
        pieces = []
        for start in range(0, len(crops), _VISUAL_PIECE):
            stop = min(start + _VISUAL_PIECE, len(crops))
            low, high = max(0, start - ENCODER_REACH), min(len(crops), stop + ENCODER_REACH)
            pieces.append(self.visual(crops[None, low:high])[0, start - low : stop - low])
        return np.concatenate(pieces).astype(np.float16)


def open_speaking(model: Model, open_network: OpenNetwork) -> SpeakingNetwork:
    """Return the speaking network of a model's three files, with the calibration and the windows of its manifest.

    Raises:
        ModelMismatch: the manifest is of another kind of model than this code reads.
    """
    if model.manifest.kind != "sync":
        raise ModelMismatch(f"{model.name}: a speaking model of kind {model.manifest.kind!r} is not known; expected 'sync'")
    told = model.manifest.calibration
    return SpeakingNetwork(
        open_network(model.paths["visual"]),
        open_network(model.paths["audio"]),
        open_network(model.paths["detector"]),
        Calibration(slope=told.get("slope", 1.0), offset=told.get("offset", 0.0)),
        model.manifest.windows or WINDOWS,
    )


class SoundFeatures:
    """The audio encoder's features anywhere on the clock, computed in pieces at fixed places when first asked for.

    Faces that share an instant share its features, and a track sees the real sound before and after it. Where the asset's sound ends,
    digital silence follows. Pieces far behind the last request are forgotten: memory does not grow with the duration.
    """

    _KEPT = 64  # pieces, 10 s and 128 kB each

    def __init__(self, mfcc: NDArray[np.float32], network: SpeakingNetwork) -> None:
        self._mfcc = mfcc
        self._network = network
        self._silence = mfcc_rows(np.zeros(0, np.int16), rows=1)  # (1, 13)
        self._pieces: dict[int, NDArray[np.float32]] = {}

    def between(self, first: int, count: int) -> NDArray[np.float32]:
        """Return the (count, D) features of the instants from `first` on."""
        wanted = range(first // _AUDIO_PIECE, (first + count - 1) // _AUDIO_PIECE + 1)
        features = np.concatenate([self._piece(piece) for piece in wanted])
        start = first - wanted.start * _AUDIO_PIECE
        return features[start : start + count]

    def _piece(self, piece: int) -> NDArray[np.float32]:
        if piece not in self._pieces:
            while len(self._pieces) >= self._KEPT:
                del self._pieces[next(iter(self._pieces))]
            first = piece * _AUDIO_PIECE
            # Before time zero there is nothing: the encoder pads with zeros, as in training. After the end it hears silence.
            low = max(0, first - ENCODER_REACH)
            rows = self._rows(low * MFCC_PER_INSTANT, (first + _AUDIO_PIECE + ENCODER_REACH) * MFCC_PER_INSTANT)
            self._pieces[piece] = self._network.audio(rows[None])[0, first - low : first - low + _AUDIO_PIECE]
        return self._pieces[piece]

    def _rows(self, start: int, stop: int) -> NDArray[np.float32]:
        known = self._mfcc[start:stop] if len(self._mfcc) else np.zeros((0, COEFFICIENTS), np.float32)
        return np.concatenate([known, np.repeat(self._silence, stop - start - len(known), axis=0)]).astype(np.float32)


def window_starts(length: int, window: int, overlap: float) -> list[int]:
    """Return where windows of `window` instants begin in a track of `length`: evenly spread, the first at 0, the last flush with the end.

    Neighbours overlap by at least the share `overlap`. A window longer than the track gives one start, and is as short as the track.
    """
    if length <= window:
        return [0]
    steps = int(np.ceil((length - window) / max(1.0, window * (1 - overlap)) - 1e-9))
    return [round(step * (length - window) / steps) for step in range(steps + 1)]


def window_votes(window: int, taper: int) -> NDArray[np.float64]:
    """Return the (window,) weight of each instant's vote: 1 inside, falling linearly towards both ends over `taper` instants, never 0."""
    from_edge = np.minimum(np.arange(window), np.arange(window)[::-1]) + 1
    return np.minimum(1.0, from_edge / (taper + 1.0))


@dataclass(frozen=True, slots=True)
class _Window:
    track: int
    start: int
    length: int


def _plan(lengths: Sequence[int], options: ScoreOptions) -> dict[int, list[_Window]]:
    """Return all windows of all tracks by their length, tracks in order."""
    by_length: dict[int, list[_Window]] = defaultdict(list)
    for track, length in enumerate(lengths):
        if length == 0:
            continue
        for seconds in options.windows:
            window = min(round(seconds * GRID_HZ), length)
            for start in window_starts(length, window, options.overlap):
                by_length[window].append(_Window(track, start, window))
    return by_length


def score_tracks(
    tracks: Sequence[Track],
    visual: Callable[[int], NDArray[np.float16]],
    sound: Sound,
    network: SpeakingNetwork,
    options: ScoreOptions | None = None,
    on_progress: Progress | None = None,
) -> Scores:
    """Return per track its speaking logits and calibrated probabilities, one per instant of the track.

    The logit is the network's own "speaking" output (its authors take > 0 for speaking), averaged over windows. Without sound the
    network is given digital silence: what comes out is what it makes of lips that nobody hears, and `turns` makes no turns of it.

    Args:
        tracks: faces, each at consecutive instants.
        visual: gives the (T, D) visual features of the track of a number; called once for each, nearly in order of time.
        sound: MFCC rows on the asset's clock; may be empty.
        network: the speaking network whose encoder gave `visual`.
        options: windows and overlap.
        on_progress: called as ("score", instants done, instants in all).

    Raises:
        ValueError: a track's features do not have one row per instant.
    """
    options = options or ScoreOptions()
    options = replace(options, windows=options.windows or network.windows)
    heard = SoundFeatures(sound.mfcc, network)
    logits: list[NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(tracks)
    total = sum(len(track) for track in tracks)
    done = 0
    for group in _groups(tracks):
        features = [visual(i) for i in group]
        for i, rows in zip(group, features, strict=True):
            if len(rows) != len(tracks[i]):
                raise ValueError(f"track {tracks[i].id}: expected {len(tracks[i])} rows of visual features, got {len(rows)}")
        sums = _score_group([tracks[i] for i in group], features, heard, network, options)
        for i, scored in zip(group, sums, strict=True):
            logits[i] = scored
            done += len(tracks[i])
        if on_progress is not None:
            on_progress("score", done, total)
    return Scores(logits=tuple(logits), probabilities=tuple(network.calibration.probabilities(scored) for scored in logits))


def _groups(tracks: Sequence[Track]) -> list[list[int]]:
    """Return indices of tracks, by time, in groups that are scored together: many windows a batch, little in memory."""
    groups: list[list[int]] = []
    room = 0
    for i in sorted(range(len(tracks)), key=lambda i: tracks[i].first):
        if not groups or len(tracks[i]) > room:
            groups.append([])
            room = _BATCH_INSTANTS
        groups[-1].append(i)
        room -= len(tracks[i])
    return groups


def _score_group(
    tracks: Sequence[Track],
    visual: Sequence[NDArray[np.float16]],
    heard: SoundFeatures,
    network: SpeakingNetwork,
    options: ScoreOptions,
) -> list[NDArray[np.float32]]:
    """Return the (T,) logits of each track: the weighted mean of all windows over each instant."""
    audio = [heard.between(track.first, len(track)) if len(track) else np.zeros((0, 0), np.float32) for track in tracks]
    sums = [np.zeros(len(track)) for track in tracks]
    weights = [np.zeros(len(track)) for track in tracks]
    for length, windows in sorted(_plan([len(track) for track in tracks], options).items()):
        votes = window_votes(length, round(options.taper * GRID_HZ))
        batch = max(1, _BATCH_INSTANTS // length)
        for at in range(0, len(windows), batch):
            chosen = windows[at : at + batch]
            heads = network.head(
                np.stack([audio[w.track][w.start : w.start + length] for w in chosen]),
                np.stack([visual[w.track][w.start : w.start + length] for w in chosen]).astype(np.float32),
            )  # (W, length)
            for window, head in zip(chosen, heads, strict=True):
                sums[window.track][window.start : window.start + length] += head * votes
                weights[window.track][window.start : window.start + length] += votes
    return [(total / np.maximum(weight, 1e-12)).astype(np.float32) for total, weight in zip(sums, weights, strict=True)]
