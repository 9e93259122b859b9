"""Held-out people: how well faces are judged under their own sound, under foreign voices, and where nobody can be heard.

The rule of the foreign voices: per track up to five other held-out people, each as loud as the own sound where it is loudest; judged are
the instants labelled speaking at which the voice detector hears speech in the foreign sound too. Own and foreign scores of all tracks go
into one ROC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from asd_core.models.registry import Model
from asd_core.models.session import open_session
from asd_core.speech.score import SpeakingNetwork, open_speaking
from training.speaking.data import Clip, Clips, mfcc_of, score_sound, sound_bands
from training.speaking.faces import plain
from training.speaking.network import WINDOWS
from training.speaking.sounds import Piece, judged, levelled, music, noise, silence

VOICES = 5  # foreign voices a track
SEED = 1911
BEDS = 12  # of noise, and of music
FOREIGN_WEIGHT = 0.25  # of a foreign voice over moving lips beside own speech: most who listen keep their lips shut


class TorchPart:
    """A module under the interface of `Network`; nothing that it makes is kept, so no cache key is made of its name."""

    sha256 = "in torch"
    profile = "torch"

    def __init__(self, module: nn.Module, output: str) -> None:
        self._module, self._output = module, output

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return what the module makes of its inputs, in their order."""
        with torch.no_grad():
            return {self._output: self._module(*(torch.from_numpy(np.ascontiguousarray(value)) for value in feeds.values())).numpy()}


def in_torch(module: nn.Module) -> SpeakingNetwork:
    """Return a trained module as the line's speaking network."""
    module.eval()
    visual, audio, detector = (
        TorchPart(module.get_submodule(part), output) for part, output in (("visual", "visual"), ("audio", "audio"), ("detector", "score"))
    )
    return SpeakingNetwork(visual, audio, detector, windows=WINDOWS)


def in_file(model: Model) -> SpeakingNetwork:
    """Return a model of the registry as the line opens it."""
    return open_speaking(model, open_session)


