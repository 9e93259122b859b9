"""Batches of faces, each with several sounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asd_core.models.manifest import PACKAGED, read_manifest
from training.speaking import faces
from training.speaking.data import PORTRAITS, TEACHERS, TRACKS, Clips
from training.speaking.sounds import Mixer, Piece, Pool, judged

Row = tuple[NDArray[Any] | np.float32, ...]  # what `Batch` holds of one face, in its order


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B faces over T instants, each with S sounds."""

    crops: Tensor  # (B, T, 112, 112) uint8
    mfcc: Tensor  # (B, S, 4 T, 13)
    labels: Tensor  # (B, S, T)
    teacher_visual: Tensor  # (B, T, 128), standardised
    teacher_speaks: Tensor  # (B, T) probability
    taught: Tensor  # (B,) 1 where the teachers saw this face
    untouched: Tensor  # (B,) 1 where they heard this sound


class Batches:
    """Draws batches without end.

    Args:
        rng: of all that is drawn.
        portraits: share of the faces that are talking portraits.
        lifeless: share of the tracks' faces of which a photograph is shown, or what is beside them.
        untouched: share of the tracks' faces whose own sound is left alone, so that the teachers' word holds.
    """

    def __init__(
        self, rng: np.random.Generator, portraits: float, lifeless: float, untouched: float, tracks: Path = TRACKS, drawn: Path = PORTRAITS
    ) -> None:
        self._rng = rng
        self._share = portraits, lifeless, untouched
        clips = Clips(tracks)
        self._tracks, self._portraits = Pool(clips, held_out=False), Pool(Clips(drawn), held_out=False)
        self._mixer = Mixer(self._tracks, rng)
        sample = clips["teacher_visual"][:: max(1, len(clips["frames"]) // 5000)].astype(np.float32)
        self._mean, self._spread = sample.mean(0), sample.std(0) + 0.05
        told = [read_manifest(PACKAGED / f"{name}.toml").calibration for name in TEACHERS]
        self._slope, self._offset = np.array([t["slope"] for t in told]), np.array([t["offset"] for t in told])

    def imitated(self, count: int, length: int) -> tuple[Tensor, Tensor]:
        """Return (B, T, 112, 112) crops of tracks, and the teacher's features of them (B, T, 128)."""
        pieces = [self._track(length) for _ in range(count)]
        crops = np.stack([faces.shown(piece["frames"], self._rng) for piece in pieces])
        return torch.from_numpy(crops), torch.from_numpy(np.stack([self._features(piece) for piece in pieces]))

    def heard(self, count: int, length: int) -> Batch:
        """Return tracks with their sounds, and no pictures: for a head that is fed with the teacher's features."""
        return self._batch([self._face(self._track(length), made=False, seen=False) for _ in range(count)])

    def draw(self, count: int, length: int) -> Batch:
        """Return tracks and portraits with pictures and sounds."""
        rows = []
        for _ in range(count):
            made = self._rng.random() < self._share[0]
            piece = self._portraits.draw(length, self._rng) if made else None
            rows.append(self._face(piece or self._track(length), made=piece is not None))
        return self._batch(rows)

    def _track(self, length: int) -> Piece:
        piece = self._tracks.draw(length, self._rng)
        if piece is None:
            raise ValueError(f"no training track has {length} instants")
        return piece

    def _batch(self, rows: list[Row]) -> Batch:
        return Batch(*(torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)))

    def _features(self, piece: Piece) -> NDArray[np.float32]:
        return ((piece["teacher_visual"] - self._mean) / self._spread).astype(np.float32)

    def _face(self, face: Piece, made: bool, seen: bool = True) -> Row:
        rng = self._rng
        frames, own = face["frames"] if seen else np.zeros(0, np.uint8), own_labels(face, made)
        photograph = seen and not made and rng.random() < self._share[1]
        if photograph:
            frames, own = (faces.frozen if rng.random() < 0.5 else faces.beside)(frames, rng), np.zeros_like(own)
        untouched = not made and not photograph and rng.random() < self._share[2]
        mfcc, labels = self._mixer.sounds(face, own, treated=not untouched)
        features, speaks = np.zeros((face.count, len(self._mean)), np.float32), np.zeros(face.count, np.float32)
        if not made:
            features = self._features(face)
            logit = (face["teacher_logits"] * self._slope + self._offset).mean(1)
            speaks = (1 / (1 + np.exp(-logit))).astype(np.float32)
        crops = faces.shown(frames, rng) if seen else frames
        return crops, mfcc, labels, features, speaks, np.float32(not made and not photograph), np.float32(untouched)


def own_labels(face: Piece, made: bool) -> NDArray[np.int8]:
    """Return a face's labels under its own sound: edges left out, and pauses in which the AVA weights see nobody speak taken for pauses."""
    labels = np.array(face["label"])
    if not made:
        pause = (labels == -1) & (face["vad"] < 0.15) & (face["teacher_logits"][:, 0] < 0)
        labels = np.where(pause, 0, labels).astype(np.int8)
    return judged(labels)