class Bench:
    """The held-out tracks and the sounds that each is judged under; the same for every network."""

    def __init__(self, clips: Clips, limit: int | None = None, every: int = 1) -> None:
        """Choose tracks and sounds.

        Args:
            clips: tracks of all people.
            limit: so many instants of each track only, judged in one window and not as the line does: for a look during training.
            every: one track in so many.
        """
        self._score = score_sound if limit is None else in_one_window
        rng = np.random.default_rng(SEED)
        chosen = [clip for clip in clips.clips if clip.held_out and clip.weight > 0.5 and clip.count >= 25][::every]
        self._faces = [Piece(clips, clip, clip.first, min(clip.count, limit or clip.count)) for clip in chosen]
        self._crops = [plain(face["frames"]) for face in self._faces]
        self._labels = [judged(np.array(face["label"])) for face in self._faces]
        self._foreign = [self._voices(clips, face, rng) for face in self._faces]
        beds = {"silence": silence(500), "noise": sound_bands(noise(rng), 500), "music": sound_bands(music(rng), 500)}
        self._beds = {name: mfcc_of(bands) for name, bands in beds.items()}

    def _voices(self, clips: Clips, face: Piece, rng: np.random.Generator) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Return MFCC rows and voice activity of foreign voices over a face's span."""
        others = [c for c in clips.clips if c.held_out and c.person != face.clip.person and c.count >= min(face.count, 100) and c.weight > 0.5]
        by_person: dict[str, list[Clip]] = {}
        for clip in others:
            by_person.setdefault(clip.person, []).append(clip)
        drawn = []
        for person in rng.permutation(sorted(by_person))[:VOICES]:
            clip = by_person[person][int(rng.integers(len(by_person[person])))]
            count = min(face.count, clip.count)
            piece = Piece(clips, clip, clip.first + int(rng.integers(clip.count - count + 1)), count)
            drawn.append((mfcc_of(levelled(piece, face)), np.array(piece["vad"])))
        return drawn

    def measure(self, network: SpeakingNetwork) -> dict[str, float]:
        """Return the numbers of one network: average precision, area under the ROC, shares, flips."""
        visual = [network.encode_visual(crops) for crops in self._crops]
        nobody = np.mean(np.concatenate(visual), axis=0, keepdims=True)  # a face of which nothing is known
        own, labels = self.own_logits(network, visual)
        told: dict[str, float] = {"ap": average_precision(np.concatenate(own), np.concatenate(labels))}
        positive, negative, deaf, deaf_foreign = [], [], [], []
        for face, seen, logits, label, voices in zip(self._faces, visual, own, labels, self._foreign, strict=True):
            positive.append(logits[label == 1])
            blank = np.repeat(nobody, face.count, axis=0)
            deaf.append(self._score(network, blank, mfcc_of(face["bands"]))[label == 1])
            for mfcc, heard in voices:
                spoken = (label[: len(heard)] == 1) & (heard >= 0.5)
                negative.append(self._score(network, seen[: len(heard)], mfcc)[spoken])
                deaf_foreign.append(self._score(network, blank[: len(heard)], mfcc)[spoken])
        told["own_against_foreign"] = area(np.concatenate(positive), np.concatenate(negative))
        told["sound_only"] = area(np.concatenate(deaf), np.concatenate(deaf_foreign))
        told["own_positive"], told["foreign_positive"] = share_positive(positive), share_positive(negative)
        for name, mfcc in self._beds.items():
            told[f"{name}_positive"] = share_positive([self._score(network, seen[:500], mfcc[: 4 * len(seen)]) for seen in visual])
        seconds = sum(len(logits) for logits in own) / 25
        told["flips_per_minute"] = sum(int(np.sum(np.diff(logits > 0))) for logits in own) / seconds * 60
        told["error"] = float(np.mean((np.concatenate(own) > 0)[np.concatenate(labels) >= 0] != np.concatenate(labels)[np.concatenate(labels) >= 0]))
        return told

    def loudest_nobody(self, network: SpeakingNetwork) -> float:
        """Return the logit that one instant in a hundred exceeds where only noise, or only music, is heard; the higher of the two."""
        rng = np.random.default_rng(SEED + 1)
        visual = [network.encode_visual(crops[:500]) for crops in self._crops]
        limits = []
        for make in (noise, music):
            beds = [mfcc_of(sound_bands(make(rng), 500)) for _ in range(BEDS)]
            logits = [self._score(network, seen, beds[i % BEDS][: 4 * len(seen)]) for i, seen in enumerate(visual)]
            limits.append(float(np.quantile(np.concatenate(logits), 0.99)))
        return max(limits)

    def calibration(self, network: SpeakingNetwork) -> tuple[float, float]:
        """Return slope and offset that make probabilities of a network's logits, foreign voices counted as often as they are met."""
        visual = [network.encode_visual(crops) for crops in self._crops]
        own, labels = self.own_logits(network, visual)
        foreign = []
        for seen, label, voices in zip(visual, labels, self._foreign, strict=True):
            for mfcc, heard in voices[:2]:
                spoken = (label[: len(heard)] == 1) & (heard >= 0.5)
                foreign.append(self._score(network, seen[: len(heard)], mfcc)[spoken])
        logits, known = np.concatenate(own), np.concatenate(labels)
        others = np.concatenate(foreign)
        weight = FOREIGN_WEIGHT * np.sum(known == 1) / max(1, len(others))
        return calibrated(
            np.concatenate([logits[known >= 0], others]),
            np.concatenate([known[known >= 0], np.zeros(len(others), np.int8)]),
            np.concatenate([np.ones(np.count_nonzero(known >= 0)), np.full(len(others), weight)]),
        )

    def own_logits(self, network: SpeakingNetwork, visual: Sequence[NDArray[Any]] | None = None) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """Return per track the logits under its own sound, and its labels with soft edges left out."""
        visual = visual or [network.encode_visual(crops) for crops in self._crops]
        return [self._score(network, seen, mfcc_of(face["bands"])) for face, seen in zip(self._faces, visual, strict=True)], self._labels


def in_one_window(network: SpeakingNetwork, visual: NDArray[np.float16], mfcc: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the (T,) logits of one run of the head over everything."""
    return network.head(network.audio(mfcc[None]), visual[None].astype(np.float32))[0]


def share_positive(logits: Sequence[NDArray[Any]]) -> float:
    """Return the share of logits above 0."""
    return float(np.mean(np.concatenate(logits) > 0))


def area(positive: NDArray[Any], negative: NDArray[Any]) -> float:
    """Return the area under the ROC: how often a positive stands above a negative, ties counted half."""
    order = np.sort(negative)
    below = np.searchsorted(order, positive, "left") + np.searchsorted(order, positive, "right")
    return float(below.mean() / 2 / len(negative))


def average_precision(scores: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the area under precision over recall of frames labelled 1 against those labelled 0."""
    known = labels >= 0
    order = np.argsort(-scores[known], kind="stable")
    right = labels[known][order] == 1
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return float(precision[right].mean())


def calibrated(logits: NDArray[Any], labels: NDArray[Any], weights: NDArray[Any]) -> tuple[float, float]:
    """Return slope and offset of the logistic curve that fits labels 1 and 0 best, found by Newton's steps."""
    x = np.column_stack([logits, np.ones(len(logits))]).astype(np.float64)
    fit = np.array([1.0, 0.0])
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ fit))
        curvature = (x * (weights * p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(2)
        fit += np.linalg.solve(curvature, x.T @ (weights * (labels - p)))
    return float(fit[0]), float(fit[1])
